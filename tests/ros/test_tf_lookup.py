"""Transforms from the tf2_ros buffer, and what is said when there is none."""

import numpy as np
import pytest
from rclpy.duration import Duration
from tf2_ros import Buffer

from govnesf_ros.conversions import stamp_to_ns
from govnesf_ros.messages import header_message, transform_message
from govnesf_ros.transforms import TfLookup

SECOND = 1_000_000_000


def moved(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


class Tf:
    def __init__(self, map_frame: str = "map", cache: float = 30.0) -> None:
        self.buffer = Buffer(cache_time=Duration(seconds=cache))
        self.lookup = TfLookup(self.buffer, map_frame)

    def put(self, parent: str, child: str, seconds: float, x: float = 0.0) -> None:
        header = header_message(int(seconds * SECOND), parent)
        self.buffer.set_transform(transform_message(header, child, moved(x)), "test")

    def put_static(self, parent: str, child: str, x: float = 0.0) -> None:
        header = header_message(0, parent)
        self.buffer.set_transform_static(transform_message(header, child, moved(x)), "test")

    def x(self, seconds: float, frame: str = "optical") -> float | None:
        T = self.lookup.try_lookup(frame, int(seconds * SECOND))
        return None if T is None else float(T[0, 3])

    def why(self, seconds: float, frame: str = "optical") -> tuple[str, str]:
        problem = self.lookup.explain(frame, int(seconds * SECOND))
        return problem.reason, str(problem)


def test_the_pose_at_the_stamp_is_interpolated_through_the_chain() -> None:
    tf = Tf()
    tf.put("map", "link", 10.0, 1.0)
    tf.put("map", "link", 11.0, 2.0)
    tf.put_static("link", "optical", 0.5)
    assert tf.x(10.25) == pytest.approx(1.75)
    assert tf.x(10.25, "/optical") == pytest.approx(1.75)  # as ROS 1 drivers still write it
    assert tf.x(11.01) is None
    assert tf.x(9.99) is None


def test_nothing_at_all_has_arrived() -> None:
    reason, text = Tf().why(10.0)
    assert reason == "no_transform"
    assert "no transform has arrived at all" in text
    assert "is your SLAM" in text


def test_a_wrong_map_frame_lists_the_known_ones_and_offers_odometry() -> None:
    tf = Tf("map")
    tf.put("odom", "link", 10.0)
    tf.put_static("link", "optical")
    reason, text = tf.why(10.0)
    assert reason == "unknown_frame"
    assert text == (
        "frame 'optical' is not connected to 'map' (known frames: link, odom, optical): is your "
        "SLAM running? set map_frame:=odom to use odometry"
    )


def test_a_wrong_camera_frame_lists_the_known_ones() -> None:
    tf = Tf()
    tf.put("map", "link", 10.0)
    reason, text = tf.why(10.0, "kamera")
    assert reason == "unknown_frame"
    assert "frame 'kamera' is not connected to 'map' (known frames: link, map)" in text
    assert "under another name" in text


def test_two_trees_are_not_connected() -> None:
    tf = Tf()
    tf.put("map", "base", 10.0)
    tf.put_static("mast", "optical")
    reason, text = tf.why(10.0)
    assert reason == "no_transform"
    assert "known frames: base, map, mast, optical" in text


def test_a_transform_that_stopped_says_how_late_it_is() -> None:
    tf = Tf()
    tf.put("map", "optical", 10.0)
    reason, text = tf.why(12.5)
    assert reason == "no_transform"
    assert "2.50 s older than the image" in text


def test_an_image_from_before_the_first_transform() -> None:
    tf = Tf()
    tf.put("map", "optical", 10.0)
    tf.put("map", "optical", 11.0)
    reason, text = tf.why(8.0)
    assert reason == "transform_too_old"
    assert "3.00 s older than the newest transform" in text


def test_the_age_is_measured_against_the_newest_transform() -> None:
    tf = Tf()
    assert tf.lookup.age("optical", SECOND) is None
    tf.put("map", "optical", 10.0)
    assert tf.lookup.age("optical", int(10.2 * SECOND)) == pytest.approx(0.2)
    static = Tf()
    static.put_static("map", "optical")
    assert static.lookup.age("optical", 77 * SECOND) == 0.0


def test_a_quaternion_of_zeros_does_not_raise() -> None:
    tf = Tf()
    broken = transform_message(header_message(SECOND, "map"), "optical", np.eye(4))
    broken.transform.rotation.w = 0.0
    tf.buffer.set_transform(broken, "test")
    assert tf.x(1.0) is None
    assert stamp_to_ns(broken.header.stamp) == SECOND


def test_a_stamp_below_zero_has_no_pose_and_raises_nothing() -> None:
    tf = Tf()
    tf.put("map", "optical", 10.0)
    assert tf.x(-5.0) is None
    assert tf.why(-5.0)[0] == "transform_too_old"
