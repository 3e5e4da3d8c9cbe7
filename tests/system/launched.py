"""A launch file as a process, and a client beside it in this process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from govnesf_ros.msg import MapStatus
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile

from govnesf_ros.conversions import stamp_to_ns

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
START_SECONDS = 300.0  # importing torch takes its time on a busy machine


class Launched:
    """`ros2 launch` in a session of its own, with its output in a file.

    Args:
        log: file for the output.
        arguments: of `ros2 launch govnesf_ros bringup.launch.py`.
    """

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        command = ["ros2", "launch", "govnesf_ros", "bringup.launch.py", *arguments]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """Return the processes that the launch has started, and theirs."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
        found = list(parents.get(self.process.pid, []))
        for number in found:
            found += parents.get(number, [])
        return found

    def stop(self, seconds: float = 20.0) -> tuple[int, float]:
        """Send SIGINT as a terminal does; return exit code and seconds taken."""
        begin = time.monotonic()
        if self.alive():
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        return code, time.monotonic() - begin


class Client:
    """A node of this process on the launched graph; keeps status and log messages."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("tester", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.status: MapStatus | None = None
        self.said: list[str] = []
        self.node.create_subscription(MapStatus, "/govnesf/status", self._remember, LATCHED)
        logs = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(Log, "/rosout", self._listen, logs)
        self._clients: dict[str, object] = {}

    def _remember(self, status: MapStatus) -> None:
        self.status = status

    def _listen(self, log: Log) -> None:
        if log.name.startswith("govnesf"):
            self.said.append(log.msg)

    def spin(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def until(self, done: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"not in {seconds} s; last said: {self.said[-3:]}"
            self.executor.spin_once(timeout_sec=0.02)

    def until_active(self, launched: Launched) -> None:
        """Wait until the mapper listens to its camera."""

        def active() -> bool:
            assert launched.alive(), launched.output
            return self.status is not None and self.status.state == "active"

        self.until(active, START_SECONDS)

    def new_status(self) -> MapStatus:
        """Return a status that was made after this call."""
        now = time.time_ns()
        self.until(lambda: self.status and stamp_to_ns(self.status.header.stamp) > now)
        return self.status

    def call(self, kind: type, name: str, seconds: float = 30.0, **request: object):
        """Call a service of the node."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, f"/govnesf/{name}")
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        self.until(future.done, seconds)
        return future.result()

    def close(self) -> None:
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


def running(numbers: list[int]) -> list[int]:
    """Return those processes that still are."""
    return [number for number in numbers if Path(f"/proc/{number}").exists()]


def reasons(status: MapStatus) -> dict[str, int]:
    """Return why frames were skipped or dropped."""
    return dict(zip(status.reasons, status.reason_counts, strict=True))


def assert_sum_holds(status: MapStatus) -> None:
    """Nothing is lost without a word: every received frame is in one of the counts."""
    parts = (status.frames_used, status.frames_skipped, status.frames_dropped)
    assert status.frames_received == sum(parts) + status.frames_waiting
    assert sum(status.reason_counts) == status.frames_skipped + status.frames_dropped
