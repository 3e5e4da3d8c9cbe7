"""Light found at every second pixel reaches all pixels of its surface and no others."""

import numpy as np
import pytest

from govnesf_model.data.synthetic.lighting import Guide

SIZES = [(12, 8), (11, 7)]


def _planes(width, height, step):
    """A wall in front of the camera, its right part `step` metres nearer."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    z = np.where(x >= width // 2, 2.0 - step, 2.0)
    points = np.stack([x * 0.01, y * 0.01, z]).reshape(3, -1).astype(np.float32)
    flat = np.zeros_like(points)
    flat[2] = -1
    return points, flat


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_constant_stays_and_a_pattern_of_two_cancels(width, height):
    guide = Guide(*_planes(width, height, 0.0), (width, height))
    flat = guide.spread(np.full(len(guide.pattern), 0.7, np.float32))
    np.testing.assert_allclose(flat, 0.7, rtol=1e-6)
    assert flat.shape == (width * height,)
    values = np.array([0.0, 1.0, 2.0, 5.0], np.float32)[guide.pattern]
    inside = guide.spread(values).reshape(height, width)[2:-4, 2:-4]
    np.testing.assert_allclose(inside, 2.0, rtol=1e-6)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_light_does_not_cross_an_edge(width, height):
    guide = Guide(*_planes(width, height, 0.5), (width, height))
    lit = (guide.points[2] < 1.9).astype(np.float32)
    spread = guide.spread(lit).reshape(height, width)
    edge = width // 2
    assert spread[:, :edge].max() < 1e-3
    assert spread[:, edge:].min() > 0.99


def test_samples_are_every_second_pixel():
    points, flat = _planes(12, 8, 0.5)
    guide = Guide(points, flat, (12, 8))
    every = points.reshape(3, 8, 12)[:, ::2, ::2].reshape(3, -1)
    np.testing.assert_array_equal(guide.points, every)
