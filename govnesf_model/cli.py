"""The command `govnesf`.

    govnesf segment SCENE --text mug --text table --out DIR
    govnesf evaluate SCENE --task 3d --vlm embedded --checkpoint small --json FILE

Each command lives in a module of its own that adds its parser; only the module of the command that
was asked for is imported, so `govnesf --help` does not wait for torch.
"""

import argparse
import importlib
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from govnesf_model import __version__


@dataclass(frozen=True)
class Command:
    """A command, or a group of commands when it has several parts.

    Attributes:
        name: the word on the command line.
        help: one line for the list of commands.
        parts: "module:function" that each add one parser to the subparsers that they are given.
        group: whether the parts are commands below this word instead of the command itself.
    """

    name: str
    help: str
    parts: tuple[str, ...]
    group: bool = False


COMMANDS = (
    Command(
        "segment",
        "find things by text in a posed scene: labelled cloud, masks, boxes, a picture",
        ("govnesf_model.segment:add_parser",),
    ),
    Command(
        "map",
        "map a recording (a rosbag2 or any posed scene), ask it, write a report page",
        ("govnesf_model.map_cli:add_parser",),
    ),
    Command(
        "evaluate",
        "measure 2D and 3D segmentation and novel views on posed scenes with ground truth",
        ("govnesf_model.evaluate:add_parser",),
    ),
    Command(
        "tables",
        "print the paper's tables and draw its figures, measured on scenes",
        ("govnesf_model.tables:add_parser",),
    ),
    Command(
        "relevancy",
        "show where texts are in one image",
        ("govnesf_model.vlm.cli:add_relevancy_parser",),
    ),
    Command(
        "extract",
        "compute an encoder's features of scenes once, for training",
        ("govnesf_model.extract:add_parser",),
    ),
    Command("train", "train a field on posed scenes", ("govnesf_model.train:add_parser",)),
    Command(
        "validate",
        "measure a field checkpoint while it is in training",
        ("govnesf_model.field_validation:add_parser",),
    ),
    Command(
        "bench",
        "measure speed and memory beside the plain form of the method",
        ("govnesf_model.bench:add_parser",),
    ),
    Command(
        "vlm",
        "list, train and convert open-vocabulary encoders",
        ("govnesf_model.vlm.cli:add_vlm_parser",),
    ),
    Command(
        "data",
        "check scenes; make rendered rooms, get the furniture for them",
        (
            "govnesf_model.data.check_cli:add_check_parser",
            "govnesf_model.data.synthetic.cli:add_synth_parser",
            "govnesf_model.data.synthetic.cli:add_assets_parser",
        ),
        group=True,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors are one sentence on stderr and exit code 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        parsed = build_parser(words).parse_args(words)
        return int(parsed.run(parsed) or 0)
    except KeyboardInterrupt:
        print("govnesf: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"govnesf: error: {describe(error)}", file=sys.stderr)
        return 2


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for a command line, complete for the command that it names."""
    parser = argparse.ArgumentParser(
        prog="govnesf",
        description="Open-vocabulary 3D perception by a generalizable neural semantic field.",
        epilog="`govnesf COMMAND --help` explains a command; --debug shows where an error is from.",
    )
    parser.add_argument("--version", action="version", version=f"govnesf {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((word for word in words if not word.startswith("-")), None)
    for command in COMMANDS:
        if command.name != asked:
            subparsers.add_parser(command.name, help=command.help)
            continue
        target = subparsers
        if command.group:
            group = subparsers.add_parser(command.name, help=command.help)
            target = group.add_subparsers(dest=f"{command.name}_command", required=True)
        for part in command.parts:
            module, function = part.split(":")
            getattr(importlib.import_module(module), function)(target)
    return parser


def describe(error: Exception) -> str:
    """Return a sentence about an error."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"this command needs the Python package {error.name!r}, which is not installed: "
            "install govnesf with its dependencies (pip install .)"
        )
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (ValueError, OSError, FileNotFoundError)) and text:
        return text
    return f"{type(error).__name__}: {text or 'no details'} (run again with --debug)"


if __name__ == "__main__":
    raise SystemExit(main())
