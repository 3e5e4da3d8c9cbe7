"""Upright boxes around points, turned about z so that they are smallest.

    center, size, yaw = fit_box(xyz)
    boxes = fit_boxes(xyz, clusters)      # the same, of many parts of the points in less time

The ends of a box are quantiles, so that a few stray points do not decide, and finding the quantile
of thousands of points along dozens of directions is nearly all of the work. So the angle is looked
for with a sample of them, in single precision as far as that can tell; only the ends at the angle
that was found are taken from all. Boxes of as many points are fitted together, as calling numpy
costs more than the work for one.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

Box = tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], float]  # centre, size, yaw

_COARSE, _FINE = np.arange(0.0, 90.0, 5.0), np.arange(-4.0, 5.0)  # degrees
_PER_STRAY = 100  # points for each one that may stick out at either end
_FIT_POINTS = 2000  # a box is fitted to at most this many points of a cluster, ...
_SEARCH_POINTS = 500  # ... and its angle found with at most so many of them
_STEP = 1.5  # between the sizes of the samples that angles are found with
_GOLDEN = (math.sqrt(5) - 1) / 2  # the places of its multiples between whole numbers are even
_AXIS_BONUS = 0.98  # a turned rectangle must be this much smaller than the upright one
_THIN = 1e-3  # metres; no side counts as shorter, so that the area of a line tells its length
_SLACK = 1e-4  # of an area, for what single precision rounds away
_TOGETHER = 4000  # points of boxes that are fitted at once: along all directions they fit a cache


def fit_box(xyz: Float[np.ndarray, "n 3"]) -> Box:
    """Return centre, size and yaw of the upright box of least area around points.

    One in a hundred points may stick out at each end: a few stray ones must not decide. Of fewer
    none may.

    Args:
        xyz: points, metres, z up.
    """
    return fit_boxes(xyz, [np.arange(len(xyz))])[0]


def fit_boxes(xyz: Float[np.ndarray, "n 3"], parts: Sequence[Int[np.ndarray, "_"]]) -> list[Box]:
    """Return the box of each of many parts of the points; see `fit_box`.

    Args:
        xyz: points, metres, z up.
        parts: rows of each part.
    """
    if not len(parts):
        return []
    points = [xyz[sampled(rows)].T.astype(np.float64) for rows in parts]
    first = np.stack([cloud[:, 0] for cloud in points])
    # From there on: then single precision is enough to tell angles apart.
    points = [cloud - cloud[:, :1] for cloud in points]
    degrees = np.empty(len(points))
    for some, xyz, skip in _together([cloud[:, : sample_size(cloud.shape[1])] for cloud in points]):
        # Area changes slowly with the angle: every degree is only worth a look around the best.
        coarse = np.broadcast_to(_COARSE, (len(some), len(_COARSE)))
        degrees[some] = _least(xyz[:, :2], coarse, skip)
        degrees[some] = _least(xyz[:, :2], degrees[some, None] + _FINE, skip)
    low, high = np.empty((len(points), 5)), np.empty((len(points), 5))
    for some, xyz, skip in _together(points):
        both = np.stack([degrees[some], np.zeros(len(some))], axis=1)
        ways = np.concatenate([_turned(xyz[:, :2], both), xyz[:, 2:]], axis=1)
        low[some], high[some] = _ends(ways, skip)
    return [
        (middle + start, size, yaw)
        for start, (middle, size, yaw) in zip(first, _boxes(degrees, low, high), strict=True)
    ]


def sampled(rows: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "m ..."]:
    """Return the rows that a box is fitted to, all unless there are thousands.

    They come in an order in which the first of them, however many, lie everywhere among all.
    """
    count = len(rows)
    taken = min(count, _FIT_POINTS)
    return rows[_spread(taken) * count // max(taken, 1)]


@lru_cache(maxsize=256)
def _spread(count: int) -> Int[np.ndarray, "count"]:
    """Return 0 .. count - 1 in an order in which the first of them are everywhere among all."""
    return np.argsort(np.argsort(np.arange(count) * _GOLDEN % 1.0))


def sample_size(count: int) -> int:
    """Return how many of so many points an angle is found with, few different numbers."""
    if count < _PER_STRAY:
        return count
    steps = math.floor(math.log(count / _PER_STRAY, _STEP) + 1e-9)
    return min(int(_PER_STRAY * _STEP**steps), _SEARCH_POINTS)


def _together(
    clouds: Sequence[Float[np.ndarray, "3 _"]],
) -> Iterator[tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k 3 n"], int]]:
    """Yield numbers of clouds, their points, and how many may stick out at each end of them."""
    lengths = [cloud.shape[1] for cloud in clouds]
    order = sorted(range(len(clouds)), key=lengths.__getitem__)
    start = 0
    while start < len(order):
        length, stop = lengths[order[start]], start + 1
        while stop < len(order) and lengths[order[stop]] * (stop + 1 - start) <= _TOGETHER:
            # Where no point may stick out, the first of them may as well stand there again.
            if lengths[order[stop]] >= max(_PER_STRAY, length + 1):
                break
            stop += 1
        some = order[start:stop]
        xyz = np.zeros((len(some), 3, lengths[some[-1]]))
        for own, number in zip(xyz, some, strict=True):
            own[:, : lengths[number]] = clouds[number]
        yield np.array(some), xyz, lengths[some[-1]] // _PER_STRAY
        start = stop


def _least(
    xy: Float[np.ndarray, "k 2 n"], degrees: Float[np.ndarray, "k a"], skip: int
) -> Float[np.ndarray, "k"]:
    """Return of angles the one whose rectangle has least area, of equals the first."""
    rough = _area(_sides(*_ends(_ways(degrees).astype(np.float32) @ xy.astype(np.float32), skip)))
    best = rough.argmin(axis=1)
    # No angle can be the best that has clearly more.
    possible = rough <= rough.min(axis=1, keepdims=True) * (1 + _SLACK)
    for number in np.flatnonzero(possible.sum(axis=1) > 1).tolist():
        angles = np.flatnonzero(possible[number])
        ends = _ends(_turned(xy[number], degrees[number, angles]), skip)
        best[number] = angles[_area(_sides(*ends)).argmin()]
    return degrees[np.arange(len(best)), best]


def _boxes(
    degrees: Float[np.ndarray, "k"], low: Float[np.ndarray, "k 5"], high: Float[np.ndarray, "k 5"]
) -> Iterator[Box]:
    """Yield the boxes of the best rectangles, or of the upright ones where those are as good.

    Args:
        degrees: of the best rectangles.
        low, high: ends along and across at that angle, then upright, then along z.
    """
    sides = _sides(low[:, :4], high[:, :4])  # [4, k, angles]
    best, upright = sides[..., 0], sides[..., 1]
    straight = _area(upright) * _AXIS_BONUS <= _area(best)
    yaw = np.where(straight, 0.0, np.deg2rad(degrees))
    low_a, high_a, low_b, high_b = np.where(straight, upright, best)
    a, b = (low_a + high_a) / 2, (low_b + high_b) / 2
    c, s = np.cos(yaw), np.sin(yaw)
    center = np.stack([c * a - s * b, s * a + c * b, (low[:, 4] + high[:, 4]) / 2], axis=1)
    size = np.stack([high_a - low_a, high_b - low_b, high[:, 4] - low[:, 4]], axis=1)
    across = size[:, 1] > size[:, 0]
    size[across] = size[across][:, [1, 0, 2]]
    yaw = yaw + np.where(across, np.pi / 2, 0.0)
    yaw = np.where(yaw <= np.pi / 2, yaw, yaw - np.pi)
    return zip(center, size, yaw.tolist(), strict=True)


def _ends(
    values: Float[np.ndarray, "*k r n"], skip: int
) -> tuple[Float[np.ndarray, "*k r"], Float[np.ndarray, "*k r"]]:
    """Return the ends of each row without the outermost few."""
    if not skip:
        return values.min(axis=-1), values.max(axis=-1)
    # torch finds the few outermost many times faster than numpy sorts.
    rows = torch.from_numpy(values)
    low, high = (rows.topk(skip + 1, largest=largest).values for largest in (False, True))
    return low[..., skip].numpy(), high[..., skip].numpy()


def _turned(
    xy: Float[np.ndarray, "*k 2 n"], degrees: Float[np.ndarray, "*k a"]
) -> Float[np.ndarray, "*k r n"]:
    """Return positions along and across, in turn, for each angle."""
    # Not as a product of matrices, whose rounding depends on how many there are.
    ways = _ways(degrees)
    return ways[..., :1] * xy[..., :1, :] + ways[..., 1:] * xy[..., 1:, :]


def _ways(degrees: Float[np.ndarray, "*k a"]) -> Float[np.ndarray, "*k r 2"]:
    """Return directions along and across, in turn, for each angle."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.stack([cos, sin, -sin, cos], axis=-1).reshape(*degrees.shape[:-1], -1, 2)


def _sides(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return low and high ends of rows along and across as sides, [4, ..., angles]."""
    return np.stack([low[..., ::2], high[..., ::2], low[..., 1::2], high[..., 1::2]])


def _area(sides: np.ndarray) -> np.ndarray:
    low_a, high_a, low_b, high_b = sides
    return np.maximum(high_a - low_a, _THIN) * np.maximum(high_b - low_b, _THIN)
