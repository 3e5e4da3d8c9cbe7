"""Launch descriptions from files."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from launch.launch_description import LaunchDescription
from launch.launch_description_source import LaunchDescriptionSource
from launch.some_substitutions_type import SomeSubstitutionsType

__all__ = [
    "AnyLaunchDescriptionSource",
    "InvalidLaunchFileError",
    "InvalidPythonLaunchFileError",
    "PythonLaunchDescriptionSource",
    "get_launch_description_from_any_launch_file",
    "get_launch_description_from_python_launch_file",
]

_module_numbers = itertools.count()


class InvalidLaunchFileError(Exception):
    """A file is not a launch file that can be read here."""


class InvalidPythonLaunchFileError(InvalidLaunchFileError):
    """A Python file has no `generate_launch_description`."""


class PythonLaunchDescriptionSource(LaunchDescriptionSource):
    """The description that `generate_launch_description()` of a Python file returns."""

    def __init__(self, launch_file_path: SomeSubstitutionsType) -> None:
        super().__init__(None, launch_file_path, "interpreted python launch file")

    def _get_launch_description(self, location: str) -> LaunchDescription:
        return get_launch_description_from_python_launch_file(location)


class AnyLaunchDescriptionSource(LaunchDescriptionSource):
    """The description of a file of any supported kind; here that is Python."""

    def __init__(self, launch_file_path: SomeSubstitutionsType) -> None:
        super().__init__(None, launch_file_path, "interpreted frontend launch file")

    def _get_launch_description(self, location: str) -> LaunchDescription:
        return get_launch_description_from_any_launch_file(location)


def get_launch_description_from_any_launch_file(
    launch_file_path: str, *, argv: Sequence[str] | None = None
) -> LaunchDescription:
    """Return the description of a launch file.

    Raises:
        FileNotFoundError: if there is no such file.
        InvalidLaunchFileError: if it is written in XML or YAML, which need a ROS distro.
    """
    if Path(launch_file_path).suffix in (".xml", ".yaml", ".yml"):
        raise InvalidLaunchFileError(
            f"'{launch_file_path}' is no Python launch file; XML and YAML launch files need the "
            "launch package of a ROS distro"
        )
    return get_launch_description_from_python_launch_file(launch_file_path)


def get_launch_description_from_python_launch_file(launch_file_path: str) -> LaunchDescription:
    """Import a Python launch file and return what its `generate_launch_description()` returns.

    Raises:
        FileNotFoundError: if there is no such file.
        InvalidPythonLaunchFileError: if that function is missing.
    """
    module = _load_python_file(launch_file_path)
    generate = getattr(module, "generate_launch_description", None)
    if generate is None:
        raise InvalidPythonLaunchFileError(
            f"launch file at '{launch_file_path}' does not contain the required function "
            "'generate_launch_description()'"
        )
    return generate()


def _load_python_file(path: str) -> ModuleType:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no launch file at '{path}'")
    # A number in the name keeps two files of the same name apart.
    name = f"python_launch_file_{next(_module_numbers)}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
