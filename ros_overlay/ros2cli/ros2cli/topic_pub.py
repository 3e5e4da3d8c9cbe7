"""`ros2 topic pub TOPIC TYPE [YAML]`."""

from __future__ import annotations

import argparse
import time

import yaml
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from ros2cli.graph import cli_node, wait_until
from ros2cli.messages import get_interface, set_fields
from ros2cli.qos import add_qos_arguments, qos_from_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic_name", help="Name of the topic to publish to (e.g. '/chatter')")
    parser.add_argument("message_type", help="Type of the message (e.g. 'std_msgs/msg/String')")
    parser.add_argument("values", nargs="?", default="{}", help="Message in YAML: '{data: hello}'")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-r", "--rate", metavar="N", type=float, default=1.0, help="Hz (default: 1)")
    group.add_argument("-1", "--once", action="store_true", help="Publish one message and exit")
    parser.add_argument("-t", "--times", metavar="N", type=int, default=0, help="N times, exit")
    parser.add_argument("-p", "--print", metavar="N", type=int, default=1, help="Show every Nth")
    parser.add_argument(
        "-w",
        "--wait-matching-subscriptions",
        metavar="N",
        type=int,
        help="Wait for N subscriptions (default: 1 with --once or --times, else 0)",
    )
    parser.add_argument(
        "--keep-alive", metavar="S", type=float, default=0.1, help="Stay S seconds at the end"
    )
    parser.add_argument("-n", "--node-name", help="Name of the publishing node")
    add_qos_arguments(parser)
    parser.set_defaults(run=publish)


def publish(args: argparse.Namespace) -> None:
    """Publish a message once, so many times, or until interrupted.

    Raises:
        RuntimeError: if type or values are wrong.
    """
    if args.rate <= 0:
        raise RuntimeError("rate must be greater than zero")
    times = 1 if args.once else args.times
    message = get_interface(args.message_type, "msg")()
    try:
        set_fields(message, yaml.safe_load(args.values))
    except (ValueError, yaml.YAMLError) as error:
        raise RuntimeError(f"Failed to populate field: {error}") from error
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    with cli_node(args, args.node_name, bulk=True) as node:
        profile = qos_from_arguments(args, latched)
        publisher = node.create_publisher(type(message), args.topic_name, profile)
        wanted = args.wait_matching_subscriptions
        wanted = (1 if times else 0) if wanted is None else wanted
        while not wait_until(lambda: publisher.get_subscription_count() >= wanted, 1.0):
            print(f"Waiting for at least {wanted} matching subscription(s)...", flush=True)
        print("publisher: beginning loop", flush=True)
        count, start = 0, time.monotonic()
        while True:
            count += 1
            if args.print and count % args.print == 0:
                print(f"publishing #{count}: {message!r}\n", flush=True)
            publisher.publish(message)
            if times and count >= times:
                break
            time.sleep(max(0.0, start + count / args.rate - time.monotonic()))
        time.sleep(args.keep_alive)
