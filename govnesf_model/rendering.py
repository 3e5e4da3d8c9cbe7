"""Joint volume rendering of colour, depth and meaning (eq. 7), density first.

    result = render_rays(field, views, volume, origins, directions, near=0.2, far=8.0)
    image = render_image(field, views, volume, camera)          # image.color, image.depth, ...

Density is evaluated for all samples; only samples that carry weight are looked up in the views.
Give `exact=True` for the plain form: all samples, all views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .blending import Views, blend_color, blend_semantic, project_text
from .cameras import Camera
from .cost_volume import VolumeGrid
from .field import GovNesf, VolumeField

NEAR, FAR = 0.2, 8.0  # metres of z-depth, for images


@dataclass
class RayResult:
    """What rays see.

    Attributes:
        color: rendered colour, black where nothing is hit.
        depth: mean distance along `directions`: z-depth in metres for directions of unit z.
            0 where nothing is hit.
        opacity: sum of the weights, 0..1.
        ov: rendered open-vocabulary feature, not normalised; None if not asked for.
        scores: rendered text scores; None without texts.
        weights, t, delta: per sample, for losses: T_i alpha_i, position along the ray in units of
            `directions`, and metres to the next sample.
    """

    color: Float[Tensor, "r 3"]
    depth: Float[Tensor, "r"]
    opacity: Float[Tensor, "r"]
    ov: Float[Tensor, "r d"] | None
    scores: Float[Tensor, "r t"] | None
    weights: Float[Tensor, "r s"]
    t: Float[Tensor, "r s"]
    delta: Float[Tensor, "r s"]


@dataclass
class RenderedImage:
    """A rendered view; fields as in `RayResult`, on the pixel grid."""

    color: Float[Tensor, "H W 3"]
    depth: Float[Tensor, "H W"]
    opacity: Float[Tensor, "H W"]
    ov: Float[Tensor, "H W d"] | None
    scores: Float[Tensor, "H W t"] | None


def render_rays(
    field: GovNesf,
    views: Views,
    volume: VolumeField,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    near: float = NEAR,
    far: float = FAR,
    samples: int | None = None,
    k: int | None = None,
    text_scores: Float[Tensor, "v hs ws t"] | None = None,
    want_color: bool = True,
    want_ov: bool = False,
    masking: str = "none",
    exact: bool = False,
    generator: torch.Generator | None = None,
) -> RayResult:
    """Render rays.

    Args:
        field, views, volume: the scene.
        origins: world positions of the cameras.
        directions: directions of any length; positions along the ray are in units of it.
        near, far: range along `directions`; samples are spread over the part inside the grid.
        samples: samples per ray, the configuration's by default.
        k: views per point, the configuration's by default.
        text_scores: maps from `project_text`, blended in place of the features ("text first").
        want_color, want_ov: what to blend from the views.
        masking: "none", or "depth" for depth-guided masking.
        exact: query all samples from all views.
        generator: jitters the samples in their bins (training); without it they lie in the middle.
    """
    config = field.config
    samples = config.samples_per_ray if samples is None else samples
    start, end = clip_to_grid(volume.grid, origins, directions, near, far)
    t = place_samples(start, end, samples, generator)
    delta = sample_distances(t, end, directions)
    points = origins.unsqueeze(1) + directions.unsqueeze(1) * t.unsqueeze(-1)  # [r, s, 3]
    sigma = field.density(points.reshape(-1, 3), volume).view_as(t)
    weights = ray_weights(sigma, delta)
    opacity = weights.sum(dim=1)
    depth = (weights * t).sum(dim=1) / opacity.clamp_min(1e-6)

    if exact:
        kept = torch.ones_like(weights, dtype=torch.bool)
        k = 0
    else:
        kept = heavy_samples(weights, config.min_sample_weight, config.max_samples_kept)
    ray, sample = kept.nonzero(as_tuple=True)  # ray ascends
    ray_count = len(origins)
    color = origins.new_zeros(ray_count, 3)
    ov = scores = None
    # What was left out takes the colour of what was kept, instead of turning black.
    share = opacity / (weights * kept).sum(dim=1).clamp_min(1e-6)
    weight = weights[ray, sample] * share[ray]
    at = points[ray, sample]
    if not config.use_mjf:
        regressed, feature = field.distill(at, views, volume, k, masking)
        color = color.index_add(0, ray, regressed * weight.unsqueeze(-1))
        if want_ov:
            # Features are not view-consistent: they must not shape the density (section 3.4).
            ov = feature.new_zeros(ray_count, feature.shape[1]).index_add(
                0, ray, feature * weight.detach().unsqueeze(-1)
            )
        return RayResult(color, depth, opacity, ov, None, weights, t, delta)

    blend = field.blend(at, views, volume, k, directions[ray] if want_color else None, masking)
    if want_color:
        seen = blend_color(blend, at, views)
        color = color.index_add(0, ray, seen * weight.unsqueeze(-1))
    if want_ov or text_scores is not None:
        present, number = torch.unique_consecutive(ray, return_inverse=True)
        detached = weight.detach()  # section 3.4

        def accumulate(table: Float[Tensor, "v hs ws c"] | None) -> Float[Tensor, "r c"]:
            rows = blend_semantic(blend, at, views, table, ray=number, ray_weight=detached)
            return rows.new_zeros(ray_count, rows.shape[1]).index_copy(0, present, rows)

        ov = accumulate(None) if want_ov else None
        scores = accumulate(text_scores) if text_scores is not None else None
    return RayResult(color, depth, opacity, ov, scores, weights, t, delta)


@torch.no_grad()
def render_image(
    field: GovNesf,
    views: Views,
    volume: VolumeField,
    camera: Camera,
    near: float = NEAR,
    far: float = FAR,
    samples: int | None = None,
    k: int | None = None,
    text_features: Float[Tensor, "t d"] | None = None,
    want_color: bool = True,
    want_ov: bool = False,
    masking: str = "none",
    exact: bool = False,
    chunk: int = 1024,  # bigger tensors would be handed back to the system each time
) -> RenderedImage:
    """Render a whole view; arguments as in `render_rays`, `chunk` rays at a time.

    Args:
        text_features: unit text features; the result has score maps for them.
    """
    origins, directions = camera.rays()
    text_scores = None if text_features is None else project_text(views, text_features)
    parts = [
        render_rays(
            field,
            views,
            volume,
            o,
            d,
            near,
            far,
            samples,
            k,
            text_scores,
            want_color,
            want_ov,
            masking,
            exact,
        )
        for o, d in zip(
            origins.reshape(-1, 3).split(chunk), directions.reshape(-1, 3).split(chunk), strict=True
        )
    ]

    def whole(name: str) -> Tensor | None:
        pieces = [getattr(part, name) for part in parts]
        if pieces[0] is None:
            return None
        return torch.cat(pieces).reshape(camera.height, camera.width, *pieces[0].shape[1:])

    return RenderedImage(
        whole("color"), whole("depth"), whole("opacity"), whole("ov"), whole("scores")
    )


def clip_to_grid(
    grid: VolumeGrid,
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
