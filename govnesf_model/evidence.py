"""What the views' own depths say about the volume: a signed distance that all of them vote on.

    evidence = EvidenceVolume(grid.finer(2))
    evidence.add_view(surface, K, T_world_camera, width=320, height=240)
    table = evidence.table()                       # [cells, 2]: distance and how sure it is
    distance, sure, _ = sample_evidence(packed(table), fine, points)

A view's depth, measured or from `stereo.py`, tells for every voxel on the way how far before or
behind its surface it lies. The weighted mean over views is the truncated signed distance of Curless
and Levoy; it passes through 0 within a fraction of a voxel of the surface. Weights follow from each
depth's own doubt. Sums make a view as easy to take out as to put in.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .cameras import project_seen, to_feature_coordinates
from .cost_volume import VolumeGrid
from .frustum import VoxelBlocks
from .gather import gather
from .stereo import Surface
from .tile_grid import Grid

TRUNCATION = 3.0  # voxels: farther before the surface is free space, farther behind is unknown
SURE = 0.04  # metres of doubt up to which a depth counts in full
HALF = 0.5  # weight at which a voxel is half sure


class EvidenceVolume:
    """Sum of weights and weighted signed distances per voxel."""

    def __init__(self, grid: VolumeGrid) -> None:
        """Start empty; the grid's device is the volume's."""
        self.grid = grid
        self._blocks = VoxelBlocks(grid.centers())
        self._weight = torch.zeros(grid.cells, device=grid.origin.device)
        self._sum = torch.zeros(grid.cells, device=grid.origin.device)

    @property
    def bytes(self) -> int:
        """Memory held by the volume."""
        tensors = (self._weight, self._sum)
        return sum(t.numel() * t.element_size() for t in tensors) + self._blocks.bytes

    @property
    def distance(self) -> Float[Tensor, "x y z"]:
        """Mean signed distance in units of the truncation: 1 free, 0 on the surface, below 0 behind
        it; 0 where no view tells."""
        return self.table()[:, 0].view(self.grid.shape)

    @property
    def sure(self) -> Float[Tensor, "x y z"]:
        """How sure that is: 0 where no view tells, towards 1 where many do."""
        return self.table()[:, 1].view(self.grid.shape)

    def add_view(
        self,
        surface: Surface,
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
    ) -> None:
        """Let a view vote.

        Args:
            surface: of this one view, at any resolution.
            K: intrinsics of the full image of `width` x `height`.
            T_world_camera: pose of the camera.
        """
        votes = self._votes(surface, K, T_world_camera, width, height)
        add_votes(self._weight, self._sum, *votes)

    def remove_view(
        self,
        surface: Surface,
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
    ) -> None:
        """Take back the votes of a view that was added with the same arguments."""
        votes = self._votes(surface, K, T_world_camera, width, height)
        remove_votes(self._weight, self._sum, *votes)

    def table(self) -> Float[Tensor, "cells 2"]:
        """Return [distance, sure] per voxel."""
        return votes_to_table(self._weight, self._sum)

    def _votes(
        self,
        surface: Surface,
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
    ) -> tuple[Tensor, Float[Tensor, "m"], Float[Tensor, "m"]]:
        near, centers = self._blocks.in_view(K, T_world_camera, width, height)
        at = centers, self.grid.voxel
        rows, *votes = votes_of(surface, K, T_world_camera, width, height, *at)
        return near.index_select(0, rows), *votes


def votes_of(
    surface: Surface,
    K: Float[Tensor, "3 3"],
    T_world_camera: Float[Tensor, "4 4"],
    width: int,
    height: int,
    centers: Float[Tensor, "n 3"],
    voxel: float,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m"], Float[Tensor, "m"]]:
    """Return how a view votes: rows of voxels, signed distances in truncations, and weights.

    Args:
        surface, K, T_world_camera, width, height: of the view, as `EvidenceVolume.add_view`.
        centers: of the voxels.
        voxel: their edge, metres.
    """
    reach = TRUNCATION * voxel
    rows, uv, z = project_seen(centers, K, T_world_camera, width, height)
    depth, spread = look_up(surface, 0, uv, width)
    distance = depth - z
    counts = (depth > 0) & (distance > -reach)
    rows, depth, spread = rows[counts], depth[counts], spread[counts]
    weight = (SURE / (depth * spread).clamp_min(SURE)).square()
    return rows, (distance[counts] / reach).clamp(-1, 1), weight


def add_votes(
    weights: Float[Tensor, "n"],
    sums: Float[Tensor, "n"],
    rows: Int[Tensor, "m"],
    distance: Float[Tensor, "m"],
    weight: Float[Tensor, "m"],
) -> None:
    """Add votes to sums of weights and of weighted distances, in place."""
    sums[rows] += distance * weight
    weights[rows] += weight


def remove_votes(
    weights: Float[Tensor, "n"],
    sums: Float[Tensor, "n"],
    rows: Int[Tensor, "m"],
    distance: Float[Tensor, "m"],
    weight: Float[Tensor, "m"],
) -> None:
    """Take back votes that were added with the same arguments."""
    left = weights[rows] - weight
    gone = left < 1e-5  # what rounding leaves of a single vote
    sums[rows] = torch.where(gone, 0.0, sums[rows] - distance * weight)
    weights[rows] = torch.where(gone, 0.0, left)


def votes_to_table(weights: Float[Tensor, "n"], sums: Float[Tensor, "n"]) -> Float[Tensor, "n 2"]:
    """Return [distance, sure] of sums of votes."""
    return torch.stack([sums / weights.clamp_min(1e-6), weights / (weights + HALF)], dim=1)


def look_up(
    surface: Surface,
    view: int | Tensor,
    uv: Float[Tensor, "*n 2"],
    width: int,
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Return depth and spread at the pixels of a view.

    The nearest cell's: between two surfaces an interpolated depth is one that nobody measured.

    Args:
        surface: of several views, at a whole stride.
        view: which of them, one number or one per pixel.
        uv: image positions.
        width: of the image that they are in.
    """
    lines, columns = surface.depth.shape[1:]
    at = to_feature_coordinates(uv, round(width / columns)).round().long()
    x, y = at[..., 0].clamp(0, columns - 1), at[..., 1].clamp(0, lines - 1)
    cell = (view * lines + y) * columns + x
    return surface.depth.take(cell).float(), surface.spread.take(cell).float()


def measured_surface(depth: Float[Tensor, "v H W"]) -> Surface:
    """Return what depth cameras say, z-depth in metres with 0 unknown; errors grow with depth."""
    return Surface(depth, torch.where(depth > 0, 0.006 + 0.003 * depth, 0.0))


def packed(
    table: Float[Tensor, "cells 2"], more: Float[Tensor, "cells c"] | None = None
) -> Float[Tensor, "cells c2"]:
    """Return evidence as `sample_evidence` takes it, with further columns to sample beside it."""
    columns = [table[:, :1] * table[:, 1:], table[:, 1:]]
    return torch.cat(columns if more is None else [*columns, more], dim=1)


def sample_evidence(
    table: Float[Tensor, "cells c2"], grid: Grid, points: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "n c"]]:
    """Return distance, sureness and the further columns between voxels.

    Voxels that know nothing have no say in the distance.
    """
    at = gather(table, *grid.taps(points))
    return at[:, 0] / at[:, 1].clamp_min(1e-6), at[:, 1], at[:, 2:]
