"""Joint volume rendering of colour, depth and meaning (eq. 7), density first.

    result = render_rays(field, views, volume, origins, directions, near=0.2, far=8.0)
    image = render_image(field, views, volume, camera)          # image.color, image.depth, ...

Density is evaluated for all samples; only samples that carry weight are looked up in the views.
Give `exact=True` for the plain form: all samples, all views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .blending import Views, blend_color, blend_semantic, project_text
from .cameras import Camera
from .exposure import expected_exposure
from .field import GovNesf, VolumeField
from .ray_samples import (
    clip_to_grid,
    heavy_samples,
    merge_samples,
    place_samples,
    ray_weights,
    refine_samples,
    sample_distances,
    sample_points,
)

NEAR, FAR = 0.2, 8.0  # metres of z-depth, for images
LOST = 0.01  # of a ray's weight: if views see less of it, its colour is anybody's guess
BACKGROUND_WEIGHT = 0.01  # of a ray that is left at the end of the grid, to be looked up there


@dataclass
class RayResult:
    """What rays see.

    Attributes:
        color: rendered colour, exposure evened out where the views' `gain` says how; where no view
            sees what is hit, the mean colour of all views, and black where nothing is hit and the
            configuration knows no background.
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
    """A rendered view; fields as in `RayResult`, on the pixel grid, the colour as the cameras
    around it would have exposed it."""

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
    found = find_samples(field, volume, origins, directions, near, far, samples, exact, generator)
    k = 0 if exact else k
    ray, at, weight, ray_count = found.ray, found.at, found.weight, len(origins)
    color = origins.new_zeros(ray_count, 3)
    ov = scores = None
    whole = (found.depth, found.opacity)
    steps = (found.weights, found.t, found.delta)
    if not config.use_mjf:
        regressed, feature = field.distill(at, views, volume, k, masking)
        color = color.index_add(0, ray, regressed * weight.unsqueeze(-1))
        if want_ov:
            # Features are not view-consistent: they must not shape the density (section 3.4).
            ov = feature.new_zeros(ray_count, feature.shape[1]).index_add(
                0, ray, feature * weight.detach().unsqueeze(-1)
            )
        return RayResult(color, *whole, ov, None, *steps)

    blend = field.blend(at, views, volume, k, directions[ray] if want_color else None, masking)
    if want_color:
        seen = blend_color(blend, at, views)
        color = color.index_add(0, ray, seen * weight.unsqueeze(-1))
        if config.background:
            known = weight * blend.valid.any(dim=1)
            color = _filled(color, ray, weight, known, views)
    if want_ov or text_scores is not None:
        present, number = torch.unique_consecutive(ray, return_inverse=True)
        detached = weight.detach()  # section 3.4

        def accumulate(table: Float[Tensor, "v hs ws c"] | None) -> Float[Tensor, "r c"]:
            rows = blend_semantic(blend, at, views, table, ray=number, ray_weight=detached)
            return rows.new_zeros(ray_count, rows.shape[1]).index_copy(0, present, rows)

        ov = accumulate(None) if want_ov else None
        scores = accumulate(text_scores) if text_scores is not None else None
    return RayResult(color, *whole, ov, scores, *steps)


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
    chunk: int = 2048,  # bigger tensors would be handed back to the system each time
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

    color, factors = whole("color"), expected_exposure(views, camera.T_world_camera)
    return RenderedImage(
        color if factors is None else color * factors,
        whole("depth"),
        whole("opacity"),
        whole("ov"),
        whole("scores"),
    )


def _filled(
    color: Float[Tensor, "r 3"],
    ray: Int[Tensor, "n"],
    weight: Float[Tensor, "n"],
    known: Float[Tensor, "n"],
    views: Views,
) -> Float[Tensor, "r 3"]:
    """Let what no view sees take the colour of the rest of its ray, else the views' mean colour."""
    none = color.new_zeros(len(color))
    total, seen = none.index_add(0, ray, weight), none.index_add(0, ray, known)
    lost = (seen < LOST * total).unsqueeze(-1)
    whole = color * (total / seen.clamp_min(1e-6)).unsqueeze(-1)
    return torch.where(lost, views.mean_color * total.unsqueeze(-1), whole)


@dataclass
class RaySamples:
    """Where rays meet something, found by density alone.

    Attributes:
        ray: of each position that is to be looked up in the views, ascending.
        at: those positions, world.
        weight: what each of them counts for on its ray.
        depth, opacity, weights, t, delta: as in `RayResult`.
    """

    ray: Int[Tensor, "n"]
    at: Float[Tensor, "n 3"]
    weight: Float[Tensor, "n"]
    depth: Float[Tensor, "r"]
    opacity: Float[Tensor, "r"]
    weights: Float[Tensor, "r s"]
    t: Float[Tensor, "r s"]
    delta: Float[Tensor, "r s"]


def find_samples(
    field: GovNesf,
    volume: VolumeField,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    near: float = NEAR,
    far: float = FAR,
    samples: int | None = None,
    exact: bool = False,
    generator: torch.Generator | None = None,
) -> RaySamples:
    """Return where rays meet something; arguments as in `render_rays`. No view is looked up."""
    config = field.config
    samples = config.samples_per_ray if samples is None else samples
    start, end = clip_to_grid(volume.grid, origins, directions, near, far)
    t = place_samples(start, end, samples, generator)
    quick = not exact and not torch.is_grad_enabled()
    if config.fine_samples:
        look, doubt = sample_weights, 0.0
        if quick and volume.fine_grid is not None:
            # A corner of a voxel is that far from its middle.
            look, doubt = quick_weights, 0.87 * volume.fine_grid.voxel
        with torch.no_grad():
            found = look(field, volume, origins, directions, t, end)[0]
        t = refine_samples(start, end, found, config.fine_samples, generator, doubt)
    weights, delta = sample_weights(field, volume, origins, directions, t, end)
    opacity = weights.sum(dim=1)
    depth = (weights * t).sum(dim=1) / opacity.clamp_min(1e-6)

    shown, reached = weights, t
    if exact:
        kept = torch.ones_like(weights, dtype=torch.bool)
    elif quick and config.merged_samples:
        shown, reached = merge_samples(weights, t, config.merged_samples)
        kept = shown > config.min_sample_weight
    else:
        kept = heavy_samples(weights, config.min_sample_weight, config.max_samples_kept)
    if config.background:
        rest = (1 - opacity).clamp_min(0).unsqueeze(1)
        kept = torch.cat([kept, rest > BACKGROUND_WEIGHT], dim=1)
        shown = torch.cat([shown, rest], dim=1)
        reached = torch.cat([reached, end.unsqueeze(1)], dim=1)
    ray, sample = kept.nonzero(as_tuple=True)  # ray ascends
    # What was left out takes the colour of what was kept, instead of turning black.
    share = shown.sum(dim=1) / (shown * kept).sum(dim=1).clamp_min(1e-6)
    weight = shown[ray, sample] * share[ray]
    at = origins[ray] + directions[ray] * reached[ray, sample].unsqueeze(-1)
    return RaySamples(ray, at, weight, depth, opacity, weights, t, delta)


def sample_weights(
    field: GovNesf,
    volume: VolumeField,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    t: Float[Tensor, "r s"],
    end: Float[Tensor, "r"],
) -> tuple[Float[Tensor, "r s"], Float[Tensor, "r s"]]:
    """Return the rendering weights at positions along rays and the delta of each.

    Args:
        field, volume: the scene.
        origins, directions: of the rays.
        t: positions in units of `directions`, ascending.
        end: of the rays.
    """
    delta = sample_distances(t, end, directions)
    sigma = field.density(sample_points(origins, directions, t), volume).view_as(t)
    return ray_weights(sigma, delta), delta


def quick_weights(
    field: GovNesf,
    volume: VolumeField,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    t: Float[Tensor, "r s"],
    end: Float[Tensor, "r"],
) -> tuple[Float[Tensor, "r s"], Float[Tensor, "r s"]]:
    """Return what `sample_weights` does, from the density of the nearest voxel's middle.

    Good enough to tell where to look closer, and the voxels' densities are computed once per
    volume, not once per ray.
    """
    delta = sample_distances(t, end, directions)
    row = volume.fine_grid.nearest(sample_points(origins, directions, t)).view_as(t)
    return ray_weights(field.density_grid(volume)[row], delta), delta
