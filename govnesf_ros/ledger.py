"""What became of every image: used, skipped, dropped and why, or still waiting.

    token = ledger.receive()
    ledger.drop(token, "no_transform", "frame 'camera' is not connected to 'map' ...")

Each image has exactly one outcome, so received = used + skipped + dropped + waiting at any moment.
Repeated complaints are logged at a bounded rate, one budget per reason.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

COMPLAINT_PERIOD = 5.0  # seconds between two log lines about one reason


@dataclass(frozen=True)
class Counts:
    """A consistent copy of the ledger.

    Attributes:
        reasons: why images were skipped or dropped, and how many for each.
    """

    received: int
    used: int
    skipped: int
    dropped: int
    waiting: int
    reasons: dict[str, int]


@dataclass(frozen=True)
class Corrected:
    """What corrected poses did to the map so far.

    Attributes:
        count: times that keyframes were moved.
        keyframes: that the last correction moved.
        meters: the farthest that the last correction moved one.
    """

    count: int = 0
    keyframes: int = 0
    meters: float = 0.0


class FrameLedger:
    """Counts the outcomes of images; safe to use from several threads."""

    def __init__(
        self,
        warn: Callable[[str], object],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._warn = warn
        self._steady = steady
        self._lock = threading.Lock()
        self._next = 0
        self._open: set[int] = set()
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._warned: dict[str, float] = {}

    def receive(self) -> int:
        """Note the arrival of an image and return its token."""
        with self._lock:
            self._next += 1
            self._open.add(self._next)
            return self._next

    def use(self, token: int) -> None:
        """The image became a keyframe."""
        self._close(token, "used")

    def skip(self, token: int, reason: str) -> None:
        """The image could be used but was not needed."""
        self._close(token, "skipped", reason)

    def drop(self, token: int, reason: str, message: str) -> None:
        """The image could not be used; the message says why and what to do."""
        self._close(token, "dropped", reason)
        self.complain(reason, message)

    def complain(self, reason: str, message: str) -> None:
        """Log a sentence unless one for the same reason was logged a moment ago."""
        now = self._steady()
        with self._lock:
            if now - self._warned.get(reason, -COMPLAINT_PERIOD) < COMPLAINT_PERIOD:
                return
            self._warned[reason] = now
        self._warn(message)

    def counts(self) -> Counts:
        """Return all counts as of one moment."""
        with self._lock:
            return Counts(
                received=len(self._open) + sum(self._outcomes.values()),
                used=self._outcomes["used"],
                skipped=self._outcomes["skipped"],
                dropped=self._outcomes["dropped"],
                waiting=len(self._open),
                reasons=dict(sorted(self._reasons.items())),
            )

    def reset(self) -> None:
        """Forget all outcomes; images that still wait stay counted as received."""
        with self._lock:
            self._outcomes.clear()
            self._reasons.clear()
            self._warned.clear()

    def _close(self, token: int, outcome: str, reason: str | None = None) -> None:
        with self._lock:
            self._open.remove(token)
            self._outcomes[outcome] += 1
            if reason is not None:
                self._reasons[reason] += 1
