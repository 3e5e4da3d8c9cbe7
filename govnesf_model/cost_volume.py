"""Where the volume lies in the world, and the running statistics of image features in it.

    grid = VolumeGrid.around(lower, upper, voxel=0.16)
    volume = CostVolume(grid, channels=32)
    volume.add_view(features, K, T_world_camera, width=320, height=240)
    inputs = volume.features()                              # [2 C + 1, X, Y, Z]

`VolumeGrid` is the one object that places voxels and samples them; nothing else converts between
metres and voxel indices.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import inside_image, project, to_feature_coordinates
from .gather import bilinear_taps, gather, trilinear_taps

FEATURE_STRIDE = 4  # of the image encoder's maps
REFERENCE_FOCAL = 0.76  # focal length / image width at which lifted depths are metres
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

    def offset_in(self, other: "VolumeGrid") -> tuple[int, int, int]:
        """Return the index in another grid of this grid's voxel (0, 0, 0).

        Raises:
            ValueError: the two grids do not share one lattice, or the other does not cover this.
        """
        if abs(other.voxel - self.voxel) > 1e-9:
            raise ValueError(
                f"grids of different voxel size ({self.voxel} and {other.voxel} m) share no lattice"
            )
        exact = ((self.origin - other.origin) / self.voxel).tolist()
        offset = [round(value) for value in exact]
        if max(abs(a - b) for a, b in zip(exact, offset, strict=True)) > 1e-3:
            raise ValueError(
                f"the grids are shifted by {exact} voxels: growth must be by whole ones"
            )
        if any(o < 0 or o + n > m for o, n, m in zip(offset, self.shape, other.shape, strict=True)):
            raise ValueError(
                f"the new grid {other.shape} does not cover the old one {self.shape} at {offset}"
            )
        return offset[0], offset[1], offset[2]

    def extended(
        self, lower: Float[Tensor, "3"], upper: Float[Tensor, "3"], block: int = 8
    ) -> "VolumeGrid":
        """Return the grid on the same lattice that also covers a box.

        Args:
            lower, upper: corners of the box, metres.
            block: growth happens in steps of this many voxels, so that it does not happen often.
        """
        before = torch.ceil((self.lower - lower) / (self.voxel * block) - 1e-4).clamp_min(0).long()
        after = torch.ceil((upper - self.upper) / (self.voxel * block) - 1e-4).clamp_min(0).long()
        if not (before.any() or after.any()):
            return self
        shape = [
            n + block * (b + a)
            for n, b, a in zip(self.shape, before.tolist(), after.tolist(), strict=True)
        ]
        origin = self.origin - before * block * self.voxel
        return VolumeGrid(origin, self.voxel, (shape[0], shape[1], shape[2]))


class CostVolume:
    """Count, mean and second moment of the image features that fall on each voxel (eq. 1).

    Only views that see a voxel count for it. `add_view` costs one projection of the voxels;
    `remove_view` with the same arguments is its inverse.
    """

    def __init__(self, grid: VolumeGrid, channels: int, lift: bool = False) -> None:
        """Start empty.

        Args:
            grid: where the voxels lie; its device is the volume's device.
            channels: channels of the feature maps that will be added.
            lift: the maps end with a guessed depth, see `lift_depth`.
        """
        self.grid = grid
        self.lift = lift
        self.channels = channels
        device = grid.origin.device
        self._centers = grid.centers().reshape(-1, 3)
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
        tensors = (self._centers, self._count, self._mean, self._m2)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

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
        count = self._count[rows] + 1
        change = values - self._mean[rows]
        mean = self._mean[rows] + change / count.unsqueeze(-1)
        self._m2[rows] += change * (values - mean)
        self._mean[rows] = mean
        self._count[rows] = count
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

        A grid that has grown since is no problem as long as the view saw nothing beyond the old
        one; to be exact there, remove a view before growing or rebuild.

        Raises:
            ValueError: the view sees voxels that no view was added to.
        """
        rows, values = self._look_up(feat, K, T_world_camera, width, height, depth, stride, margin)
        count = self._count[rows]
        if len(rows) and float(count.min()) < 1:
            raise ValueError(
                f"{int((count < 1).sum())} of {len(rows)} voxels of the view to remove are empty: "
                "it was not added to this volume, or with other arguments"
            )
        left = (count - 1).unsqueeze(-1)
        mean, some = self._mean[rows], left > 0
        before = torch.where(some, mean - (values - mean) / left.clamp_min(1), 0.0)
        m2 = self._m2[rows] - (values - before) * (values - mean)
        self._m2[rows] = torch.where(left > 1, m2.clamp_min(0), 0.0)
        self._mean[rows] = before
        self._count[rows] = left.squeeze(-1)
        return len(rows)

    def grown_to(self, grid: VolumeGrid) -> "CostVolume":
        """Return a volume on a bigger grid of the same lattice that keeps all moments.

        Voxels that are new start empty: views added before have not looked at them.
        """
        i, j, k = self.grid.offset_in(grid)
        x, y, z = self.grid.shape
        grown = CostVolume(grid, self.channels, self.lift)
        for name in ("_count", "_mean", "_m2"):
            old, new = getattr(self, name), getattr(grown, name)
            target = new.reshape(*grid.shape, -1)
            target[i : i + x, j : j + y, k : k + z] = old.reshape(*self.grid.shape, -1)
        return grown

    def features(self) -> Float[Tensor, "c2 x y z"]:
        """Return [mean, variance, count] as the 3D ResUNet takes it, 2 C + 1 channels."""
        return self._as_volume(_moments_to_features(self._count, self._mean, self._m2))

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
        rows, uv, z = visible_voxels(self._centers, K, T_world_camera, width, height, depth, margin)
        values = _sample(feat.float(), uv, stride)
        return rows, lift_depth(values, z, K, width) if self.lift else values

    def _as_volume(self, table: Float[Tensor, "cells c"]) -> Float[Tensor, "c x y z"]:
        return table.reshape(*self.grid.shape, -1).permute(3, 0, 1, 2)


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
    lift: bool = False,
) -> Float[Tensor, "c2 x y z"]:
    """Return `CostVolume.features()` of several views at once, differentiable in the maps.

    Training uses this; the online map uses the running form. Both agree to rounding.
    """
    centers = grid.centers().reshape(-1, 3)
    rows, values = [], []
    for view in range(feats.shape[0]):
        measured = None if depth is None else depth[view]
        seen, uv, z = visible_voxels(
            centers, K[view], T_world_camera[view], width, height, measured, margin
        )
        sampled = _sample(feats[view], uv, stride)
        rows.append(seen)
        values.append(lift_depth(sampled, z, K[view], width) if lift else sampled)
    row, value = torch.cat(rows), torch.cat(values)
    channels = feats.shape[1]
    count = torch.zeros(grid.cells, device=row.device).index_add(
        0, row, torch.ones(len(row), device=row.device)
    )
    empty = value.new_zeros(grid.cells, channels)
    mean = empty.index_add(0, row, value) / count.clamp_min(1).unsqueeze(-1)
    m2 = empty.index_add(0, row, (value - mean[row]).square())
    table = _moments_to_features(count, mean, m2)
    return table.reshape(*grid.shape, -1).permute(3, 0, 1, 2)


def visible_voxels(
    centers: Float[Tensor, "n 3"],
    K: Float[Tensor, "3 3"],
    T_world_camera: Float[Tensor, "4 4"],
    width: int,
    height: int,
    depth: Float[Tensor, "H W"] | None = None,
    margin: float = 0.3,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m 2"], Float[Tensor, "m"]]:
    """Return the rows of the voxel centres that a view sees, their image positions and z-depths."""
    uv, z = project(centers, K, T_world_camera)
    seen = inside_image(uv, z, width, height)
    if depth is not None:
        column = uv[:, 0].round().clamp(0, depth.shape[1] - 1).long()
        line = uv[:, 1].round().clamp(0, depth.shape[0] - 1).long()
        measured = depth[line, column]
        seen &= (measured <= 0) | (z <= measured + margin)
    rows = seen.nonzero().squeeze(-1)
    return rows, uv[rows], z[rows]


def lift_depth(
    values: Float[Tensor, "n c"], z: Float[Tensor, "n"], K: Float[Tensor, "3 3"], width: int
) -> Float[Tensor, "n c"]:
    """Turn a guessed depth into evidence about voxels.

    The last two channels of the encoder's map are the logarithm of the depth that one image
    suggests and the logarithm of its relative spread. At a voxel at depth z they become how well z
    fits (1 at the guessed surface) and whether z lies before it (1 before, 0 behind), so that the
    mean over views counts votes for a surface and for free space.

    Args:
        values: features sampled at the voxels' projections.
        z: depth of the voxels in that view, metres.
        K: intrinsics; depths are guessed for a camera of REFERENCE_FOCAL and scale with the focal
            length.
        width: image width in pixels.
    """
    scale = K[0, 0] / (width * REFERENCE_FOCAL)
    off = torch.log(z / scale) - values[:, -2]
    off = off * torch.exp(-values[:, -1].clamp(-3.5, 1.0))
    evidence = torch.stack([torch.exp(-off.abs()), torch.sigmoid(-2 * off)], dim=-1)
    return torch.cat([values[:, :-2], evidence], dim=-1)


def _sample(
    feat: Float[Tensor, "c h w"], uv: Float[Tensor, "n 2"], stride: int
) -> Float[Tensor, "n c"]:
    channels, height, width = feat.shape
    table = feat.reshape(channels, -1).T.contiguous()
    return gather(table, *bilinear_taps(to_feature_coordinates(uv, stride), height, width))


def _moments_to_features(
    count: Float[Tensor, "n"], mean: Float[Tensor, "n c"], m2: Float[Tensor, "n c"]
) -> Float[Tensor, "n c2"]:
    variance = m2 / count.clamp_min(1).unsqueeze(-1)
    seen = (torch.log1p(count) / COUNT_SCALE).unsqueeze(-1)
    return torch.cat([mean, variance, seen], dim=-1)
