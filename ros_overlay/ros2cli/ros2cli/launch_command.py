"""`ros2 launch PACKAGE FILE [name:=value ...]` and `ros2 launch PATH [name:=value ...]`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import launch.logging
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import (
    AnyLaunchDescriptionSource,
    InvalidLaunchFileError,
    get_launch_description_from_any_launch_file,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--noninteractive", action="store_true", help="Run without a terminal"
    )
    parser.add_argument(
        "-d", "--debug", action="store_true", help="Show debug messages and tracebacks"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-p", "--print-description", action="store_true", help="Print the launch description"
    )
    group.add_argument(
        "-s",
        "--show-args",
        "--show-arguments",
        action="store_true",
        help="Show arguments that may be given to the launch file",
    )
    parser.add_argument(
        "-a",
        "--show-all-subprocesses-output",
        action="store_true",
        help="Show all output of all processes, whatever the launch file says",
    )
    parser.add_argument("package_name", help="Package that holds the launch file, or its path")
    parser.add_argument("launch_file_name", nargs="?", help="Name of the launch file")
    parser.add_argument("launch_arguments", nargs="*", help="Arguments: '<name>:=<value>'")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the arguments of a launch file, or launch it.

    Raises:
        RuntimeError: if file or arguments cannot be used.
    """
    path, launch_arguments = _find(args)
    if args.show_args or args.print_description:
        try:
            description = get_launch_description_from_any_launch_file(path)
        except InvalidLaunchFileError as error:
            raise RuntimeError(str(error)) from error
        (print_arguments if args.show_args else print_description)(description)
        return 0
    return launch_file(
        path,
        parse_launch_arguments(launch_arguments),
        noninteractive=args.noninteractive,
        debug=args.debug,
        all_output=args.show_all_subprocesses_output,
    )


def launch_file(
    path: str,
    launch_arguments: list[tuple[str, str]],
    *,
    noninteractive: bool = False,
    debug: bool = False,
    all_output: bool = False,
) -> int:
    """Launch a file and return its exit code once everything has ended."""
    if all_output:
        os.environ["OVERRIDE_LAUNCH_PROCESS_OUTPUT"] = "both"
    service = LaunchService(noninteractive=noninteractive, debug=debug)
    logger = launch.logging.get_logger("launch")
    logger.info(f"All log files can be found below {launch.logging.launch_config.log_dir}")
    logger.info(f"Default logging verbosity is set to {'DEBUG' if debug else 'INFO'}")
    service.include_launch_description(
        LaunchDescription(
            [
                IncludeLaunchDescription(
                    AnyLaunchDescriptionSource(path), launch_arguments=launch_arguments
                )
            ]
        )
    )
    return service.run()


def print_arguments(description: LaunchDescription) -> None:
    """Print name, description and default of every launch argument."""
    print("Arguments (pass arguments as '<name>:=<value>'):")
    arguments = description.get_launch_arguments()
    for argument in arguments:
        mark = "*" if argument._conditionally_included else ""
        print(f"\n    '{argument.name}':{mark}\n        {argument.description}")
        if argument.default_value is not None:
            default = " + ".join(part.describe() for part in argument.default_value)
            print(f"        (default: {default or repr('')})")
    if not arguments:
        print("\n  No arguments.")
    elif any(argument._conditionally_included for argument in arguments):
        print("\n* argument(s) which are only used if specific conditions occur")


def print_description(entity: LaunchDescriptionEntity, depth: int = 0) -> None:
    """Print the entities of a launch description as a tree."""
    print(f"{'  ' * depth}{type(entity).__name__}")
    for sub_entity in entity.get_sub_entities():
        print_description(sub_entity, depth + 1)


def parse_launch_arguments(arguments: list[str]) -> list[tuple[str, str]]:
    """Return pairs from `name:=value`; the last of a name wins.

    Raises:
        RuntimeError: if one has another form.
    """
    parsed: dict[str, str] = {}
    for argument in arguments:
        name, separator, value = argument.partition(":=")
        if not separator or not name:
            raise RuntimeError(
                f"malformed launch argument '{argument}', expected format '<name>:=<value>'"
            )
        parsed[name] = value
    return list(parsed.items())


def _find(args: argparse.Namespace) -> tuple[str, list[str]]:
    if Path(args.package_name).is_file():
        more = [args.launch_file_name] if args.launch_file_name is not None else []
        return args.package_name, [*more, *args.launch_arguments]
    if args.launch_file_name is None:
        raise RuntimeError(
            f"'{args.package_name}' is no launch file; give a path, or a package and a file name"
        )
    try:
        share = get_package_share_directory(args.package_name)
    except (PackageNotFoundError, ValueError) as error:
        raise RuntimeError(f"Package '{args.package_name}' not found: {error}") from error
    found = sorted(
        Path(folder) / args.launch_file_name
        for folder, _, files in os.walk(share, followlinks=True)
        if args.launch_file_name in files
    )
    if not found:
        raise RuntimeError(
            f"file '{args.launch_file_name}' was not found in the share directory of package "
            f"'{args.package_name}' which is at '{share}'"
        )
    if len(found) > 1:
        raise RuntimeError(
            f"file '{args.launch_file_name}' was found more than once in the share directory of "
            f"package '{args.package_name}': {', '.join(map(str, found))}"
        )
    return str(found[0]), args.launch_arguments
