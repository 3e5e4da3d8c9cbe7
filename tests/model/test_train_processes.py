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

from govnesf_model.checkpoint import load_field

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name in ("a", "b", "c"):
        write_room(folder / name, count=6)
    return folder


def write_config(folder: Path, **run: int) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**TINY, "run": {**TINY["run"], **run}}))
    return file


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


def wait_for_step(process: subprocess.Popen, out: Path, step: int) -> None:
    limit = time.monotonic() + 120
    while max(logged(out), default=-1) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_run_that_was_killed_goes_on_to_the_same_losses(rooms, tmp_path):
    steps = 14
    file = write_config(tmp_path, steps=steps, save_every=4, validate_every=1000)

    def command(out: Path) -> list[str]:
        words = ["train", str(file), "--data", str(rooms), "--out", str(out), "--threads", "1"]
        return ["-m", "govnesf_model.cli", *words, "--accelerator", "cpu"]

    finish(start(command(tmp_path / "whole")))
    process = start(command(tmp_path / "killed"))
    wait_for_step(process, tmp_path / "killed", 5)
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


def test_an_interrupted_run_says_how_to_go_on(rooms, tmp_path):
    file = write_config(tmp_path, steps=100_000, save_every=2, validate_every=1000)
    words = ["train", str(file), "--data", str(rooms), "--out", str(tmp_path / "run")]
    process = start(["-m", "govnesf_model.cli", *words, "--accelerator", "cpu"])
    wait_for_step(process, tmp_path / "run", 3)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "halted: the same command goes on from" in output
    assert "Traceback" not in output
    assert (tmp_path / "run/last.ckpt").is_file()


def test_two_processes_train_the_field_of_one_with_the_doubled_batch(rooms, tmp_path):
    fields = []
    for name, devices, accumulate in (("one", 1, 2), ("two", 2, 1)):
        out = tmp_path / name
        words = ["train", str(write_config(tmp_path, steps=3, validate_every=2)), "--accelerator"]
        words += ["cpu", "--devices", str(devices), "--threads", "1", "--data", str(rooms)]
        words += ["--val", str(rooms), "--set", f"optimizer.accumulate={accumulate}"]
        output = finish(start(["-m", "govnesf_model.cli", *words, "--out", str(out)]))
        assert output.count("3 to train on, 18 views; 3 to validate on") == 1
        assert f"{devices} x cpu" in output
        assert {path.name for path in (out / "images").iterdir()} == {
            f"step_000002_{room}.png" for room in "abc"
        }
        fields.append(load_field(out / "field.safetensors").state_dict())
    one, two = fields
    for key, value in one.items():
        # AdamW divides by the gradient's size: rounding of tiny gradients moves weights by a little
        # of a step of 1.5e-3.
        torch.testing.assert_close(two[key], value, atol=1e-4, rtol=1e-4, msg=key)


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
