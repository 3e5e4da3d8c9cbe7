"""What is known of one frame over time: its parent and where it was in it.

Times are integer nanoseconds; 0 asks for the latest. Two kinds of cache share one interface:
`TimeCache` holds a window of samples, `StaticCache` a single value that holds at every time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from . import rigid
from .exceptions import ExtrapolationException


class Sample(NamedTuple):
    """A frame's pose in `parent` at `stamp` (nanoseconds)."""

    stamp: int
    parent: str
    transform: rigid.Transform


class TimeCache:
    """Samples of one moving frame, sorted by time, none older than `length` before the newest."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._stamps: list[int] = []
        self._samples: list[Sample] = []

    def insert(self, sample: Sample) -> bool:
        """Add a sample; False when it is too old to keep. An exact repeat changes nothing."""
        if self._stamps and sample.stamp < self._stamps[-1] - self._length:
            return False
        first = bisect_left(self._stamps, sample.stamp)
        after = bisect_right(self._stamps, sample.stamp, lo=first)
        if sample in self._samples[first:after]:
            return True
        self._stamps.insert(after, sample.stamp)
        self._samples.insert(after, sample)
        expired = bisect_left(self._stamps, self._stamps[-1] - self._length)
        del self._stamps[:expired], self._samples[:expired]
        return True

    def at(self, time: int) -> Sample | None:
        """The pose at `time`, interpolated between its neighbours; None without any data.

        Across a change of parent the older sample holds: the two poses are in different frames.

        Raises:
            ExtrapolationException: `time` is outside of the stored window.
        """
        if not self._samples:
            return None
        if time == 0 or time == self._stamps[-1]:
            return self._samples[-1]
        self._check_inside(time)
        index = bisect_right(self._stamps, time) - 1
        older, newer = self._samples[index], self._samples[index + 1]
        if older.stamp == time or older.parent != newer.parent:
            return older
        ratio = (time - older.stamp) / (newer.stamp - older.stamp)
        transform = rigid.interpolate(older.transform, newer.transform, ratio)
        return Sample(time, older.parent, transform)

    def _check_inside(self, time: int) -> None:
        oldest, latest = self._stamps[0], self._stamps[-1]
        asked = display(time)
        if len(self._stamps) == 1:
            raise ExtrapolationException(
                f"Lookup would require extrapolation at time {asked}, "
                f"but only time {display(latest)} is in the buffer"
            )
        if time > latest:
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the future.  Requested time {asked} "
                f"but the latest data is at time {display(latest)}"
            )
        if time < oldest:
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the past.  Requested time {asked} "
                f"but the earliest data is at time {display(oldest)}"
            )

    @property
    def latest(self) -> Sample | None:
        """The newest sample."""
        return self._samples[-1] if self._samples else None

    @property
    def span(self) -> tuple[int, int]:
        """Oldest and newest time, zeros when empty."""
        return (self._stamps[0], self._stamps[-1]) if self._stamps else (0, 0)

    def __len__(self) -> int:
        return len(self._samples)

    def clear(self) -> None:
        """Forget all samples."""
        self._stamps.clear()
        self._samples.clear()


class StaticCache:
    """The one value of a frame that does not move. Its stamp is 0: it limits no lookup's time."""

    span = (0, 0)

    def __init__(self) -> None:
        self.latest: Sample | None = None

    def insert(self, sample: Sample) -> bool:
        """Replace the value."""
        self.latest = sample._replace(stamp=0)
        return True

    def at(self, time: int) -> Sample | None:
        """The value, stamped with the time that was asked for."""
        return self.latest and self.latest._replace(stamp=time)

    def __len__(self) -> int:
        return 1

    def clear(self) -> None:
        """Do nothing: what never moves is still true after the clock has jumped."""


def display(time: int) -> str:
    """Nanoseconds as seconds with six decimals, as tf2 prints them."""
    return f"{time / 1e9:.6f}"
