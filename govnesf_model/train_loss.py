"""The loss of one training problem: L_color + alpha L_ov (eq. 8) and the optional terms.

loss, parts = compute_loss(field, problem, config.loss, progress=0.1)
loss.backward()
"""

import torch
from jaxtyping import Float
from torch import Tensor

from . import losses
from .blending import Views
from .cost_volume import REFERENCE_FOCAL, batch_features
from .field import GovNesf, VolumeField
from .image_encoder import ImageFeatures
from .rendering import RayResult, render_rays
from .train_config import LossConfig
from .train_problems import Problem


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
    maps, volume = _build(field, problem, bf16)
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
    weighted = _photometric(result, problem, config) + _density(result, config)
    if refs.depth is not None:
        weighted += _measured(field, volume, maps, result, problem, config, progress)
    total = torch.stack([weight * value for _, weight, value in weighted]).sum()
    parts = {name: value.detach() for name, _, value in weighted}
    heavy = result.weights.detach() > field.config.min_sample_weight
    parts["samples"] = heavy.sum(dim=1).float().mean()
    return total, parts


Terms = list[tuple[str, float, Float[Tensor, ""]]]


def _build(field: GovNesf, problem: Problem, bf16: bool) -> tuple[ImageFeatures, VolumeField]:
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
        lift=field.config.lift_depth,
    )
    with torch.autocast(colors.device.type, dtype=torch.bfloat16, enabled=bf16):
        volume = field.volume_from(problem.grid, statistics)
    volume = VolumeField(
        volume.grid,
        volume.features.float(),
        volume.density_table.float(),
        volume.fusion_table.float(),
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
    maps: ImageFeatures,
    result: RayResult,
    problem: Problem,
    config: LossConfig,
    progress: float,
) -> Terms:
    """Return the terms that need depth images."""
    refs, rays = problem.references, problem.rays
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
    if config.guess and field.config.lift_depth:
        # Feature cell i is centred on pixel 4 i + 1.5.
        scale = refs.K[:, 0, 0] / (refs.width * REFERENCE_FOCAL)
        depth = refs.depth[:, 1::4, 1::4] / scale.view(-1, 1, 1)
        terms.append(("guess", config.guess, losses.guess_loss(maps.volume[:, -2:], depth)))
    if config.free:
        value = losses.free_space_loss(result.weights, rays.leaves_grid)
        terms.append(("free", config.free, value))
    return terms
