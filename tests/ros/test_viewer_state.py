"""What the page makes of the mapper's messages, against values worked out by hand."""

import math

import numpy as np
import pytest
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from govnesf_ros.msg import MapStatus
from nav_msgs.msg import Path
from std_msgs.msg import ColorRGBA
from vision_msgs.msg import Detection3D, Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from govnesf_model.vlm.base import TextCoverage, coverage_warning
from govnesf_ros.messages import detections_message, header_message
from govnesf_ros.viewer_cloud import MapPoints
from govnesf_ros.viewer_state import (
    Found,
    box_lines,
    first_view,
    found_things,
    frustum_lines,
    hint,
    marker_lines,
    near_view,
    path_poses,
    ply,
    split_message,
    split_words,
)

BOX = Found("table", 1, 0.8, (1.0, 2.0, 0.5), (2.0, 1.0, 0.4), math.pi / 2)


class Instance:
    """As the model finds it."""

    def __init__(self, score: float, center, yaw: float = 0.3) -> None:
        self.score, self.center, self.yaw = score, np.array(center), yaw
        self.size = np.array([0.4, 0.2, 0.1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("table, red mug", ["table", "red mug"]),
        (" floor\nwall;\n\n door ,", ["floor", "wall", "door"]),
        (" , ", []),
        ("", []),
    ],
)
def test_words_stand_between_commas_and_lines(text, words) -> None:
    assert split_words(text) == words


def test_warnings_of_the_encoder_are_told_apart() -> None:
    warning = coverage_warning(TextCoverage("mug", "cup", 0.5, False))
    message = f"mug: 1 found, best at (1.00, 2.00, 3.00), score 0.60; {warning}"
    assert split_message(message) == ([message.split("; ")[0]], [warning])
    assert split_message("") == ([], [])


def test_boxes_come_best_first_with_the_numbers_of_their_texts() -> None:
    found = [[Instance(0.5, [1, 2, 3])], [Instance(0.9, [4, 5, 6]), Instance(0.2, [7, 8, 9])]]
    message = detections_message(header_message(0, "map"), ["table", "mug"], found)
    things = found_things(message, ["table", "mug"])
    assert [(one.text, one.number, one.score) for one in things] == [
        ("mug", 2, 0.9), ("table", 1, 0.5), ("mug", 2, 0.2),
    ]  # fmt: skip
    assert things[0].center == (4.0, 5.0, 6.0)
    assert things[0].size == pytest.approx((0.4, 0.2, 0.1))
    assert things[0].yaw == pytest.approx(0.3)


def test_boxes_that_are_nowhere_are_left_out() -> None:
    message = detections_message(
        header_message(0, "map"),
        ["mug"],
        [[Instance(0.5, [np.nan, 0, 0]), Instance(0.4, [0, 0, 0])]],
    )
    message.detections.append(Detection3D())  # of nothing
    assert [one.score for one in found_things(message, ["mug"])] == [0.4]
    assert found_things(Detection3DArray(), []) == []


def test_a_box_has_twelve_edges_of_its_size_turned_by_its_yaw() -> None:
    lines = box_lines(BOX).astype(float)
    assert lines.shape == (12, 2, 3)
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1)
    assert sorted(lengths.round(5)) == [0.4] * 4 + [1.0] * 4 + [2.0] * 4
    # A quarter turn: the long side of 2 m lies along y.
    assert np.allclose(lines.reshape(-1, 3).min(axis=0), [0.5, 1.0, 0.3])
    assert np.allclose(lines.reshape(-1, 3).max(axis=0), [1.5, 3.0, 0.7])


def test_cameras_of_a_path_look_along_their_axis() -> None:
    # Optical frame whose z axis is the map's x: a camera that looks ahead.
    turn = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
    pose = PoseStamped(pose=Pose(position=Point(x=1.0, y=2.0, z=3.0), orientation=turn))
    broken = PoseStamped(pose=Pose(position=Point(x=math.nan)))
    poses = path_poses(Path(poses=[pose, broken]))
    assert len(poses) == 1
    lines = frustum_lines(poses, depth=0.1)
    assert lines.shape == (8, 2, 3)
    assert np.allclose(lines[:4, 0], [1, 2, 3])
    assert np.allclose(lines[:4, 1, 0], 1.1)
    assert frustum_lines(path_poses(Path())).shape == (0, 2, 3)


def test_lines_of_markers_have_their_colours_and_poses() -> None:
    points = [Point(x=float(i)) for i in range(4)]
    red, blue = ColorRGBA(r=1.0, a=1.0), ColorRGBA(b=0.5, a=1.0)
    listed = Marker(type=Marker.LINE_LIST, points=points, colors=[red, red, blue, blue])
    strip = Marker(type=Marker.LINE_STRIP, points=points, color=blue)
    strip.pose.position.z = 2.0
    cube, gone = Marker(type=Marker.CUBE), Marker(action=Marker.DELETEALL)
    lines, colors = marker_lines(MarkerArray(markers=[gone, listed, cube, strip]))
    assert lines[:, :, 0].tolist() == [[0, 1], [2, 3], [0, 1], [1, 2], [2, 3]]
    assert lines[:, :, 2].max(axis=1).tolist() == [0, 0, 2, 2, 2]
    assert colors[:, 0].tolist() == [[255, 0, 0], *[[0, 0, 128]] * 4]
    lines, colors = marker_lines(MarkerArray(markers=[gone]))
    assert lines.shape == colors.shape == (0, 2, 3)


def test_a_ply_holds_what_it_says() -> None:
    rng = np.random.default_rng(0)
    points = MapPoints(
        xyz=rng.random((5, 3), np.float32),
        photo=rng.integers(0, 256, (5, 3), np.uint8),
        label=np.arange(5, dtype=np.uint32),
        value=rng.random(5, np.float32),
        stamp=17,
        frame_id="map",
    )
    content = ply(points, ["mug", "a\nend_header\nü"])
    header, _, body = content.partition(b"\nend_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    # A word cannot end the header, whatever it holds.
    assert "comment label 2 a end_header \\xfc" in lines
    assert "element vertex 5" in lines
    rows = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("label", "<u4"),
                                         ("relevancy", "<f4")]))  # fmt: skip
    assert np.array_equal(rows["xyz"], points.xyz)
    assert np.array_equal(rows["rgb"], points.photo)
    assert np.array_equal(rows["label"], points.label)
    assert np.array_equal(rows["relevancy"], points.value)


@pytest.mark.parametrize(
    ("status", "age", "kind", "words"),
    [
        (None, None, "bad", "No mapper: nothing has come on /govnesf/status"),
        (MapStatus(state="active", points=9), 12.0, "bad", "silent for 12 s"),
        (MapStatus(state="unconfigured"), 0.1, "info", "loading its models"),
        (MapStatus(state="active"), 0.1, "info", "no image has come yet"),
        (
            MapStatus(
                state="active",
                frames_received=40,
                reasons=["no_camera_info", "unknown_frame"],
                reason_counts=[3, 37],
            ),
            0.1,
            "warn",
            "40 images have come, none was used: unknown frame (37), no camera info (3)",
        ),
        (MapStatus(state="active", points=9), 0.1, "", ""),
    ],
)
def test_the_user_is_told_what_is_wrong(status, age, kind, words) -> None:
    assert hint(status, age, "/govnesf")[0] == kind
    assert words in hint(status, age, "/govnesf")[1]


def test_the_first_view_sees_the_whole_room_from_its_low_side() -> None:
    rng = np.random.default_rng(0)
    floor = rng.random((4000, 3)) * [6, 4, 0.01]
    wall = rng.random((4000, 3)) * [6, 0.01, 2.5]  # at y = 0
    position, target = first_view(np.concatenate([floor, wall]).astype(np.float32))
    assert position[1] > 4, "the wall must not stand in the way"
    assert position[2] > 2.5
    assert np.allclose(target[:2], [3, 2], atol=0.3)
    assert 4 < np.linalg.norm(position - target) < 10


def test_a_near_view_keeps_the_side_and_looks_at_the_middle() -> None:
    position, target = near_view(BOX, np.array([10.0, 2.0, 1.0]))
    assert np.allclose(target, BOX.center)
    assert position[0] > BOX.center[0] + 1
    assert position[1] == pytest.approx(BOX.center[1])
    straight, _ = near_view(BOX, np.array([*BOX.center[:2], 5.0]))
    assert np.isfinite(straight).all()
