"""`ros2 topic list`, `type`, `info`, `echo`, `hz` and `pub`."""

from __future__ import annotations

import argparse
import time

from ros2cli import topic_echo, topic_hz, topic_pub
from ros2cli.graph import cli_node, full_name, print_names, settle, wait_until


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("list", help="Output a list of available topics")
    verb.add_argument("-t", "--show-types", action="store_true", help="Show the topic type too")
    verb.add_argument("-c", "--count-topics", action="store_true", help="Only their number")
    verb.add_argument("--include-hidden-topics", action="store_true", help="Hidden ones as well")
    verb.set_defaults(run=list_topics)

    verb = verbs.add_parser("type", help="Print a topic's type")
    verb.add_argument("topic_name")
    verb.set_defaults(run=print_type)

    verb = verbs.add_parser("info", help="Print information about a topic")
    verb.add_argument("topic_name")
    verb.add_argument("-v", "--verbose", action="store_true", help="Nodes and QoS as well")
    verb.set_defaults(run=print_info)

    topic_echo.add_arguments(verbs.add_parser("echo", help="Output messages from a topic"))
    topic_hz.add_arguments(verbs.add_parser("hz", help="Print the average publishing rate"))
    topic_pub.add_arguments(verbs.add_parser("pub", help="Publish a message to a topic"))


def list_topics(args: argparse.Namespace) -> None:
    """Print the topics of all nodes."""
    with cli_node(args) as node:
        settle(node)
        print_names(
            node.get_topic_names_and_types(),
            show_types=args.show_types,
            count=args.count_topics,
            hidden=args.include_hidden_topics,
        )


def print_type(args: argparse.Namespace) -> int:
    """Print the type of one topic."""
    with cli_node(args) as node:
        name = full_name(node, args.topic_name)
        wait_until(lambda: name in dict(node.get_topic_names_and_types()))
        types = dict(node.get_topic_names_and_types()).get(name, [])
        print("\n".join(types))
        return 0 if types else 1


def print_info(args: argparse.Namespace) -> int | str:
    """Print type, publishers and subscriptions of one topic."""
    with cli_node(args) as node:
        name = full_name(node, args.topic_name)
        if not wait_until(lambda: name in dict(node.get_topic_names_and_types())):
            raise RuntimeError(f"Unknown topic '{args.topic_name}'")
        # The other publishers and subscriptions are discovered just after the first.
        time.sleep(0.2)
        types = dict(node.get_topic_names_and_types())[name]
        print(f"Type: {types[0] if len(types) == 1 else types}\n")
        for kind, endpoints in (
            ("Publisher", node.get_publishers_info_by_topic(name)),
            ("Subscription", node.get_subscriptions_info_by_topic(name)),
        ):
            print(f"{kind} count: {len(endpoints)}")
            for endpoint in endpoints if args.verbose else ():
                print(f"\n{endpoint}")
            if args.verbose:
                print()
    return 0
