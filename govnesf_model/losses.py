"""Training losses: the paper's two (section 3.4) and optional ones for the density.

loss = color_loss(...) + alpha * ov_loss(...)          # eq. 8
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def color_loss(
    rendered: Float[Tensor, "r 3"],
    truth: Float[Tensor, "r 3"],
    mask: Bool[Tensor, "r"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over rays of the squared colour distance, eq. 9a."""
    return _mean((rendered - truth).square().sum(dim=-1), mask)


def ov_loss(
    rendered: Float[Tensor, "r d"],
    truth: Float[Tensor, "r d"],
    mask: Bool[Tensor, "r"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over rays of 1 - cos, eq. 9b.

    The renderer detaches the ray weights of the features: no gradient of this reaches the density.
    """
    return _mean(1 - F.cosine_similarity(rendered, truth, dim=-1), mask)


def depth_loss(
    depth: Float[Tensor, "r"], truth: Float[Tensor, "r"], mask: Bool[Tensor, "r"] | None = None
) -> Float[Tensor, ""]:
    """Return the mean absolute depth error in metres where the truth is known (> 0)."""
    known = truth > 0
    return _mean((depth - truth).abs(), known if mask is None else known & mask)


def surface_loss(
    weights: Float[Tensor, "r s"],
    t: Float[Tensor, "r s"],
    truth: Float[Tensor, "r"],
    width: float,
    mask: Bool[Tensor, "r"] | None = None,
) -> Float[Tensor, ""]:
    """Return how much weight misses the surface: -log of the weight within `width` of the truth.

    Weights sum to at most one, so this also empties the space before the surface.

    Args:
        weights, t: of the ray's samples.
        truth: measured depth in the unit of `t`, 0 unknown.
        width: half width of the band around the surface, metres.
        mask: rays to use.
    """
    near = (t - truth.unsqueeze(1)).abs() <= width
    hit = (weights * near).sum(dim=1)
    known = (truth > 0) & near.any(dim=1)
    return _mean(-torch.log(hit + 1e-2), known if mask is None else known & mask)


def occupancy_loss(
    sigma: Float[Tensor, "n"],
    occupied: Bool[Tensor, "n"],
    length: float = 0.1,
    free_share: float = 0.75,
) -> Float[Tensor, ""]:
    """Return the cross entropy of alpha over `length` metres at points known as surface or as free.

    Args:
        sigma: density at the points.
        occupied: which of them are solid.
        length: metres.
        free_share: weight of the free points' mean; the solid ones' have the rest. A ray passes far
            more free space than walls: with equal weights, doubt would be an opaque fog.
    """
    thickness = sigma * length
    solid = -torch.log(-torch.expm1(-thickness) + 1e-3)
    return (1 - free_share) * _mean(solid, occupied) + free_share * _mean(thickness, ~occupied)


def distortion_loss(
    weights: Float[Tensor, "r s"], t: Float[Tensor, "r s"], delta: Float[Tensor, "r s"]
) -> Float[Tensor, ""]:
    """Return the mean spread of each ray's weights along the ray, metres.

    The expected distance of two samples drawn by weight, plus the extent of single samples: small
    when the weight sits in one place. Linear in the number of samples, which ascend along the ray.
    """
    before = torch.cumsum(weights, dim=1) - weights
    before_t = torch.cumsum(weights * t, dim=1) - weights * t
    between = 2 * (weights * (t * before - before_t)).sum(dim=1)
    within = (weights.square() * delta).sum(dim=1) / 3
    return (between + within).mean()


def entropy_loss(weights: Float[Tensor, "r s"], min_opacity: float = 0.1) -> Float[Tensor, ""]:
    """Return the mean entropy of where the rays end, in nats.

    0 when one sample has all the weight, log(n) when n samples share it evenly. Rays of an opacity
    below `min_opacity` end nowhere and do not count.
    """
    opacity = weights.sum(dim=1)
    share = weights / opacity.clamp_min(1e-6).unsqueeze(1)
    entropy = -(share * share.clamp_min(1e-9).log()).sum(dim=1)
    return _mean(entropy, opacity > min_opacity)


def hard_surface_loss(weights: Float[Tensor, "r s"]) -> Float[Tensor, ""]:
    """Return how far the rays' weights are from 0 and 1, summed along each ray.

    The negative log likelihood of weights under two Laplace distributions around 0 and 1, with the
    constant that makes 0 the value of a perfectly sharp ray. An empty ray costs nothing either, so
    this wants a colour or depth term beside it.
    """
    likelihood = torch.exp(-weights) + torch.exp(weights - 1)
    return (math.log1p(math.exp(-1)) - likelihood.log()).sum(dim=1).mean()


def free_space_loss(weights: Float[Tensor, "r s"], mask: Bool[Tensor, "r"]) -> Float[Tensor, ""]:
    """Return the mean opacity of rays that are known to leave the grid without hitting anything."""
    return _mean(weights.sum(dim=1), mask)


def _mean(values: Float[Tensor, "r"], mask: Bool[Tensor, "r"] | None) -> Float[Tensor, ""]:
    if mask is None:
        return values.mean()
    return (values * mask).sum() / mask.sum().clamp_min(1)
