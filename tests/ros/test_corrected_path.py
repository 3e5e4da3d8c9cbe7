"""A corrected trajectory: what is between its poses, and which paths are refused."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from scipy.spatial.transform import Rotation

from govnesf_ros.corrected_path import BadPath, read_track
from govnesf_ros.messages import header_message

SECOND = 1_000_000_000


def path(*poses: tuple[float, float, float], frame: str = "map") -> Path:
    """Return a path of (seconds, x, yaw in degrees)."""
    message = Path(header=header_message(SECOND, frame))
    for seconds, x, yaw in poses:
        stamped = PoseStamped(header=header_message(round(seconds * SECOND), ""))
        stamped.pose.position.x = x
        stamped.pose.orientation.z = float(np.sin(np.radians(yaw) / 2))
        stamped.pose.orientation.w = float(np.cos(np.radians(yaw) / 2))
        message.poses.append(stamped)
    return message


def at(message: Path, seconds: float, slop: float) -> tuple[float, float] | None:
    """Return x and yaw in degrees, or None."""
    track = read_track(message, "map")
    (T,), (found,) = track.at(np.array([round(seconds * SECOND)]), slop)
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3))
    yaw = Rotation.from_matrix(T[:3, :3]).as_euler("zyx", degrees=True)[0]
    return (T[0, 3], yaw) if found else None


def test_between_two_poses_it_moves_and_turns_evenly() -> None:
    message = path((10.0, 1.0, 170.0), (11.0, 2.0, -170.0))  # across 180 degrees
    x, yaw = at(message, 10.25, 1.0)
    assert (x, yaw) == (pytest.approx(1.25), pytest.approx(175.0))
    assert at(message, 10.0, 1.0) == (pytest.approx(1.0), pytest.approx(170.0))
    assert at(message, 11.0, 0.0) == (pytest.approx(2.0), pytest.approx(-170.0))


def test_beyond_the_slop_there_is_the_nearest_or_nothing() -> None:
    message = path((10.0, 1.0, 0.0), (11.0, 2.0, 0.0))
    assert at(message, 10.25, 0.3) == (pytest.approx(1.0), pytest.approx(0.0))
    assert at(message, 10.75, 0.3) == (pytest.approx(2.0), pytest.approx(0.0))
    assert at(message, 10.5, 0.3) is None
    assert at(message, 9.9, 0.3) == (pytest.approx(1.0), pytest.approx(0.0))
    assert at(message, 11.2, 0.3) == (pytest.approx(2.0), pytest.approx(0.0))
    assert at(message, 11.4, 0.3) is None


def test_one_pose_is_a_path_and_the_order_does_not_matter() -> None:
    assert at(path((10.0, 1.0, 5.0)), 10.0, 0.0) == (pytest.approx(1.0), pytest.approx(5.0))
    mixed = path((11.0, 2.0, 0.0), (10.0, 1.0, 0.0))
    assert at(mixed, 10.5, 1.0)[0] == pytest.approx(1.5)


def test_of_equal_stamps_the_last_pose_counts() -> None:
    assert at(path((10.0, 1.0, 0.0), (10.0, 3.0, 0.0)), 10.0, 0.0)[0] == pytest.approx(3.0)


def test_stamps_of_today_keep_their_nanoseconds() -> None:
    message = path((1.0, 1.0, 0.0), (2.0, 2.0, 0.0))
    now = 1_795_901_985_000_000_007
    for index, pose in enumerate(message.poses):
        pose.header = header_message(now + index, "map")
    _, found = read_track(message, "map").at(np.array([now, now + 1, now + 2]), 0.0)
    assert found.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (path((10.0, 1.0, 0.0), frame="odom"), "in the frame 'odom' and the map in 'map'"),
        (path((10.0, 1.0, 0.0), frame=""), "in the frame '' and the map in 'map'"),
        (path(), "has 0 poses"),
        (path((0.0, 1.0, 0.0), (1.0, 1.0, 0.0)), "1 of 2 poses have no stamp of their own"),
        (path((10.0, float("nan"), 0.0)), "nan"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused_with_a_sentence(message, words) -> None:
    with pytest.raises(BadPath, match=words):
        read_track(message, "map")


def test_a_pose_in_a_frame_of_its_own_is_refused() -> None:
    message = path((10.0, 1.0, 0.0))
    message.poses[0].header.frame_id = "odom"
    with pytest.raises(BadPath, match="pose 1 of the path is in the frame 'odom'"):
        read_track(message, "map")


def test_a_rotation_without_length_is_refused() -> None:
    message = path((10.0, 1.0, 0.0))
    message.poses[0].pose.orientation.w = 0.0
    with pytest.raises(BadPath, match="a pose has translation"):
        read_track(message, "map")
