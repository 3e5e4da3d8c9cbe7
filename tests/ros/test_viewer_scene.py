"""Colours as viser wants them for lines."""

import numpy as np

from govnesf_ros.viewer_scene import line_paint


def test_the_colours_of_lines_are_given_as_linear_light() -> None:
    """Light of 0.5 is shown as 188 of 255 (IEC 61966-2-1); ends and shapes stay."""
    assert line_paint(np.uint8([0, 188, 255])).tolist() == [0, 128, 255]
    assert line_paint(np.uint8([10])).tolist() == [1]  # the straight part at the dark end
    colors = np.random.default_rng(0).integers(0, 256, (5, 2, 3)).astype(np.uint8)
    paint = line_paint(colors)
    assert (paint.shape, paint.dtype) == (colors.shape, np.uint8)
    assert (paint <= colors).all()
