"""Installed packages and their executables."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def find_prefix(package_name: str) -> Path:
    """Return the prefix of a package.

    Raises:
        RuntimeError: if it is not installed.
    """
    try:
        return Path(get_package_prefix(package_name))
    except (PackageNotFoundError, ValueError) as error:
        raise RuntimeError(f"Package '{package_name}' not found") from error


def get_executables(package_name: str) -> list[Path]:
    """Return the executables of a package: `<prefix>/lib/<package>/*`."""
    folder = find_prefix(package_name) / "lib" / package_name
    return sorted(
        Path(root) / name
        for root, _, names in os.walk(folder)
        for name in names
        if os.access(Path(root) / name, os.X_OK)
    )
