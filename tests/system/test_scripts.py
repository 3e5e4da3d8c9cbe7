"""The three commands of a newcomer, as far as they can be tried in a set-up checkout."""

import os
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_second_bootstrap_takes_seconds_and_says_so():
    begin = time.monotonic()
    result = run("script/bootstrap", "--dev")
    assert result.returncode == 0, result.stderr
    assert "system packages ... nothing to do" in result.stdout
    assert "Python packages" in result.stdout
    assert "ready in" in result.stdout
    assert time.monotonic() - begin < 30


def test_bootstrap_names_the_missing_python():
    result = run("script/bootstrap", PYTHON="python2.6")
    assert result.returncode == 1
    assert "no Python 3.10, 3.11 or 3.12 found" in result.stderr


def test_bootstrap_refuses_an_unknown_option():
    result = run("script/bootstrap", "--fast")
    assert result.returncode == 2
    assert "unknown option '--fast'" in result.stderr


def test_setup_bash_alone_gives_a_shell_that_works():
    """Sourcing only install/setup.bash in a clean environment gives ros2 and our types."""
    script = "source install/setup.bash && ros2 interface show govnesf_ros/srv/QueryText"
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=REPOSITORY,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "string[] texts" in result.stdout
