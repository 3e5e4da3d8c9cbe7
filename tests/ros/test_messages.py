import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import PointField
from sensor_msgs_py import point_cloud2
from visualization_msgs.msg import Marker

from govnesf_ros.conversions import to_matrix
from govnesf_ros.images import to_metres, to_rgb
from govnesf_ros.messages import (
    cloud_message,
    compressed_message,
    detections_message,
    header_message,
    image_message,
    label_info_message,
    markers_message,
    transform_message,
)

HEADER = header_message(5_000_000_007, "map")
COLORS = np.array([[110, 110, 110], [255, 0, 0], [0, 0, 255]], np.uint8)


def instance(center=(1.0, 2.0, 3.0), size=(0.4, 0.2, 0.1), yaw=math.pi / 2, score=0.75):
    return SimpleNamespace(center=np.array(center), size=np.array(size), yaw=yaw, score=score)


def test_a_cloud_reads_back_as_written() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(100, 3)).astype(np.float32)
    rgb = rng.integers(0, 256, (100, 3), np.uint8)
    label = rng.integers(0, 5, 100).astype(np.uint32)
    relevancy = rng.random(100).astype(np.float32)
    cloud = cloud_message(HEADER, xyz, rgb, label, relevancy=relevancy)
    assert (cloud.header.frame_id, cloud.width, cloud.height) == ("map", 100, 1)
    assert len(cloud.data) == cloud.row_step == 100 * cloud.point_step
    points = point_cloud2.read_points(cloud)
    assert np.array_equal(np.stack([points[axis] for axis in "xyz"], axis=1), xyz)
    assert np.array_equal(points["label"], label)
    assert np.array_equal(points["relevancy"], relevancy)
    # PCL's convention: one float32 whose bits are 0x00RRGGBB.
    assert cloud.fields[3].datatype == PointField.FLOAT32
    packed = points["rgb"].copy().view(np.uint32)
    unpacked = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
    assert np.array_equal(unpacked, rgb)


def test_an_empty_cloud_is_a_valid_cloud() -> None:
    nothing = np.zeros((0, 3), np.float32)
    cloud = cloud_message(HEADER, nothing, nothing, np.zeros(0), relevancy=np.zeros(0))
    assert (cloud.width, len(cloud.data), cloud.point_step) == (0, 0, 24)


def test_a_large_cloud_is_built_fast() -> None:
    count = 300_000
    xyz, rgb = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.uint8)
    begin = time.perf_counter()
    cloud_message(HEADER, xyz, rgb, np.zeros(count), relevancy=np.zeros(count))
    # Element by element, as an assignment of an array would do it, takes seconds.
    assert time.perf_counter() - begin < 0.5


def test_images_read_back_as_written() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (5, 7, 3), np.uint8)
    assert np.array_equal(to_rgb(image_message(HEADER, rgb, "rgb8")), rgb)
    assert np.array_equal(to_rgb(image_message(HEADER, rgb[:, ::-1], "rgb8")), rgb[:, ::-1])
    millimetres = np.array([[0, 1, 65535]], np.uint16)
    metres = to_metres(image_message(HEADER, millimetres, "16UC1"))
    assert np.allclose(metres, [[0, 0.001, 65.535]])
    assert compressed_message(HEADER, rgb, "rgb8").format == "rgb8; jpeg compressed bgr8"


def test_a_transform_reads_back_as_written() -> None:
    T = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    message = transform_message(HEADER, "camera", T)
    assert (message.header.frame_id, message.child_frame_id) == ("map", "camera")
    assert np.allclose(to_matrix(message.transform), T)


def test_detections_carry_text_score_and_a_turned_box() -> None:
    array = detections_message(HEADER, ["mug", "chair"], [[instance()], []])
    (detection,) = array.detections
    assert detection.results[0].hypothesis.class_id == "mug"
    assert detection.results[0].hypothesis.score == 0.75
    assert detection.bbox.center.position.z == 3.0
    assert detection.bbox.size.x == pytest.approx(0.4)
    assert detection.bbox.center.orientation.z == pytest.approx(math.sin(math.pi / 4))
    assert detection.header == array.header == HEADER


def test_markers_begin_by_deleting_and_never_share_an_id() -> None:
    array = markers_message(
        HEADER, ["mug", "chair"], [[instance(), instance()], [instance()]], COLORS
    )
    first, *rest = array.markers
    assert first.action == Marker.DELETEALL
    assert len({(marker.ns, marker.id) for marker in rest}) == len(rest) == 9
    chair = next(m for m in rest if m.ns == "chair" and m.type == Marker.CUBE)
    assert (chair.color.r, chair.color.b) == (0.0, 1.0)
    caption = next(m for m in rest if m.type == Marker.TEXT_VIEW_FACING)
    assert caption.text == "mug 0.75"
    assert caption.pose.position.z > 3.05
    assert chair.pose.position.z == 3.0


def test_marker_edges_are_the_twelve_of_a_box() -> None:
    array = markers_message(HEADER, ["mug"], [[instance(size=(0.6, 0.4, 0.2))]], COLORS)
    edges = next(m for m in array.markers if m.type == Marker.LINE_LIST)
    points = np.array([[p.x, p.y, p.z] for p in edges.points]).reshape(12, 2, 3)
    assert np.allclose(np.abs(points), [0.3, 0.2, 0.1])
    lengths = np.linalg.norm(points[:, 0] - points[:, 1], axis=1)
    assert sorted(lengths.round(6)) == [0.2] * 4 + [0.4] * 4 + [0.6] * 4


def test_label_info_names_the_numbers() -> None:
    info = label_info_message(HEADER, ["mug", "chair"], 0.5)
    assert [(c.class_id, c.class_name) for c in info.class_map] == [(1, "mug"), (2, "chair")]
