"""What stands for a camera, a posed folder or a bag; and starts that must fail."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from govnesf_ros.srv import QueryText
from launched import Client, Launched, assert_sum_holds, reasons, running
from sensor_msgs.msg import PointCloud2


@pytest.fixture
def launch(domain, tmp_path):
    """Start the bringup; everything ends with the test."""
    started, clients = [], []

    def start(*arguments: str) -> tuple[Launched, Client]:
        started.append(Launched(tmp_path / f"log{len(started)}", *arguments))
        clients.append(Client(domain))
        return started[-1], clients[-1]

    yield start
    for client in clients:
        client.close()
    for launched in started:
        launched.stop()


def test_a_folder_plays_as_a_camera_in_simulated_time(launch, room) -> None:
    launched, client = launch(
        f"source:=folder:{room}", "use_sim_time:=true", "rate:=4", "loop:=false"
    )
    client.until_active(launched)
    client.until(lambda: client.status.frames_received >= 12, 60.0)
    client.until(lambda: client.status.frames_waiting == 0)
    status = client.status
    assert_sum_holds(status)
    assert (status.frames_received, status.frames_dropped) == (12, 0)
    assert status.frames_used >= 2
    # The player's clock began at 1000 s: simulated time is what the node lives in.
    assert 1000 <= status.header.stamp.sec < 2000

    def asked() -> PointCloud2:
        reply = client.call(QueryText, "query", texts=["table"], return_cloud=True)
        assert reply.success
        return reply.cloud

    # Until the newest keyframe is prepared for queries, they read the map before it.
    client.until(lambda: asked().width == status.points)
    assert 1000 <= asked().header.stamp.sec < 2000
    children = launched.children()
    assert children
    code, seconds = launched.stop()
    assert code == 0
    assert seconds < 10
    assert running(children) == []
    assert "Traceback" not in launched.output


def test_a_real_bag_becomes_a_map_and_no_image_is_lost_without_a_reason(
    launch, shared_data
) -> None:
    launched, client = launch(f"source:=bag:{shared_data / '7scenes_bag'}")
    client.until_active(launched)
    client.until(lambda: client.status.frames_received >= 60, 60.0)
    client.until(lambda: client.status.frames_waiting == 0)
    status = client.status
    assert_sum_holds(status)
    assert status.frames_received == 60
    assert status.frames_dropped == 0, reasons(status)
    assert status.frames_used >= 2
    assert status.points > 5000
    reply = client.call(QueryText, "query", texts=["chair", "table"], return_mask=True)
    assert reply.success
    assert (reply.mask.width, reply.mask.height) == (640, 480)
    assert reply.mask.header.frame_id == "camera_color_optical_frame"
    assert 1_700_000_000 <= reply.mask.header.stamp.sec <= 1_700_000_006


@pytest.mark.parametrize(
    ("parameters", "code", "words"),
    [
        (["-p", "checkpoint:=/nowhere/field.safetensors"], 1, "/nowhere/field.safetensors"),
        (["-p", "vlm:=telepathy"], 1, "there is no encoder 'telepathy'"),
        (["-p", "vlm:=lseg:/nowhere/lseg.ckpt"], 1, "no LSeg weights at /nowhere/lseg.ckpt: get"),
        (["-p", "device:=cuda:7"], 1, "'device' is 'cuda:7'"),
        (["-p", "depth:=perhaps"], 2, "expected one of: auto, required, off"),
        (["-p", "voxel_size:=1"], 2, "a number with a decimal point"),
    ],
)
def test_a_start_that_must_fail_says_why(domain, parameters, code, words) -> None:
    done = ros2("run", "govnesf_ros", "mapper_node", "--ros-args", *parameters)
    assert words in done.stdout + done.stderr
    assert done.returncode == code


def test_a_folder_that_is_no_scene_ends_the_player(domain, tmp_path) -> None:
    done = ros2("run", "govnesf_ros", "player_node", "--ros-args", "-p", f"scene:={tmp_path}")
    assert done.returncode == 2
    assert f"{tmp_path} is no scene that can be read" in done.stderr


def test_a_bringup_without_its_mapper_ends_as_a_whole(launch, room) -> None:
    launched, _ = launch(f"source:=folder:{room}", "depth:=perhaps")
    launched.process.wait(60)
    assert "expected one of: auto, required, off" in launched.output
    assert running(launched.children()) == []


@pytest.mark.parametrize("source", ["wherever", "folder", "folder:/nowhere", "bag:"])
def test_a_source_that_is_none_is_refused(domain, source) -> None:
    done = ros2("launch", "govnesf_ros", "bringup.launch.py", f"source:={source}")
    assert done.returncode != 0
    assert f"source:={source}" in done.stdout + done.stderr


def test_the_arguments_of_the_bringup_are_listed(domain) -> None:
    done = ros2("launch", "govnesf_ros", "bringup.launch.py", "--show-args")
    for name in ("source", "map_frame", "image_topic", "device", "vlm", "params_file", "rviz",
                 "namespace", "use_sim_time", "rate", "loop", "log_level"):  # fmt: skip
        assert f"'{name}':" in done.stdout


@pytest.mark.parametrize(
    ("node", "words"),
    [("mapper_node", "importing torch"), ("player_node", "waiting for a subscriber")],
)
def test_sigint_while_models_load_or_nobody_listens_ends_the_node(
    domain, tmp_path, node, words
) -> None:
    log = Path(tmp_path / "log")
    with log.open("w") as output:
        process = subprocess.Popen(
            ["ros2", "run", "govnesf_ros", node], stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 30
            while words not in log.read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(2)
            assert process.wait(30) in (0, 130, -2)
        finally:
            process.kill()
    assert words in log.read_text()
    assert "Traceback" not in log.read_text()


def ros2(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["ros2", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
