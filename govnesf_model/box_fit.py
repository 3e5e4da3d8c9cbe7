"""Upright boxes around points, turned about z so that they are smallest.

    center, size, yaw = fit_box(xyz)
    boxes = fit_boxes([xyz[rows] for rows in clusters])      # the same, of many in less time

The ends of a box are quantiles, so that a few stray points do not decide, and finding the quantile
of thousands of points along dozens of directions is nearly all of the work. Bounds tell first which
directions can have the smallest rectangle. Of few points calling numpy is nearly all of the work:
those of many boxes are sorted at once.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

Box = tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], float]  # centre, size, yaw

_COARSE, _FINE = np.arange(0.0, 90.0, 5.0), np.arange(-4.0, 5.0)  # degrees
_FIT_POINTS = 4000  # a box is fitted to at most this many points of a cluster
_AXIS_BONUS = 0.98  # a turned rectangle must be this much smaller than the upright one
_THIN = 1e-3  # metres; no side counts as shorter, so that the area of a line tells its length
_SLACK = 1e-4  # of an area, for what single precision rounds away
_FEW = 1000  # points below which bounds cost more than they save
_TOGETHER = 2400  # points of boxes that are fitted at once: along all directions 700 KB
_GROUPS = 4  # for bounds: more are closer and take longer


def fit_box(xyz: Float[np.ndarray, "n 3"], trim: float = 1.0) -> Box:
    """Return centre, size and yaw of the upright box of least area around points.

    Args:
        xyz: points, metres, z up.
        trim: percent of the points that may stick out at each end: a few stray ones must not
            decide. Of fewer than 100 points none may.
    """
    return fit_boxes([xyz], trim)[0]


def fit_boxes(clouds: Sequence[Float[np.ndarray, "_ 3"]], trim: float = 1.0) -> list[Box]:
    """Return the box of each of many clouds of points; see `fit_box`."""
    if not clouds:
        return []
    columns = [np.ascontiguousarray(thinned(cloud).T).astype(np.float64) for cloud in clouds]
    lengths = np.array([cloud.shape[1] for cloud in columns])
    skip = (lengths * trim / 100).astype(int)
    degrees, sides = np.empty(len(clouds)), np.empty((len(clouds), 2, 4))
    heights = np.empty((len(clouds), 2))
    for some in _groups(lengths):
        if lengths[some[-1]] < _FEW:
            found = _fit_few([columns[number] for number in some], lengths[some], skip[some])
        else:
            found = _fit_many(columns[some[0]], int(skip[some[0]]))
        degrees[some], sides[some, 0], sides[some, 1], heights[some] = found
    return list(_boxes(degrees, sides, heights))


def thinned(rows: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "m ..."]:
    """Return the points, or what else there is of each, that a box is fitted to."""
    if len(rows) <= _FIT_POINTS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _FIT_POINTS).astype(int)]


def _groups(lengths: Int[np.ndarray, "k"]) -> Iterator[Int[np.ndarray, "_"]]:
    """Yield numbers of clouds that are fitted together: small ones of about the same length."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order].tolist()
    start = 0
    while start < len(ordered):
        stop = start + 1
        while (
            stop < len(ordered)
            and ordered[stop] < _FEW
            and ordered[stop] * (stop + 1 - start) <= _TOGETHER
        ):
            stop += 1
        yield order[start:stop]
        start = stop


def _boxes(
    degrees: Float[np.ndarray, "k"], sides: Float[np.ndarray, "k 2 4"], z: Float[np.ndarray, "k 2"]
) -> Iterator[Box]:
    """Yield the boxes of the best rectangles, or of the upright ones where those are as good."""
    best, upright = sides[:, 0], sides[:, 1]
    straight = _area(upright.T) * _AXIS_BONUS <= _area(best.T)
    yaw = np.where(straight, 0.0, np.deg2rad(degrees))
    low_a, high_a, low_b, high_b = np.where(straight[:, None], upright, best).T
    a, b = (low_a + high_a) / 2, (low_b + high_b) / 2
    c, s = np.cos(yaw), np.sin(yaw)
    center = np.stack([c * a - s * b, s * a + c * b, z.mean(axis=1)], axis=1)
    size = np.stack([high_a - low_a, high_b - low_b, z[:, 1] - z[:, 0]], axis=1)
    across = size[:, 1] > size[:, 0]
    size[across] = size[across][:, [1, 0, 2]]
    yaw = yaw + np.where(across, np.pi / 2, 0.0)
    yaw = np.where(yaw <= np.pi / 2, yaw, yaw - np.pi)
    return zip(center, size, yaw.tolist(), strict=True)


def _fit_few(
    clouds: Sequence[Float[np.ndarray, "3 _"]],
    lengths: Int[np.ndarray, "k"],
    skip: Int[np.ndarray, "k"],
) -> tuple[np.ndarray, ...]:
    """Return degrees, the sides at that angle, those of the upright one, and the ends along z."""
    # What is no number is sorted behind all that are.
    points = np.full((len(clouds), 3, lengths.max()), np.nan)
    for own, cloud in zip(points, clouds, strict=True):
        own[:, : cloud.shape[1]] = cloud
    xy = points[:, :2]
    every = np.arange(len(clouds))
    coarse = _sides(*_ends_of_few(_ways(_COARSE) @ xy, skip, lengths))
    degrees = _COARSE[_area(coarse).argmin(axis=1), None] + _FINE
    fine = _sides(*_ends_of_few(_ways(degrees) @ xy, skip, lengths))
    best = _area(fine).argmin(axis=1)
    low, high = _ends_of_few(points[:, 2:], skip, lengths)
    z = np.concatenate([low, high], axis=1)
    return degrees[every, best], fine[:, every, best].T, coarse[:, :, 0].T, z


def _fit_many(points: Float[np.ndarray, "3 n"], skip: int) -> tuple[np.ndarray | float, ...]:
    """Return what `_fit_few` returns, of one cloud."""
    xy = points[:2]
    # Area changes slowly with the angle: every degree is only worth a look around the best.
    best, _ = _least_rectangle(xy, _COARSE, skip)
    degrees = _COARSE[best] + _FINE
    best, sides = _least_rectangle(xy, degrees, skip)
    (upright,) = _sides(*_ends(xy, skip)).T
    return degrees[best], sides, upright, np.concatenate(_ends(points[2:], skip))


def _least_rectangle(
    xy: Float[np.ndarray, "2 n"], degrees: Float[np.ndarray, "a"], skip: int
) -> tuple[int, Float[np.ndarray, "4"]]:
    """Return the number of the angle whose rectangle has least area, and its sides."""
    ways = _ways(degrees)
    # Single precision takes half the time, if numbers are not larger than they need be.
    rough = ways.astype(np.float32) @ (xy - xy[:, :1]).astype(np.float32)
    least = _area(_sides(*_inner_ends(rough, skip)))

    def exact(angles: np.ndarray) -> np.ndarray:
        return _sides(*_ends(ways.reshape(-1, 4)[angles].reshape(-1, 2) @ xy, skip))

    # No angle can be the best that has at least more than the most promising one really has.
    likely = least.argmin(keepdims=True)
    sides = exact(likely)
    possible = least <= _area(sides) * (1 + _SLACK)
    possible[likely] = False
    angles = np.concatenate([likely, np.flatnonzero(possible)])
    sides = np.concatenate([sides, exact(angles[1:])], axis=1)
    area = _area(sides)
    best = int(np.lexsort([angles, area])[0])  # of equals the first angle
    return int(angles[best]), sides[:, best]


def _inner_ends(
    values: Float[np.ndarray, "r n"], skip: int
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]:
    """Return per row what more than `skip` points do not exceed, and what as many reach."""
    # Of any groups of points, as many as wanted have an end that is at least that far out.
    groups = _GROUPS * (skip + 1)
    rows, size = len(values), values.shape[1] // groups
    whole = values[:, : size * groups].reshape(rows, size, groups)
    low, high = np.sort(whole.min(axis=1)), np.sort(whole.max(axis=1))
    return low[:, skip], high[:, groups - 1 - skip]


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


def _ends(
    values: Float[np.ndarray, "r n"], skip: int
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]:
    """Return the ends of each row of many values without the outermost few."""
    # Nearly all values lie further in than the ends can: what is left is sorted in no time.
    low, high = _inner_ends(values, skip)
    for number, row in enumerate(values):
        low[number] = np.sort(row[row <= low[number]])[skip]
        high[number] = np.sort(row[row >= high[number]])[-1 - skip]
    return low, high


def _ends_of_few(
    values: Float[np.ndarray, "k r n"], skip: Int[np.ndarray, "k"], lengths: Int[np.ndarray, "k"]
) -> tuple[Float[np.ndarray, "k r"], Float[np.ndarray, "k r"]]:
    """Return the ends of each row without the outermost few; each of k has a length of its own."""
    # Sorting takes a fifth of the time that `np.partition` takes with two places at once.
    ordered = np.sort(values, axis=-1)
    every = np.arange(len(values))
    return ordered[every, :, skip], ordered[every, :, lengths - 1 - skip]
