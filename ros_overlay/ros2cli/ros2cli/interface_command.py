"""`ros2 interface show` and `list`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ament_index_python.packages import get_packages_with_prefixes

from ros2cli.packages import find_prefix

FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(\[.*?\]|<=\d+)*\s+(\w+)\s*(?!\s*=)")
KINDS = {"msg": "Messages:", "srv": "Services:", "action": "Actions:"}
BASIC_TYPES = {"bool", "byte", "char", "float32", "float64", "string", "wstring"}
BASIC_TYPES |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("show", help="Output the interface definition")
    verb.add_argument("type", help="e.g. 'std_msgs/msg/String'")
    verb.add_argument("--no-comments", action="store_true", help="Without comments and blanks")
    verb.add_argument("--all-comments", action="store_true", help="Comments of nested types too")
    verb.set_defaults(run=show)

    verb = verbs.add_parser("list", help="List all interface types available")
    verb.add_argument("-m", "--only-msgs", action="store_true", help="Only messages")
    verb.add_argument("-s", "--only-srvs", action="store_true", help="Only services")
    verb.set_defaults(run=list_interfaces)


def show(args: argparse.Namespace) -> None:
    """Print the definition of a type, nested types indented below their fields."""
    _show(args.type, 0, not args.no_comments, args.all_comments)


def list_interfaces(args: argparse.Namespace) -> None:
    """Print all installed types by kind."""
    chosen = [kind for kind in ("msg", "srv") if getattr(args, f"only_{kind}s")] or KINDS
    packages = get_packages_with_prefixes()
    for kind in chosen:
        print(KINDS[kind])
        for package in sorted(packages):
            folder = Path(packages[package]) / "share" / package / kind
            for file in sorted(folder.glob(f"*.{kind}")):
                print(f"    {package}/{kind}/{file.stem}")


def definition_file(type_name: str) -> Path:
    """Return the file that defines `package/kind/Type` or the message `package/Type`.

    Raises:
        RuntimeError: if there is none.
    """
    parts = type_name.split("/")
    if len(parts) == 2:
        parts.insert(1, "msg")
    if len(parts) != 3 or parts[1] not in KINDS:
        raise RuntimeError(f"Unknown type '{type_name}', expected 'package/msg/Type'")
    package, kind, name = parts
    file = find_prefix(package) / "share" / package / kind / f"{name}.{kind}"
    if not file.is_file():
        raise RuntimeError(f"Could not find the interface '{file}'")
    return file


def _show(type_name: str, depth: int, comments: bool, nested_comments: bool) -> None:
    package = type_name.split("/")[0]
    for line in definition_file(type_name).read_text().splitlines():
        code = line.partition("#")[0].rstrip()
        shown = line.rstrip() if comments else code
        if depth and not code and not nested_comments:
            continue
        if shown or comments:
            print("\t" * depth + shown)
        match = FIELD.match(code)
        if match is None or "=" in code.partition('"')[0] or match[1] in BASIC_TYPES:
            continue
        nested = "std_msgs/Header" if match[1] == "Header" else match[1]
        nested = nested if "/" in nested else f"{package}/{nested}"
        _show(nested, depth + 1, nested_comments, nested_comments)
