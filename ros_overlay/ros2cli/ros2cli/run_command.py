"""`ros2 run PACKAGE EXECUTABLE [ARGUMENTS ...]`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil

from ros2cli.packages import get_executables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", help="Command in front of the executable, e.g. 'gdb --args'")
    parser.add_argument("package_name", help="Name of the package")
    parser.add_argument("executable_name", help="Name of the executable")
    parser.add_argument("argv", nargs=argparse.REMAINDER, help="Arguments for the executable")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Become the executable, so that signals and exit code are its own.

    Raises:
        RuntimeError: if there is no such package or executable.
    """
    paths = [p for p in get_executables(args.package_name) if p.name == args.executable_name]
    if not paths:
        raise RuntimeError("No executable found")
    command = [*shlex.split(args.prefix or ""), str(paths[0]), *args.argv]
    program = shutil.which(command[0]) or command[0]
    os.execv(program, command)
