"""Sums of tiles by tile: the ones used last on the device, others in host memory, then on disk.

    store = TileStore(device, limit=64 * 2**20)
    store[tile] = sums
    store[tile]                  # wherever it is, it is on the device now
    store.trim()                 # what was not used for longest goes away until the rest fits

A robot works where it is; the sums of rooms that it has left are needed again only when it comes
back or when a keyframe of theirs is given up.
"""

import math
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from .tile_grid import Tile


@dataclass
class TileSums:
    """Running moments and votes of one tile, voxels with z fastest.

    Attributes:
        count, mean, m2: of the features, per voxel.
        weight, sum: of the votes, per finer voxel; none without evidence.
        views: that have looked into the tile.
    """

    count: Float[Tensor, "n"]
    mean: Float[Tensor, "n c"]
    m2: Float[Tensor, "n c"]
    weight: Float[Tensor, "f"]
    sum: Float[Tensor, "f"]
    views: int = 0

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        held = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def to(self, device: torch.device | str) -> "TileSums":
        """Return the sums on a device."""
        return replace(self, **{name: t.to(device) for name, t in self.tensors.items()})


class TileStore(MutableMapping[Tile, TileSums]):
    """A dictionary of sums, all of one size, that keeps to a limit of memory."""

    def __init__(self, device: torch.device | str = "cpu", limit: float = float("inf")) -> None:
        """Start empty.

        Args:
            device: where sums are handed out.
            limit: bytes of sums on the device, and as many again in host memory where that is
                another one.
        """
        self.device, self.limit = torch.device(device), limit
        self._near: OrderedDict[Tile, TileSums] = OrderedDict()  # used last at the end
        self._host: OrderedDict[Tile, TileSums] = OrderedDict()
        self._disk: dict[Tile, int] = {}  # the number of views; the rest is in a file
        self._folder: tempfile.TemporaryDirectory | None = None
        self._each = 0  # bytes of a tile

    @property
    def bytes(self) -> int:
        """Memory held, on the device and on the host."""
        return (len(self._near) + len(self._host)) * self._each

    @property
    def on_disk(self) -> int:
        """Number of tiles on the disk."""
        return len(self._disk)

    def __getitem__(self, tile: Tile) -> TileSums:
        """Return sums on the device, to be changed in place.

        Raises:
            KeyError: there is no such tile.
            OSError: its file cannot be read any more.
        """
        if tile not in self._near:
            if tile in self._host:
                self._near[tile] = self._host.pop(tile).to(self.device)
            else:
                views = self._disk[tile]
                tensors = load_file(self._path(tile), device=str(self.device))
                self._near[tile] = TileSums(**tensors, views=views)
                self._forget_file(tile)
        self._near.move_to_end(tile)
        return self._near[tile]

    def __setitem__(self, tile: Tile, sums: TileSums) -> None:
        self.pop(tile, None)
        self._near[tile] = sums
        self._each = sums.bytes

    def __delitem__(self, tile: Tile) -> None:
        if tile in self._disk:
            self._forget_file(tile)
        else:
            del (self._near if tile in self._near else self._host)[tile]

    def __contains__(self, tile: object) -> bool:
        return tile in self._near or tile in self._host or tile in self._disk

    def __iter__(self) -> Iterator[Tile]:
        yield from (*self._near, *self._host, *self._disk)

    def __len__(self) -> int:
        return len(self._near) + len(self._host) + len(self._disk)

    def trim(self) -> None:
        """Put away what was not used for longest until the rest fits the limit.

        What a full disk does not take stays in memory, where the map's bound still counts it.
        """
        if self.device.type != "cpu":
            for tile in self._too_many(self._near):
                self._host[tile] = self._near.pop(tile).to("cpu")
        held = self._near if self.device.type == "cpu" else self._host
        for tile in self._too_many(held):
            try:
                save_file(held[tile].tensors, self._path(tile))
            except (OSError, RuntimeError):  # safetensors has errors of its own for a full disk
                self._path(tile).unlink(missing_ok=True)
                return
            self._disk[tile] = held.pop(tile).views

    def _too_many(self, held: OrderedDict[Tile, TileSums]) -> list[Tile]:
        """Return the tiles that do not fit, the one that was not used for longest first."""
        over = len(held) * self._each - self.limit
        return list(islice(held, math.ceil(over / self._each))) if over > 0 else []

    def _path(self, tile: Tile) -> Path:
        if self._folder is None:
            # Removed with the store, or when the process ends.
            self._folder = tempfile.TemporaryDirectory(prefix="govnesf-tiles-")
        return Path(self._folder.name) / f"{'_'.join(map(str, tile))}.safetensors"

    def _forget_file(self, tile: Tile) -> None:
        del self._disk[tile]
        self._path(tile).unlink(missing_ok=True)
