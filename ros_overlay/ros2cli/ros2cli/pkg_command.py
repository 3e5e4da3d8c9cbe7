"""`ros2 pkg list`, `prefix` and `executables`."""

from __future__ import annotations

import argparse

from ament_index_python.packages import get_packages_with_prefixes

from ros2cli.packages import find_prefix, get_executables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("list", help="Output a list of available packages")
    verb.set_defaults(run=lambda args: print("\n".join(sorted(get_packages_with_prefixes()))))

    verb = verbs.add_parser("prefix", help="Output the prefix path of a package")
    verb.add_argument("--share", action="store_true", help="Its share folder instead")
    verb.add_argument("package_name")
    verb.set_defaults(run=print_prefix)

    verb = verbs.add_parser("executables", help="Output a list of package specific executables")
    verb.add_argument("--full-path", action="store_true", help="Paths instead of names")
    verb.add_argument("package_name", nargs="?", help="Only of this package")
    verb.set_defaults(run=print_executables)


def print_prefix(args: argparse.Namespace) -> None:
    """Print where a package is installed."""
    prefix = find_prefix(args.package_name)
    print(prefix / "share" / args.package_name if args.share else prefix)


def print_executables(args: argparse.Namespace) -> None:
    """Print `package executable` for one package or for all."""
    packages = [args.package_name] if args.package_name else sorted(get_packages_with_prefixes())
    for package in packages:
        for path in get_executables(package):
            print(path if args.full_path else f"{package} {path.name}")
