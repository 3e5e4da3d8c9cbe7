"""Fixtures for tests on the ROS side: an isolated graph per test, messages from arrays."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# furnished_room: a room and an encoder whose truth is exact.
sys.path.append(str(Path(__file__).resolve().parents[1] / "model"))

try:
    import govnesf_ros.msg  # noqa: F401
    import vision_msgs.msg  # noqa: F401
    from ros_graph import Graph
except ImportError as error:
    collect_ignore_glob = ["test_*.py"]
    warnings.warn(f"tests/ros is left out, no workspace is sourced: {error}", stacklevel=1)


@pytest.fixture
def graph() -> Iterator[Graph]:
    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture
def make_robot(graph) -> Iterator[Callable[..., Any]]:
    """Make parts of the node around a map of a number of keyframes; see `robot_rig.Robot`."""
    from robot_rig import Robot

    robots = []

    def make(frames: int, namespace: str = "", **settings):
        robots.append(Robot(graph, frames, namespace, **settings))
        return robots[-1]

    yield make
    for robot in robots:
        robot.stop()


@pytest.fixture
def robot(make_robot):
    return make_robot(4)
