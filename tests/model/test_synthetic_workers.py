"""Worker processes start under any launcher, end with their parent, and fail with a sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from govnesf_model.data.synthetic.workers import map_in_processes

ROOT = Path(__file__).resolve().parents[2]
# What some launchers are: no guard against a second import by a worker process.
UNGUARDED = "import sys\n\nfrom govnesf_model.cli import main\n\nsys.exit(main())\n"


def doubled(number: int) -> int:
    print("a library that prints must not disturb the replies")
    return 2 * number


def sleepy(number: int) -> int:
    time.sleep(0.3 if number == 0 else 0.0)
    return number


def failing(number: int) -> int:
    if number == 2:
        raise FileNotFoundError("no catalogue 'x': install it")
    return number


def dying(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture
def launcher(tmp_path):
    script = tmp_path / "govnesf"
    script.write_text(UNGUARDED)
    started = []

    def start(*words: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(script), "data", "synth", "--assets", "procedural",
             "--size", "48x36", "--views", "2", "--workers", "2", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_every_result_comes_once():
    assert sorted(map_in_processes(doubled, range(5), 2)) == [0, 2, 4, 6, 8]


def test_results_come_in_order_when_asked():
    assert list(map_in_processes(sleepy, range(6), 2, ordered=True)) == list(range(6))


def test_an_endless_stream_of_jobs_is_taken_as_needed():
    def jobs():
        number = 0
        while True:
            assert number < 40, "jobs are taken far ahead of what was asked for"
            yield number
            number += 1

    results = map_in_processes(doubled, jobs(), 2, ordered=True)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    results.close()


def test_an_error_of_a_job_is_raised_here():
    with pytest.raises(FileNotFoundError, match="no catalogue 'x': install it"):
        list(map_in_processes(failing, range(4), 2))


def test_a_worker_that_dies_is_reported_not_restarted():
    with pytest.raises(ChildProcessError, match=r"worker process .* SIGKILL.* memory"):
        list(map_in_processes(dying, range(4), 2))


def test_rooms_are_made_by_workers_of_a_launcher_without_a_guard(launcher, tmp_path):
    out = tmp_path / "rooms"
    process = launcher("--scenes", "2", "--out", str(out))
    printed, problems = process.communicate(timeout=60)
    assert process.returncode == 0, problems
    assert "2 rooms" in printed
    assert len(list(out.glob("train_*/scene.json"))) == 2


def test_interrupt_ends_the_command_and_its_workers(launcher, tmp_path):
    out = tmp_path / "rooms"
    process = launcher("--scenes", "500", "--out", str(out))
    _wait_for(lambda: list(out.glob("train_*/scene.json")), 60)
    workers = _children(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, problems = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in problems
    assert "Traceback" not in problems
    _wait_for(lambda: not any(map(_alive, workers)), 5)
    assert not list(out.glob(".*.part"))


def test_workers_end_when_their_parent_is_killed(launcher, tmp_path):
    process = launcher("--scenes", "500", "--out", str(tmp_path / "rooms"))
    _wait_for(lambda: len(_children(process.pid)) == 2, 60)
    workers = _children(process.pid)
    process.kill()
    process.wait(timeout=20)
    _wait_for(lambda: not any(map(_alive, workers)), 20)


def _children(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
