"""A volume in tiles: cubes of voxels on a lattice that is anchored at the world's origin.

    slots = {(0, 0, 0): Slot(1, free), (1, 0, 0): Slot(2, free)}
    grid = TileGrid(0.16, TILE, slots, device)
    values = gather(table, *grid.taps(points))        # rows of slot n: n * TILE**3 and following

There is no wall and no box around the tiles is ever filled: a small table of pages tells in which
slot of the pooled tables a tile lies. Slot 0 stands for all tiles that are not there and holds what
the network makes of empty space. Points between two tiles mix both, as in one dense volume.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cost_volume import VolumeGrid

TILE = 8  # voxels along the edge of a tile; the network halves them twice
_MOST_PAGES = 1 << 22  # of a table of pages; tiles that lie wider apart are searched for

Tile = tuple[int, int, int]


class Slot:
    """A place in pooled tables that is free again when nobody holds it any more."""

    __slots__ = ("_free", "number", "sigma")

    def __init__(self, number: int, free: list[int]) -> None:
        """Take a place.

        Args:
            number: of the place.
            free: takes the number back; appending to a list needs no lock.
        """
        self.number = number
        self.sigma: Tensor | None = None
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.number)


class TileGrid:
    """Places the voxels of tiles, with the interface of `VolumeGrid` for sampling."""

    def __init__(
        self,
        voxel: float,
        edge: int,
        slots: Mapping[Tile, Slot],
        device: torch.device | str = "cpu",
    ) -> None:
        """Lay out at least one tile.

        Args:
            voxel: edge of a voxel in metres; that of tile (0, 0, 0) begins at the origin.
            edge: voxels along the edge of a tile.
            slots: where each tile lies in the tables; held on to, so that they stay.
            device: of the points that will be asked for.
        """
        self.voxel, self.edge, self.slots = voxel, edge, dict(slots)
        tiles = torch.tensor(list(self.slots), dtype=torch.long)
        numbers = torch.tensor([slot.number for slot in self.slots.values()])
        self._first = tiles.amin(dim=0) - 1  # a ring of pages without tile
        last = tiles.amax(dim=0) + 1
        self._pages = tuple((last - self._first + 1).tolist())
        corner = edge * voxel
        self.lower = ((self._first + 1).double() * corner).float().to(device)
        self.upper = (last.double() * corner).float().to(device)
        start = self._first.double() * corner + voxel / 2
        self.origin = start.float().to(device)
        self._last = (torch.tensor(self._pages) * edge - 1).to(device)  # voxel of the last page
        where = self._page(tiles - self._first)
        order = where.argsort()
        self._known, self._slot_of = where[order].to(device), numbers[order].to(device)
        self._table = None
        count = self._pages[0] * self._pages[1] * self._pages[2]
        if count <= _MOST_PAGES:
            table = torch.zeros(count, dtype=torch.long)
            table[where] = numbers
            self._table = table.to(device)

    @property
    def cells(self) -> int:
        """Number of voxels in tiles."""
        return len(self.slots) * self.edge**3

    def contains(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
        """Tell which points lie in a tile."""
        page, _ = self._split((self.to_index(points) + 0.5).floor().long())
        return self._slots(self._page(page)) > 0

    def to_index(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return fractional voxel indices, counted from the corner of the pages."""
        return (points - self.origin) / self.voxel

    def taps(self, points: Float[Tensor, "n 3"]) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """Return the rows of the eight voxels around each point and their trilinear weights."""
        # All corners at once: a call costs as much as its work on a thousand points.
        at = self.to_index(points).T.contiguous()  # [3, n]
        low = at.floor()
        upper_share = at - low
        share = torch.stack([1 - upper_share, upper_share])  # [2, 3, n]
        page, row = self._split(torch.stack([low, low + 1]).transpose(1, 2).long())
        x, y, z = ((slice(None), None, None), (None, slice(None), None), (None, None, slice(None)))
        pages, rows = page.unbind(2), row.unbind(2)  # [2, n] along each axis
        page = self._page_of(pages[0][x], pages[1][y], pages[2][z])  # [2, 2, 2, n]
        row = (rows[0][x] * self.edge + rows[1][y]) * self.edge + rows[2][z]
        weight = share[:, 0][x] * share[:, 1][y] * share[:, 2][z]
        index = self._slots(page).mul_(self.edge**3).add_(row)
        return index.view(8, -1).T.contiguous(), weight.view(8, -1).T.contiguous()

    def nearest(self, points: Float[Tensor, "n 3"]) -> Int[Tensor, "n"]:
        """Return the row of the voxel in which each point lies; one of slot 0 outside all tiles."""
        page, row = self._split(self.to_index(points).round().long())
        slot = self._slots(self._page(page))
        return slot * self.edge**3 + (row[:, 0] * self.edge + row[:, 1]) * self.edge + row[:, 2]

    def finer(self, split: int) -> "TileGrid":
        """Return the grid of the same tiles that has `split` voxels along each edge of a voxel."""
        return TileGrid(self.voxel / split, self.edge * split, self.slots, self.origin.device)

    def sigma_table(
        self, density: Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]
    ) -> Float[Tensor, "rows"]:
        """Return the density at the middle of each voxel, 0 in slot 0.

        Slots remember it: only tiles that are new are computed.

        Args:
            density: of points.
        """
        device, size = self.origin.device, self.edge**3
        for tile, slot in self.slots.items():
            if slot.sigma is None:
                slot.sigma = density(tile_centers([tile], self.edge, self.voxel, device))
        rows = (1 + max(slot.number for slot in self.slots.values())) * size
        table = torch.zeros(rows, device=device)
        for slot in self.slots.values():
            table[slot.number * size : (slot.number + 1) * size] = slot.sigma
        return table

    def _split(self, voxel: Int[Tensor, "*n 3"]) -> tuple[Int[Tensor, "*n 3"], Int[Tensor, "*n 3"]]:
        """Return the page of a voxel index and its index there; outside, one in the ring."""
        voxel = torch.minimum(voxel.clamp_min(0), self._last)
        if self.edge & (self.edge - 1):
            page = torch.div(voxel, self.edge, rounding_mode="floor")
        else:  # a power of two, as it is with any common split
            page = voxel >> (self.edge.bit_length() - 1)
        return page, voxel - page * self.edge

    def _page(self, page: Int[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
        return self._page_of(*page.unbind(-1))

    def _page_of(
        self, x: Int[Tensor, "*a"], y: Int[Tensor, "*b"], z: Int[Tensor, "*c"]
    ) -> Int[Tensor, "*n"]:
        _, size_y, size_z = self._pages
        return (x * size_y + y) * size_z + z

    def _slots(self, page: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        if self._table is not None:
            return self._table.take(page)
        at = torch.searchsorted(self._known, page).clamp_max(len(self._known) - 1)
        return torch.where(self._known[at] == page, self._slot_of[at], 0)


Grid = VolumeGrid | TileGrid


def tile_centers(
    tiles: list[Tile], edge: int, voxel: float, device: torch.device | str = "cpu"
) -> Float[Tensor, "cells 3"]:
    """Return the world positions of the voxel centres of tiles, tile by tile, z fastest.

    In memory they lie as `cameras.in_planes` would put them.
    """
    local = torch.cartesian_prod(*(torch.arange(edge),) * 3).T
    index = (torch.tensor(tiles).T * edge).unsqueeze(2) + local.unsqueeze(1)  # [3, t, edge^3]
    return ((index.flatten(1).float() + 0.5) * voxel).to(device).T
