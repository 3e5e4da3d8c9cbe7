"""`ros2 node list`."""

from __future__ import annotations

import argparse

from ros2cli.graph import cli_node, node_names, settle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    verb = verbs.add_parser("list", help="Output a list of available nodes")
    verb.add_argument("-a", "--all", action="store_true", help="Hidden ones as well")
    verb.add_argument("-c", "--count-nodes", action="store_true", help="Only their number")
    verb.set_defaults(run=list_nodes)


def list_nodes(args: argparse.Namespace) -> None:
    """Print the full names of all nodes."""
    with cli_node(args) as node:
        settle(node)
        names = node_names(node, include_hidden=args.all)
        print(len(names) if args.count_nodes else "\n".join(names))
