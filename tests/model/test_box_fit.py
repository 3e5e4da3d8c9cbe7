"""Boxes against plain ones, in which the ends of every angle of the same points are sorted out."""

import numpy as np
import pytest

from govnesf_model.box_fit import fit_box, fit_boxes, sample_size, sampled

SHAPES = {
    "filled": lambda rng, n: rng.uniform(-0.5, 0.5, (n, 3)) * (3.0, 1.0, 0.5),
    "square": lambda rng, n: rng.uniform(-0.5, 0.5, (n, 3)),
    "ball": lambda rng, n: rng.normal(size=(n, 3)),
    "wall": lambda rng, n: rng.uniform(-0.5, 0.5, (n, 3)) * (4.0, 0.01, 2.0),
    "corner": lambda rng, n: np.where(
        rng.random((n, 1)) < 0.5,
        rng.random((n, 3)) * (3, 0.02, 2),
        rng.random((n, 3)) * (0.02, 2, 2),
    ),
    "line": lambda rng, n: rng.random((n, 1)) * (1.0, 0.0, 0.0),
    "point": lambda rng, n: np.zeros((n, 3)),
}


def plain_box(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    xyz = sampled(xyz)
    few = xyz[: sample_size(len(xyz))]

    def ends(values):
        ordered, skip = np.sort(values), len(values) // 100
        return ordered[skip], ordered[-1 - skip]

    def rectangle(degrees, points=few):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        along, across = c * points[:, 0] + s * points[:, 1], c * points[:, 1] - s * points[:, 0]
        (a, b), (d, e) = ends(along), ends(across)
        return max(b - a, 1e-3) * max(e - d, 1e-3), degrees, (a, b, d, e)

    best = min((rectangle(d) for d in np.arange(0.0, 90.0, 5.0)), key=lambda one: one[0])
    fine = min((rectangle(best[1] + d) for d in np.arange(-4.0, 5.0)), key=lambda one: one[0])
    fine = rectangle(fine[1], xyz)
    upright = rectangle(0.0, xyz)
    _, degrees, (a, b, d, e) = upright if upright[0] * 0.98 <= fine[0] else fine
    yaw, low_high = np.deg2rad(degrees), ends(xyz[:, 2])
    c, s, x, y = np.cos(yaw), np.sin(yaw), (a + b) / 2, (d + e) / 2
    center = np.array([c * x - s * y, s * x + c * y, sum(low_high) / 2])
    size = np.array([b - a, e - d, low_high[1] - low_high[0]])
    if size[1] > size[0]:
        size, yaw = size[[1, 0, 2]], yaw + np.pi / 2
    return center, size, yaw if yaw <= np.pi / 2 else yaw - np.pi


@pytest.mark.parametrize("count", [1, 7, 99, 100, 250, 599, 600, 999, 2500, 9000])
@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_those_of_a_plain_search(shape, count):
    for seed, yaw in enumerate((0.0, 0.3, 1.1)):
        rng = np.random.default_rng(seed)
        xyz = SHAPES[shape](rng, count)
        c, s = np.cos(yaw), np.sin(yaw)
        xyz = xyz @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + (5.0, -3.0, 1.0)
        center, size, found = fit_box(xyz)
        expected = plain_box(xyz)
        if shape in ("line", "point"):  # many angles are equally good, to the last digit
            assert size.prod() == pytest.approx(expected[1].prod(), abs=1e-9)
            continue
        assert center == pytest.approx(expected[0], abs=1e-9)
        assert size == pytest.approx(expected[1], abs=1e-9)
        assert found == pytest.approx(expected[2], abs=1e-9)


def test_boxes_that_are_fitted_together_are_those_of_each_alone():
    rng = np.random.default_rng(0)
    counts = [1, 2, 5, 30, 99, 100, 101, 400, 400, 950, 999, 1000, 1500, 5000] * 2
    names = rng.choice(list(SHAPES), len(counts))
    clouds = [SHAPES[name](rng, count) for name, count in zip(names, counts, strict=True)]
    parts = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    found = fit_boxes(np.concatenate(clouds), parts)
    assert fit_boxes(np.concatenate(clouds), []) == []
    assert len(found) == len(clouds)
    for cloud, (center, size, yaw) in zip(clouds, found, strict=True):
        alone = fit_box(cloud)
        assert np.array_equal(center, alone[0])
        assert np.array_equal(size, alone[1])
        assert yaw == alone[2]


@pytest.mark.parametrize("count", [1, 2, 99, 100, 640, 1999, 2000, 2001, 9000])
def test_a_sample_takes_each_point_once_and_from_everywhere(count):
    rows = sampled(np.arange(count))
    assert len(rows) == min(count, 2000) == len(set(rows.tolist()))
    some = np.sort(rows[: sample_size(len(rows))])
    assert np.diff([-1, *some, count]).max() <= 4 * max(1, count / len(some))


@pytest.mark.parametrize("shape", ["filled", "wall", "corner"])
def test_a_box_from_a_sample_is_that_of_all_points(shape):
    rng = np.random.default_rng(4)
    c, s = np.cos(0.4), np.sin(0.4)
    xyz = SHAPES[shape](rng, 50_000) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    _, size, yaw = fit_box(xyz)
    local = xyz @ np.array(
        [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    )
    low, high = np.quantile(local, (0.01, 0.99), axis=0)
    assert np.abs(size - (high - low)).max() < 0.02 * size.max()
    if shape != "corner":
        assert np.rad2deg(yaw - 0.4) == pytest.approx(0.0, abs=3.0)


def test_a_box_far_from_the_origin_is_the_same_box():
    # The search rounds to single precision, which has steps of a quarter of a metre out there.
    xyz = SHAPES["corner"](np.random.default_rng(0), 4000)
    near, far = fit_box(xyz), fit_box(xyz + np.array([4e6, -3e6, 0.0]))
    assert far[1] == pytest.approx(near[1], abs=1e-6)
    assert far[2] == near[2]
