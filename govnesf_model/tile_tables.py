"""What the network made of each tile, in pooled tables that readers may hold on to.

    tables = TileTables({"density": rows_of_empty_space})     # slot 0
    slots = tables.write({"density": rows})                   # [tiles, rows, channels]
    table = tables.table("density")                           # [rows of all slots, channels]

A slot is written once. A tile that changes gets another one, and the old one is written again only
when nobody holds it: a reader's volume never changes under its hands.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .tile_grid import Slot

_GROWTH = 1.25
_LEAST = 32  # slots by which tables grow


class TileTables:
    """Tables by name, each with the same slots."""

    def __init__(self, empty: dict[str, Float[Tensor, "rows c"]]) -> None:
        """Start with slot 0.

        Args:
            empty: what stands for every tile that is not there.
        """
        self._tables = {name: rows.unsqueeze(0).clone() for name, rows in empty.items()}
        self._free: list[int] = []
        self._row_bytes = sum(rows.numel() * rows.element_size() for rows in empty.values())

    @property
    def slot_bytes(self) -> int:
        """Memory of one tile."""
        return self._row_bytes

    def table(self, name: str) -> Float[Tensor, "cells c"]:
        """Return a table with the rows of all slots below each other."""
        return self._tables[name].flatten(0, 1)

    def write(self, parts: dict[str, Float[Tensor, "t rows c"]]) -> list[Slot]:
        """Write tiles into free slots.

        Args:
            parts: their rows, by name of the table.
        """
        count = len(next(iter(parts.values())))
        self._make_room(count)
        slots = [Slot(self._free.pop(), self._free) for _ in range(count)]
        for name, table in self._tables.items():
            number = torch.tensor([slot.number for slot in slots], device=table.device)
            table[number] = parts[name].to(table.dtype)
        return slots

    def _make_room(self, count: int) -> None:
        if len(self._free) >= count:
            return
        for name, old in self._tables.items():
            held = len(old)
            size = max(int(held * _GROWTH), held + count + _LEAST)
            # Readers keep the old table; what they hold of it has the same slots in the new one.
            table = old.new_empty(size, *old.shape[1:])
            table[:held] = old
            self._tables[name] = table
        self._free.extend(range(size - 1, held - 1, -1))
