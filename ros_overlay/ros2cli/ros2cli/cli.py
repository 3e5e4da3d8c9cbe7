"""`ros2 COMMAND ...`: finds the command and turns its errors into a sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys

COMMANDS = {
    "bag": "Play or look at recordings",
    "interface": "Show message and service types",
    "launch": "Run a launch file",
    "lifecycle": "Look at and change the states of lifecycle nodes",
    "node": "List nodes",
    "param": "Read and change parameters of nodes",
    "pkg": "Look at installed packages",
    "run": "Run an executable of a package",
    "service": "List and call services",
    "topic": "List, echo, measure and publish topics",
}


def main(argv: list[str] | None = None) -> int:
    """Run `ros2` with these arguments (default: of the process) and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="ros2", description="ros2 is an extensible command-line tool for ROS 2."
    )
    subparsers = parser.add_subparsers(title="Commands", metavar="COMMAND", dest="command")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        # Only the command in use is imported: rclpy takes longer than most commands.
        if name in argv[:1]:
            importlib.import_module(f"ros2cli.{name}_command").add_arguments(subparser)
    args, rest = parser.parse_known_args(argv)
    if rest:
        # Options of ROS are allowed anywhere, as in the real command; nothing else is.
        if "--ros-args" not in rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.ros_arguments = rest
    if args.command is None or not hasattr(args, "run"):
        (parser if args.command is None else subparsers.choices[args.command]).print_help()
        return 0
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        return signal.SIGINT
    except BrokenPipeError:
        # The reader of a pipe has gone, which is how `ros2 topic echo | head` ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        # Imported here because most commands end without needing rclpy.
        from rclpy.executors import ExternalShutdownException

        if isinstance(error, ExternalShutdownException):
            return signal.SIGINT
        raise


if __name__ == "__main__":
    sys.exit(main())
