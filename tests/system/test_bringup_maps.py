"""A map outlives its node: saved, killed with -9 while saving, loaded by the next one."""

import os
import random
import re
import shlex
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from govnesf_ros.srv import MapFile, QueryText
from launched import Client, Launched, reasons
from std_srvs.srv import SetBool, Trigger

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interfaces.md"


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("maps")


@pytest.fixture
def launch(domain, tmp_path, maps):
    """Start the bringup with a client; everything ends with the test."""
    values = {"image_width": 160, "torch_threads": 1, "maps_dir": str(maps)}
    parameters = tmp_path / "test.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    started, clients = [], []

    def start(*arguments: str) -> tuple[Launched, Client]:
        log = tmp_path / f"log{len(started)}"
        started.append(Launched(log, *arguments, f"params_file:={parameters}"))
        clients.append(Client(domain))
        clients[-1].until_active(started[-1])
        return started[-1], clients[-1]

    yield start
    for client in clients:
        client.close()
    for launched in started:
        launched.stop()


def mapper_of(launched: Launched) -> int:
    """Return the process of the mapper."""
    for number in launched.children():
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        if any(word.endswith(b"/mapper_node") for word in words):
            return number
    raise AssertionError(f"no mapper among {launched.children()}")


def settled(client: Client, keyframes: int) -> None:
    """Wait for keyframes, then let nothing more come in."""
    client.until(lambda: client.status.keyframes >= keyframes, 90.0)
    assert client.call(SetBool, "pause", data=True).success
    client.until(lambda: reasons(client.status).get("paused", 0) > 0, 30.0)


def test_a_map_outlives_kill_9_in_the_middle_of_saving(launch, room, maps) -> None:
    launched, client = launch(f"source:=folder:{room}", "rate:=2", "loop:=true")
    settled(client, 3)
    first = client.call(MapFile, "save_map", path="house/room")
    assert first.success, first.message
    points = client.new_status().points
    assert f"saved {points} points" in first.message
    before = client.call(QueryText, "query", texts=["table"])
    mapper = mapper_of(launched)
    seconds = random.Random(0).uniform(0.05, 0.5)
    killer = threading.Timer(seconds, os.kill, (mapper, signal.SIGKILL))
    killer.start()
    with pytest.raises(AssertionError, match=r"not in 5\.0 s"):  # the answer never comes
        save_for_ever(client)
    launched.stop()

    launched, client = launch("source:=live")
    assert client.new_status().points == 0
    reply = client.call(MapFile, "load_map", path="house/room")
    assert reply.success, reply.message
    assert client.new_status().points == points
    after = client.call(QueryText, "query", texts=["table"])
    assert after.message == before.message
    # The next save removes what the killed one has left behind.
    assert client.call(MapFile, "save_map", path="house/room").success
    assert len(list((maps / "house/room").glob("*.safetensors"))) <= 2
    assert client.call(Trigger, "reset").success
    refused = client.call(MapFile, "load_map", path="../room")
    assert not refused.success
    assert "not a folder inside maps_dir" in refused.message


def save_for_ever(client: Client) -> None:
    while True:
        client.call(MapFile, "save_map", seconds=5.0, path="house/room")


def commands() -> list[str]:
    """Return the commands of docs/interfaces.md that end by themselves."""
    found = re.findall(r"^    (ros2 .*)$", DOCUMENT.read_text(), re.MULTILINE)
    ends = (" --once ", "service call", "param list")
    return [command for command in found if any(words in command for words in ends)]


@pytest.mark.slow  # each command is a process that imports ROS
def test_every_command_of_the_document_works(launch, room) -> None:
    launched, client = launch(f"source:=folder:{room}", "rate:=2", "loop:=true")
    client.until(lambda: client.status.keyframes >= 2, 90.0)
    assert client.call(QueryText, "query", texts=["table"]).success
    chosen = commands()
    assert len(chosen) > 20
    for command in chosen:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stdout[-300:], done.stderr[-500:])
        if "service call" in command:
            assert "success=True" in done.stdout, (command, done.stdout[-500:])
        assert done.stdout.strip(), command
    assert launched.alive()
