"""Clouds of others are labelled and views rendered, in any frame, within bounds."""

import threading
import time

import numpy as np
import pytest
from furnished_room import NAMES
from geometry_msgs.msg import Pose, PoseStamped, Quaternion
from govnesf_ros.srv import QueryText, RenderView, SegmentCloud
from robot_rig import FRAMES
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from sensor_msgs_py import point_cloud2

from govnesf_ros.conversions import to_quaternion
from govnesf_ros.frame_buffer import TransformUnavailable
from govnesf_ros.messages import camera_info_message, header_message, time_message

LIDAR = np.array([[0, -1, 0, 2.0], [1, 0, 0, -1.0], [0, 0, 1, 0.5], [0, 0, 0, 1]])  # T_map_lidar


class Transforms:
    """A lookup with one frame, known from a stamp on."""

    def try_lookup(self, frame_id: str, stamp: int):
        return LIDAR if frame_id == "lidar" and stamp < 100 else None

    def explain(self, frame_id: str, stamp: int) -> TransformUnavailable:
        return TransformUnavailable("no_transform", f"frame '{frame_id}' is not connected")


def cloud_of(xyz: np.ndarray, frame: str = "map", stamp: int = 0) -> PointCloud2:
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    return point_cloud2.create_cloud(header_message(stamp, frame), fields, xyz)


def labels_of(reply) -> np.ndarray:
    return point_cloud2.read_points(reply.cloud)["label"]


@pytest.fixture
def truth(robot) -> tuple[np.ndarray, np.ndarray]:
    """Points of the map and their labels by the active words."""
    snapshot = robot.map.snapshot()
    return snapshot.xyz[::5], robot.answers.label(snapshot).label[::5]


def test_a_cloud_in_the_map_frame_gets_the_labels_of_the_vocabulary(robot, truth) -> None:
    xyz, label = truth
    reply = robot.call(SegmentCloud, "segment_cloud", cloud=cloud_of(xyz))
    assert reply.success, reply.message
    assert reply.texts == list(NAMES)
    assert reply.cloud.header.frame_id == "map"
    assert reply.cloud.width == len(xyz)
    found = labels_of(reply)
    assert (found > 0).mean() > 0.95
    assert (found == label)[found > 0].mean() > 0.95
    assert "no keyframe sees" in reply.message


def test_a_lidar_cloud_is_the_same_cloud_in_another_frame(robot, truth) -> None:
    xyz, _ = truth
    robot.tf = Transforms()
    in_lidar = (xyz - LIDAR[:3, 3]) @ LIDAR[:3, :3]
    texts = ["table", "mug"]
    one = robot.call(SegmentCloud, "segment_cloud", cloud=cloud_of(xyz), texts=texts)
    cloud = cloud_of(in_lidar.astype(np.float32), "lidar", 7)
    two = robot.call(SegmentCloud, "segment_cloud", cloud=cloud, texts=texts)
    assert two.texts == texts
    assert (two.cloud.header.frame_id, two.cloud.header.stamp.nanosec) == ("lidar", 7)
    assert (labels_of(one) == labels_of(two)).mean() > 0.99


def test_contrast_words_leave_the_rest_unlabelled(robot, truth) -> None:
    xyz, label = truth
    reply = robot.call(
        SegmentCloud,
        "segment_cloud",
        cloud=cloud_of(xyz),
        texts=["table"],
        contrast=[name for name in NAMES if name != "table"],
    )
    found = labels_of(reply)
    assert set(np.unique(found)) == {0, 1}
    assert (found == (label == NAMES.index("table") + 1)).mean() > 0.95


@pytest.mark.parametrize(
    ("frame", "stamp", "words"),
    [
        ("", 0, "the header has no frame_id"),
        ("lidar", 0, "which the node only listens to while it is active"),
    ],
)
def test_a_frame_that_cannot_be_used_is_named(robot, frame, stamp, words) -> None:
    cloud = cloud_of(np.zeros((3, 3), np.float32), frame, stamp)
    reply = robot.call(SegmentCloud, "segment_cloud", cloud=cloud)
    assert not reply.success
    assert words in reply.message


def test_a_transform_is_waited_for_and_then_explained(make_robot) -> None:
    robot = make_robot(1, tf_timeout=0.1)
    robot.tf = Transforms()
    for frame, stamp in (("laser", 0), ("lidar", 200)):
        cloud = cloud_of(np.zeros((3, 3), np.float32), frame, stamp)
        reply = robot.call(SegmentCloud, "segment_cloud", cloud=cloud)
        assert not reply.success
        assert f"frame '{frame}' is not connected" in reply.message


def test_sizes_and_times_are_bounded(make_robot) -> None:
    robot = make_robot(1, max_cloud_points=10, max_render_pixels=100, lookup_timeout=0.0)
    reply = robot.call(SegmentCloud, "segment_cloud", cloud=cloud_of(np.zeros((11, 3), np.float32)))
    assert not reply.success
    assert "11 points, at most 10 are taken (max_cloud_points)" in reply.message
    reply = robot.call(SegmentCloud, "segment_cloud", cloud=cloud_of(np.zeros((10, 3), np.float32)))
    assert not reply.success
    assert "longer than lookup_timeout, 0 s" in reply.message
    reply = robot.call(RenderView, "render_view", camera_info=CameraInfo(width=11, height=10))
    assert not reply.success
    assert "at most 100 are rendered (max_render_pixels)" in reply.message
    texts = [f"word {number}" for number in range(300)]
    reply = robot.call(SegmentCloud, "segment_cloud", cloud=PointCloud2(), texts=texts)
    assert not reply.success


def test_an_empty_map_says_so(make_robot) -> None:
    robot = make_robot(0)
    cloud = cloud_of(np.zeros((3, 3), np.float32))
    for reply in (
        robot.call(SegmentCloud, "segment_cloud", cloud=cloud),
        robot.call(RenderView, "render_view", **view_from(0)),
    ):
        assert not reply.success
        assert "the map is empty" in reply.message


def view_from(index: int, frame: str = "map") -> dict:
    T = FRAMES[index].T_world_camera
    x, y, z, w = to_quaternion(T[:3, :3])
    pose = Pose(orientation=Quaternion(x=x, y=y, z=z, w=w))
    pose.position.x, pose.position.y, pose.position.z = T[:3, 3].tolist()
    K = FRAMES[index].K.copy()
    K[:2] *= 0.25
    header = header_message(0, frame)
    return {
        "pose": PoseStamped(header=header, pose=pose),
        "camera_info": camera_info_message(header, K, 40, 30),
    }


def test_a_view_has_colour_depth_and_labels(robot) -> None:
    reply = robot.call(RenderView, "render_view", texts=["table", "floor"], **view_from(0))
    assert reply.success, reply.message
    assert reply.texts == ["table", "floor"]
    for image, encoding in (
        (reply.rgb, "rgb8"),
        (reply.depth, "32FC1"),
        (reply.labels, "mono8"),
        (reply.confidence, "32FC1"),
    ):
        assert (image.width, image.height, image.encoding) == (40, 30, encoding)
        assert image.header.frame_id == "map"
        assert image.header.stamp.sec > 0  # never zero
    depth = np.frombuffer(reply.depth.data, np.float32)
    assert np.isnan(depth).any() or (depth > 0).all()
    assert set(np.unique(np.frombuffer(reply.labels.data, np.uint8))) <= {0, 1, 2}
    assert "% of the view" in reply.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["pose"].pose.orientation.__setattr__("w", float("nan")), "quaternion"),
        (lambda r: r["camera_info"].__setattr__("k", [0.0] * 9), "not calibrated"),
        (lambda r: r["camera_info"].__setattr__("width", 0), "pixels"),
        (lambda r: r["pose"].header.__setattr__("frame_id", ""), "no frame_id"),
        (lambda r: r.__setitem__("texts", ["x" * 300]), "300 characters"),
    ],
)
def test_a_view_that_cannot_be_rendered_gets_a_sentence(robot, change, words) -> None:
    request = view_from(0)
    change(request)
    reply = robot.call(RenderView, "render_view", **request)
    assert not reply.success
    assert words in reply.message


def test_answers_come_from_the_snapshot_while_a_keyframe_is_integrated(robot, truth) -> None:
    """The map's lock is held as `add` holds it: nobody who only reads may wait for it."""
    xyz, _ = truth
    held, release = threading.Event(), threading.Event()

    def integrate() -> None:
        with robot.map._write:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=integrate)
    thread.start()
    held.wait()
    try:
        begin = time.monotonic()
        assert robot.call(QueryText, "query", texts=["table"]).success
        assert robot.call(SegmentCloud, "segment_cloud", cloud=cloud_of(xyz)).success
        assert robot.call(RenderView, "render_view", **view_from(0)).success
        assert time.monotonic() - begin < 30
        assert not release.is_set()
    finally:
        release.set()
        thread.join()


def test_stamps_of_requests_stay(robot) -> None:
    request = view_from(0)
    request["pose"].header.stamp = time_message(5_000_000_007)
    reply = robot.call(RenderView, "render_view", **request)
    assert reply.rgb.header.stamp.sec == 5
