"""What a measurement is: seconds, peak memory, and how they are shown.

meter = Meter(torch.device("cpu"))
row = meter.row("U-Net pass", lambda: field.volume_features(scene), repeats=5)
print(as_text([row]))
"""

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

HEAD = ("measured", "time", "plain form", "ratio", "memory", "plain form", "ratio", "remarks")

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_STAT = Path("/proc/stat")
MOST_RUNS = 200  # of what takes milliseconds


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: what was measured.
        seconds: wall clock.
        busy: processor seconds over wall seconds and threads: what is done by one thread alone, or
            waits, makes it less than 1.
        peak_mib: memory at its highest beyond what was held before; None where it is not known.
        reference: seconds of the plain form for the same; None where there is none.
        reference_mib: its memory, likewise.
        note: one remark.
        values: accuracy and other numbers, by name.
        series: what a picture draws: lists of equal length, by name.
    """

    name: str
    seconds: float
    busy: float
    peak_mib: float | None = None
    reference: float | None = None
    reference_mib: float | None = None
    note: str = ""
    values: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times as long the plain form takes."""
        return None if self.reference is None else self.reference / self.seconds

    @property
    def memory_ratio(self) -> float | None:
        """How many times as much memory it takes."""
        if self.reference_mib is None or not self.peak_mib:
            return None
        return self.reference_mib / self.peak_mib


class Meter:
    """Runs things and says what they took."""

    def __init__(self, device: torch.device, at_least: float = 1.0) -> None:
        """Get ready.

        Args:
            device: where things run.
            at_least: seconds for which what is run several times is run again and again: of five
                runs of a few milliseconds, another program's burst hits all.
        """
        self.device, self.at_least = device, at_least

    def row(
        self,
        name: str,
        run: Callable[[], object],
        repeats: int = 5,
        note: str = "",
        warm: int = 1,
    ) -> Row:
        """Return the median of several runs or more, after `warm` others if there are several."""
        for _ in range(warm if repeats > 1 else 0):
            run()
        before = self.start_memory()
        seconds, busy = [], []
        enough = self.at_least if repeats > 1 else 0.0
        while len(seconds) < repeats or (sum(seconds) < enough and len(seconds) < MOST_RUNS):
            wall, processor = self.timed(run)
            seconds.append(wall)
            busy.append(processor / wall)
        share = statistics.median(busy) / torch.get_num_threads()
        return Row(name, statistics.median(seconds), share, self.peak_since(before), note=note)

    def timed(self, run: Callable[[], object]) -> tuple[float, float]:
        """Return wall and processor seconds of one run."""
        self._wait()
        wall, processor = time.perf_counter(), time.process_time()
        run()
        self._wait()
        return time.perf_counter() - wall, time.process_time() - processor

    def start_memory(self) -> int | None:
        """Return the bytes that are held now, and let the peak start anew; None if unknown."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device)
        try:
            # What was freed but kept by the allocator would hide what is taken next.
            ctypes.CDLL(None).malloc_trim(0)
            _RESET.write_text("5")  # the highest resident size starts anew
            return _resident("VmRSS")
        except (OSError, AttributeError):
            return None

    def peak_since(self, before: int | None) -> float | None:
        """Return the MiB that were held beyond that at the peak."""
        if before is None:
            return None
        if self.device.type == "cuda":
            return (torch.cuda.max_memory_allocated(self.device) - before) / 2**20
        return max(0, _resident("VmHWM") - before) / 2**20

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Others:
    """What other processes, and other guests of the same machine, used of the processors."""

    def __init__(self) -> None:
        self._begin = self._seconds()

    def share(self) -> float | None:
        """Return the share of all processors since the start, 0..1; None if nobody tells."""
        if self._begin is None or (now := self._seconds()) is None:
            return None
        total, idle, own = (end - begin for end, begin in zip(now, self._begin, strict=True))
        return max(0.0, (total - idle - own) / total) if total > 0 else None

    def _seconds(self) -> tuple[float, float, float] | None:
        """Return processor seconds of the machine, those in which it was idle, and our own."""
        try:
            ticks = [int(word) for word in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
            second = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return None
        # user, nice, system, idle, waiting for disks, interrupts twice, given to other guests
        return sum(ticks) / second, (ticks[3] + ticks[4]) / second, sum(os.times()[:4])


def _resident(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {key}")


def as_text(rows: Sequence[Row]) -> str:
    """Return the rows as a table for a terminal."""
    table = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD) - 1)]
    lines = []
    for line in table:
        cells = [f"{line[0]:{widths[0]}s}"]
        cells += [f"{cell:>{width}s}" for cell, width in zip(line[1:-1], widths[1:], strict=True)]
        lines.append("  ".join([*cells, line[-1]]).rstrip())
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table for a document."""
    lines = [f"| {' | '.join(HEAD)} |", "|---|" + "---:|" * (len(HEAD) - 2) + "---|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    remarks = [f"{name} {_number(value)}" for name, value in row.values.items()]
    return (
        row.name,
        duration(row.seconds),
        "" if row.reference is None else duration(row.reference),
        "" if row.ratio is None else _number(row.ratio),
        "" if row.peak_mib is None else f"{_number(row.peak_mib)} MiB",
        "" if row.reference_mib is None else f"{_number(row.reference_mib)} MiB",
        "" if row.memory_ratio is None else _number(row.memory_ratio),
        "; ".join([*([row.note] if row.note else []), *remarks]),
    )


def duration(seconds: float) -> str:
    """Return seconds with a unit and three digits that count."""
    if seconds < 1:
        return f"{_number(1e3 * seconds)} ms"
    return f"{_number(seconds)} s"


def _number(value: float) -> str:
    if value != value or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"
