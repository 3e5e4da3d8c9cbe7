"""Which voxels of a grid a camera may see: blocks of them are looked at first.

    blocks = VoxelBlocks(grid.centers())
    rows, centers = blocks.in_view(K, T_world_camera, width=320, height=240)
    seen, uv, z = project_seen(centers, K, T_world_camera, width=320, height=240)
    rows[seen]                                        # all that the camera sees, and nothing else

A camera in a room sees a part of it; what lies beside its view need not be projected.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_EDGE = 4  # voxels along a block


class VoxelBlocks:
    """The centres of a grid's voxels, block by block."""

    def __init__(self, centers: Float[Tensor, "x y z 3"]) -> None:
        """Sort the voxels into blocks.

        Args:
            centers: world positions, evenly spaced along each axis.
        """
        shape = centers.shape[:3]
        rows = torch.arange(shape.numel(), dtype=torch.int32, device=centers.device).view(shape)
        margin = [part for size in reversed(shape) for part in (0, -size % _EDGE)]
        # What fills up the last blocks is nowhere, so no camera sees it.
        filled = F.pad(centers.permute(3, 0, 1, 2), margin, value=torch.nan)
        self._rows = _blocks(F.pad(rows, margin)[None])[0]  # [b, e^3]
        self._centers = _blocks(filled)  # [3, b, e^3], in planes: see `cameras.in_planes`
        there = torch.nan_to_num(self._centers, nan=torch.inf).amin(dim=2)
        upper = torch.nan_to_num(self._centers, nan=-torch.inf).amax(dim=2)
        self._middle = (there + upper) / 2  # [3, b]
        self._reach = (upper - there).norm(dim=0) / 2  # [b]

    @property
    def bytes(self) -> int:
        """Memory held."""
        tensors = (self._rows, self._centers, self._middle, self._reach)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def in_view(
        self, K: Float[Tensor, "3 3"], T_world_camera: Float[Tensor, "4 4"], width: int, height: int
    ) -> tuple[Int[Tensor, "m"], Float[Tensor, "m 3"]]:
        """Return rows and centres of blocks that lie in a camera's view at least in part.

        Some of the centres are nowhere (NaN). The rows are those of `centers.reshape(-1, 3)`.
        """
        normals, offsets = view_planes(K, T_world_camera, width, height)
        distance = torch.addmm(offsets.unsqueeze(1), normals, self._middle)  # [5, b]
        # A little more, for what rounding may take away.
        near = (distance > -1.001 * self._reach - 1e-4).all(dim=0).nonzero().squeeze(1)
        centers = self._centers.index_select(1, near).flatten(1).T
        return self._rows.index_select(0, near).flatten().long(), centers


def view_planes(
    K: Float[Tensor, "3 3"], T_world_camera: Float[Tensor, "4 4"], width: int, height: int
) -> tuple[Float[Tensor, "5 3"], Float[Tensor, "5"]]:
    """Return the planes around what a camera sees: unit normals that point inwards, and offsets.

    A point p of the world lies in the view where normals @ p + offsets > 0, in metres from each
    plane: right of the left side, left of the right one, below, above, and before the camera.
    """
    # u > -0.5 is K[0] p > -0.5 K[2] p, and so on: see `cameras.inside_planes`.
    right, below = width - 0.5, height - 0.5
    sides = [[1, 0, 0.5], [-1, 0, right], [0, 1, 0.5], [0, -1, below], [0, 0, 1]]
    normals = F.normalize(K.new_tensor(sides) @ K, dim=1) @ T_world_camera[:3, :3].T
    return normals, -(normals @ T_world_camera[:3, 3])


def _blocks(values: Tensor) -> Tensor:
    """Return values [c, x, y, z] block by block, [c, b, e^3]."""
    c, x, y, z = values.shape
    e = _EDGE
    parts = values.view(c, x // e, e, y // e, e, z // e, e).permute(0, 1, 3, 5, 2, 4, 6)
    return parts.reshape(c, -1, e**3)
