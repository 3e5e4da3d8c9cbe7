"""Places inside installed packages."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution
from launch.substitutions import SubstitutionFailure
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

__all__ = ["ExecutableInPackage", "FindPackage", "FindPackagePrefix", "FindPackageShare"]


class FindPackagePrefix(Substitution):
    """The prefix that a package is installed in."""

    def __init__(self, package: SomeSubstitutionsType) -> None:
        self.package = normalize_to_list_of_substitutions(package)

    def describe(self) -> str:
        package = " + ".join(part.describe() for part in self.package)
        return f"{type(self).__name__}(pkg={package})"

    def find(self, package_name: str) -> str:
        return get_package_prefix(package_name)

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.package)
        try:
            return self.find(name)
        except (PackageNotFoundError, ValueError) as error:
            raise SubstitutionFailure(
                f"package '{name}' is not found below any of AMENT_PREFIX_PATH="
                f"{os.environ.get('AMENT_PREFIX_PATH', '')}: is its workspace sourced?"
            ) from error


FindPackage = FindPackagePrefix


class FindPackageShare(FindPackagePrefix):
    """The share folder of a package."""

    def find(self, package_name: str) -> str:
        return get_package_share_directory(package_name)


class ExecutableInPackage(FindPackagePrefix):
    """The path of an executable of a package: `<prefix>/lib/<package>/<executable>`."""

    def __init__(self, executable: SomeSubstitutionsType, package: SomeSubstitutionsType) -> None:
        super().__init__(package)
        self.executable = normalize_to_list_of_substitutions(executable)

    def describe(self) -> str:
        executable = " + ".join(part.describe() for part in self.executable)
        package = " + ".join(part.describe() for part in self.package)
        return f"ExecInPkg(pkg={package}, exec={executable})"

    def perform(self, context: LaunchContext) -> str:
        executable = perform_substitutions(context, self.executable)
        package = perform_substitutions(context, self.package)
        folder = Path(super().perform(context)) / "lib" / package
        path = folder / executable
        if not path.is_file() or not os.access(path, os.X_OK):
            found = sorted(p.name for p in folder.glob("*") if os.access(p, os.X_OK))
            raise SubstitutionFailure(
                f"executable '{executable}' not found on the libexec directory '{folder}', "
                f"which has: {', '.join(found) or 'nothing'}"
            )
        return str(path)
