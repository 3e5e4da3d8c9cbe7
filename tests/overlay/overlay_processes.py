"""Runs the overlay from its sources: packages in a temporary prefix, `ros2` as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import domain_coordinator
import pytest

started: list[subprocess.Popen[str]] = []
OVERLAY = Path(__file__).resolve().parents[2] / "ros_overlay"
SOURCES = [str(OVERLAY / name) for name in ("launch", "launch_ros", "ros2cli")]


def use_sources() -> None:
    """Import the overlay's sources, in this process and in those that it starts."""
    sys.path[:0] = [path for path in SOURCES if path not in sys.path]
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    added = [path for path in SOURCES if path not in known]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*added, *known]))


def install_package(prefix: Path, name: str, files: dict[str, str]) -> None:
    """Write a package into a prefix: `lib/...` files become executable."""
    marker = prefix / "share/ament_index/resource_index/packages" / name
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    (prefix / "share" / name).mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        kind, rest = path.split("/", 1)
        file = prefix / kind / name / rest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!{sys.executable}\n{text}" if kind == "lib" else text)
        file.chmod(0o755)


@contextmanager
def own_domain(prefix: Path) -> Iterator[None]:
    """Give what is started meanwhile a ROS domain of its own and the packages of a prefix."""
    with pytest.MonkeyPatch.context() as patch, domain_coordinator.domain_id() as number:
        patch.setenv("ROS_DOMAIN_ID", str(number))
        patch.setenv("ROS_LOG_DIR", str(prefix / "log"))
        patch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{sys.prefix}")
        # Newcomers are greeted at once over UDP, which keeps these tests short.
        patch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
        yield


def ros2(*arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a `ros2` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ros2cli.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def start_ros2(*arguments: str) -> subprocess.Popen[str]:
    """Start a `ros2` command that goes on until `interrupt`."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "ros2cli.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    return process


def stop_started(since: int = 0) -> None:
    """Kill what a failed test has left, but for the first `since` that were started."""
    for process in started[since:]:
        if process.poll() is None:
            process.kill()
            process.wait()


def interrupt(process: subprocess.Popen[str], timeout: float = 20.0) -> str:
    """Send SIGINT, as ctrl-c does, and return what the process has written."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def is_running(pid: int) -> bool:
    """Return whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Poll a condition; return whether it held in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
