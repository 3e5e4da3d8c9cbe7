"""What views put into the tiles of a volume that has no end.

    volume = TiledVolume(0.16, channels=32, split=2)
    changed = volume.add_view(tiles, features, K, T_world_camera, 320, 240, surface)
    grid, features, evidence = volume.box((0, 0, 0), (24, 16, 16))     # for the 3D network

Statistics and votes are those of `scene_volume.py`, for the voxels of the tiles that a view is said
to look into. A tile is there as long as a view has looked into it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .cost_volume import (
    VolumeGrid,
    add_moments,
    moments_to_features,
    remove_moments,
    sample_map,
    visible_voxels,
)
from .evidence import add_votes, remove_votes, votes_of, votes_to_table
from .stereo import Surface
from .tile_grid import TILE, Tile, tile_centers
from .tile_store import TileStore, TileSums


class TiledVolume:
    """Sums per tile, allocated when a view looks there and freed when the last one is taken out."""

    def __init__(
        self,
        voxel: float,
        channels: int,
        split: int,
        device: torch.device | str = "cpu",
        limit: float = float("inf"),
    ) -> None:
        """Start empty.

        Args:
            voxel: edge of a voxel in metres.
            channels: of the feature maps.
            split: voxels of evidence along the edge of a voxel; 0 for no evidence.
            device: of the tiles.
            limit: bytes of tiles beyond which those that are not needed are put away, see
                `TileStore`.
        """
        self.voxel, self.channels, self.split = voxel, channels, split
        self.device = torch.device(device)
        self.tiles = TileStore(device, limit)

    @property
    def bytes(self) -> int:
        """Memory held; tiles on the disk are in none."""
        return self.tiles.bytes

    @property
    def tile_bytes(self) -> int:
        """Memory of one tile."""
        return 4 * (TILE**3 * (1 + 2 * self.channels) + 2 * (TILE * self.split) ** 3)

    @torch.no_grad()
    def add_view(
        self,
        tiles: Sequence[Tile],
        bounds: tuple[Tile, Tile],
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        surface: Surface | None = None,
    ) -> None:
        """Add a view to the tiles that it looks into.

        Args:
            tiles: each once; those that are not there yet are made.
            bounds: the first voxel that is looked at and the one behind the last, counted from the
                world's origin.
            feat, K, T_world_camera, width, height, surface: as `SceneVolume.add_view`.
        """
        for tile in tiles:
            if tile not in self.tiles:
                self.tiles[tile] = self._empty()
            self.tiles[tile].views += 1
        view = feat, K, T_world_camera, width, height, surface
        self._change(tiles, bounds, add_moments, add_votes, *view)
        self.tiles.trim()

    @torch.no_grad()
    def remove_view(
        self,
        tiles: Sequence[Tile],
        bounds: tuple[Tile, Tile],
        feat: Float[Tensor, "c h w"],
        K: Float[Tensor, "3 3"],
        T_world_camera: Float[Tensor, "4 4"],
        width: int,
        height: int,
        surface: Surface | None = None,
    ) -> None:
        """Take out a view that was added with the same arguments.

        Raises:
            ValueError: it was not.
        """
        view = feat, K, T_world_camera, width, height, surface
        self._change(tiles, bounds, remove_moments, remove_votes, *view)
        for tile in tiles:
            self.tiles[tile].views -= 1
            if self.tiles[tile].views == 0:
                del self.tiles[tile]
        self.tiles.trim()

    def box(
        self, lower: Tile, upper: Tile
    ) -> tuple[VolumeGrid, Float[Tensor, "c x y z"], Float[Tensor, "fine 2"] | None]:
        """Return one dense grid with what the 3D network takes; nothing where no tile is.

        Args:
            lower: the first voxel, counted from the world's origin.
            upper: the voxel behind the last.
        """
        first = [low // TILE for low in lower]
        counts = [-(-up // TILE) - at for up, at in zip(upper, first, strict=True)]
        cut = [
            slice(low - TILE * at, up - TILE * at)
            for low, up, at in zip(lower, upper, first, strict=True)
        ]
        places, held = [], []
        for place, name in enumerate(tiles_of_box(first, counts)):
            tile = self.tiles.get(name)
            if tile is not None:
                places.append(place)
                held.append(tile)
        features, evidence = self._inputs(held)
        self.tiles.trim()
        dense = _placed(features, places, counts, TILE)[tuple(cut)]
        table = None
        if self.split:
            fine = [slice(self.split * c.start, self.split * c.stop) for c in cut]
            whole = _placed(evidence, places, counts, TILE * self.split)
            table = whole[tuple(fine)].reshape(-1, 2)
        start = (torch.tensor(lower).double() + 0.5) * self.voxel
        shape = tuple(up - lo for lo, up in zip(lower, upper, strict=True))
        grid = VolumeGrid(start.float().to(self.device), self.voxel, shape)
        return grid, dense.permute(3, 0, 1, 2), table

    def _change(
        self, tiles, bounds, moments, votes, feat, K, T_world_camera, width, height, surface
    ):
        """Add or remove a view; the tiles' sums are laid behind each other and split again."""
        held = [self.tiles[tile] for tile in tiles]
        if not held:
            return
        inside, centers = self._voxels(tiles, bounds, 1)
        rows, uv = visible_voxels(centers, K, T_world_camera, width, height)
        names = ("count", "mean", "m2")
        sums = [torch.cat([getattr(tile, name) for tile in held]) for name in names]
        moments(*sums, inside[rows], sample_map(feat.float(), uv))
        _put(held, names, sums)
        if self.split and surface is not None:
            inside, centers = self._voxels(tiles, bounds, self.split)
            at = centers, self.voxel / self.split
            rows, *rest = votes_of(surface, K, T_world_camera, width, height, *at)
            names = ("weight", "sum")
            sums = [torch.cat([getattr(tile, name) for tile in held]) for name in names]
            votes(*sums, inside[rows], *rest)
            _put(held, names, sums)

    def _voxels(
        self, tiles: Sequence[Tile], bounds: tuple[Tile, Tile], split: int
    ) -> tuple[Int[Tensor, "m"], Float[Tensor, "m 3"]]:
        """Return the rows of the voxels of tiles that lie within bounds, and their centres."""
        centers = tile_centers(list(tiles), TILE * split, self.voxel / split, self.device)
        within = torch.ones(len(centers), dtype=torch.bool, device=self.device)
        for axis, low, up in zip(centers.unbind(1), *bounds, strict=True):
            within &= (axis > low * self.voxel) & (axis < up * self.voxel)
        rows = within.nonzero().squeeze(1)
        return rows, centers.T[:, rows].T  # stays in planes

    def _inputs(self, held: list[TileSums]) -> tuple[Tensor, Tensor]:
        """Return features [t, n, 2 c + 1] and evidence [t, f, 2] of tiles."""
        held = held or [self._empty()]
        count, mean, m2, weight, total = (
            torch.cat([getattr(tile, name) for tile in held])
            for name in ("count", "mean", "m2", "weight", "sum")
        )
        features = moments_to_features(count, mean, m2)
        evidence = votes_to_table(weight, total)
        return features.view(len(held), TILE**3, -1), evidence.view(len(held), -1, 2)

    def _empty(self) -> TileSums:
        cells, fine = TILE**3, (TILE * self.split) ** 3
        sizes = (cells,), (cells, self.channels), (cells, self.channels), (fine,), (fine,)
        return TileSums(*(torch.zeros(size, device=self.device) for size in sizes))


def tiles_of_box(first: Sequence[int], counts: Sequence[int]) -> list[Tile]:
    """Return the tiles of a box, z fastest; `first` is the lowest one, `counts` tiles per axis."""
    x, y, z = (range(start, start + count) for start, count in zip(first, counts, strict=True))
    return [(i, j, k) for i in x for j in y for k in z]


def to_tiles(dense: Float[Tensor, "x y z c"], edge: int) -> Float[Tensor, "t n c"]:
    """Return the rows of a dense grid of whole tiles, tile by tile as `tiles_of_box`."""
    x, y, z = (size // edge for size in dense.shape[:3])
    tiles = dense.reshape(x, edge, y, edge, z, edge, -1).permute(0, 2, 4, 1, 3, 5, 6)
    return tiles.reshape(x * y * z, edge**3, -1)


def to_dense(
    tiles: Float[Tensor, "t n c"], counts: Sequence[int], edge: int
) -> Float[Tensor, "x y z c"]:
    """Return the dense grid that `to_tiles` makes such rows of; `counts` tiles along each axis."""
    x, y, z = counts
    dense = tiles.view(x, y, z, edge, edge, edge, -1).permute(0, 3, 1, 4, 2, 5, 6)
    return dense.reshape(x * edge, y * edge, z * edge, -1)


def _placed(
    rows: Float[Tensor, "t n c"], places: list[int], counts: Sequence[int], edge: int
) -> Float[Tensor, "x y z c"]:
    """Return a dense grid with tiles at their places, 0 elsewhere."""
    x, y, z = counts
    tiles = rows.new_zeros(x * y * z, *rows.shape[1:])
    tiles[places] = rows[: len(places)]
    return to_dense(tiles, counts, edge)


def _put(held: list[TileSums], names: Sequence[str], sums: list[Tensor]) -> None:
    for name, whole in zip(names, sums, strict=True):
        size = len(whole) // len(held)
        for tile, part in zip(held, whole.split(size), strict=True):
            getattr(tile, name).copy_(part)
