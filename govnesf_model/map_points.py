"""The surface points of the online map: one per occupied voxel.

    points = SurfacePoints(voxel_size=0.03, dim=384)
    rows, fresh = points.merge(xyz, rgb)            # fresh: which of the rows are new points
    rows = rows_seen(points.xyz, keyframe, depth, tolerance=0.05)

Arrays are replaced, never written to, so a snapshot may hold on to them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8
from torch import Tensor

from govnesf_model.cameras import pixel_grid, project_seen, unproject
from govnesf_model.feature_blocks import FeatureBlocks

_OFFSET = 1 << 20  # voxel indices of +-31 km at 3 cm fit in 21 bits
_MAX_WEIGHT = 30.0  # old observations fade, so that a point follows what changed


@dataclass(frozen=True)
class Visibility:
    """How a view relates to points.

    Attributes:
        seen: rows that the view sees on its surface.
        through: rows that the view looks through: it measures something clearly behind them.
    """

    seen: Int64[np.ndarray, "s"]
    through: Int64[np.ndarray, "t"]


class SurfacePoints:
    """Voxel-hashed points with running mean position and colour, and a fused feature each."""

    def __init__(self, voxel_size: float, dim: int, device: torch.device | str = "cpu") -> None:
        self.voxel_size = voxel_size
        # One row per point in all of them.
        self.xyz = np.zeros((0, 3), np.float32)
        self.rgb = np.zeros((0, 3), np.float32)
        self.weight = np.zeros(0, np.float32)
        self.misses = np.zeros(0, np.float32)
        self.confidence = np.zeros(0, np.float32)
        self.views = np.zeros(0, np.int16)  # that the feature was fused from
        # Rows that were merged but not yet fused are missing at the end of this table.
        self.features = FeatureBlocks.empty(dim, device)
        self._keys = np.zeros(0, np.int64)
        self._order = np.zeros(0, np.int64)  # sorts the keys

    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def row_bytes(self) -> int:
        """Memory of one point; nearly all of it is the feature."""
        position_to_order = 4 * (3 + 3 + 1 + 1 + 1) + 2 + 8 + 8
        return position_to_order + self.features.row_bytes

    @property
    def bytes(self) -> int:
        """Memory held by the points."""
        arrays = (self.xyz, self.rgb, self.weight, self.misses, self.confidence, self.views)
        held = sum(array.nbytes for array in (*arrays, self._keys, self._order))
        return held + self.features.bytes

    def merge(
        self, xyz: Float32[np.ndarray, "m 3"], rgb: Float32[np.ndarray, "m 3"]
    ) -> tuple[Int64[np.ndarray, "u"], Bool[np.ndarray, "u"]]:
        """Add observations; those in an occupied voxel move its point a little.

        Args:
            xyz: metres, finite.
            rgb: 0..255.

        Returns:
            The rows of the voxels that were hit and which of them are new.
        """
        keys, mean_xyz, mean_rgb, _ = one_per_voxel(xyz, rgb, self.voxel_size)
        rows = self.find(keys)
        fresh = rows < 0
        old = rows[~fresh]
        # One image is one observation, however many of its pixels fall into the voxel.
        gain = (1.0 / (self.weight[old] + 1.0))[:, None]
        self.xyz = self.xyz.copy()
        self.rgb = self.rgb.copy()
        self.weight = self.weight.copy()
        self.xyz[old] += (mean_xyz[~fresh] - self.xyz[old]) * gain
        self.rgb[old] += (mean_rgb[~fresh] - self.rgb[old]) * gain
        self.weight[old] = np.minimum(self.weight[old] + 1.0, _MAX_WEIGHT)
        rows[fresh] = len(self) + np.arange(int(fresh.sum()))
        self._append(keys[fresh], mean_xyz[fresh], mean_rgb[fresh])
        return rows, fresh

    def replace(
        self, xyz: Float32[np.ndarray, "m 3"], rgb: Float32[np.ndarray, "m 3"]
    ) -> tuple[Int64[np.ndarray, "n"], int]:
        """Take these observations for the whole surface; voxels that stay keep their features.

        Returns:
            For each old row its new one, -1 where nothing is any more; and how many voxels are new.
        """
        keys, mean_xyz, mean_rgb, hits = one_per_voxel(xyz, rgb, self.voxel_size)
        old = self.find(keys)
        stays = old >= 0
        kept = np.zeros(len(self), bool)
        kept[old[stays]] = True
        new_row = self.keep(kept)
        # What stays keeps its order, so that its features stay where they are.
        rows = np.concatenate([new_row[old[stays]], len(self) + np.arange((~stays).sum())])
        seen = np.concatenate([np.flatnonzero(stays), np.flatnonzero(~stays)])
        self._append(keys[~stays], mean_xyz[~stays], mean_rgb[~stays])
        self.xyz, self.rgb = np.empty_like(self.xyz), np.empty_like(self.rgb)
        self.weight = np.empty_like(self.weight)
        self.xyz[rows], self.rgb[rows] = mean_xyz[seen], mean_rgb[seen]
        self.weight[rows] = np.minimum(hits[seen], _MAX_WEIGHT)
        self.misses = np.zeros(len(self), np.float32)
        self.features = self.features.lengthened(len(self))
        return new_row, int((~stays).sum())

    def find(self, keys: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
        """Return the rows of voxels by their `voxel_keys`, -1 where no point is."""
        if len(self) == 0:
            return np.full(len(keys), -1, np.int64)
        ordered = self._keys[self._order]
        at = np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)
        return np.where(ordered[at] == keys, self._order[at], -1)

    def miss(self, rows: Int64[np.ndarray, "m"]) -> None:
        """Count for each row that a view looked through it."""
        self.misses = self.misses.copy()
        self.misses[rows] += 1.0

    def vanished(self) -> Bool[np.ndarray, "n"]:
        """Tell which points were looked through more often than they were seen."""
        return self.misses > self.weight + 1.0

    def keep(self, kept: Bool[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        """Drop the other points; return for each old row its new one, -1 where dropped."""
        new_row = np.where(kept, np.cumsum(kept) - 1, -1)
        for name in ("xyz", "rgb", "weight", "misses", "confidence", "views", "_keys"):
            setattr(self, name, getattr(self, name)[kept])
        self.features = self.features.keep(kept[: len(self.features)])
        self._order = new_row[self._order[kept[self._order]]]
        return new_row

    def set_features(
        self,
        rows: Int64[np.ndarray, "m"],
        features: Float[Tensor, "m d"],
        confidence: Float32[np.ndarray, "m"],
        views: Int[np.ndarray, "m"],
    ) -> None:
        """Replace the fused features of rows; new points that are not among them get zeros."""
        self.features = self.features.lengthened(len(self)).with_rows(rows, features)
        self.confidence = self.confidence.copy()
        self.confidence[rows] = confidence
        self.views = self.views.copy()
        self.views[rows] = views.astype(np.int16)

    def _append(self, keys: np.ndarray, xyz: np.ndarray, rgb: np.ndarray) -> None:
        """Add points with ascending keys, none of which is there."""
        count = len(keys)
        # Merged into the sorted ones: sorting all anew would cost more than all the rest.
        at = np.searchsorted(self._keys[self._order], keys)
        self._order = np.insert(self._order, at, len(self) + np.arange(count))
        self.xyz = np.concatenate([self.xyz, xyz])
        self.rgb = np.concatenate([self.rgb, rgb])
        self.weight = np.concatenate([self.weight, np.ones(count, np.float32)])
        self.misses = np.concatenate([self.misses, np.zeros(count, np.float32)])
        self.confidence = np.concatenate([self.confidence, np.zeros(count, np.float32)])
        self.views = np.concatenate([self.views, np.zeros(count, np.int16)])
        self._keys = np.concatenate([self._keys, keys])


def voxel_keys(xyz: Float[np.ndarray, "n 3"], voxel_size: float) -> Int64[np.ndarray, "n"]:
    """Return one number per point that is equal exactly for points of one voxel."""
    index = np.floor(xyz / voxel_size).astype(np.int64) + _OFFSET
    return (index[:, 0] << 42) | (index[:, 1] << 21) | index[:, 2]


def one_per_voxel(
    xyz: Float32[np.ndarray, "m 3"], rgb: Float32[np.ndarray, "m 3"], voxel_size: float
) -> tuple[
    Int64[np.ndarray, "v"],
    Float32[np.ndarray, "v 3"],
    Float32[np.ndarray, "v 3"],
    Float32[np.ndarray, "v"],
]:
    """Return the keys of voxels, ascending, mean position and colour, and how many fell in."""
    keys, voxel = np.unique(voxel_keys(xyz, voxel_size), return_inverse=True)
    voxel = voxel.reshape(-1)
    hits = np.bincount(voxel, minlength=len(keys)).astype(np.float32)

    def means(values: np.ndarray) -> np.ndarray:
        sums = [np.bincount(voxel, values[:, axis], minlength=len(keys)) for axis in range(3)]
        return (np.stack(sums, axis=1) / hits[:, None]).astype(np.float32)

    return keys, means(xyz), means(rgb), hits


def points_from_depth(
    rgb: UInt8[np.ndarray, "H W 3"],
    depth: Float32[np.ndarray, "H W"],
    K: Float32[np.ndarray, "3 3"],
    T_world_camera: Float32[np.ndarray, "4 4"],
    step: int,
    near: float,
    far: float,
) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n 3"]]:
    """Return the surface points of a depth image and their colours 0..255.

    Pixels at the edge of an object are left out: a depth camera puts points into thin air there.
    """
    good = (depth > near) & (depth < far) & ~depth_edges(depth)
    chosen = np.zeros_like(good)
    chosen[step // 2 :: step, step // 2 :: step] = True
    v, u = np.nonzero(good & chosen)
    uv = torch.from_numpy(np.stack([u, v], axis=1).astype(np.float32))
    xyz = unproject(
        uv, torch.from_numpy(depth[v, u]), torch.from_numpy(K), torch.from_numpy(T_world_camera)
    )
    return xyz.numpy(), rgb[v, u].astype(np.float32)


def depth_edges(
    depth: Float32[np.ndarray, "H W"], relative: float = 0.04
) -> Bool[np.ndarray, "H W"]:
    """Tell which pixels have a neighbour whose depth differs by more than a part of their own.

    A surface seen at a grazing angle also changes from pixel to pixel, but evenly: what counts is
    the difference to the mean of opposite neighbours. Neighbours without depth are no edge.
    """
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        middle = np.moveaxis(depth, axis, 0)
        before, here, after = middle[:-2], middle[1:-1], middle[2:]
        known = (before > 0) & (after > 0)
        bend = np.abs(before + after - 2 * here) > relative * here
        np.moveaxis(edge, axis, 0)[1:-1] |= known & bend
    return edge


def rows_seen(
    xyz: Float32[np.ndarray, "n 3"],
    K: Float32[np.ndarray, "3 3"],
    T_world_camera: Float32[np.ndarray, "4 4"],
    size: tuple[int, int],
    depth: Float32[np.ndarray, "h w"] | None,
    tolerance: float,
    far: float,
) -> Visibility:
    """Return which points a view sees.

    Args:
        xyz: points, metres; see `cameras.project_planes` for the quickest layout.
        K: intrinsics of an image of `size` (width, height).
        T_world_camera: its pose.
        depth: z-depth of the visible surface, at any resolution of the same view, 0 unknown.
            Without it the nearest points in each cell of a coarse z-buffer are taken as seen.
        tolerance: metres, see `MapConfig.depth_tolerance`.
        far: points beyond are not seen, metres.
    """
    width, height = size
    view = torch.from_numpy(K), torch.from_numpy(T_world_camera), width, height
    found = project_seen(torch.from_numpy(xyz), *view)
    near = found[2] < far
    rows, uv, z = (part[near].numpy() for part in found)
    nothing = np.zeros(0, np.int64)
    if depth is None:
        depth = z_buffer(uv, z, width, height)
    scale = np.array([depth.shape[1] / width, depth.shape[0] / height], np.float32)
    at = np.rint((uv + 0.5) * scale - 0.5).astype(np.int64)
    at = at.clip(0, [depth.shape[1] - 1, depth.shape[0] - 1])
    expected = depth[at[:, 1], at[:, 0]]
    allowed = tolerance * np.maximum(z, 1.0)
    known = expected > 0
    seen = rows[known & (np.abs(expected - z) < allowed)]
    # Twice the tolerance: a point is only given up on when the view is sure to look past it.
    through = rows[known & (expected - z > 2 * allowed + 0.05)]
    return Visibility(seen, through if len(through) else nothing)


def depth_grid(height: int, width: int, step: int) -> Float[Tensor, "h w 2"]:
    """Return the pixels at which depth is rendered, a coarse lattice over the image."""
    return pixel_grid(height, width)[step // 2 :: step, step // 2 :: step]


def z_buffer(
    uv: Float32[np.ndarray, "n 2"],
    z: Float32[np.ndarray, "n"],
    width: int,
    height: int,
    cell: int = 4,
) -> Float32[np.ndarray, "h w"]:
    """Return the nearest depth in each cell of an image, 0 where no point falls.

    Args:
        uv: image positions inside the image.
        z: depth of the points, metres.
        width, height: of the image.
        cell: pixels per cell along both axes.
    """
    columns, lines = -(-width // cell), -(-height // cell)
    at = np.clip((uv + 0.5) // cell, 0, [columns - 1, lines - 1]).astype(np.int64)
    buffer = np.full(lines * columns, np.inf, np.float32)
    np.minimum.at(buffer, at[:, 1] * columns + at[:, 0], z)
    buffer[~np.isfinite(buffer)] = 0.0
    return buffer.reshape(lines, columns)
