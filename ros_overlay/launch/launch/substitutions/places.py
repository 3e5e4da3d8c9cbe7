"""Paths of files, folders and executables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution
from launch.substitutions.text import SubstitutionFailure
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions


class PathJoinSubstitution(Substitution):
    """Parts of a path joined by the separator; a part may itself be several substitutions."""

    def __init__(self, substitutions: Iterable[SomeSubstitutionsType]) -> None:
        self.substitutions = [normalize_to_list_of_substitutions(part) for part in substitutions]

    def describe(self) -> str:
        parts = (" + ".join(s.describe() for s in part) for part in self.substitutions)
        return f"PathJoin({', '.join(parts)})"

    def perform(self, context: LaunchContext) -> str:
        parts = [perform_substitutions(context, part) for part in self.substitutions]
        return os.path.join(*parts)

    def __truediv__(self, part: SomeSubstitutionsType) -> PathJoinSubstitution:
        return PathJoinSubstitution([*self.substitutions, part])


class ThisLaunchFile(Substitution):
    """The path of the launch file that is being visited."""

    def describe(self) -> str:
        return "ThisLaunchFile()"

    def perform(self, context: LaunchContext) -> str:
        return _current_launch_file(context)


class ThisLaunchFileDir(Substitution):
    """The folder of the launch file that is being visited."""

    def describe(self) -> str:
        return "ThisLaunchFileDir()"

    def perform(self, context: LaunchContext) -> str:
        return str(Path(_current_launch_file(context)).parent)


class FindExecutable(Substitution):
    """The path of an executable on $PATH."""

    def __init__(self, *, name: SomeSubstitutionsType) -> None:
        self.name = normalize_to_list_of_substitutions(name)

    def describe(self) -> str:
        return f"FindExec({' + '.join(part.describe() for part in self.name)})"

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.name)
        path = shutil.which(name)
        if path is None:
            raise SubstitutionFailure(f"executable '{name}' not found on the PATH")
        return path


class FileContent(Substitution):
    """The text inside a file."""

    def __init__(self, path: SomeSubstitutionsType) -> None:
        self.path = normalize_to_list_of_substitutions(path)

    def perform(self, context: LaunchContext) -> str:
        path = perform_substitutions(context, self.path)
        try:
            return Path(path).read_text()
        except OSError as error:
            raise SubstitutionFailure(f"failed to open file '{path}': {error}") from error


def _current_launch_file(context: LaunchContext) -> str:
    path = context.get_locals_as_dict().get("current_launch_file_path")
    if path is None:
        raise SubstitutionFailure("no launch file is being visited, so it has no path")
    return path
