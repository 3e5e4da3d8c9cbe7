"""Real messages over real DDS through the cameras and tf2_ros."""

from dataclasses import replace

import numpy as np
import pytest
import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from govnesf_ros import messages
from govnesf_ros.camera_input import Cameras
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.parameters import MapperSettings

K = np.array([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]])
SECOND = 1_000_000_000
IDENTITY = np.eye(4)


class Rig:
    def __init__(self, graph, sim_time: bool = False, **settings) -> None:
        self.graph = graph
        self.node = graph.node("mapper")
        if sim_time:
            self.node.set_parameters([Parameter("use_sim_time", value=True)])
        self.said, self.frames = [], []
        self.ledger = FrameLedger(self.said.append)
        self.camera = Cameras(
            self.node,
            replace(MapperSettings(), **{"depth": "off", **settings}),
            self.ledger,
            self.frames.append,
        )
        robot = self.robot = graph.node("robot")
        self.topic = settings.get("image_topic", "camera/color/image_raw")
        first = settings.get("cameras", [""])[0]
        self.image, self.info = self.publishers(first)
        self.clock = robot.create_publisher(Clock, "/clock", 10)
        self.tf, self.static = TransformBroadcaster(robot), StaticTransformBroadcaster(robot)
        graph.spin_until(
            lambda: self.image.get_subscription_count() and self.info.get_subscription_count()
        )

    def publishers(self, camera: str):
        prefix = f"{camera}/" if camera else ""
        return (
            self.robot.create_publisher(Image, prefix + self.topic, 10),
            self.robot.create_publisher(CameraInfo, f"{prefix}camera/color/camera_info", 10),
        )

    def send(self, seconds: float, frame: str = "optical", through=None, **changes) -> None:
        image, info = through or (self.image, self.info)
        header = messages.header_message(int(seconds * SECOND), frame)
        calibration = messages.camera_info_message(header, K, 64, 48)
        for name, value in changes.items():
            setattr(calibration, name, value)
        info.publish(calibration)
        image.publish(messages.image_message(header, np.zeros((48, 64, 3), np.uint8), "rgb8"))

    def move(self, seconds: float, x: float) -> None:
        T = IDENTITY.copy()
        T[0, 3] = x
        header = messages.header_message(int(seconds * SECOND), "map")
        self.tf.sendTransform(messages.transform_message(header, "link", T))

    def mount(self) -> None:
        header = messages.header_message(0, "link")
        self.static.sendTransform(messages.transform_message(header, "optical", IDENTITY))

    def tick(self, seconds: float) -> None:
        self.clock.publish(Clock(clock=messages.time_message(int(seconds * SECOND))))

    @property
    def reasons(self) -> dict[str, int]:
        return self.ledger.counts().reasons


def test_an_image_waits_for_the_transform_that_comes_after_it(graph) -> None:
    rig = Rig(graph, tf_timeout=5.0)
    rig.mount()
    rig.send(50.0)
    graph.spin_until(lambda: rig.ledger.counts().waiting == 1)
    assert rig.frames == []
    rig.move(49.9, 1.0)
    rig.move(50.1, 3.0)
    graph.spin_until(lambda: len(rig.frames) == 1)
    assert rig.frames[0].T_map_camera[0, 3] == pytest.approx(2.0)
    assert rig.camera.tf_age() == pytest.approx(-0.1)


def test_no_transform_at_all_is_said_and_counted(graph) -> None:
    rig = Rig(graph, tf_timeout=0.2)
    rig.send(50.0)
    graph.spin_until(lambda: rig.reasons == {"no_transform": 1})
    assert "no transform has arrived at all" in rig.said[0]
    assert np.isnan(rig.camera.tf_age())


def test_a_wrong_frame_name_is_said_with_the_known_ones(graph) -> None:
    rig = Rig(graph, tf_timeout=0.5)
    rig.mount()
    rig.move(50.0, 0.0)
    graph.spin_until(lambda: rig.camera._tf.lookup.known_frames() == ["link", "map", "optical"])
    rig.send(50.0, "kamera")
    graph.spin_until(lambda: rig.reasons == {"unknown_frame": 1})
    assert (
        "frame 'kamera' is not connected to 'map' (known frames: link, map, optical)"
        in (rig.said[0])
    )


def test_a_simulated_clock_that_jumps_back_flushes_images_and_transforms(graph) -> None:
    rig = Rig(graph, sim_time=True, tf_timeout=5.0)
    graph.spin_until(lambda: rig.clock.get_subscription_count() > 0)
    rig.tick(100.0)
    graph.spin_until(lambda: rig.node.get_clock().now().nanoseconds == 100 * SECOND)
    rig.mount()
    rig.move(99.0, 1.0)
    rig.send(100.0)
    graph.spin_until(lambda: rig.ledger.counts().waiting == 1)
    rig.tick(10.0)
    graph.spin_until(lambda: rig.reasons == {"clock_jump": 1})
    # The old transform is forgotten, the fixed mount is not.
    rig.move(9.9, 5.0)
    rig.move(10.1, 7.0)
    rig.send(10.0)
    graph.spin_until(lambda: len(rig.frames) == 1)
    assert rig.frames[0].T_map_camera[0, 3] == pytest.approx(6.0)


def test_leaving_drops_what_waits_and_stops_listening(graph) -> None:
    rig = Rig(graph, tf_timeout=5.0)
    rig.send(50.0)
    graph.spin_until(lambda: rig.ledger.counts().waiting == 1)
    rig.camera.destroy()
    assert rig.reasons == {"deactivated": 1}
    graph.spin_until(lambda: rig.image.get_subscription_count() == 0)


def test_several_cameras_have_a_buffer_each_and_share_tf(graph) -> None:
    rig = Rig(graph, cameras=("front", "rear"), tf_timeout=30.0)
    rear = rig.publishers("rear")
    graph.spin_until(lambda: all(p.get_subscription_count() for p in rear))
    rig.mount()
    # The clock of the rear camera is an hour late; its images must not flush those of the front.
    rig.send(5000.0)
    rig.send(1400.0, "optical", rear)
    graph.spin_until(lambda: rig.ledger.counts().waiting == 2)
    assert [len(camera.buffer) for camera in rig.camera.inputs] == [1, 1]
    assert [camera.received for camera in rig.camera.inputs] == [1, 1]
    rig.move(4999.9, 1.0)
    rig.move(5000.1, 3.0)
    graph.spin_until(lambda: len(rig.frames) == 1)
    assert rig.frames[0].stamp == 5000 * SECOND
    assert [camera.name for camera in rig.camera.inputs] == ["front", "rear"]
    assert rig.camera.inputs[1].topic == "/rear/camera/color/image_raw"


def test_an_absolute_topic_cannot_be_that_of_several_cameras(graph) -> None:
    with pytest.raises(ValueError, match="'/image' cannot be that of every camera"):
        Rig(graph, cameras=("front", "rear"), image_topic="/image")


@pytest.mark.parametrize(
    ("settings", "focal", "distortion"),
    [
        ({}, 100, (0.1, 0.0, 0.0, 0.0)),
        ({"undistort": "off"}, 100, ()),
        ({"image_topic": "camera/color/image_rect"}, 90, ()),
        ({"image_topic": "camera/color/image_rect", "undistort": "on"}, 100, (0.1, 0.0, 0.0, 0.0)),
    ],
)
def test_the_parameter_undistort_says_what_the_calibration_is_for(
    graph, settings, focal, distortion
) -> None:
    rig = Rig(graph, **settings)
    rig.mount()
    rig.move(49.0, 0.0)
    rig.move(51.0, 0.0)
    p = [90.0, 0.0, 31.5, 0.0, 0.0, 90.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    rig.send(50.0, d=[0.1, 0.0, 0.0, 0.0], p=p)
    graph.spin_until(lambda: len(rig.frames) == 1)
    found = rig.frames[0].intrinsics
    assert (found.K[0, 0], found.distortion) == (focal, distortion)


def test_a_second_publisher_is_named(graph) -> None:
    rig = Rig(graph)
    other = graph.node("bag_player")
    other.create_publisher(Image, "camera/color/image_raw", 10)
    graph.spin_until(lambda: any("2 nodes publish" in text for text in rig.said))
    (text,) = (text for text in rig.said if "nodes publish" in text)
    assert "/camera/color/image_raw (/bag_player, /robot)" in text


def test_the_depth_of_the_queues_can_be_overridden_and_survives_a_restart(graph) -> None:
    name = "qos_overrides./camera/color/image_raw.subscription.depth"
    node = graph.add(
        rclpy.create_node(
            "mapper",
            context=graph.context,
            parameter_overrides=[Parameter(name, value=3)],
        )
    )
    for reliable in (False, True):
        settings = replace(MapperSettings(), depth="off", reliable_images=reliable)
        cameras = Cameras(node, settings, FrameLedger(print), lambda frame: None)
        qos = cameras.inputs[0]._subscriptions[0].qos_profile
        assert qos.depth == 3
        assert (qos.reliability == ReliabilityPolicy.RELIABLE) == reliable
        cameras.destroy()
