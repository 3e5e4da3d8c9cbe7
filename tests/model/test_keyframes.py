"""Sharpness, poses and which keyframe is given up."""

import cv2
import numpy as np
import pytest

from govnesf_model.keyframes import (
    KeyframeGate,
    MapConfig,
    least_needed,
    pose_difference,
    sharpness,
)


def turned(degrees: float, x: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0, np.radians(degrees), 0]))[0]
    T[0, 3] = x
    return T


def test_pose_difference_in_metres_and_degrees():
    meters, degrees = pose_difference(
        turned(0), np.stack([turned(30, 2.0), turned(180), turned(0)])
    )
    assert meters == pytest.approx([2.0, 0.0, 0.0])
    assert degrees == pytest.approx([30.0, 180.0, 0.0], abs=1e-3)


def test_sharpness_falls_with_blur_and_not_with_resolution():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (320, 240))
    blurred = cv2.GaussianBlur(image, (0, 0), 4)
    large = cv2.resize(image, (1280, 960))
    assert sharpness(blurred) < 0.2 * sharpness(image)
    assert sharpness(large) == pytest.approx(sharpness(image), rel=0.35)


def test_blurred_images_are_refused_until_the_view_is_far_off():
    gate = KeyframeGate(MapConfig())
    rng = np.random.default_rng(0)
    sharp = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (320, 240))
    blurred = cv2.GaussianBlur(sharp, (0, 0), 5)
    poses, stamps = np.stack([turned(0)]), np.array([0.0])
    for step in range(8):
        assert gate.wants(turned(0, 0.2), 1.0 + step, sharp, poses, stamps) == (True, "accepted")
    assert gate.wants(turned(0, 0.2), 10.0, blurred, poses, stamps) == (False, "blurred")
    assert gate.wants(turned(0, 0.2), 10.0, None, poses, stamps) == (True, "accepted")
    assert gate.wants(turned(0, 2.0), 10.0, blurred, poses, stamps) == (True, "accepted")


def test_a_turn_alone_makes_a_keyframe():
    gate = KeyframeGate(MapConfig(min_rotation=10.0))
    poses, stamps = np.stack([turned(0)]), np.array([0.0])
    assert gate.wants(turned(8), 1.0, None, poses, stamps) == (False, "static")
    assert gate.wants(turned(12), 1.0, None, poses, stamps) == (True, "accepted")


def test_the_keyframe_that_nobody_misses_goes():
    a, b, c, d = np.arange(0, 50), np.arange(40, 60), np.arange(0, 60), np.arange(60, 70)
    # b is covered by c; a is as well, but it is b that is spread thinner.
    assert least_needed([a, b, c, d], 70) == 1
    assert least_needed([a, d, c], 70) == 0
    assert least_needed([d, a], 70) == 0  # only the oldest may go when two are kept
