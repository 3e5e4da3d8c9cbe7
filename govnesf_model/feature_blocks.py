"""A long table of features in immutable blocks: a new version shares what did not change.

    table = FeatureBlocks.empty(dim=384)
    later = table.lengthened(5000).with_rows(rows, features)    # `table` stays as it was
    for start, block in later:                                  # [b, d], never written to again
        scores[start : start + len(block)] = block.float() @ texts
    totals = PerBlock()
    parts = totals.of(later, summed_up)                         # only of blocks that are new to it

A map of 400,000 points holds 300 MB of features, of which a keyframe changes a few per cent. A copy
per keyframe, and whatever is computed from all of it anew, would cost more than the keyframe.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

# Rows of a block. On a processor a block in single precision stays in its cache; a GPU wants few
# calls more than few rows.
_ROWS, _ROWS_ON_GPU = 2048, 32768

Value = TypeVar("Value")


class FeatureBlocks:
    """Rows of features, cut into blocks. Nothing in it ever changes.

    Args:
        blocks: [b, d] each, of one type and on one device. Nobody may write to them any more.
        dim: d.
        like: a tensor of the type and on the device of the blocks, where there are none.
    """

    def __init__(self, blocks: Sequence[Tensor], dim: int, like: Tensor | None = None) -> None:
        self.blocks = tuple(blocks)
        self.dim = dim
        self._like = self.blocks[0][:0] if like is None else like[:0]
        self._starts = np.cumsum([0, *map(len, self.blocks)])

    @classmethod
    def empty(cls, dim: int, device: torch.device | str = "cpu") -> "FeatureBlocks":
        """Return a table without rows, of half precision."""
        return cls((), dim, torch.zeros(0, dim, dtype=torch.float16, device=device))

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> "FeatureBlocks":
        """Return a table of the rows of a tensor, a copy."""
        # Each block in memory of its own: the tensor's would be held until the last is replaced.
        parts = features.split(_rows_of(features)) if len(features) else ()
        return cls([part.clone() for part in parts], features.shape[1], features)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of the first row and the rows of each block."""
        return zip(self._starts[:-1].tolist(), self.blocks, strict=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and length of a feature."""
        return len(self), self.dim

    @property
    def dtype(self) -> torch.dtype:
        return self._like.dtype

    @property
    def device(self) -> torch.device:
        return self._like.device

    @property
    def row_bytes(self) -> int:
        """Memory of one row."""
        return self.dim * self._like.element_size()

    @property
    def bytes(self) -> int:
        """Memory of all rows; versions of a table share it."""
        return len(self) * self.row_bytes

    def tensor(self) -> Float[Tensor, "n d"]:
        """Return all rows in one piece, a copy."""
        return torch.cat(self.blocks) if self.blocks else self._like.clone()

    def take(self, rows: Int64[np.ndarray, "m"]) -> Float[Tensor, "m d"]:
        """Return some rows, a copy, in the order asked for."""
        found = self._like.new_empty(len(rows), self.dim)
        for block, at, inside in self._where(rows):
            found[at] = self.blocks[block][inside]
        return found

    def with_rows(
        self, rows: Int64[np.ndarray, "m"], features: Float[Tensor, "m d"]
    ) -> "FeatureBlocks":
        """Return the table with some rows, each named once, replaced."""
        blocks = list(self.blocks)
        features = features.to(self.dtype)
        for block, at, inside in self._where(rows):
            whole = len(at) == len(blocks[block])  # ascending, so these are all of its rows
            some = features[at]
            blocks[block] = some if whole else blocks[block].index_copy(0, inside, some)
        return FeatureBlocks(blocks, self.dim, self._like)

    def lengthened(self, length: int) -> "FeatureBlocks":
        """Return the table with zero rows at its end, so that it has at least so many rows."""
        missing = length - len(self)
        if missing <= 0:
            return self
        most, blocks = _rows_of(self._like), list(self.blocks)
        if blocks and len(blocks[-1]) < most:
            more = min(missing, most - len(blocks[-1]))
            blocks[-1] = torch.cat([blocks[-1], self._like.new_zeros(more, self.dim)])
            missing -= more
        for start in range(0, missing, most):
            # One row of zeros that stands for all: it takes no memory until a row is replaced.
            zeros = self._like.new_zeros(1, self.dim)
            blocks.append(zeros.expand(min(most, missing - start), self.dim))
        return FeatureBlocks(blocks, self.dim, self._like)

    def keep(self, kept: Bool[np.ndarray, "n"]) -> "FeatureBlocks":
        """Return the table without the other rows; blocks that lose none are shared."""
        blocks: list[Tensor] = []
        most = _rows_of(self._like)
        fresh = False  # whether the last block is a new one, which may as well take another in
        for start, block in self:
            wanted = kept[start : start + len(block)]
            whole = bool(wanted.all())
            if not whole:
                block = block[torch.from_numpy(np.flatnonzero(wanted)).to(block.device)]
            if not len(block):
                continue
            # Else blocks would become ever shorter.
            if blocks and (fresh or not whole) and len(blocks[-1]) + len(block) <= most:
                blocks[-1], fresh = torch.cat([blocks[-1], block]), True
            else:
                blocks.append(block)
                fresh = not whole
        return FeatureBlocks(blocks, self.dim, self._like)

    def _where(self, rows: np.ndarray) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield a block, which of the rows lie in it, and where in it."""
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        ends = np.searchsorted(ordered, self._starts)
        if len(rows) and (ordered[0] < 0 or ends[-1] < len(rows)):
            raise IndexError(f"row {ordered[0]} or {ordered[-1]} of a table of {len(self)}")
        for block in np.flatnonzero(np.diff(ends)).tolist():
            part = slice(ends[block], ends[block + 1])
            inside = ordered[part] - self._starts[block]
            yield block, self._index(order[part]), self._index(inside)

    def _index(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)


class PerBlock(Generic[Value]):
    """Remembers what was computed from each block of the table that it was last asked for."""

    def __init__(self) -> None:
        # Keys are compared by identity, and as long as they are here no other has their address.
        self._held: dict[Tensor, Value] = {}

    def of(
        self, table: FeatureBlocks, compute: Callable[[list[Tensor]], Iterable[Value]]
    ) -> list[Value]:
        """Return a value per block.

        Args:
            table: any version of a table.
            compute: makes the values of some blocks, always the same for the same block.
        """
        known = self._held
        unknown = [block for block in table.blocks if block not in known]
        values = {**known, **dict(zip(unknown, compute(unknown), strict=True))}
        held = {block: values[block] for block in table.blocks}
        self._held = held  # in one step: another thread may ask meanwhile
        return list(held.values())

    def forget_others(self, table: FeatureBlocks) -> None:
        """Let go of blocks that are not in a table, and of the memory that they hold."""
        held = self._held
        self._held = {block: held[block] for block in table.blocks if block in held}


def _rows_of(features: Tensor) -> int:
    return _ROWS if features.device.type == "cpu" else _ROWS_ON_GPU
