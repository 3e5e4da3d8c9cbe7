"""One launched node through its states: what it keeps, what it frees, what may change when."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launched import Launched
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot import Case, launched_case

TRANSITIONS = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(domain, tmp_path_factory):
    parameters = {"tf_timeout": 1.0, "image_width": 320, "min_interval": 0.0}
    folder = tmp_path_factory.mktemp("lifecycle")
    with launched_case(domain, folder, "respawn:=true", **parameters) as found:
        yield found


def go(case: Case, transition: str) -> None:
    request = Transition(id=TRANSITIONS[transition])
    # One client for all transitions: an answer to a client that has just come may get lost.
    assert case.client.call(ChangeState, "change_state", 120.0, transition=request).success


def set_parameter(case: Case, name: str, value: float) -> str:
    """Return why it was refused, an empty string when it was not."""
    parameter = Parameter(name=name, value=ParameterValue(type=3, double_value=value))
    answer = case.client.call(SetParameters, "set_parameters", parameters=[parameter])
    (result,) = answer.results
    assert result.successful == (not result.reason)
    return result.reason


def drive(case: Case) -> None:
    used = case.status().frames_used
    for index in range(4):
        case.robot.send(index)
        case.until_settled()
    case.client.until(lambda: case.status().frames_used > used)


def mapper_of(case: Case) -> int:
    (mapper,) = (
        number
        for number in case.launched.children()
        if b"mapper_node" in Path(f"/proc/{number}/cmdline").read_bytes()
    )
    return mapper


def own_mib(number: int) -> float:
    """Return what a process shares with nobody [MiB]: DDS maps its segment little by little."""
    text = Path(f"/proc/{number}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def test_live_parameters_change_and_others_are_refused_with_a_sentence(case) -> None:
    assert set_parameter(case, "min_score", 0.3) == ""
    assert "'voxel_size' is read when the node is configured" in set_parameter(
        case, "voxel_size", 0.05
    )
    assert "min_score" in set_parameter(case, "min_score", 3.0)


def test_deactivate_keeps_the_map_and_cleanup_frees_the_memory_every_time(case) -> None:
    full, empty = [], []
    for turn in range(7):
        drive(case)
        before = case.status()
        go(case, "deactivate")
        inactive = case.status()
        assert (inactive.state, inactive.points) == ("inactive", before.points)
        assert case.query(texts=["table"]).success
        full.append(own_mib(mapper_of(case)))
        go(case, "cleanup")
        unconfigured = case.status()
        assert (unconfigured.state, unconfigured.points) == ("unconfigured", 0)
        case.client.spin(1.5)
        empty.append(own_mib(mapper_of(case)))
        assert set_parameter(case, "voxel_size", 0.03 + 0.01 * turn) == ""
        go(case, "configure")
        go(case, "activate")
        case.until_connected()
    print(f"MiB with map and models {full}, after cleanup {empty}")
    # What torch and other libraries have loaded stays in the process; models and map do not.
    assert all(low < high - 50 for low, high in zip(empty, full, strict=True))
    # The first turn warms caches up. One turn may leave blocks scattered that the next gives back,
    # so what accumulates is what no later turn gets rid of: the least of those after it.
    assert min(empty[4:]) < 1.05 * min(empty[1:4])
    assert max(empty) < 1.5 * min(empty)


def test_a_killed_mapper_comes_back_when_respawn_is_asked_for(case) -> None:
    case.client.status = None
    os.kill(mapper_of(case), signal.SIGKILL)
    case.client.until(
        lambda: case.client.status is not None and case.client.status.state == "active", 120.0
    )
    assert case.launched.alive()
    assert case.status().keyframes == 0


def test_the_namespace_moves_everything_but_diagnostics(domain, tmp_path) -> None:
    launched = Launched(tmp_path / "log", "namespace:=robot_1", "log_level:=warn")
    try:
        deadline = time.monotonic() + 60.0
        wanted = {"/robot_1/govnesf/status", "/robot_1/camera/color/image_raw", "/diagnostics"}
        found: set[str] = set()
        while not wanted <= found:
            assert time.monotonic() < deadline, (wanted - found, launched.output)
            command = ["ros2", "topic", "list"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            found = set(done.stdout.split())
        # log_level:=warn keeps the start-up to itself.
        assert "importing torch" not in launched.output
    finally:
        launched.stop()
