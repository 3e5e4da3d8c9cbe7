"""Images wait here for their camera_info, transform and depth; nothing blocks.

    buffer = FrameBuffer(config, lookup, clock, ledger)
    buffer.add_image(stamp, frame_id, message)       # from the subscriptions
    buffer.add_camera_info(stamp, frame_id, intrinsics)
    for frame in buffer.take_ready(): ...            # after each arrival and on a timer

Pure logic: stamps are integer nanoseconds, images are opaque, transforms come from a callable and
time from a clock object, so that every case can be played in a test. An image that is not complete
within the timeout is dropped and counted with the reason.
"""

import bisect
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from govnesf_ros.calibration import Intrinsics
from govnesf_ros.conversions import BadInput
from govnesf_ros.ledger import FrameLedger

INFO_PATIENCE = 0.1  # seconds to wait for camera_info of the image's own stamp
STOPPED_CLOCK_FACTOR = 10.0  # with a stopped simulation clock, give up after this many timeouts
STAMP_JUMP = 1.0  # seconds; images this much older than the newest start a new time line
HISTORY = 120  # camera_info and depth messages kept for matching


class TransformUnavailable(Exception):
    """No transform now.

    Attributes:
        reason: short word for the status message.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Lookup(Protocol):
    """Where transforms come from."""

    def try_lookup(self, frame_id: str, stamp: int) -> np.ndarray | None:
        """Return T_map_frame at a stamp [ns], 4x4, or None while it is not known. Cheap."""

    def explain(self, frame_id: str, stamp: int) -> TransformUnavailable:
        """Say why `try_lookup` returned None. May be slow."""


class Clock(Protocol):
    """Time in seconds: `now` in ROS time, which may be simulated; `steady` never stops or jumps."""

    def now(self) -> float: ...

    def steady(self) -> float: ...


class SystemClock:
    """Both clocks of a machine without simulation."""

    now = staticmethod(time.time)
    steady = staticmethod(time.monotonic)


@dataclass(frozen=True)
class BufferConfig:
    """How long and how many images wait.

    Attributes:
        capacity: images that wait at once.
        timeout: seconds until an incomplete image is dropped.
        depth: "required", "auto" (waited for when `depth_expected` says so) or "off".
        depth_slop: seconds between the stamps of an image and its depth.
    """

    capacity: int = 30
    timeout: float = 1.0
    depth: str = "auto"
    depth_slop: float = 0.02


@dataclass(frozen=True)
class ReadyFrame:
    """An image with everything that mapping needs.

    Attributes:
        token: its entry in the ledger.
        stamp: nanoseconds.
        frame_id: the camera's optical frame.
        image: as given to `add_image`.
        intrinsics: of the camera.
        depth: as given to `add_depth`, or None.
        T_map_camera: float64 [4, 4], pose of the optical frame at the stamp.
    """

    token: int
    stamp: int
    frame_id: str
    image: Any
    intrinsics: Intrinsics
    depth: Any
    T_map_camera: np.ndarray


@dataclass
class _Waiting:
    token: int
    stamp: int
    frame_id: str
    image: Any
    size: tuple[int, int] | None  # (width, height), unknown for compressed images
    since: float
    since_steady: float
    T_map_camera: np.ndarray | None = field(default=None, repr=False)


class FrameBuffer:
    """A bounded queue of images that wait to be complete.

    Args:
        config: bounds.
        lookup: where transforms come from.
        clock: time, see `Clock`.
        ledger: takes the outcome of each image that is dropped here.
        depth_expected: tells, for depth="auto", whether anybody publishes depth at the moment.
        on_time_jump: called when stamps run backwards (a bag that starts again), before new images
            are taken: clear the transforms of the old time line there.
    """

    def __init__(
        self,
        config: BufferConfig,
        lookup: Lookup,
        clock: Clock,
        ledger: FrameLedger,
        depth_expected: Callable[[], bool] = lambda: True,
        on_time_jump: Callable[[], object] = lambda: None,
    ) -> None:
        self.config = config
        self._lookup = lookup
        self._clock = clock
        self._ledger = ledger
        self._depth_expected = depth_expected
        self._on_time_jump = on_time_jump
        self._lock = threading.RLock()
        self._waiting: list[_Waiting] = []  # by stamp
        self._infos: deque[tuple[int, str, Intrinsics | BadInput]] = deque(maxlen=HISTORY)
        self._depths: deque[tuple[int, Any]] = deque(maxlen=HISTORY)
        self._newest: int | None = None

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting)

    @property
    def newest_stamp(self) -> int | None:
        """Stamp of the newest image [ns], or None before the first."""
        return self._newest

    def add_image(
        self, stamp: int, frame_id: str, image: Any, size: tuple[int, int] | None = None
    ) -> None:
        """Take an image.

        Args:
            stamp: nanoseconds.
            frame_id: the camera's optical frame.
            image: handed on untouched.
            size: (width, height) when known; chooses among camera_infos of one frame.
        """
        with self._lock:
            token = self._ledger.receive()
            if not frame_id:
                self._ledger.drop(
                    token,
                    "unknown_frame",
                    "the images have an empty frame_id in their header: set the camera driver's "
                    "optical frame",
                )
                return
            if stamp <= 0:
                self._ledger.drop(
                    token,
                    "bad_stamp",
                    f"the images have the stamp {stamp / 1e9:g}, for which TF has no pose: the "
                    "camera driver must stamp them with the time at which they were taken",
                )
                return
            if self._newest is not None and stamp < self._newest - STAMP_JUMP * 1e9:
                infos, depths = list(self._infos), list(self._depths)
                jump = (
                    f"image stamps jumped back by {(self._newest - stamp) / 1e9:.1f} s (a bag that "
                    "starts again?): images and transforms of the old time are dropped"
                )
                self.flush("clock_jump", jump)
                self._ledger.complain("clock_jump", jump)  # also when nothing waited
                self._on_time_jump()
                # What came with this image came before it.
                self._infos.extend(info for info in infos if info[0] <= stamp)
                self._depths.extend(depth for depth in depths if depth[0] <= stamp)
            self._newest = max(stamp, self._newest or stamp)
            now, steady = self._clock.now(), self._clock.steady()
            waiting = _Waiting(token, stamp, frame_id, image, size, now, steady)
            bisect.insort(self._waiting, waiting, key=lambda item: item.stamp)
            while len(self._waiting) > self.config.capacity:
                oldest = self._waiting.pop(0)
                missing = self._missing(oldest)
                self._ledger.drop(
                    oldest.token,
                    "queue_full",
                    f"more than {self.config.capacity} images wait, the oldest is dropped; it "
                    f"lacks: {missing}",
                )

    def add_camera_info(self, stamp: int, frame_id: str, info: Intrinsics | BadInput) -> None:
        """Take intrinsics, or the reason why a camera_info is none."""
        with self._lock:
            self._infos.append((stamp, frame_id, info))

    def add_depth(self, stamp: int, depth: Any) -> None:
        """Take a depth image, handed on untouched."""
        with self._lock:
            self._depths.append((stamp, depth))

    def take_ready(self) -> list[ReadyFrame]:
        """Return the images that are complete, oldest first; drop those that waited too long."""
        with self._lock:
            if not self._waiting:
                return []
            now, steady = self._clock.now(), self._clock.steady()
            ready, waiting = [], []
            for item in self._waiting:
                outcome = self._judge(item, now, steady)
                if isinstance(outcome, ReadyFrame):
                    ready.append(outcome)
                elif outcome is not None:
                    self._ledger.drop(item.token, outcome.reason, str(outcome))
                else:
                    waiting.append(item)
            self._waiting = waiting
            return ready

    def flush(self, reason: str, message: str) -> None:
        """Drop all that waits and forget camera_info and depth, e.g. after a clock jump."""
        with self._lock:
            for item in self._waiting:
                self._ledger.drop(item.token, reason, message)
            self._waiting.clear()
            self._infos.clear()
            self._depths.clear()
            self._newest = None

    def _judge(
        self, item: _Waiting, now: float, steady: float
    ) -> ReadyFrame | BadInput | TransformUnavailable | None:
        """Return the complete frame, why it can never be complete, or None to wait on."""
        waited = now - item.since
        timeout = self.config.timeout
        expired = (
            waited > timeout or steady - item.since_steady > timeout * STOPPED_CLOCK_FACTOR + 1.0
        )
        info = self._match_info(item, waited >= INFO_PATIENCE or expired)
        if isinstance(info, BadInput):
            return info
        if item.T_map_camera is None:
            item.T_map_camera = self._lookup.try_lookup(item.frame_id, item.stamp)
        depth, depth_open = self._match_depth(item)
        if info is not None and item.T_map_camera is not None:
            if depth is not None or not depth_open:
                return self._ready(item, info, depth)
            if expired and self.config.depth == "auto":
                self._ledger.complain("no_depth", self._no_depth(item) + "; used without depth")
                return self._ready(item, info, None)
        if not expired:
            return None
        if info is None:
            return self._no_info(item)
        if item.T_map_camera is None:
            return self._lookup.explain(item.frame_id, item.stamp)
        return BadInput("no_depth", self._no_depth(item))

    def _ready(self, item: _Waiting, info: Intrinsics, depth: Any) -> ReadyFrame:
        return ReadyFrame(
            item.token, item.stamp, item.frame_id, item.image, info, depth, item.T_map_camera
        )

    def _match_info(self, item: _Waiting, fall_back: bool) -> Intrinsics | BadInput | None:
        latest, calibrated = None, False
        for stamp, frame_id, info in reversed(self._infos):
            if frame_id and frame_id != item.frame_id:
                continue
            bad = isinstance(info, BadInput)
            fits = bad or item.size in (None, (info.width, info.height))
            if stamp == item.stamp and fits:
                return info
            # A refusal speaks for other stamps only until the camera sends something better.
            if latest is None and fits and not (bad and calibrated):
                latest = info
            calibrated = calibrated or not bad
        # Intrinsics rarely change: those of another stamp do when none of this one come.
        return latest if fall_back else None

    def _match_depth(self, item: _Waiting) -> tuple[Any, bool]:
        """Return the depth of an image, and whether it is still worth waiting for one."""
        if self.config.depth == "off":
            return None, False
        slop = self.config.depth_slop * 1e9
        nearest = min(self._depths, key=lambda pair: abs(pair[0] - item.stamp), default=None)
        if nearest is not None and abs(nearest[0] - item.stamp) <= slop:
            return nearest[1], False
        return None, self.config.depth == "required" or self._depth_expected()

    def _missing(self, item: _Waiting) -> str:
        if self._match_info(item, True) is None:
            return "camera_info"
        if item.T_map_camera is None:
            return "a transform"
        return "depth"

    def _no_info(self, item: _Waiting) -> BadInput:
        others = sorted({frame_id for _, frame_id, _ in self._infos})
        sizes = sorted(
            {
                f"{info.width}x{info.height}"
                for _, frame_id, info in self._infos
                if frame_id == item.frame_id and isinstance(info, Intrinsics)
            }
        )
        if sizes and item.size is not None:
            found = (
                f"camera_info is for {', '.join(sizes)} pixels, the image has "
                f"{item.size[0]}x{item.size[1]}"
            )
        elif others:
            found = f"camera_info came only for the frames: {', '.join(others)}"
        else:
            found = "no camera_info has arrived"
        return BadInput(
            "no_camera_info",
            f"an image of frame '{item.frame_id}' has no camera_info ({found}): check the "
            "parameter camera_info_topic and that the driver publishes it",
        )

    def _no_depth(self, item: _Waiting) -> str:
        if not self._depths:
            found = "no depth image has arrived"
        else:
            nearest = min(abs(stamp - item.stamp) for stamp, _ in self._depths) / 1e9
            found = f"the nearest is {nearest:.3f} s away, allowed are {self.config.depth_slop} s"
        return (
            f"an image has no depth ({found}): check the parameters depth_topic, depth_transport "
            "and depth_slop, or set depth:=off"
        )
