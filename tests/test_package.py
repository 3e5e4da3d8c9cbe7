"""The package as its users meet it: what it imports, what pip installs, what the files promise."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from govnesf_model.resources import resource_dir

REPOSITORY = Path(__file__).resolve().parent.parent
ROS_MODULES = {"rclpy", "sensor_msgs", "std_msgs", "geometry_msgs", "tf2_ros", "cv_bridge"}
ROS_MODULES |= {"govnesf_ros", "vision_msgs", "launch", "launch_ros", "tf_transformations"}


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_the_model_never_imports_ros():
    files = sorted((REPOSITORY / "govnesf_model").rglob("*.py"))
    assert len(files) > 10
    offenders = {str(f): found for f in files if (found := imported_modules(f) & ROS_MODULES)}
    assert offenders == {}


def test_the_product_imports_no_stand_in_by_path():
    """The node has no branch for ros_overlay: it imports the standard names alone."""
    for path in (REPOSITORY / "govnesf_ros").rglob("*.py"):
        assert "ros_overlay" not in path.read_text(), path


def test_the_product_draws_without_what_only_the_benchmarks_need():
    for package in ("govnesf_model", "govnesf_ros"):
        for path in (REPOSITORY / package).rglob("*.py"):
            assert "matplotlib" not in imported_modules(path), path


def test_waiting_threads_leave_the_processor_to_others_unless_the_user_says_otherwise():
    names = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
    program = f"import govnesf_model, os; print(*map(os.environ.get, {names}))"
    clean = {name: value for name, value in os.environ.items() if name not in names}
    for given, expected in (
        ({}, "PASSIVE 1000"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
    ):
        command = [sys.executable, "-c", program]
        said = subprocess.check_output(command, env=clean | given, cwd=REPOSITORY, text=True)
        assert said.strip() == expected
    # The node imports the package first, and torch after it.
    engine = (REPOSITORY / "govnesf_ros/engine.py").read_text()
    assert engine.index("\nimport govnesf_model") < engine.index("import torch")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, text=True
    ).splitlines()
    for name in tracked:  # build from a copy: setuptools writes build/ and egg-info beside setup.py
        source = REPOSITORY / name
        if source.is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder]
    subprocess.run([*command, folder / "source"], check=True)
    return zipfile.ZipFile(next(folder.glob("govnesf-*.whl")))


@pytest.mark.slow
def test_pip_brings_the_model_its_weights_and_the_command(wheel):
    names = wheel.namelist()
    assert "govnesf_model/cli.py" in names
    assert "govnesf_model/weights/field_small/model.safetensors" in names
    assert "govnesf_model/weights/embedded/model.safetensors" in names
    assert not [name for name in names if name.startswith(("govnesf_ros/", "tests/"))]
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "govnesf = govnesf_model.cli:main" in wheel.read(entry_points).decode()


@pytest.mark.slow
def test_the_installed_package_runs_away_from_the_checkout(wheel, tmp_path):
    wheel.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = (
        "import govnesf_model.checkpoint as c, govnesf_model.resources as r, sys;"
        "field = c.load_field('small');"
        "print(r.resource_dir('weights'));"
        "assert 'rclpy' not in sys.modules and 'open3d' not in sys.modules"
    )
    output = subprocess.check_output(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True
    )
    assert output.strip() == str(tmp_path / "govnesf_model" / "weights")


def test_the_command_line_starts_quickly_and_lists_its_commands():
    result = subprocess.run(
        [sys.executable, "-m", "govnesf_model.cli", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for command in ("segment", "evaluate", "relevancy", "train", "vlm", "data"):
        assert re.search(rf"^\s+{command}\b", result.stdout, re.MULTILINE), result.stdout


def test_pins_resolve_to_one_version_per_python():
    """Each requirement is pinned, and lines of one name differ in their markers."""
    for path in (REPOSITORY / "requirements").glob("*.txt"):
        seen: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, rest = line.partition("==")
                assert rest, f"{path.name}: '{line}' is not pinned"
                seen.setdefault(name.split("[")[0], []).append(rest.partition(";")[2])
        for name, markers in seen.items():
            assert len(set(markers)) == len(markers), f"{path.name} pins {name} twice"


def test_every_shipped_weight_has_a_card():
    for weights in resource_dir("weights").rglob("*.safetensors"):
        card = (weights.parent / "MODEL_CARD.md").read_text().lower()
        assert weights.stat().st_size < 15 * 2**20
        for word in ("data", "command", "seconds", "limits", "licen"):
            assert word in card, f"{weights.parent.name}: the card does not speak of '{word}'"


def test_the_demo_room_is_small_attributed_and_complete():
    room = resource_dir("assets") / "demo_room"
    size = sum(path.stat().st_size for path in room.rglob("*") if path.is_file())
    assert size < 6 * 2**20
    assert "CC0" in (room / "ATTRIBUTION.md").read_text()
    instances = json.loads((room / "instances.json").read_text())
    assert {"class", "color", "center", "size"} <= set(next(iter(instances.values())))


def test_a_missing_resource_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("GOVNESF_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*GOVNESF_WEIGHTS"):
        resource_dir("weights")
