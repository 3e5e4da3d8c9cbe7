"""What the views put into a volume: statistics of features and votes of depths, side by side.

    volume = field.empty_volume(grid)
    volume.add_view(features, K, T_world_camera, width=320, height=240, surface=surface)
    geometry = field.volume_features(volume)

Features lie on the grid's voxels, votes on voxels of a fraction of their edge, which the 3D network
reads as further channels of the voxel that they lie in.
"""

from jaxtyping import Float
from torch import Tensor

from .cost_volume import CostVolume, VolumeGrid
from .evidence import EvidenceVolume
from .stereo import Surface


class SceneVolume:
    """A cost volume and, where the field takes any, the evidence of depths."""

    def __init__(self, grid: VolumeGrid, channels: int, split: int) -> None:
        """Start empty.

        Args:
            grid: of the cost volume.
            channels: of the feature maps.
            split: voxels of evidence along the edge of a voxel; 0 for no evidence.
        """
        self.cost = CostVolume(grid, channels)
        self.evidence = EvidenceVolume(grid.finer(split)) if split else None

    @property
    def grid(self) -> VolumeGrid:
        """The grid of the cost volume."""
        return self.cost.grid

    @property
    def bytes(self) -> int:
        """Memory held."""
        return self.cost.bytes + (0 if self.evidence is None else self.evidence.bytes)

    def add_view(
        self,
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        surface: Surface | None = None,
    ) -> None:
        """Add a view; arguments as in `CostVolume.add_view` and `EvidenceVolume.add_view`."""
        self.cost.add_view(feat, K, T_world_camera, width, height)
        if self.evidence is not None and surface is not None:
            self.evidence.add_view(surface, K, T_world_camera, width, height)

    def remove_view(
        self,
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        surface: Surface | None = None,
    ) -> None:
        """Take a view out that was added with the same arguments."""
        self.cost.remove_view(feat, K, T_world_camera, width, height)
        if self.evidence is not None and surface is not None:
            self.evidence.remove_view(surface, K, T_world_camera, width, height)


def children(table: Float[Tensor, "cells c"], grid: VolumeGrid, split: int) -> Tensor:
    """Return from a table of a finer grid what lies in each coarse voxel, [c split^3, x, y, z].

    Args:
        table: of `grid.finer(split)`.
        grid: the coarse one.
        split: fine voxels along the edge of a coarse one.
    """
    x, y, z = grid.shape
    fine = table.view(x, split, y, split, z, split, -1)
    return fine.permute(6, 1, 3, 5, 0, 2, 4).reshape(-1, x, y, z)


def parents(volume: Float[Tensor, "c x y z"], split: int) -> Float[Tensor, "cells c2"]:
    """Return the table of the finer grid that `children` makes such a volume of."""
    c, x, y, z = volume.shape
    fine = volume.view(c // split**3, split, split, split, x, y, z)
    return fine.permute(4, 1, 5, 2, 6, 3, 0).reshape(x * y * z * split**3, -1)


def evidence_of(
    grid: VolumeGrid,
    split: int,
    surface: Surface,
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
    width: int,
    height: int,
) -> EvidenceVolume:
    """Return the evidence of several views at once."""
    evidence = EvidenceVolume(grid.finer(split))
    for view in range(len(K)):
        evidence.add_view(surface[view : view + 1], K[view], T_world_camera[view], width, height)
    return evidence
