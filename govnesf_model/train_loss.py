"""The loss of one training problem: L_color + alpha L_ov (eq. 8) and the optional terms.

loss, parts = compute_loss(field, problem, config.loss, progress=0.1)
loss.backward()
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from . import losses
from .blending import Views
from .cost_volume import FEATURE_STRIDE, batch_features
from .evidence import measured_surface
from .field import GovNesf, VolumeField
from .image_encoder import ImageFeatures
from .rendering import RayResult, render_rays
from .scene_volume import evidence_of
from .stereo import Surface, settle, stereo_loss
from .surfaces import at_stride, stereo_surfaces
from .train_config import LossConfig
from .train_problems import Problem

Terms = list[tuple[str, float, Float[Tensor, ""]]]


def compute_loss(
    field: GovNesf,
    problem: Problem,
    config: LossConfig,
    progress: float = 0.0,
    bf16: bool = False,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Build the field from the references, render the rays and compare.

    Args:
        field: in training mode.
        problem: on the field's device.
        config: weights of the terms.
        progress: finished share of the run, 0..1.
        bf16: compute the networks in bfloat16; projections and rendering stay in float32.

    Returns:
        The loss, and its parts without their weights, detached. "samples" among them is no loss: it
        is the mean number of samples per ray that matter, a measure of how soft the density is.
    """
    stereo = _stereo(field, problem, config, bf16)
    if not config.renders:
        return _summed(stereo)
    surface = _surface(field, problem)
    maps, volume = _build(field, problem, surface, bf16)
    refs, rays = problem.references, problem.rays
    views = Views(
        refs.colors(),
        maps.query,
        refs.K,
        refs.T_world_camera,
        refs.depth,
        # In float16 a ray that hits nothing has no cosine but NaN.
        None if problem.ov is None else problem.ov.float(),
        problem.ov_stride,
        surface,
        refs.gain,
    )
    result = render_rays(
        field,
        views,
        volume,
        rays.origins,
        rays.directions,
        want_ov=problem.ov is not None,
        generator=problem.generator(rays.origins.device),
    )
    weighted = stereo + _photometric(result, problem, config) + _density(result, config)
    if refs.depth is not None:
        weighted += _measured(field, volume, result, problem, config, progress)
    total, parts = _summed(weighted)
    heavy = result.weights.detach() > field.config.min_sample_weight
    parts["samples"] = heavy.sum(dim=1).float().mean()
    return total, parts


def _summed(terms: Terms) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    total = torch.stack([weight * value for _, weight, value in terms]).sum()
    return total, {name: value.detach() for name, _, value in terms}


def _stereo(field: GovNesf, problem: Problem, config: LossConfig, bf16: bool) -> Terms:
    """Return the loss of the views' own depth, and its median relative error beside it."""
    refs, pairs = problem.references, problem.stereo
    if not config.stereo or pairs is None or field.stereo is None or refs.depth is None:
        return []
    used = refs.subset(pairs.views)
    colors = used.colors()
    with torch.autocast(colors.device.type, dtype=torch.bfloat16, enabled=bf16):
        maps = used.maps or field.encoder.backbone(colors)
        maps = [level.float() for level in maps]
        rows = [view for view, _ in pairs.pairs]
        detail, match = field.stereo.describe(colors, maps)
        logits = field.stereo(
            [level[rows] for level in maps],
            detail[rows],
            match,
            used.K,
            pairs.T_world_camera,
            used.width,
            pairs.pairs,
        ).float()
    # Feature cell i is centred on pixel 4 i + 1.5.
    truth = used.depth[rows, 1::4, 1::4]
    depths = field.stereo.depths()
    with torch.no_grad():
        known = truth > depths[0]
        off = (settle(logits, depths).depth - truth).abs()[known] / truth[known]
        median = off.median() if len(off) else off.sum()
    return [
        ("stereo", config.stereo, stereo_loss(logits, depths, truth)),
        ("stereo_error", 0.0, median),
    ]


def _surface(field: GovNesf, problem: Problem) -> Surface | None:
    """Return what the references believe to see: measured depth in some steps, stereo in others."""
    refs = problem.references
    if not field.config.evidence_split:
        return None
    if problem.measured and refs.depth is not None:
        return _as_measured(refs.depth, problem.generator(refs.depth.device))
    if refs.surface is not None:
        return refs.surface
    if field.stereo is None:
        return None
    return stereo_surfaces(field, refs.colors(), refs.maps, refs.K, refs.T_world_camera)


def _as_measured(depth: Float[Tensor, "v H W"], generator: torch.Generator) -> Surface:
    """Return depth as a depth camera gives it: noisy, with holes where it likes."""
    depth = at_stride(Surface(depth, depth), FEATURE_STRIDE).depth
    views, height, width = depth.shape

    def noise(rows: int, columns: int) -> Float[Tensor, "v h w"]:
        coarse = torch.randn(views, 1, rows, columns, generator=generator, device=depth.device)
        return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[:, 0]

    wrong = 0.004 * depth * noise(height, width) + 0.006 * depth * noise(6, 8)
    holes = noise(8, 10) > 1.5
    return measured_surface(torch.where(holes | (depth <= 0), 0.0, depth + wrong))


def _build(
    field: GovNesf, problem: Problem, surface: Surface | None, bf16: bool
) -> tuple[ImageFeatures, VolumeField]:
    refs = problem.references
    colors = refs.colors()
    with torch.autocast(colors.device.type, dtype=torch.bfloat16, enabled=bf16):
        if refs.maps is None:
            maps = field.encode_images(colors)
        else:
            maps = field.encoder.decode(colors, [level.float() for level in refs.maps])
    maps = ImageFeatures(maps.volume.float(), maps.query.float())
    statistics = batch_features(
        problem.grid,
        maps.volume,
        refs.K,
        refs.T_world_camera,
        refs.width,
        refs.height,
    )
    evidence = None
    if surface is not None:
        evidence = evidence_of(
            *(problem.grid, field.config.evidence_split, surface, refs.K, refs.T_world_camera),
            *(refs.width, refs.height),
        ).table()
    with torch.autocast(colors.device.type, dtype=torch.bfloat16, enabled=bf16):
        volume = field.volume_from(problem.grid, statistics, evidence)
    volume = replace(
        volume,
        features=volume.features.float(),
        density_table=volume.density_table.float(),
        fusion_table=volume.fusion_table.float(),
        fine_table=None if volume.fine_table is None else volume.fine_table.float(),
    )
    return maps, volume


def _photometric(result: RayResult, problem: Problem, config: LossConfig) -> Terms:
    rays = problem.rays
    usable = rays.in_grid & rays.visible
    terms = [("color", config.color, losses.color_loss(result.color, rays.color, usable))]
    if result.ov is not None and problem.ray_ov is not None:
        meant = usable if problem.ray_ov_known is None else usable & problem.ray_ov_known
        value = losses.ov_loss(result.ov, problem.ray_ov, meant)
        terms.append(("ov", config.color * config.ov, value))
    return terms


def _density(result: RayResult, config: LossConfig) -> Terms:
    terms = []
    if config.distortion:
        value = losses.distortion_loss(result.weights, result.t, result.delta)
        terms.append(("distortion", config.distortion, value))
    if config.entropy:
        terms.append(("entropy", config.entropy, losses.entropy_loss(result.weights)))
    if config.hard_surface:
        value = losses.hard_surface_loss(result.weights)
        terms.append(("hard_surface", config.hard_surface, value))
    return terms


def _measured(
    field: GovNesf,
    volume: VolumeField,
    result: RayResult,
    problem: Problem,
    config: LossConfig,
    progress: float,
) -> Terms:
    """Return the terms that need depth images."""
    rays = problem.rays
    terms = []
    if config.depth:
        value = losses.depth_loss(result.depth, rays.depth, rays.in_grid)
        terms.append(("depth", config.depth, value))
    if config.surface:
        first, last = config.surface_width
        width = first + (last - first) * progress
        value = losses.surface_loss(result.weights, result.t, rays.depth, width, rays.in_grid)
        terms.append(("surface", config.surface, value))
    if config.occupancy and problem.points is not None and problem.solid is not None:
        sigma = field.density(problem.points, volume)
        value = losses.occupancy_loss(sigma, problem.solid)
        terms.append(("occupancy", config.occupancy, value))
    if config.free:
        value = losses.free_space_loss(result.weights, rays.leaves_grid)
        terms.append(("free", config.free, value))
    return terms
