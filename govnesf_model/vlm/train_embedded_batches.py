"""Batches of the embedded encoder's training, made ahead of time by a thread.

Half of the crops are drawn from all images alike, the other half for the sake of a name: one is
drawn, rare ones more often than they occur, then an image that shows it and a crop around it.
Without that most of the names would be seen a few times an hour.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from govnesf_model.vlm.train_embedded_rooms import Room, random_crop

AHEAD = 4  # batches a thread makes before they are asked for
MIN_PIXELS = 60  # of a name in an image, for a crop to be made around it


@dataclass(frozen=True)
class Batch:
    """Crops and the cells of them that count.

    Attributes:
        rgb: [b, h, w, 3].
        cells: (crop, row, column) at stride 4.
        name: row of each cell's name in the bank.
        word: index of each cell's color and material word, -1 unknown.
    """

    rgb: UInt8[np.ndarray, "b h w 3"]
    cells: Int[np.ndarray, "n 3"]
    name: Int[np.ndarray, "n"]
    word: Int[np.ndarray, "k n"]


class BatchMaker:
    """Batch of a step, which depends on the seed, the step and the rooms alone.

    Args:
        rooms: the images.
        tables: room name -> (label -> name row, [kind, instance] -> word), see `TextBank`.
        batch: crops.
        width, height: of a crop.
        cells: that count in a crop, rare names preferred.
        focus: share of crops that are drawn for the sake of a name.
        seed: of the run.
    """

    def __init__(
        self,
        rooms: list[Room],
        tables: dict[str, tuple[np.ndarray, np.ndarray]],
        batch: int,
        width: int,
        height: int,
        cells: int,
        focus: float,
        seed: int,
    ) -> None:
        self.rooms = rooms
        self.tables = tables
        self.batch, self.width, self.height, self.cells = batch, width, height, cells
        self.focus, self.seed = focus, seed
        self.frames = [(room, frame) for room in rooms for frame in range(len(room.rgb))]
        self.shown = self._where_names_are()  # name -> [(index into frames, label)]
        self.names = sorted(self.shown)
        # Between as often as they are seen and all alike.
        odds = np.sqrt([len(self.shown[name]) for name in self.names])
        self.odds = odds / odds.sum()

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step, 0])
        images, cells, names, words = [], [], [], []
        while len(images) < self.batch:
            room, frame, wanted = self._choose(rng)
            rgb, label, instance = random_crop(room, frame, self.width, self.height, rng, wanted)
            labels, attributes = self.tables[room.name]
            name = labels[label]
            picked = rare_first(name, self.cells, rng)
            if len(picked) == 0:
                continue
            row, column = np.unravel_index(picked, name.shape)
            cells.append(np.stack([np.full(len(picked), len(images)), row, column], 1))
            names.append(name[row, column])
            words.append(attributes[:, instance[row, column]])
            images.append(rgb)
        return Batch(
            np.stack(images), np.concatenate(cells), np.concatenate(names), np.concatenate(words, 1)
        )

    def stream(self, first: int, workers: int) -> Iterator[Batch]:
        """Yield the batches from a step on, made ahead by threads or, with none, when asked for.

        Threads suffice, since OpenCV and numpy release the interpreter for most of the work; a
        process forked beside torch's own threads may hang.
        """
        steps = itertools.count(first)
        if not workers:
            yield from map(self.__getitem__, steps)
        with ThreadPoolExecutor(workers) as pool:
            ahead = deque(
                pool.submit(self.__getitem__, next(steps)) for _ in range(AHEAD * workers)
            )
            try:
                while True:
                    ready = ahead.popleft()
                    ahead.append(pool.submit(self.__getitem__, next(steps)))
                    yield ready.result()
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def _choose(self, rng: np.random.Generator) -> tuple[Room, int, int | None]:
        """Return a room, a frame of it and the label to have in the crop, if any."""
        if self.names and rng.random() < self.focus:
            places = self.shown[self.names[rng.choice(len(self.names), p=self.odds)]]
            index, label = places[rng.integers(len(places))]
            return *self.frames[index], label
        return *self.frames[rng.integers(len(self.frames))], None

    def _where_names_are(self) -> dict[int, list[tuple[int, int]]]:
        shown: dict[int, list[tuple[int, int]]] = {}
        for index, (room, frame) in enumerate(self.frames):
            count = np.bincount(room.label[frame].ravel(), minlength=256)
            labels, _ = self.tables[room.name]
            for label in np.flatnonzero((count >= MIN_PIXELS) & (labels >= 0)):
                shown.setdefault(int(labels[label]), []).append((index, int(label)))
        return shown


def rare_first(name: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw cells without repeats, with odds of one over the root of how common their name is."""
    flat = name.ravel()
    counted = np.flatnonzero(flat >= 0)
    common = np.bincount(flat[counted])[flat[counted]] if len(counted) else np.zeros(0)
    keys = rng.gumbel(size=len(counted)) - 0.5 * np.log(common)
    if len(counted) <= count:
        return counted
    return counted[np.argpartition(-keys, count)[:count]]
