"""Fixtures for tests with real processes: the launched bringup on a domain of its own."""

import os
import random
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "model"))

try:
    import govnesf_ros.msg  # noqa: F401
    import rclpy  # noqa: F401
except ImportError as error:
    READY = False
    reason = str(error)
else:
    READY = shutil.which("ros2") is not None
    reason = "no ros2 command"
if not READY:
    collect_ignore = sorted(
        path.name
        for path in Path(__file__).parent.glob("test_*.py")
        if path.name != "test_scripts.py"
    )
    warnings.warn(
        f"tests/system is left out but for scripts, no workspace is sourced: {reason}", stacklevel=1
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "changes_map: the map may differ after this case")


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    """A ROS domain that nobody else is likely to use, set for this process and its children."""
    before = os.environ.get("ROS_DOMAIN_ID")
    number = random.SystemRandom().randint(1, 101)
    os.environ["ROS_DOMAIN_ID"] = str(number)
    yield number
    if before is None:
        del os.environ["ROS_DOMAIN_ID"]
    else:
        os.environ["ROS_DOMAIN_ID"] = before


@pytest.fixture(scope="session")
def room(tmp_path_factory) -> Path:
    """A posed folder: a small room with coloured boxes."""
    from furnished_room import room_frames, write_scene

    root = tmp_path_factory.mktemp("room")
    write_scene(root, room_frames(12))
    return root
