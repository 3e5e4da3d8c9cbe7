"""`ros2 topic echo TOPIC [TYPE]`."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any

import rclpy
from rclpy.node import Node

from ros2cli.graph import FIND_TIMEOUT, cli_node, full_name, wait_until
from ros2cli.messages import (
    TRUNCATE_LENGTH,
    dump_yaml,
    get_interface,
    to_csv,
    to_plain,
    to_yaml,
)
from ros2cli.qos import add_qos_arguments, qos_from_arguments, qos_of_publishers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic_name", help="Name of the topic to listen to (e.g. '/chatter')")
    parser.add_argument("message_type", nargs="?", help="Type (e.g. 'std_msgs/msg/String')")
    parser.add_argument("--once", action="store_true", help="Print the first message, then exit")
    parser.add_argument("--timeout", metavar="N", type=float, help="Give up after N seconds")
    parser.add_argument("--field", help="Print only this field, e.g. 'pose.position'")
    parser.add_argument("--csv", action="store_true", help="All values separated by commas")
    parser.add_argument("--flow-style", action="store_true", help="YAML in one line")
    parser.add_argument("--no-arr", action="store_true", help="Not the elements of arrays")
    parser.add_argument("--no-str", action="store_true", help="Not the text of strings")
    parser.add_argument("--raw", action="store_true", help="The bytes of the message")
    parser.add_argument("--full-length", "-f", action="store_true", help="Do not truncate")
    parser.add_argument(
        "--truncate-length",
        "-l",
        type=int,
        default=TRUNCATE_LENGTH,
        help=f"Length of arrays and texts before they are cut (default: {TRUNCATE_LENGTH})",
    )
    parser.add_argument("--spin-time", type=float, default=FIND_TIMEOUT, help="Discovery time")
    add_qos_arguments(parser)
    parser.set_defaults(run=echo)


def echo(args: argparse.Namespace) -> int:
    """Print the messages of a topic until interrupted.

    Raises:
        RuntimeError: if nobody publishes the topic and no type is given.
    """
    with cli_node(args, bulk=True) as node:
        topic = full_name(node, args.topic_name)
        message_class = get_interface(args.message_type or find_type(node, topic, args), "msg")
        if args.message_type:
            wait_until(lambda: node.count_publishers(topic) > 0, 0.5)
        profile = qos_from_arguments(args, qos_of_publishers(node, topic))
        done = rclpy.Future()

        def on_message(message: Any) -> None:
            if not done.done():
                show(message, args)
                if args.once:
                    done.set_result(True)

        node.create_subscription(message_class, topic, on_message, profile, raw=args.raw)
        rclpy.spin_until_future_complete(node, done, timeout_sec=args.timeout)
        return 0 if done.done() or not args.once else 1


def find_type(node: Node, topic: str, args: argparse.Namespace) -> str:
    """Return the type of a topic, once it has been discovered.

    Raises:
        RuntimeError: if it is not, or has several types.
    """
    timeout = getattr(args, "spin_time", FIND_TIMEOUT)
    if not wait_until(lambda: topic in dict(node.get_topic_names_and_types()), timeout):
        print(f"WARNING: topic [{topic}] does not appear to be published yet", file=sys.stderr)
        raise RuntimeError("Could not determine the type for the passed topic")
    # A publisher is there: let the others be found too, they decide on the QoS.
    wait_until(lambda: node.count_publishers(topic) > 0, 0.5)
    types = dict(node.get_topic_names_and_types())[topic]
    if len(types) > 1:
        raise RuntimeError(
            f"Cannot echo topic '{topic}', as it contains more than one type: [{', '.join(types)}]"
        )
    return types[0]


def show(message: Any, args: argparse.Namespace) -> None:
    """Print one message, or a field of it, as the options say."""
    if args.raw:
        print(message, end="\n---\n", flush=True)
        return
    value, field_type = message, ""
    if args.field:
        *parents, name = args.field.split(".")
        try:
            parent = functools.reduce(getattr, parents, message)
            value = getattr(parent, name)
        except AttributeError as error:
            raise RuntimeError(f"Invalid field '{args.field}': {error}") from error
        field_type = parent.get_fields_and_field_types().get(name, "")
    truncate_length = None if args.full_length else args.truncate_length
    if args.csv:
        print(to_csv(value, truncate_length), flush=True)
        return
    options = dict(truncate_length=truncate_length, no_arr=args.no_arr, no_str=args.no_str)
    if hasattr(value, "get_fields_and_field_types"):
        text = to_yaml(value, flow_style=args.flow_style, **options)
    else:
        plain = to_plain(value, field_type=field_type, **options)
        text = dump_yaml(plain) if isinstance(plain, list) and plain else f"{plain}\n"
    print(text, end="---\n", flush=True)
