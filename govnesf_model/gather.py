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
    x0, fx = _cell(at[..., 0], width)
    y0, fy = _cell(at[..., 1], height)
    right, below = min(1, width - 1), min(1, height - 1) * width
    corners = torch.tensor([0, right, below, below + right], device=at.device)
    index = (y0 * width + x0).unsqueeze(-1) + corners
    along_x, along_y = torch.stack([1 - fx, fx], dim=-1), torch.stack([1 - fy, fy], dim=-1)
    return index, (along_y.unsqueeze(-1) * along_x.unsqueeze(-2)).flatten(-2)


def trilinear_taps(
    at: Float[Tensor, "n 3"], shape: tuple[int, int, int]
) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """Return row numbers and weights for fractional indices (i, j, k) of a volume [X, Y, Z].

    The table's rows run with z fastest, as `volume.reshape(X * Y * Z, channels)` lays them.
    Positions beyond the border take the border's value.
    """
    index = corner = torch.zeros(1, dtype=torch.long, device=at.device)
    weight = at.new_ones(len(at), 1)
    for axis, size in enumerate(shape):
        lower, fraction = _cell(at[:, axis], size)
        index = index * size + lower
        step = torch.tensor([0, min(1, size - 1)], device=at.device)
        corner = ((corner * size).unsqueeze(-1) + step).flatten()
        both = torch.stack([1 - fraction, fraction], dim=-1)
        weight = (weight.unsqueeze(-1) * both.unsqueeze(-2)).flatten(1)
    return index.unsqueeze(-1) + corner, weight


def _cell(at: Float[Tensor, "*n"], size: int) -> tuple[Int[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Return the lower of the two cells that a position lies between and the share of the other.

    At the far border that share is 1, so that the other is the next one everywhere.
    """
    at = at.clamp(0, size - 1)
    lower = at.floor().clamp_max(max(size - 2, 0))
    return lower.long(), at - lower
