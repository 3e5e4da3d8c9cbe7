"""Where the volume lies in the world, and the running statistics of image features in it.

    grid = VolumeGrid.around(lower, upper, voxel=0.16)
    volume = CostVolume(grid, channels=32)
    volume.add_view(features, K, T_world_camera, width=320, height=240)
    inputs = volume.features()                              # [2 C + 1, X, Y, Z]

`VolumeGrid` is the one object that places voxels and samples them; nothing else converts between
metres and voxel indices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import in_planes, project_seen, to_feature_coordinates
from .frustum import VoxelBlocks
from .gather import bilinear_taps, gather, trilinear_taps

FEATURE_STRIDE = 4  # of the image encoder's maps
COUNT_SCALE = math.log(17.0)  # the count channel is about 1 where sixteen views see a voxel


@dataclass(frozen=True, eq=False)
class VolumeGrid:
    """A regular, axis-aligned lattice of voxels.

    Attributes:
        origin: world position of the CENTRE of voxel (0, 0, 0), metres, [3].
        voxel: edge of a voxel in metres.
        shape: number of voxels along x, y, z.
    """

    origin: Float[Tensor, "3"]
    voxel: float
    shape: tuple[int, int, int]

    @classmethod
    def around(
        cls, lower: Float[Tensor, "3"], upper: Float[Tensor, "3"], voxel: float
    ) -> "VolumeGrid":
        """Return the smallest grid that covers a box, starting at its lower corner."""
        shape = torch.ceil((upper - lower) / voxel - 1e-4).clamp_min(1).long().tolist()
        return cls(lower + voxel / 2, voxel, (shape[0], shape[1], shape[2]))

    @property
    def lower(self) -> Float[Tensor, "3"]:
        """The outer corner of the first voxel, metres."""
        return self.origin - self.voxel / 2

    @property
    def upper(self) -> Float[Tensor, "3"]:
        """The outer corner of the last voxel, metres."""
        size = torch.tensor(self.shape, dtype=self.origin.dtype, device=self.origin.device)
        return self.lower + size * self.voxel

    @property
    def cells(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def centers(self) -> Float[Tensor, "x y z 3"]:
        """Return the world positions of all voxel centres."""
        axes = [
            self.origin[axis]
            + self.voxel * torch.arange(size, dtype=torch.float32, device=self.origin.device)
            for axis, size in enumerate(self.shape)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def to_index(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return fractional voxel indices (i, j, k) of world points; integers are voxel centres."""
        return (points - self.origin) / self.voxel

    def contains(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
        """Tell which points lie in the outer faces of the grid."""
        return ((points >= self.lower) & (points <= self.upper)).all(dim=-1)

    def taps(self, points: Float[Tensor, "n 3"]) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """Return the eight voxels around each point and their trilinear weights."""
        return trilinear_taps(self.to_index(points), self.shape)

    def sample(
        self, features: Float[Tensor, "c x y z"], points: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n c"]:
        """Sample a volume trilinearly; outside, the border's value."""
        table = features.permute(1, 2, 3, 0).reshape(self.cells, -1)
        return gather(table, *self.taps(points))

    def nearest(self, points: Float[Tensor, "n 3"]) -> Int[Tensor, "n"]:
        """Return the row of the voxel in which each point lies; outside, one at the border."""
        index = self.to_index(points).round().long()
        size = torch.tensor(self.shape, device=index.device)
        x, y, z = torch.minimum(index.clamp_min(0), size - 1).unbind(-1)
        return (x * self.shape[1] + y) * self.shape[2] + z

    def sigma_table(
        self, density: Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]
    ) -> Float[Tensor, "rows"]:
        """Return a density at the middle of each voxel, row by row."""
        return density(self.centers().reshape(-1, 3))

    def finer(self, split: int) -> "VolumeGrid":
        """Return the grid that has `split` voxels along each edge of a voxel of this one."""
        voxel = self.voxel / split
        shape = tuple(n * split for n in self.shape)
        return VolumeGrid(self.lower + voxel / 2, voxel, shape)


class CostVolume:
    """Count, mean and second moment of the image features that fall on each voxel (eq. 1).

    Only views that see a voxel count for it. `add_view` costs one projection of the voxels;
    `remove_view` with the same arguments is its inverse.
    """

    def __init__(self, grid: VolumeGrid, channels: int) -> None:
        """Start empty.

        Args:
            grid: where the voxels lie; its device is the volume's device.
            channels: channels of the feature maps that will be added.
        """
        self.grid = grid
        self.channels = channels
        device = grid.origin.device
        self._blocks = VoxelBlocks(grid.centers())
        self._count = torch.zeros(grid.cells, device=device)
        self._mean = torch.zeros(grid.cells, channels, device=device)
        self._m2 = torch.zeros(grid.cells, channels, device=device)

    @property
    def count(self) -> Float[Tensor, "x y z"]:
        """Number of views that see each voxel."""
        return self._count.reshape(self.grid.shape)

    @property
    def mean(self) -> Float[Tensor, "c x y z"]:
        """Mean feature, zero where no view looked."""
        return self._as_volume(self._mean)

    @property
    def m2(self) -> Float[Tensor, "c x y z"]:
        """Sum of squared deviations from the mean."""
        return self._as_volume(self._m2)

    @property
    def bytes(self) -> int:
        """Memory held by the volume."""
        tensors = (self._count, self._mean, self._m2)
        return sum(t.numel() * t.element_size() for t in tensors) + self._blocks.bytes

    @torch.no_grad()
    def add_view(
        self,
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        depth: Float[Tensor, "H W"] | None = None,
        stride: int = FEATURE_STRIDE,
        margin: float = 0.3,
    ) -> int:
        """Add one view's features to the voxels that it sees.

        Args:
            feat: feature map at `stride`.
            K: intrinsics of the full image of `width` x `height`.
            T_world_camera: pose of the camera.
            depth: measured z-depth; when given, voxels more than `margin` metres behind the
                measured surface are taken as unseen. The paper does without.

        Returns:
            The number of voxels that the view sees.
        """
        rows, values = self._look_up(feat, K, T_world_camera, width, height, depth, stride, margin)
        add_moments(self._count, self._mean, self._m2, rows, values)
        return len(rows)

    @torch.no_grad()
    def remove_view(
        self,
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        depth: Float[Tensor, "H W"] | None = None,
        stride: int = FEATURE_STRIDE,
        margin: float = 0.3,
    ) -> int:
        """Take out a view that was added with the same arguments; the inverse of `add_view`.

        Raises:
            ValueError: the view sees voxels that no view was added to.
        """
        rows, values = self._look_up(feat, K, T_world_camera, width, height, depth, stride, margin)
        remove_moments(self._count, self._mean, self._m2, rows, values)
        return len(rows)

    def features(self) -> Float[Tensor, "c2 x y z"]:
        """Return [mean, variance, count] as the 3D ResUNet takes it, 2 C + 1 channels."""
        return self._as_volume(moments_to_features(self._count, self._mean, self._m2))

    def _look_up(
        self,
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        depth: Float[Tensor, "H W"] | None,
        stride: int,
        margin: float,
    ) -> tuple[Int[Tensor, "m"], Float[Tensor, "m c"]]:
        view = K, T_world_camera, width, height
        near, centers = self._blocks.in_view(*view)
        rows, uv = visible_voxels(centers, *view, depth, margin)
        return near.index_select(0, rows), sample_map(feat.float(), uv, stride)

    def _as_volume(self, table: Float[Tensor, "cells c"]) -> Float[Tensor, "c x y z"]:
        return table.reshape(*self.grid.shape, -1).permute(3, 0, 1, 2)


def add_moments(
    count: Float[Tensor, "n"],
    mean: Float[Tensor, "n c"],
    m2: Float[Tensor, "n c"],
    rows: Int[Tensor, "m"],
    values: Float[Tensor, "m c"],
) -> None:
    """Add one value to each of some rows of running moments, in place.

    Args:
        count, mean, m2: number of values, their mean and the sum of squared deviations from it.
        rows: each at most once.
        values: one per row.
    """
    # Whole rows are found and put back twice as fast by these as by [rows].
    more, before = count.index_select(0, rows) + 1, mean.index_select(0, rows)
    change = values - before
    after = before + change / more.unsqueeze(-1)
    m2.index_add_(0, rows, change * (values - after))
    mean.index_copy_(0, rows, after)
    count.index_copy_(0, rows, more)


def remove_moments(
    count: Float[Tensor, "n"],
    mean: Float[Tensor, "n c"],
    m2: Float[Tensor, "n c"],
    rows: Int[Tensor, "m"],
    values: Float[Tensor, "m c"],
) -> None:
    """Take out what `add_moments` added with the same arguments.

    Raises:
        ValueError: a row holds no value.
    """
    held = count[rows]
    if len(rows) and float(held.min()) < 1:
        raise ValueError(
            f"{int((held < 1).sum())} of {len(rows)} voxels of the view to remove are empty: "
            "it was not added to this volume, or with other arguments"
        )
    left = (held - 1).unsqueeze(-1)
    after, some = mean[rows], left > 0
    before = torch.where(some, after - (values - after) / left.clamp_min(1), 0.0)
    rest = m2[rows] - (values - before) * (values - after)
    m2[rows] = torch.where(left > 1, rest.clamp_min(0), 0.0)
    mean[rows] = before
    count[rows] = left.squeeze(-1)


def batch_features(
    grid: VolumeGrid,
    feats: Float[Tensor, "v c h w"],
    K: Float[Tensor, "v 3 3"],
    T_world_camera: Float[Tensor, "v 4 4"],
    width: int,
    height: int,
    depth: Float[Tensor, "v H W"] | None = None,
    stride: int = FEATURE_STRIDE,
    margin: float = 0.3,
) -> Float[Tensor, "c2 x y z"]:
    """Return `CostVolume.features()` of several views at once, differentiable in the maps.

    Training uses this; the online map uses the running form. Both agree to rounding.
    """
    centers = in_planes(grid.centers().reshape(-1, 3))
    rows, values = [], []
    for view in range(feats.shape[0]):
        measured = None if depth is None else depth[view]
        seen, uv = visible_voxels(
            centers, K[view], T_world_camera[view], width, height, measured, margin
        )
        rows.append(seen)
        values.append(sample_map(feats[view], uv, stride))
    row, value = torch.cat(rows), torch.cat(values)
    channels = feats.shape[1]
    count = torch.zeros(grid.cells, device=row.device).index_add(
        0, row, torch.ones(len(row), device=row.device)
    )
    empty = value.new_zeros(grid.cells, channels)
    mean = empty.index_add(0, row, value) / count.clamp_min(1).unsqueeze(-1)
    m2 = empty.index_add(0, row, (value - mean[row]).square())
    table = moments_to_features(count, mean, m2)
    return table.reshape(*grid.shape, -1).permute(3, 0, 1, 2)


def visible_voxels(
    centers: Float[Tensor, "n 3"],
    K: Float[Tensor, "3 3"],
    T_world_camera: Float[Tensor, "4 4"],
    width: int,
    height: int,
    depth: Float[Tensor, "H W"] | None = None,
    margin: float = 0.3,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m 2"]]:
    """Return the rows of the voxel centres that a view sees and their image positions."""
    rows, uv, z = project_seen(centers, K, T_world_camera, width, height)
    if depth is None:
        return rows, uv
    column = uv[:, 0].round().clamp(0, depth.shape[1] - 1).long()
    line = uv[:, 1].round().clamp(0, depth.shape[0] - 1).long()
    measured = depth[line, column]
    open_ = (measured <= 0) | (z <= measured + margin)
    return rows[open_], uv[open_]


def sample_map(
    feat: Float[Tensor, "c h w"], uv: Float[Tensor, "n 2"], stride: int = FEATURE_STRIDE
) -> Float[Tensor, "n c"]:
    """Return a feature map at image positions, bilinear."""
    channels, height, width = feat.shape
    table = feat.reshape(channels, -1).T.contiguous()
    return gather(table, *bilinear_taps(to_feature_coordinates(uv, stride), height, width))


def moments_to_features(
    count: Float[Tensor, "n"], mean: Float[Tensor, "n c"], m2: Float[Tensor, "n c"]
) -> Float[Tensor, "n c2"]:
    """Return [mean, variance, count] as the 3D ResUNet takes it, of running moments."""
    variance = m2 / count.clamp_min(1).unsqueeze(-1)
    seen = (torch.log1p(count) / COUNT_SCALE).unsqueeze(-1)
    return torch.cat([mean, variance, seen], dim=-1)
