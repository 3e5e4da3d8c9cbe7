"""The player against what a listener receives."""

import threading
import time
from collections import defaultdict

import numpy as np
import pytest
from furnished_room import room_frames, write_scene
from rclpy.parameter import Parameter
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_ros import Buffer, TransformListener

from govnesf_model.data.posed_scene import SceneError, open_scene
from govnesf_ros.calibration import to_intrinsics
from govnesf_ros.conversions import stamp_to_ns, to_matrix
from govnesf_ros.images import to_metres, to_rgb
from govnesf_ros.player_node import PlayerNode

COUNT = 6


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("scene")
    write_scene(root, room_frames(COUNT))
    return open_scene(root)


class Listener:
    """Keeps all that a camera sends, with the time of arrival."""

    def __init__(self, graph, compressed: bool = False) -> None:
        node = self.node = graph.node("listener")
        self.got, self.arrived = defaultdict(list), defaultdict(list)
        kind, suffix = (CompressedImage, "/compressed") if compressed else (Image, "")
        for name, type_, topic in (
            ("image", kind, "camera/color/image_raw" + suffix),
            ("depth", kind, "camera/depth/image_raw" + suffix),
            ("info", CameraInfo, "camera/color/camera_info"),
            ("clock", Clock, "/clock"),
        ):
            node.create_subscription(type_, topic, self._keep(name), 100)
        self.buffer = Buffer()
        self.listener = TransformListener(self.buffer, node)

    def _keep(self, name: str):
        def callback(message) -> None:
            self.got[name].append(message)
            self.arrived[name].append(time.monotonic())

        return callback

    def pose(self, message) -> np.ndarray:
        stamp = Time.from_msg(message.header.stamp)
        found = self.buffer.lookup_transform("map", message.header.frame_id, stamp)
        return to_matrix(found.transform)


def play(graph, scene, listener: Listener, **settings) -> int:
    settings = {"scene": str(scene.root), "rate": 50.0, **settings}
    parameters = [Parameter(name, value=value) for name, value in settings.items()]
    player = graph.add(PlayerNode(context=graph.context, parameter_overrides=parameters))
    sent = []
    thread = threading.Thread(target=lambda: sent.append(player.play()))
    thread.start()
    graph.spin_until(lambda: not thread.is_alive())
    graph.spin_until(lambda: len(listener.got["image"]) >= sent[0], seconds=3.0)
    return sent[0]


@pytest.mark.parametrize("compressed", [False, True])
def test_images_depth_intrinsics_and_poses_arrive_as_in_the_scene(graph, scene, compressed) -> None:
    listener = Listener(graph, compressed)
    transport = "compressed" if compressed else "raw"
    assert play(graph, scene, listener, image_transport=transport) == COUNT
    graph.spin_until(lambda: len(listener.got["depth"]) == COUNT == len(listener.got["info"]))
    stamps = [stamp_to_ns(image.header.stamp) for image in listener.got["image"]]
    assert np.allclose(np.diff(stamps), 1e9 / 50.0, atol=1000)
    for frame, image, depth, info in zip(
        scene, listener.got["image"], listener.got["depth"], listener.got["info"], strict=True
    ):
        error = np.abs(to_rgb(image).astype(int) - frame.rgb)
        assert error.mean() < (3.0 if compressed else 1e-9)
        assert np.allclose(to_metres(depth), frame.depth, atol=1e-6)
        assert np.allclose(to_intrinsics(info).K, frame.K)
        assert image.header == depth.header == info.header
        assert image.header.frame_id == "camera_color_optical_frame"
        assert np.allclose(listener.pose(image), frame.T_world_camera, atol=1e-6)


def test_transforms_can_be_late_and_lost(graph, scene) -> None:
    listener = Listener(graph)
    first = []
    listener.buffer.set_transform = _spy(listener.buffer.set_transform, first)
    assert play(graph, scene, listener, tf_delay=0.3, drop_tf=0.5, seed=3) == COUNT
    graph.spin_until(lambda: len(first) >= 1, seconds=2.0)
    stamps = [stamp_to_ns(image.header.stamp) for image in listener.got["image"]]
    lost = set(stamps) - {stamp for stamp, _ in first}
    assert 0 < len(lost) < COUNT
    arrival = dict(zip(stamps, listener.arrived["image"], strict=True))
    for stamp, when in first:
        assert when - arrival[stamp] > 0.2


def test_the_clock_runs_with_the_stamps(graph, scene) -> None:
    listener = Listener(graph)
    play(graph, scene, listener, clock=True, rate=20.0)
    stamps = [stamp_to_ns(image.header.stamp) for image in listener.got["image"]]
    assert stamps[0] == 1000 * 10**9
    graph.spin_until(lambda: stamp_to_ns(listener.got["clock"][-1].clock) >= stamps[-1] - 1000)
    ticks = [stamp_to_ns(message.clock) for message in listener.got["clock"]]
    assert len(ticks) > COUNT
    assert (np.diff(ticks) >= 0).all()


def test_a_loop_goes_on_until_it_is_stopped(graph, scene) -> None:
    listener = Listener(graph)
    parameters = {"scene": str(scene.root), "rate": 100.0, "loop": True}
    player = graph.add(
        PlayerNode(
            context=graph.context,
            parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()],
        )
    )
    thread = threading.Thread(target=player.play)
    thread.start()
    graph.spin_until(lambda: len(listener.got["image"]) > 2 * COUNT)
    player.stop()
    thread.join(2.0)
    assert not thread.is_alive()


def test_a_folder_that_is_no_scene_is_named(graph, tmp_path) -> None:
    parameters = [Parameter("scene", value=str(tmp_path))]
    with pytest.raises(SceneError, match=str(tmp_path)):
        PlayerNode(context=graph.context, parameter_overrides=parameters)


def _spy(function, calls: list):
    def wrapped(transform, authority) -> None:
        calls.append((stamp_to_ns(transform.header.stamp), time.monotonic()))
        function(transform, authority)

    return wrapped
