"""Whether colour images agree with poses and intrinsics, for scenes without depth.

A point that two images show lies, in the second, on the epipolar line that the first image and the
poses give. Interest points are matched without regard to poses; most of their matches must lie near
their lines. Lengths do not matter to this test, so it works for scenes in any unit.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float

from govnesf_model.data.posed_scene import Frame

WIDTH = 480  # pixels to which images are brought before points are looked for
DISTANCE = 2.0  # pixels at that width between a point and its line
RATIO = 0.75  # a match must be that much better than the second best
MIN_MATCHES = 15  # of a pair that counts
MIN_BASELINE = 5e-3  # share of the extent of the path; nearer views have no epipolar lines


def match(first: Frame, second: Frame) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Return the pixels (u, v) of points that two frames seem to share, at their own size."""
    points, descriptors = [], []
    for frame in (first, second):
        scale = WIDTH / frame.rgb.shape[1]
        size = (WIDTH, round(frame.rgb.shape[0] * scale))
        small = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        found, described = cv2.SIFT_create(nfeatures=800).detectAndCompute(grey, None)
        at = np.array([point.pt for point in found], dtype=np.float64).reshape(-1, 2)
        points.append((at + 0.5) / scale - 0.5)
        descriptors.append(described)
    if any(described is None or len(described) < 2 for described in descriptors):
        return np.zeros((0, 2)), np.zeros((0, 2))
    pairs = cv2.BFMatcher().knnMatch(*descriptors, k=2)
    good = [best for best, second_best in pairs if best.distance < RATIO * second_best.distance]
    return (
        points[0][[one.queryIdx for one in good]].reshape(-1, 2),
        points[1][[one.trainIdx for one in good]].reshape(-1, 2),
    )


def epipolar_distance(
    first: Frame,
    second: Frame,
    uv_first: Float[np.ndarray, "n 2"],
    uv_second: Float[np.ndarray, "n 2"],
    fix: Callable[[np.ndarray], np.ndarray] = lambda T: T,
) -> Float[np.ndarray, "n"]:
    """Return the Sampson distance in pixels of matches from the epipolar lines of two poses."""
    T = np.linalg.inv(fix(second.T_world_camera)) @ fix(first.T_world_camera)
    x, y, z = T[:3, 3] / max(np.linalg.norm(T[:3, 3]), 1e-12)
    E = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T[:3, :3]
    F = np.linalg.inv(second.K).T @ E @ np.linalg.inv(first.K)
    a = np.concatenate([uv_first, np.ones((len(uv_first), 1))], axis=1)
    b = np.concatenate([uv_second, np.ones((len(uv_second), 1))], axis=1)
    lines_b, lines_a = a @ F.T, b @ F
    slope = (lines_b[:, :2] ** 2).sum(axis=1) + (lines_a[:, :2] ** 2).sum(axis=1)
    return np.abs((b * lines_b).sum(axis=1)) / np.sqrt(np.maximum(slope, 1e-18))


def view_agreement(
    pairs: Sequence[tuple[Frame, Frame]], fixes: Sequence[Callable[[np.ndarray], np.ndarray]]
) -> tuple[list[float], int]:
    """Return the share of matches near their lines, after each change of the poses.

    Args:
        pairs: neighbouring frames.
        fixes: changes of a pose to try; the first is usually none.

    Returns:
        A share for each of `fixes`, and how many matches there were; all 0 without any.
    """
    near, total = np.zeros(len(fixes)), 0
    for first, second in pairs:
        uv_first, uv_second = match(first, second)
        if len(uv_first) < MIN_MATCHES:
            continue
        allowed = DISTANCE * first.rgb.shape[1] / WIDTH
        total += len(uv_first)
        for number, fix in enumerate(fixes):
            distance = epipolar_distance(first, second, uv_first, uv_second, fix)
            near[number] += (distance < allowed).sum()
    return (near / max(total, 1)).tolist(), total
