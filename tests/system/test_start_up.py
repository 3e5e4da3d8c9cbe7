"""The node as a process: interrupted at every phase of its start, and given files that are none."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from ament_index_python.packages import get_package_prefix
from safetensors import safe_open
from safetensors.torch import save_file

from govnesf_model.checkpoint import field_path
from govnesf_model.resources import resource_dir

NODE = Path(get_package_prefix("govnesf_ros")) / "lib" / "govnesf_ros" / "mapper_node"
# Seconds after the start, or words of the log that begin a phase.
PHASES = [
    0.05,
    0.2,
    0.4,
    0.6,
    "importing torch ...",
    "loading the field 'small' on cpu ...",
    "loading the encoder 'embedded' on cpu ...",
    "loading the encoder 'embedded' on cpu: ",
    "ready to answer",
    "listening to",
]


class Started:
    """A node in a process group of its own."""

    def __init__(self, log: Path, **parameters: object) -> None:
        self.log = log
        values = [f"{name}:={value}" for name, value in {"device": "cpu", **parameters}.items()]
        options = [part for value in values for part in ("-p", value)]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [NODE, "--ros-args", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def until_said(self, words: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)

    def left(self) -> bool:
        """Tell whether any process of the group still is."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_sigint_at_any_phase_of_the_start_ends_the_node_within_five_seconds(
    domain, tmp_path, phase
) -> None:
    node = Started(tmp_path / "log")
    if isinstance(phase, float):
        time.sleep(phase)
    else:
        node.until_said(phase)
    begin = time.monotonic()
    node.process.send_signal(signal.SIGINT)
    try:
        code = node.process.wait(30.0)
    finally:
        if node.process.poll() is None:
            node.process.kill()
    print(f"{phase}: ended with {code} after {time.monotonic() - begin:.2f} s")
    assert time.monotonic() - begin < 5.0
    assert not node.left()
    if isinstance(phase, str):
        assert code == 0
        assert "Traceback" not in node.output
    else:
        # Before ROS listens the signal itself is the end, or Python's own start complains.
        assert code in (0, 1, -signal.SIGINT)


def damaged(path: Path) -> None:
    data = bytearray(field_path("small").read_bytes())
    data[8:40] = bytes(32)  # in the middle of the header
    path.write_bytes(data)


def truncated(path: Path) -> None:
    data = field_path("small").read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    shutil.copyfile(next((resource_dir("weights") / "embedded").glob("*.safetensors")), path)


def pickled(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def newer(path: Path) -> None:
    with safe_open(field_path("small"), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, metadata={**file.metadata(), "version": "99"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "parameter", "words"),
    [
        (damaged, "checkpoint", "is damaged or no safetensors file"),
        (truncated, "checkpoint", "is damaged or no safetensors file"),
        (empty, "checkpoint", "is damaged or no safetensors file"),
        (foreign, "checkpoint", "is not a field checkpoint"),
        (pickled, "checkpoint", "is damaged or no safetensors file"),
        (newer, "checkpoint", "has format version 99"),
        (None, "checkpoint", "there is no field checkpoint at"),
        (truncated, "vlm", "embedded:"),
        (newer, "vlm", "embedded:"),
    ],
)
def test_weights_that_are_none_end_the_start_with_a_sentence(
    domain, tmp_path, make, parameter, words
) -> None:
    path = tmp_path / "model.safetensors"
    if make is not None:
        make(path)
    value = f"embedded:{path}" if parameter == "vlm" else path
    node = Started(tmp_path / "log", **{parameter: value})
    assert node.process.wait(90.0) == 1
    assert not node.left()
    assert "Traceback" not in node.output
    sentence = re.search(r"\[ERROR\].*cannot configure: (.*)", node.output)
    assert sentence is not None, node.output
    assert words in node.output
    assert path.name in sentence[1]
    assert "autostart failed, see the error above; the node ends" in node.output
