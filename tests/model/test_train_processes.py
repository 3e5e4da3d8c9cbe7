"""Training in real processes: killed and resumed, and shared by two."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from box_room import write_room
from train_runs import TINY, logged

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name in ("a", "b", "c"):
        write_room(folder / name, count=6)
    return folder


def start(arguments: list[str]) -> subprocess.Popen:
    path = os.pathsep.join([str(REPOSITORY), str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    return output


def test_a_run_that_was_killed_goes_on_to_the_same_losses(rooms, tmp_path):
    steps = 14
    run = {**TINY["run"], "steps": steps, "save_every": 4, "validate_every": 1000}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({**TINY, "run": run}))

    def command(out: Path) -> list[str]:
        words = ["train", str(file), "--data", str(rooms), "--out", str(out), "--threads", "1"]
        return ["-m", "govnesf_model.cli", *words, "--accelerator", "cpu"]

    finish(start(command(tmp_path / "whole")))
    process = start(command(tmp_path / "killed"))
    limit = time.monotonic() + 120
    while max(logged(tmp_path / "killed"), default=-1) < 5:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = logged(tmp_path / "killed")
    assert process.returncode == -signal.SIGKILL
    assert len(before) < steps
    output = finish(start(command(tmp_path / "killed")))
    assert "resumed from" in output

    whole, resumed = logged(tmp_path / "whole"), logged(tmp_path / "killed")
    assert sorted(whole) == sorted(resumed) == list(range(steps))
    assert resumed == whole
    assert before == {step: whole[step] for step in before}
    # The second process began at a checkpoint, not at the start.
    second = tmp_path / "killed/csv/version_1/metrics.csv"
    first_step = int(second.read_text().splitlines()[1].split(",")[1])
    assert first_step in (4, 8)
    assert logged(tmp_path / "whole", "train/rate") == logged(tmp_path / "killed", "train/rate")


def test_two_processes_give_the_gradients_of_one_with_the_doubled_batch(rooms, tmp_path):
    script = str(HERE / "train_gradients.py")
    finish(start([script, str(rooms), str(tmp_path / "one"), "1", "2"]))
    finish(start([script, str(rooms), str(tmp_path / "two"), "2", "1"]))
    one = torch.load(tmp_path / "one/gradients.pt")
    two = torch.load(tmp_path / "two/gradients.pt")
    assert one.keys() <= two.keys()  # of several processes, unreached weights have zero gradients
    assert len(one) > 50
    for name, gradient in one.items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(two[name], gradient, atol=1e-5 * scale, rtol=1e-5, msg=name)
    norm = sum(float(gradient.square().sum()) for gradient in one.values()) ** 0.5
    assert norm > 0.1
    for name in two.keys() - one.keys():
        assert float(two[name].abs().max()) == 0.0
