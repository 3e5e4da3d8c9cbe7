"""A camera and a localisation that obey the test, and the node that they talk to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from furnished_room import room_frames
from govnesf_ros.srv import QueryText
from launched import Client, Launched, assert_sum_holds
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import TransformBroadcaster

from govnesf_ros import messages

FRAMES = room_frames(12)


class Robot:
    """Sends frames of the furnished room."""

    def __init__(self, client: Client) -> None:
        self.client, node = client, client.node
        self.image = node.create_publisher(Image, "/camera/color/image_raw", 10)
        self.info = node.create_publisher(CameraInfo, "/camera/color/camera_info", 10)
        self.depth = node.create_publisher(Image, "/camera/depth/image_raw", 10)
        self.tf = TransformBroadcaster(node)

    def send(
        self,
        index: int,
        frame: str = "optical",
        move: bool = True,
        stamp: int = 0,
        source=None,
        depth="own",
        **changes,
    ) -> int:
        """Send a frame of the room, its image or camera_info changed; return its stamp.

        Args:
            index: of the frame; its pose is sent, too.
            frame: frame_id of image and camera_info.
            move: whether the pose is sent.
            stamp: nanoseconds, now by default.
            source: a Frame to send in place of the room's.
            depth: metres to send in place of the frame's own, None for no depth.
            changes: fields of the image, or `k` of camera_info.
        """
        source = source or FRAMES[index % len(FRAMES)]
        stamp = stamp or time.time_ns()
        header = messages.header_message(stamp, frame)
        height, width = source.rgb.shape[:2]
        info = messages.camera_info_message(header, source.K, width, height)
        image = messages.image_message(header, source.rgb, "rgb8")
        for name, value in changes.items():
            setattr(info if hasattr(info, name) and name == "k" else image, name, value)
        self.info.publish(info)
        depth = source.depth if isinstance(depth, str) else depth
        if depth is not None:
            self.depth.publish(messages.image_message(header, depth, "32FC1"))
        self.image.publish(image)
        if move:
            self.move(index, stamp)
        return stamp

    def move(self, index: int, stamp: int) -> None:
        """Send the pose of a frame."""
        header = messages.header_message(stamp, "map")
        T = FRAMES[index % len(FRAMES)].T_world_camera
        self.tf.sendTransform(messages.transform_message(header, "optical", T))


class Case:
    """The launched node, the robot, and what is asked of both all the time."""

    def __init__(self, client: Client, launched: Launched) -> None:
        self.client, self.launched, self.robot = client, launched, Robot(client)
        self.last = None

    def status(self):
        """Return a status from now on; its counts add up."""
        status = self.last = self.client.new_status()
        assert_sum_holds(status)
        return status

    def until_settled(self) -> None:
        """Wait until no image waits any more."""
        self.client.until(lambda: self.status().frames_waiting == 0, 120.0)

    def until_connected(self) -> None:
        """Wait until the node hears the robot."""
        robot = self.robot
        for publisher in (robot.image, robot.info, robot.depth):
            self.client.until(lambda p=publisher: p.get_subscription_count() == 1)

    def heard(self, words: str) -> None:
        """Wait until the node has logged some words."""
        self.client.until(lambda: any(words in text for text in self.client.said), 10.0)

    def query(self, **request):
        """Ask the node."""
        return self.client.call(QueryText, "query", **request)


@contextmanager
def launched_case(
    domain: int, folder: Path, *arguments: str, **parameters: object
) -> Iterator[Case]:
    """Launch the node for a live camera, and stop it at the end; it is active and hears the robot.

    Args:
        domain: of ROS, already set for this process.
        folder: for its log and parameters.
        arguments: further ones of the launch file.
        parameters: of the mapper; one thread, which this process shares with it, in any case.
    """
    file = folder / "test.yaml"
    values = {"torch_threads": 1, **parameters}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    launched = Launched(folder / "log", "source:=live", f"params_file:={file}", *arguments)
    client = Client(domain)
    try:
        client.until_active(launched)
        found = Case(client, launched)
        found.until_connected()
        yield found
    finally:
        client.close()
        launched.stop()
