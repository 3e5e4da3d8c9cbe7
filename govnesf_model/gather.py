"""Interpolation as one weighted sum of table rows.

    index, weight = bilinear_taps(at, height, width)       # four taps per position
    values = gather(table, index, weight)                  # [n, channels]

A map or volume is kept channel-last as a table [cells, channels]. Interpolating, blending over
views and summing along a ray are all weighted sums of its rows, so any chain of them is a single
`embedding_bag` and no tensor [points, views, channels] is ever made.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def gather(
    table: Float[Tensor, "cells c"], index: Int[Tensor, "n taps"], weight: Float[Tensor, "n taps"]
) -> Float[Tensor, "n c"]:
    """Return for each row of taps the weighted sum of table rows, in the table's dtype.

    Differentiable in the table and in the weights.
    """
    if index.shape[0] == 0:
        return table.new_zeros(0, table.shape[1])
    if index.shape[1] == 0:
        return table.new_zeros(index.shape[0], table.shape[1])
    return F.embedding_bag(index, table, mode="sum", per_sample_weights=weight.to(table.dtype))


def bilinear_taps(
    at: Float[Tensor, "*n 2"], height: int, width: int
) -> tuple[Int[Tensor, "*n 4"], Float[Tensor, "*n 4"]]:
    """Return row numbers and weights for fractional positions (x, y) of a [height, width] map.

    Positions beyond the border take the border's value, like `cameras.sample_map`.
    """
    x = at[..., 0].clamp(0, width - 1)
    y = at[..., 1].clamp(0, height - 1)
    x0, y0 = x.floor().long(), y.floor().long()
    fx, fy = x - x0, y - y0
    x1, y1 = (x0 + 1).clamp_max(width - 1), (y0 + 1).clamp_max(height - 1)
    index = torch.stack(
        [y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], dim=-1
    )
    gx, gy = 1 - fx, 1 - fy
    return index, torch.stack([gy * gx, gy * fx, fy * gx, fy * fx], dim=-1)


def trilinear_taps(
    at: Float[Tensor, "n 3"], shape: tuple[int, int, int]
) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """Return row numbers and weights for fractional indices (i, j, k) of a volume [X, Y, Z].

    The table's rows run with z fastest, as `volume.reshape(X * Y * Z, channels)` lays them.
    Positions beyond the border take the border's value.
    """
    low, high, fraction = [], [], []
    for axis, size in enumerate(shape):
        position = at[:, axis].clamp(0, size - 1)
        lower = position.floor().long()
        low.append(lower)
        high.append((lower + 1).clamp_max(size - 1))
        fraction.append(position - lower)
    _, size_y, size_z = shape
    corners, weights = [], []
    for x, wx in ((low[0], 1 - fraction[0]), (high[0], fraction[0])):
        for y, wy in ((low[1], 1 - fraction[1]), (high[1], fraction[1])):
            row, w = (x * size_y + y) * size_z, wx * wy
            corners += [row + low[2], row + high[2]]
            weights += [w * (1 - fraction[2]), w * fraction[2]]
    return torch.stack(corners, dim=-1), torch.stack(weights, dim=-1)
