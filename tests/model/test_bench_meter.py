import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from govnesf_model.bench_meter import Meter, Others, Row, as_markdown, as_text, duration


def test_peak_memory_is_what_was_held_in_between():
    meter = Meter(torch.device("cpu"))
    row = meter.row("fill", lambda: torch.ones(64, 2**20).sum(), repeats=1)  # 256 MiB
    if row.peak_mib is None:
        pytest.skip("this system does not tell the peak of a process")
    assert row.peak_mib == pytest.approx(256, abs=40)
    small = meter.row("nothing", lambda: None, repeats=1)  # the peak starts anew
    assert small.peak_mib < 40


def test_seconds_are_a_median_and_waiting_is_not_busy():
    times = iter([0.2, 0.01, 0.3, 0.02])  # the first run warms up
    row = Meter(torch.device("cpu"), at_least=0.0).row(
        "sleep", lambda: time.sleep(next(times)), repeats=3
    )
    assert 0.02 <= row.seconds < 0.2
    assert row.busy < 0.5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0012345, "1.23 ms"), (0.5, "500 ms"), (12.345, "12.3 s"), (4e3, "4000 s")],
)
def test_durations_have_three_digits_and_a_unit(seconds, text):
    assert duration(seconds) == text


def test_tables_show_ratio_and_accuracy_beside_speed():
    rows = [
        Row("frame", 2.0, 1.0, 120.4, 500.0, 2400.0, "whole", {"labels": 0.998}),
        Row("U-Net", 0.05, 1.0),
    ]
    assert rows[0].ratio == 250
    assert (
        "| frame | 2 s | 500 s | 250 | 120 MiB | 2400 MiB | 19.9 | whole; labels 0.998 |"
        in as_markdown(rows)
    )
    assert "| U-Net | 50 ms |  |  |  |  |  |  |" in as_markdown(rows)
    lines = as_text(rows).splitlines()
    assert len(lines) == 3
    assert "250" in lines[1]


def test_what_others_use_is_not_our_own():
    if Others().share() is None and not Path("/proc/stat").exists():
        pytest.skip("this system does not tell what its processors do")
    cores = os.cpu_count()
    others = Others()
    command = [sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"]
    child = subprocess.Popen(command)
    time.sleep(0.9)
    assert others.share() > 0.4 / cores  # a child is our own when it has ended, not before
    child.wait()
    own = Others()
    end = time.process_time() + 1.0
    while time.process_time() < end:
        pass
    assert own.share() < 1.0 - 0.5 / cores


def test_what_is_quick_is_run_for_a_while_and_what_is_slow_once():
    runs = []
    row = Meter(torch.device("cpu"), at_least=0.2).row("nap", lambda: runs.append(time.sleep(0.01)))
    assert 1 + 10 < len(runs) <= 1 + 20  # one to warm up
    assert row.seconds == pytest.approx(0.01, abs=0.005)
    runs.clear()
    Meter(torch.device("cpu"), at_least=0.2).row("once", lambda: runs.append(1), repeats=1)
    assert runs == [1]
