"""Where samples lie along rays, and how much each of them weighs (eq. 7).

start, end = clip_to_grid(grid, origins, directions, near, far)
t = place_samples(start, end, samples)                  # evenly
t = refine_samples(start, end, weights, count)          # where the weight is
weights = ray_weights(sigma, sample_distances(t, end, directions))
mass, t = merge_samples(weights, t, groups)             # few that stand for all
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .tile_grid import Grid

FLOOR = 0.1  # share of the fine samples that is spread over the whole ray


def clip_to_grid(
    grid: Grid,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    near: float,
    far: float,
) -> tuple[Float[Tensor, "r"], Float[Tensor, "r"]]:
    """Return the part of [near, far] of each ray that lies in the grid; empty (equal) if none."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    one = (grid.lower - origins) / safe
    two = (grid.upper - origins) / safe
    start = torch.minimum(one, two).amax(dim=1).clamp(near, far)
    end = torch.maximum(one, two).amin(dim=1).clamp(near, far)
    return start, torch.maximum(start, end)


def place_samples(
    start: Float[Tensor, "r"],
    end: Float[Tensor, "r"],
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "r s"]:
    """Return one position per bin: its middle, or anywhere in it with a generator."""
    shape = (len(start), samples)
    if generator is None:
        inside = torch.full(shape, 0.5, device=start.device)
    else:
        inside = torch.rand(shape, generator=generator, device=start.device)
    fraction = (torch.arange(samples, device=start.device) + inside) / samples
    return start.unsqueeze(1) + (end - start).unsqueeze(1) * fraction


def refine_samples(
    start: Float[Tensor, "r"],
    end: Float[Tensor, "r"],
    weights: Float[Tensor, "r s"],
    count: int,
    generator: torch.Generator | None = None,
    doubt: float = 0.0,
) -> Float[Tensor, "r n"]:
    """Return positions where evenly spaced samples found weight, ascending.

    The inverse of the cumulated weights, which are blurred to the neighbouring bins, because the
    surface may lie there, and stand on a floor, because something may have been missed.

    Args:
        start, end: of the even samples' range.
        weights: of the even samples.
        count: positions per ray.
        generator: jitters; without it positions are the middles of equal shares.
        doubt: how far off the weights may lie, in units of the rays.
    """
    bins = weights.shape[1]
    step = float((end - start).mean()) / bins if len(start) else 1.0
    reach = max(1, min(bins // 4, math.ceil(doubt / max(step, 1e-6))))
    wide = F.max_pool1d(weights.unsqueeze(1), 2 * reach + 1, stride=1, padding=reach).squeeze(1)
    share = wide + FLOOR * wide.sum(dim=1, keepdim=True).clamp_min(1e-3) / bins
    total = torch.cumsum(share / share.sum(dim=1, keepdim=True), dim=1)
    even = place_samples(torch.zeros_like(start), torch.ones_like(end), count, generator)
    place = torch.searchsorted(total, even.contiguous()).clamp_max(bins - 1)
    before = torch.cat([torch.zeros_like(total[:, :1]), total[:, :-1]], dim=1).gather(1, place)
    inside = (even - before) / (total.gather(1, place) - before).clamp_min(1e-9)
    fraction = (place + inside.clamp(0, 1)) / bins
    return start.unsqueeze(1) + (end - start).unsqueeze(1) * fraction


def sample_points(
    origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"], t: Float[Tensor, "r s"]
) -> Float[Tensor, "rs 3"]:
    """Return where samples lie, ray after ray."""
    return (origins.unsqueeze(1) + directions.unsqueeze(1) * t.unsqueeze(-1)).flatten(0, 1)


def sample_distances(
    t: Float[Tensor, "r s"], end: Float[Tensor, "r"], directions: Float[Tensor, "r 3"]
) -> Float[Tensor, "r s"]:
    """Return delta_i, metres from each sample to the next; from the last to the ray's end."""
    following = torch.cat([t[:, 1:], end.unsqueeze(1)], dim=1)
    return (following - t) * directions.norm(dim=-1, keepdim=True)


def ray_weights(sigma: Float[Tensor, "r s"], delta: Float[Tensor, "r s"]) -> Float[Tensor, "r s"]:
    """Return T_i (1 - exp(-sigma_i delta_i)), eq. 7."""
    thickness = sigma * delta
    before = torch.cumsum(thickness, dim=1) - thickness
    return torch.exp(-before) * -torch.expm1(-thickness)


def heavy_samples(weights: Float[Tensor, "r s"], threshold: float, cap: int) -> Bool[Tensor, "r s"]:
    """Return which samples to look up: above the threshold, the `cap` heaviest of each ray."""
    weights = weights.detach()
    kept = weights > threshold
    if cap < weights.shape[1]:
        heaviest = weights.topk(cap, dim=1).indices
        kept &= torch.zeros_like(kept).scatter_(1, heaviest, True)
    return kept


def merge_samples(
    weights: Float[Tensor, "r s"], t: Float[Tensor, "r s"], groups: int
) -> tuple[Float[Tensor, "r g"], Float[Tensor, "r g"]]:
    """Return weights and positions of a few samples that stand for all of them.

    Each group has the same part of the ray's weight and lies at its middle. Around a surface dozens
    of samples lie within a centimetre or two, where all views show the same: to look up each would
    be most of the work of rendering.

    Args:
        weights, t: of samples that ascend along the ray.
        groups: per ray; groups without weight stay at 0.
    """
    total = weights.sum(dim=1, keepdim=True).clamp_min(1e-9)
    middle = (torch.cumsum(weights, dim=1) - weights / 2) / total
    group = (groups * middle).long().clamp(0, groups - 1)
    empty = weights.new_zeros(len(weights), groups)
    mass = empty.scatter_add(1, group, weights)
    return mass, empty.scatter_add(1, group, weights * t) / mass.clamp_min(1e-9)
