"""Values at the points of a lattice, kept where somebody asked for them.

    lattice = SparseLattice(lower, upper, spacing=0.04)
    index, weight = lattice.taps(points)               # eight points around each, and their weights
    lattice.add(index[lattice.rows(index) == 0].unique())      # those that have no row get one
    rows = lattice.rows(index)                         # from 1 on

Points lie in blocks, and a block takes memory from when one of its points has a row: surfaces are a
small part of the space that they are in.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

EDGE = 16  # points along the edge of a block
BLOCK = EDGE**3  # 2**12: an index is a block's number and these bits


class SparseLattice:
    """Numbers the points of a lattice in the order in which they are asked for."""

    def __init__(self, lower: Float[Tensor, "3"], upper: Float[Tensor, "3"], spacing: float):
        """Lay a lattice into a box; no point has a row yet.

        Args:
            lower, upper: corners of the box, metres; points lie half a spacing inside and on.
            spacing: metres from point to point.
        """
        self.spacing, self.origin = spacing, lower + spacing / 2
        self.shape = torch.ceil((upper - lower) / spacing - 1e-4).clamp_min(1).long().tolist()
        self._blocks = [-(-size // EDGE) for size in self.shape]
        count = self._blocks[0] * self._blocks[1] * self._blocks[2]
        self._slot = torch.zeros(count, dtype=torch.int32, device=lower.device)  # 0: no block
        self._table = torch.zeros(BLOCK, dtype=torch.int32, device=lower.device)
        self._used = 1  # blocks, the empty one among them
        self._points = 0

    def __len__(self) -> int:
        """Number of points that have a row."""
        return self._points

    @property
    def bytes(self) -> int:
        """Memory held."""
        return 4 * (self._slot.numel() + self._table.numel())

    def taps(self, points: Float[Tensor, "n 3"]) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """Return the lattice points around each point and their weights, 0 outside the box."""
        at = (points - self.origin) / self.spacing
        size = torch.tensor(self.shape, device=points.device)
        weight = ((at > -1) & (at < size)).all(dim=1, keepdim=True).to(points.dtype)
        index = torch.zeros(len(points), 1, dtype=torch.long, device=points.device)
        outer, inner = BLOCK, 1  # steps of the index from block to block, and inside of one
        for axis in (2, 1, 0):
            place = at[:, axis].clamp(0, self.shape[axis] - 1)
            low = place.floor().clamp_max(max(self.shape[axis] - 2, 0))
            part = place - low
            both = torch.stack([low, (low + 1).clamp_max(self.shape[axis] - 1)], dim=-1).long()
            step = (both >> 4) * outer + (both & (EDGE - 1)) * inner
            index = (step.unsqueeze(2) + index.unsqueeze(1)).flatten(1)
            shares = torch.stack([1 - part, part], dim=-1)
            weight = (shares.unsqueeze(2) * weight.unsqueeze(1)).flatten(1)
            outer, inner = outer * self._blocks[axis], inner * EDGE
        return index, weight

    def rows(self, index: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Return the rows of lattice points; 0 for those that have none."""
        slot = self._slot.take(index >> 12).long()
        return self._table.take(slot * BLOCK + (index & (BLOCK - 1)))

    def add(self, index: Int[Tensor, "m"]) -> Int[Tensor, "m"]:
        """Give rows to lattice points that have none; each may be named once."""
        block = index >> 12
        fresh = block[self._slot.take(block) == 0].unique()
        end = self._used + len(fresh)
        if end * BLOCK > len(self._table):
            more = torch.zeros(2 * end * BLOCK, dtype=torch.int32, device=self._table.device)
            more[: self._used * BLOCK] = self._table[: self._used * BLOCK]
            self._table = more
        self._slot[fresh] = _count(self._used, end, fresh)
        self._used = end
        rows = _count(self._points + 1, self._points + 1 + len(index), index)
        self._table[self._slot.take(block).long() * BLOCK + (index & (BLOCK - 1))] = rows
        self._points += len(index)
        return rows

    def positions(self, index: Int[Tensor, "m"]) -> Float[Tensor, "m 3"]:
        """Return where lattice points are in the world."""
        block, inside = index >> 12, index & (BLOCK - 1)
        axes = []
        for axis in (2, 1, 0):
            axes.append((block % self._blocks[axis]) * EDGE + inside % EDGE)
            block, inside = block // self._blocks[axis], inside // EDGE
        return self.origin + torch.stack(axes[::-1], dim=1) * self.spacing


def _count(start: int, end: int, like: Tensor) -> Int[Tensor, "n"]:
    return torch.arange(start, end, dtype=torch.int32, device=like.device)
