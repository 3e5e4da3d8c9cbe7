"""Rooms as an endless stream of frames for training, rendered as they are needed, never written.

    for frame in rooms_stream("train", seed=0, workers=2): ...           # RoomFrame
    loader = DataLoader(RoomStream("train", seed=0), batch_size=None, num_workers=2,
                        multiprocessing_context="spawn")                 # the same, by torch

A stream follows from its arguments alone: room k is the room of seed + k, with the pixels that
`govnesf data synth` writes for that seed (before JPEG, and depth before it is rounded to whole
millimetres). The number of worker processes changes its speed and nothing else.
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from govnesf_model.data.synthetic.generate import (
    RoomFrame,
    Settings,
    checked_catalogues,
    checked_photos,
    render_room_or_none,
)
from govnesf_model.data.synthetic.names import SPLITS
from govnesf_model.data.synthetic.workers import map_in_processes

GIVE_UP = 20  # rooms in a row without enough free views: then the settings are to blame


def rooms_stream(
    split: str,
    seed: int,
    settings: Settings | None = None,
    rooms: int | None = None,
    workers: int = 0,
    mix: int = 1,
    part: int = 0,
    parts: int = 1,
) -> Iterator[RoomFrame]:
    """Yield the frames of rooms seed, seed + 1, ... in a fixed order.

    Rooms that have too few free views are left out.

    Args:
        split: whose assets may be shown: train, val, test or demo.
        seed: of the first room.
        settings: size and number of views a room and the like; None for the defaults.
        rooms: how many seeds to use, None for no end.
        workers: processes that render, 0 to render here.
        mix: how many rooms come together, their frames in a random order that the seed fixes.
        part, parts: yield the rooms of one of several equal parts.

    Raises:
        ValueError: an unknown split, or settings that no room satisfies.
        FileNotFoundError: the catalogues or photographs are asked for and not there.
        ChildProcessError: a worker process died.
    """
    settings = settings or Settings()
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': choose one of {', '.join(SPLITS)}")
    checked_catalogues(settings)  # what is missing is told here, not by every worker
    checked_photos(settings)
    return _frames(split, seed, settings, rooms, workers, max(mix, 1), part, parts)


class RoomStream(IterableDataset):
    """`rooms_stream` as a dataset; the workers of a DataLoader share its rooms.

    Use a "spawn" context for such workers: a fork would share the state of the ray caster.

    Args:
        split, seed, settings, rooms, mix: as in `rooms_stream`.
    """

    def __init__(
        self,
        split: str,
        seed: int,
        settings: Settings | None = None,
        rooms: int | None = None,
        mix: int = 1,
    ) -> None:
        self.arguments = {"split": split, "seed": seed, "settings": settings, "rooms": rooms}
        self.mix = mix

    def __iter__(self) -> Iterator[RoomFrame]:
        worker = get_worker_info()
        part, parts = (worker.id, worker.num_workers) if worker else (0, 1)
        return rooms_stream(**self.arguments, mix=self.mix, part=part, parts=parts)


def _frames(split, seed, settings, rooms, workers, mix, part, parts) -> Iterator[RoomFrame]:
    seeds = count(seed + part, parts) if rooms is None else range(seed + part, seed + rooms, parts)
    jobs = ((s, split, settings) for s in seeds)
    if workers > 0:
        rendered = map_in_processes(render_room_or_none, jobs, workers, ordered=True)
    else:
        rendered = (render_room_or_none(job) for job in jobs)
    with closing(rendered):
        usable = _usable(rendered, settings)
        for block in count():
            frames = [frame for room in islice(usable, mix) for frame in room]
            if not frames:
                return
            order = range(len(frames))
            if mix > 1:
                order = np.random.default_rng([seed, part, block]).permutation(len(frames))
            yield from (frames[k] for k in order)


def _usable(rendered, settings: Settings) -> Iterator[list[RoomFrame]]:
    empty = 0
    for frames in rendered:
        empty = 0 if frames else empty + 1
        if empty == GIVE_UP:
            raise ValueError(
                f"{GIVE_UP} rooms in a row have no {settings.views} free views: ask for fewer "
                "views a room"
            )
        if frames:
            yield frames
