"""The feature volume of the online map: where it lies and what is in it.

volume = MapVolume(field, config)
volume.add(keyframe)                       # running moments in the tiles that it looks into
rendered = volume.run()                    # the 3D network over the tiles that changed
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from govnesf_model.cameras import pixel_rays
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.stereo import DOUBTFUL
from govnesf_model.surfaces import at_stride
from govnesf_model.tile_grid import TILE, Slot, Tile, TileGrid
from govnesf_model.tile_tables import TileTables
from govnesf_model.tiled_volume import TiledVolume, tiles_of_box, to_dense, to_tiles

_MARGIN = 0.32  # metres around the surface that the volume covers as well
_BLIND_RANGE = 4.0  # metres of frustum that the volume covers where no depth says how far to look
_PIXELS = 8  # between the rays that tell which tiles a view looks into
MARGIN = 4  # voxels around what is wanted of the network that it sees as well
RING = 4  # voxels around what changed whose result is taken anew as well
_SUMS_SHARE = 0.15  # of the map's memory may be sums of tiles; what is not needed is put on disk
_LARGEST = 8  # tiles along the edge of a box that the network takes at once


class MapVolume:
    """Tiles where the keyframes look, and what the 3D network makes of them.

    What the network makes of a voxel depends on its neighbours, the less the farther they are. So
    the result is taken anew in a ring of `RING` voxels around what changed, and the network sees
    `MARGIN` voxels more. Against a run over everything this changes the opacity of 5 cm by 0.0001
    in the mean; with neither it would be 0.002, with a margin alone, however wide, 0.0004
    (`python -m benchmarks.volume_margin assets/demo_room`).
    """

    def __init__(
        self, field: GovNesf, config: MapConfig, device: torch.device | str = "cpu"
    ) -> None:
        self.field: VolumeField | None = None
        self._network = field
        self._config = config
        self._device = torch.device(device)
        shape = field.config.voxel_size, field.config.volume_channels, field.config.evidence_split
        limit = _SUMS_SHARE * config.memory_mib * 2**20
        self._sums = TiledVolume(*shape, self._device, limit)
        self._tables: TileTables | None = None
        self._slots: dict[Tile, Slot] = {}
        self._looks: dict[int, Look] = {}
        self._changed: list[Look] = []
        self._asked: tuple[Keyframe, Look] | None = None

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return len(self._sums.tiles) * TILE**3

    @property
    def bytes(self) -> int:
        """Memory held by the tiles and what the network makes of them."""
        tiles = len(self._sums.tiles)
        fine = 4 * (TILE * self._sums.split) ** 3
        dense = sum(fine for slot in self._slots.values() if slot.sigma is not None)
        return self._sums.bytes + tiles * self._made_bytes + dense

    def bytes_for(self, keyframe: Keyframe) -> int:
        """Return the memory by which a keyframe would let the volume grow."""
        look = self._look(keyframe)
        new = sum(tile not in self._sums.tiles for tile in look.tiles)
        return new * (self._sums.tile_bytes + self._made_bytes)

    @property
    def _made_bytes(self) -> int:
        return 0 if self._tables is None else self._tables.slot_bytes

    def add(self, keyframe: Keyframe) -> None:
        """Fold a keyframe in."""
        look = self._look(keyframe)
        self._sums.add_view(look.tiles, look.bounds, *_view(keyframe, self._device))
        self._looks[keyframe.id] = look
        self._changed.append(look)

    def remove(self, keyframe: Keyframe, later: bool = False) -> None:
        """Take a keyframe out again; one that was never folded in is passed over.

        Args:
            keyframe: as it was added.
            later: leave what the network made of it until another keyframe looks there, where other
                keyframes still look. What one saw that only has to make room was right.
        """
        look = self._looks.pop(keyframe.id, None)
        if look is not None:
            self._sums.remove_view(look.tiles, look.bounds, *_view(keyframe, self._device))
            if not later:
                self._changed.append(look)

    @torch.no_grad()
    def run(self, margin: int = MARGIN, ring: int = RING) -> VolumeField:
        """Run the 3D network where something changed; a keyframe must have been added.

        Args:
            margin: voxels around what is taken anew that the network sees too.
            ring: voxels around what changed that are taken anew too.
        """
        tiles = self._sums.tiles
        self._slots = {tile: slot for tile, slot in self._slots.items() if tile in tiles}
        if self._tables is None:
            self._tables = TileTables(self._empty_space())
        # Beyond what any keyframe looks at there is nothing that the network could use; where one
        # that was taken out looked, what the network made of it has to go.
        looks = [np.array(look.bounds) for look in (*self._looks.values(), *self._changed)]
        limits = np.stack(looks).min(axis=0)[0], np.stack(looks).max(axis=0)[1]
        for lower, upper in changed_boxes(self._changed):
            lower, upper = lower - ring, upper + ring
            lower, upper = np.maximum(lower, limits[0]), np.minimum(upper, limits[1])
            if (lower < upper).all():
                self._run_box(lower, upper, *limits, margin)
        self._changed.clear()
        self.field = self._volume()
        return self.field

    def _look(self, keyframe: Keyframe) -> "Look":
        """Return where a keyframe looks; asked twice of each, before and when it is added."""
        if self._asked is None or self._asked[0] is not keyframe:
            self._asked = keyframe, look_of(keyframe, self._config, self._sums.voxel)
        return self._asked[1]

    def _run_box(
        self,
        lower: np.ndarray,
        upper: np.ndarray,
        lowest: np.ndarray,
        highest: np.ndarray,
        margin: int,
    ) -> None:
        """Run the network for the voxels of a box and put what it makes into their tiles."""
        first, last = lower // TILE, (upper - 1) // TILE
        counts = (last - first + 1).tolist()
        names = tiles_of_box(first.tolist(), counts)
        there = [place for place, tile in enumerate(names) if tile in self._sums.tiles]
        if not there:
            return
        # The network halves twice: boxes begin and end where those of the whole would.
        start = np.maximum(lower - margin, lowest) // 4 * 4
        end = -(-np.minimum(upper + margin, highest) // 4) * 4
        dense = self._network.volume_from(
            *self._sums.box(tuple(start.tolist()), tuple(end.tolist()))
        )
        old = [self._slots[tile].number if tile in self._slots else 0 for tile in names]
        rows = {}
        for name, (table, split) in self._made(dense).items():
            shape = [size * split for size in dense.grid.shape]
            fresh = table.view(*shape, -1)[_cut(lower - start, upper - start, split)]
            edge = TILE * split
            held = self._tables.table(name).view(-1, edge**3, table.shape[1])[old]
            whole = to_dense(held, counts, edge)
            whole[_cut(lower - first * TILE, upper - first * TILE, split)] = fresh
            rows[name] = to_tiles(whole, edge)[there]
        slots = self._tables.write(rows)
        self._slots.update(zip([names[place] for place in there], slots, strict=True))

    def _made(self, dense: VolumeField) -> dict[str, tuple[torch.Tensor, int]]:
        """Return the tables of a dense volume and how many rows each has per edge of a voxel."""
        made = {"density": (dense.density_table, 1), "fusion": (dense.fusion_table, 1)}
        if self._network.regress is not None:
            made["features"] = dense.features.permute(1, 2, 3, 0).flatten(0, 2), 1
        if dense.fine_table is not None:
            made["fine"] = dense.fine_table, self._sums.split
        return made

    def _empty_space(self) -> dict[str, torch.Tensor]:
        """Return what the network makes of a tile in the middle of nothing."""
        sums = TiledVolume(self._sums.voxel, self._sums.channels, self._sums.split, self._device)
        dense = self._network.volume_from(*sums.box((0, 0, 0), (3 * TILE,) * 3))
        middle = np.full(3, TILE), np.full(3, 2 * TILE)
        rows = {}
        for name, (table, split) in self._made(dense).items():
            whole = table.view(*(3 * TILE * split,) * 3, -1)
            rows[name] = to_tiles(whole[_cut(*middle, split)], TILE * split)[0]
        return rows

    def _volume(self) -> VolumeField:
        tables, split = self._tables, self._sums.split
        grid = TileGrid(self._sums.voxel, TILE, self._slots, self._device)
        volume = VolumeField(grid, None, tables.table("density"), tables.table("fusion"))
        if self._network.regress is not None:
            volume.features = tables.table("features").T[:, :, None, None]
        if split:
            volume.fine_grid, volume.fine_table = grid.finer(split), tables.table("fine")
        return volume


@dataclass(frozen=True)
class Look:
    """Where a keyframe looks.

    Attributes:
        tiles: between its camera and its surface, a margin included.
        bounds: first voxel of the box around that, and the one behind the last.
    """

    tiles: list[Tile]
    bounds: tuple[Tile, Tile]


def changed_boxes(looks: Sequence[Look]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boxes of voxels, none of them large, that cover what keyframes look at."""
    if not looks:
        return []
    tiles = np.array([tile for look in looks for tile in look.tiles])
    lower = np.repeat([look.bounds[0] for look in looks], [len(k.tiles) for k in looks], axis=0)
    upper = np.repeat([look.bounds[1] for look in looks], [len(k.tiles) for k in looks], axis=0)
    return _split_boxes(np.maximum(lower, tiles * TILE), np.minimum(upper, (tiles + 1) * TILE))


def _split_boxes(lower: np.ndarray, upper: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return few boxes, not larger than allowed, around many that lie in a tile each."""
    first, last = lower.min(axis=0), upper.max(axis=0)
    axis = int((last - first).argmax())
    if last[axis] - first[axis] <= _LARGEST * TILE:
        return [(first, last)]
    # At the border of a tile, which none of the many crosses.
    middle = (first[axis] + last[axis]) // (2 * TILE) * TILE
    below = lower[:, axis] < middle
    halves = (lower[below], upper[below]), (lower[~below], upper[~below])
    return [box for half in halves for box in _split_boxes(*half)]


def look_of(keyframe: Keyframe, config: MapConfig, voxel: float) -> Look:
    """Return where a keyframe looks.

    Args:
        keyframe: the view.
        config: how far is looked at most.
        voxel: edge of a voxel in metres.
    """
    rows, columns, depth = _reach(keyframe, config)
    uv = torch.from_numpy(np.stack([columns, rows], 1).astype(np.float32))
    origin, direction = pixel_rays(
        uv, torch.from_numpy(keyframe.K), torch.from_numpy(keyframe.T_world_camera)
    )
    edge = TILE * voxel
    # All x before all y before all z: numpy goes through what lies in one piece many times faster.
    camera = keyframe.T_world_camera[:3, 3:]  # [3, 1]
    end = (origin + direction * torch.from_numpy(depth).unsqueeze(1)).T.contiguous().numpy()
    # A few pixels that are wrong by far must not open the box.
    box = np.percentile(end, (1, 99), axis=1) if end.size else np.stack([camera[:, 0]] * 2)
    lower = np.minimum(box[0], camera[:, 0]) - _MARGIN
    upper = np.maximum(box[1], camera[:, 0]) + _MARGIN
    corners = np.array(np.meshgrid(*([(-_MARGIN, _MARGIN)] * 3)), np.float32).reshape(3, 8, 1)
    steps = 1
    if end.size:
        steps += int(np.ceil(np.linalg.norm(end - camera, axis=0).max() / (edge / 2)))
    part = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    found = np.concatenate(
        [
            camera + corners[..., 0],
            (end[:, None] + corners).reshape(3, -1),
            (camera[..., None] + (end - camera)[:, None] * part).reshape(3, -1),
        ],
        axis=1,
    )
    inside = np.ones(found.shape[1], bool)
    for axis, low, high in zip(found, lower, upper, strict=True):
        inside &= (axis >= low - 1e-6) & (axis <= high + 1e-6)
    cells = np.floor(found.take(np.flatnonzero(inside), axis=1) / edge)
    low = cells.min(axis=1, keepdims=True)  # of floats in a tenth of the time that integers take
    cells -= low
    span = cells.max(axis=1).astype(np.int64) + 1
    numbers = np.unique(np.ravel_multi_index(tuple(cells.astype(np.int32)), tuple(span)))
    tiles = np.stack(np.unravel_index(numbers, span), axis=1) + low.T.astype(np.int64)
    first, last = np.floor(lower / voxel).astype(int), np.ceil(upper / voxel).astype(int)
    # A point on the upper face of the box lies in a tile of which the box has nothing.
    holds = ((tiles * TILE < last) & ((tiles + 1) * TILE > first)).all(axis=1)
    bounds = tuple(first.tolist()), tuple(last.tolist())
    return Look([tuple(tile) for tile in tiles[holds].tolist()], bounds)


def _reach(
    keyframe: Keyframe, config: MapConfig
) -> tuple[np.ndarray, np.ndarray, Float32[np.ndarray, "n"]]:
    """Return lines, columns and z-depth of pixels, as far as the view looks there."""
    if keyframe.surface is None:
        rows, columns = np.mgrid[
            0 : keyframe.height : _PIXELS, 0 : keyframe.width : _PIXELS
        ].reshape(2, -1)
        return rows, columns, np.full(len(rows), min(_BLIND_RANGE, config.max_depth), np.float32)
    stride = _PIXELS // round(keyframe.width / keyframe.surface.width)
    coarse = at_stride(keyframe.surface, stride)
    depth, spread = (part[0].float().cpu().numpy() for part in (coarse.depth, coarse.spread))
    rows, columns = np.nonzero((depth > 0) & (spread < DOUBTFUL))
    depth = depth[rows, columns]
    if len(depth):  # a few pixels are wrong by far
        depth = np.minimum(depth, min(float(np.percentile(depth, 99)), config.max_depth))
    return rows * _PIXELS + 3, columns * _PIXELS + 3, depth


def _cut(lower: np.ndarray, upper: np.ndarray, split: int) -> tuple[slice, slice, slice]:
    """Return the part of a grid that has `split` voxels along each edge of a voxel."""
    x, y, z = (slice(low * split, up * split) for low, up in zip(lower, upper, strict=True))
    return x, y, z


def _view(keyframe: Keyframe, device: torch.device) -> tuple:
    return (
        keyframe.volume_features,
        torch.from_numpy(keyframe.K).to(device),
        torch.from_numpy(keyframe.T_world_camera).to(device),
        keyframe.width,
        keyframe.height,
        keyframe.surface,
    )
