"""Fixtures for tests on the ROS side: an isolated graph per test, messages from arrays."""

import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# furnished_room: a room and an encoder whose truth is exact.
sys.path.append(str(Path(__file__).resolve().parents[1] / "model"))

try:
    import govnesf_ros.msg  # noqa: F401
    import rclpy
    import vision_msgs.msg  # noqa: F401
    from rclpy.executors import MultiThreadedExecutor
except ImportError as error:
    collect_ignore_glob = ["test_*.py"]
    warnings.warn(f"tests/ros is left out, no workspace is sourced: {error}", stacklevel=1)


class Graph:
    """Nodes of one test, spun in the background on a domain of their own."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        domain = 100 + (os.getpid() + random.randrange(100)) % 100
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = MultiThreadedExecutor(num_threads=4, context=self.context)
        self.nodes: list = []

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def node(self, name: str = "probe"):
        return self.add(rclpy.create_node(name, context=self.context))

    def spin_until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "the expected did not happen in time"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown(timeout_sec=1.0)
        for node in self.nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph() -> Iterator[Graph]:
    graph = Graph()
    yield graph
    graph.close()
