"""The feature volume of the online map: where it lies, what is in it, depth rendered from it.

volume = MapVolume(field, config)
volume.add(keyframe, all_keyframes)        # running moments; grows or moves with the robot
rendered = volume.run()                    # the 3D network over all of it
"""

import numpy as np
import torch
from jaxtyping import Float32

from govnesf_model.cameras import pixel_rays
from govnesf_model.cost_volume import CostVolume, VolumeGrid
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_points import depth_edges, depth_grid
from govnesf_model.rendering import clip_to_grid, place_samples, ray_weights, sample_distances

_MARGIN = 0.32  # metres around the surface that the volume covers as well
_BLIND_RANGE = 4.0  # metres of frustum that the volume covers where no depth says how far to look
_BLOCK = 8  # voxels by which the volume grows


class MapVolume:
    """A cost volume that covers what the keyframes see, up to a largest size.

    When the robot goes on beyond that size, the volume moves along: it then lies around the newest
    keyframe and is filled again from the maps that the keyframes keep.
    """

    def __init__(
        self, field: GovNesf, config: MapConfig, device: torch.device | str = "cpu"
    ) -> None:
        self.field: VolumeField | None = None
        self._network = field
        self._config = config
        self._device = torch.device(device)
        self._cost: CostVolume | None = None

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return 0 if self._cost is None else self._cost.grid.cells

    @property
    def bytes(self) -> int:
        """Memory held by the volume and what the network made of it."""
        if self._cost is None:
            return 0
        held = self._cost.bytes
        if self.field is not None:
            tables = (self.field.features, self.field.density_table, self.field.fusion_table)
            held += sum(table.numel() * table.element_size() for table in tables)
        return held

    def add(self, keyframe: Keyframe, keyframes: tuple[Keyframe, ...]) -> None:
        """Fold a keyframe in.

        Args:
            keyframe: the new one.
            keyframes: all that belong into the volume, the new one among them: where the grid
                changes, each has to look at the new voxels.
        """
        lower, upper = seen_box(keyframe, self._config)
        grid = self._grid_for(lower, upper)
        if self._cost is not None and grid is self._cost.grid:
            self._fold(keyframe)
            return
        self._cost = self._network.empty_volume(grid)
        for held in keyframes:
            self._fold(held)

    def remove(self, keyframe: Keyframe) -> None:
        """Take a keyframe out again."""
        if self._cost is not None:
            self._cost.remove_view(*_view(keyframe, self._device))

    def run(self) -> VolumeField:
        """Run the 3D network over the volume; a keyframe must have been added."""
        self.field = self._network.volume_features(self._cost)
        return self.field

    def _fold(self, keyframe: Keyframe) -> None:
        self._cost.add_view(*_view(keyframe, self._device))

    def _grid_for(self, lower: Float32[np.ndarray, "3"], upper: Float32[np.ndarray, "3"]):
        limit = np.array(self._config.volume_extent, np.float32)
        voxel = self._network.config.voxel_size
        old = None if self._cost is None else self._cost.grid
        if old is not None:
            least = np.minimum(lower, old.lower.cpu().numpy())
            most = np.maximum(upper, old.upper.cpu().numpy())
            if (most - least <= limit + voxel * _BLOCK).all():
                return old.extended(self._tensor(lower), self._tensor(upper), _BLOCK)
            inside = (lower >= old.lower.cpu().numpy()) & (upper <= old.upper.cpu().numpy())
            if inside.all():
                return old
        # Too far away for one volume, or the first one: lie around what is seen now. The slack of
        # half the limit makes this rare.
        size = upper - lower
        room = np.clip((limit - size) / 2, 0, None) * (0.5 if old is not None else 0.0)
        middle, half = (lower + upper) / 2, np.minimum(size / 2 + room, limit / 2)
        # Whole voxels, so that the lattice is the same wherever the volume lies.
        start = np.floor((middle - half) / voxel) * voxel
        return VolumeGrid.around(self._tensor(start), self._tensor(middle + half), voxel)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)


def seen_box(
    keyframe: Keyframe, config: MapConfig
) -> tuple[Float32[np.ndarray, "3"], Float32[np.ndarray, "3"]]:
    """Return the corners of the box that a keyframe looks into, camera and a margin included."""
    rows, columns = np.mgrid[0 : keyframe.height : 8, 0 : keyframe.width : 8].reshape(2, -1)
    if keyframe.depth is None:
        depth = np.full(len(rows), min(_BLIND_RANGE, config.max_depth), np.float32)
    else:
        depth = keyframe.depth[rows, columns]
        rows, columns, depth = (a[depth > 0] for a in (rows, columns, depth))
        depth = np.minimum(depth, config.max_depth)
    uv = torch.from_numpy(np.stack([columns, rows], 1).astype(np.float32))
    origin, direction = pixel_rays(
        uv, torch.from_numpy(keyframe.K), torch.from_numpy(keyframe.T_world_camera)
    )
    xyz = (origin + direction * torch.from_numpy(depth).unsqueeze(1)).numpy()
    camera = keyframe.T_world_camera[None, :3, 3]
    if len(xyz):
        xyz = np.percentile(xyz, (1, 99), axis=0).astype(np.float32)
    xyz = np.concatenate([xyz, camera])
    return xyz.min(axis=0) - _MARGIN, xyz.max(axis=0) + _MARGIN


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
    start, end = clip_to_grid(
        volume.grid, origins, directions, config.min_depth, config.max_depth * 1.2
    )
    t = place_samples(start, end, field.config.samples_per_ray)
    points = origins.unsqueeze(1) + directions.unsqueeze(1) * t.unsqueeze(-1)
    sigma = field.density(points.reshape(-1, 3), volume).view_as(t)
    weights = ray_weights(sigma, sample_distances(t, end, directions))
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


def _view(keyframe: Keyframe, device: torch.device) -> tuple:
    return (
        keyframe.volume_features,
        torch.from_numpy(keyframe.K).to(device),
        torch.from_numpy(keyframe.T_world_camera).to(device),
        keyframe.width,
        keyframe.height,
    )
