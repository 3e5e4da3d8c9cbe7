"""Real messages over real DDS through CameraInput and tf2_ros."""

from dataclasses import replace

import numpy as np
import pytest
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from govnesf_ros import messages
from govnesf_ros.camera_input import CameraInput
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
        self.camera = CameraInput(
            self.node,
            replace(MapperSettings(), **{"depth": "off", **settings}),
            self.ledger,
            self.frames.append,
        )
        robot = self.robot = graph.node("robot")
        self.image = robot.create_publisher(Image, "camera/color/image_raw", 10)
        self.info = robot.create_publisher(CameraInfo, "camera/color/camera_info", 10)
        self.clock = robot.create_publisher(Clock, "/clock", 10)
        self.tf, self.static = TransformBroadcaster(robot), StaticTransformBroadcaster(robot)
        graph.spin_until(
            lambda: self.image.get_subscription_count() and self.info.get_subscription_count()
        )

    def send(self, seconds: float, frame: str = "optical") -> None:
        header = messages.header_message(int(seconds * SECOND), frame)
        self.info.publish(messages.camera_info_message(header, K, 64, 48))
        self.image.publish(messages.image_message(header, np.zeros((48, 64, 3), np.uint8), "rgb8"))

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
    graph.spin_until(lambda: rig.camera._lookup.known_frames() == ["link", "map", "optical"])
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
