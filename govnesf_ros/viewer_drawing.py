"""Brings the cloud into every browser: what it needs, nearest first, and only what has changed.

    drawing = CloudDrawing(server, budget=300_000)
    drawing.show(points, "relevancy")        # from any thread; the newest wins
    drawing.stop()

A browser has its own level of detail per block, by where its camera is. One thread cuts the cloud
and sends; it sleeps while nothing changes.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from govnesf_ros.viewer_cloud import (
    NO_BLOCKS,
    Blocks,
    MapPoints,
    choose_levels,
    colors_of,
    cut,
    spacing,
    taken,
)

TURN_SECONDS = 0.05
TURN_POINTS = 40_000  # sent to one browser a turn, so that each turn is a short one
POINT_SIZE = 0.02  # metres, until the first cloud says how far its points are from each other
POINT_PART = 1.45  # of that distance: a square of four points closes across its diagonal

Key = tuple[int, int, int]


@dataclass(frozen=True)
class Sent:
    """What a browser has of a block."""

    shape: int
    paint: int
    level: int


@dataclass(frozen=True)
class Step:
    """One thing to tell a browser: place a block anew, paint it, or take it away."""

    kind: str
    key: Key
    level: int = 0


@dataclass
class Browser:
    """What one browser has been told."""

    client: Any
    sent: dict[Key, Sent] = field(default_factory=dict)
    handles: dict[Key, Any] = field(default_factory=dict)
    size: float = POINT_SIZE


@dataclass(frozen=True)
class Traffic:
    """What was sent to all browsers so far."""

    placed: int = 0  # points with position and colour, 9 bytes each
    painted: int = 0  # points with a new colour alone, 3 bytes each
    cut_ms: float = 0.0  # time to colour and cut the newest cloud


def plan(blocks: Blocks, levels: dict[Key, int], sent: dict[Key, Sent]) -> list[Step]:
    """Return how to bring a browser up to date: what is gone first, then as `levels` is ordered."""
    steps = [Step("remove", key) for key in sent if key not in blocks.by_key]
    for key, level in levels.items():
        block, has = blocks.by_key[key], sent.get(key)
        if has is None or has.shape != block.shape or has.level != level:
            steps.append(Step("place", key, level))
        elif has.paint != block.paint:
            steps.append(Step("paint", key, level))
    return steps


class CloudDrawing:
    """The thread that draws.

    Args:
        server: viser's.
        budget: points that one browser draws at most.
        failed: told of an exception that ended a turn; the thread goes on.
    """

    def __init__(
        self, server: Any, budget: int, failed: Callable[[Exception], object] = lambda error: None
    ) -> None:
        self._server = server
        self._failed = failed
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._wanted: tuple[MapPoints, str] | None = None
        self._fresh = False
        self._blocks = NO_BLOCKS
        self._browsers: dict[int, Browser] = {}
        self._stopping = False
        self._at_work = False
        self.budget = budget
        self._scale = 1.0
        self._spacing = POINT_SIZE / POINT_PART
        self.ceiling = np.inf
        self.traffic = Traffic()
        server.on_client_connect(self._join)
        server.on_client_disconnect(self._leave)
        self._thread = threading.Thread(target=self._run, name="drawing", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether every browser has been sent all that it should show."""
        return not (self._wake.is_set() or self._fresh or self._at_work)

    def show(self, points: MapPoints, mode: str) -> None:
        """Show a cloud in the colours of a mode in all browsers."""
        with self._lock:
            self._wanted = (points, mode)
            self._fresh = True
        self._wake.set()

    def set_look(
        self,
        *,
        point_scale: float | None = None,
        ceiling: float | None = None,
        budget: int | None = None,
    ) -> None:
        """Change how the cloud is drawn: size of points against what fits the map, height in the
        map above which nothing is shown, points."""
        with self._lock:
            self._scale = point_scale or self._scale
            self.budget = budget or self.budget
            if ceiling is not None and ceiling != self.ceiling:
                self.ceiling = ceiling
                self._fresh = self._wanted is not None
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(5.0)

    def _join(self, client: Any) -> None:
        with self._lock:
            self._browsers[client.client_id] = Browser(client)
        client.camera.on_update(lambda _: self._wake.set())
        self._wake.set()

    def _leave(self, client: Any) -> None:
        with self._lock:
            self._browsers.pop(client.client_id, None)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._stopping:
                return
            begin = time.monotonic()
            more, self._at_work = False, True
            try:
                more = self._turn()
            except Exception as error:
                self._failed(error)
            if more:
                self._wake.set()
            self._at_work = False
            # A camera that moves wakes us at every frame: once a turn is enough.
            time.sleep(max(TURN_SECONDS - (time.monotonic() - begin), 0.005))

    def _turn(self) -> bool:
        self._wake.clear()
        with self._lock:
            wanted, ceiling = self._wanted if self._fresh else None, self.ceiling
            self._fresh = False
            browsers = list(self._browsers.values())
        if wanted is not None:
            begin = time.perf_counter()
            points, mode = wanted
            if np.isfinite(ceiling):
                points = points.where(points.xyz[:, 2] <= ceiling)
            self._blocks = cut(points.xyz, colors_of(points, mode), before=self._blocks)
            found = spacing(self._blocks)
            # It wavers with every keyframe; a resize is a message to every block.
            if found and not 0.8 < found / self._spacing < 1.25:
                self._spacing = found
            self.traffic = replace(self.traffic, cut_ms=1e3 * (time.perf_counter() - begin))
        return any([self._update(browser) for browser in browsers])

    def _update(self, browser: Browser) -> bool:
        """Send a turn's worth to one browser; return whether there is more."""
        blocks = self._blocks
        levels = {}
        if blocks.by_key:
            eye = np.asarray(browser.client.camera.position)
            now = {key: sent.level for key, sent in browser.sent.items()}
            levels = choose_levels(blocks, eye, self.budget, now)
            near = {
                key: float(np.linalg.norm(block.center - eye))
                for key, block in blocks.by_key.items()
            }
            levels = {key: levels[key] for key in sorted(levels, key=near.__getitem__)}
        room = TURN_POINTS
        size = self._scale * self._spacing * POINT_PART
        if browser.size != size:
            self._resize(browser, size)
        for step in plan(blocks, levels, browser.sent):
            if room <= 0:
                return True
            room -= self._do(browser, blocks, step)
        return False

    def _do(self, browser: Browser, blocks: Blocks, step: Step) -> int:
        """Carry out a step; return how much of a turn it takes, in points."""
        if step.kind == "remove":
            browser.handles.pop(step.key).remove()
            del browser.sent[step.key]
            return 0
        block = blocks.by_key[step.key]
        count = taken(len(block.xyz), step.level)
        if step.kind == "paint":
            browser.handles[step.key].colors = block.rgb[:count]
            self.traffic = replace(self.traffic, painted=self.traffic.painted + count)
        else:
            browser.handles[step.key] = browser.client.scene.add_point_cloud(
                "/map/" + "_".join(map(str, step.key)),
                block.xyz[:count],
                block.rgb[:count],
                point_size=browser.size * 2**step.level,
                point_shape="circle",
                point_shading="flat",
                position=block.center,
            )
            self.traffic = replace(self.traffic, placed=self.traffic.placed + count)
        browser.sent[step.key] = Sent(block.shape, block.paint, step.level)
        return count if step.kind == "place" else -(-count // 3)

    def _resize(self, browser: Browser, size: float) -> None:
        browser.size = size
        for key, handle in browser.handles.items():
            handle.point_size = browser.size * 2 ** browser.sent[key].level
