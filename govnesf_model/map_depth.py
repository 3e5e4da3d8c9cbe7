"""Depth that the field renders for a keyframe without measured depth.

    depth, xyz, rgb = render_depth(field, volume, keyframe, config)

A map without depth camera takes all its points from here, of several keyframes whenever it grows.
So density is not asked where the answer is known: where the views' own depths agree that there is
nothing, and behind what is opaque. Points lie as far off the true surface as with all density, by
some per cent less in rendered rooms and more among photos (`python -m benchmarks.blind_map`).
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Float32

from govnesf_model.cameras import pixel_rays
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_points import depth_edges, depth_grid
from govnesf_model.ray_samples import (
    clip_to_grid,
    place_samples,
    ray_weights,
    refine_samples,
    sample_distances,
    sample_points,
)
from govnesf_model.rendering import sample_weights

_COARSE_SHARE = 2  # of the samples per ray that an image takes; refined ones make up for it
_SURE = 0.1  # sureness of the evidence from which on it is believed
_FREE = 0.9  # distance, in truncations, from which on that means free space
_DARK = 0.1  # part of the light that is left where nothing behind matters any more
_FAR = 1.2  # of the largest depth of a point: so that what lies behind is not pulled before it


@torch.no_grad()
def render_depth(
    field: GovNesf, volume: VolumeField, keyframe: Keyframe, config: MapConfig
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n 3"]]:
    """Return depth that the field renders for a keyframe on a coarse lattice of pixels.

    Density alone decides; no view is looked up.

    Returns:
        z-depth in metres, 0 where the ray is not opaque enough; the points at the others and their
        colours 0..255.
    """
    device = volume.grid.origin.device
    pixels = depth_grid(keyframe.height, keyframe.width, config.render_step)
    uv = pixels.reshape(-1, 2)
    origins, directions = pixel_rays(
        uv, torch.from_numpy(keyframe.K), torch.from_numpy(keyframe.T_world_camera)
    )
    origins, directions = origins.contiguous().to(device), directions.to(device)
    rays = origins, directions
    start, end = clip_to_grid(volume.grid, *rays, config.min_depth, _FAR * config.max_depth)
    samples, fine = field.config.samples_per_ray, field.config.fine_samples
    t = place_samples(start, end, max(1, samples // _COARSE_SHARE) if fine else samples)
    weights = opaque_weights(field, volume, *rays, t, end)
    if fine:
        t = refine_samples(start, end, weights, fine)
        weights = opaque_weights(field, volume, *rays, t, end)
    opacity = weights.sum(dim=1)
    depth = (weights * t).sum(dim=1) / opacity.clamp_min(1e-6)
    good = (opacity > config.min_opacity) & (depth > config.min_depth) & (depth < config.max_depth)
    lattice = torch.where(good, depth, 0.0).reshape(pixels.shape[:2])
    lattice = lattice.cpu().numpy()
    flat = lattice.reshape(-1)
    # Between two surfaces the mean depth of a ray is thin air.
    rows = np.flatnonzero((flat > 0) & ~depth_edges(lattice, 0.15).reshape(-1))
    xyz = (origins[rows] + directions[rows] * torch.from_numpy(flat[rows, None]).to(device)).cpu()
    columns, lines = uv[rows].long().unbind(1)
    return lattice, xyz.numpy(), keyframe.rgb[lines.numpy(), columns.numpy()].astype(np.float32)


def opaque_weights(
    field: GovNesf,
    volume: VolumeField,
    origins: Float[torch.Tensor, "r 3"],
    directions: Float[torch.Tensor, "r 3"],
    t: Float[torch.Tensor, "r s"],
    end: Float[torch.Tensor, "r"],
) -> Float[torch.Tensor, "r s"]:
    """Return rendering weights as `rendering.sample_weights`, from as little density as it takes.

    Where the evidence of the voxel that a sample lies in is free space, there is none. What no view
    tells about is looked up only as far as what is known lets light through.
    """
    if volume.fine_grid is None:
        return sample_weights(field, volume, origins, directions, t, end)[0]
    delta = sample_distances(t, end, directions)
    points = sample_points(origins, directions, t)
    # Distance times sureness, and sureness: see `evidence.packed`.
    held = volume.fine_table.index_select(0, volume.fine_grid.nearest(points))
    distance, sure = held[:, 0], held[:, 1]
    known = sure > _SURE
    sigma = points.new_zeros(len(points))

    def look_up(wanted: torch.Tensor) -> Float[torch.Tensor, "r s"]:
        rows = wanted.nonzero().squeeze(1)
        sigma.index_copy_(0, rows, field.density(points.index_select(0, rows), volume))
        return sigma.view_as(t) * delta

    thickness = look_up(known & (distance < _FREE * sure))
    before = torch.cumsum(thickness, dim=1) - thickness
    look_up(~known & (before < -math.log(_DARK)).flatten())
    return ray_weights(sigma.view_as(t), delta)
