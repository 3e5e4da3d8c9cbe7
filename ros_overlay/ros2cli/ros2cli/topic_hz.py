"""`ros2 topic hz TOPIC`."""

from __future__ import annotations

import argparse
import collections
import statistics
import time

import rclpy

from ros2cli.graph import FIND_TIMEOUT, cli_node, full_name
from ros2cli.messages import get_interface
from ros2cli.qos import add_qos_arguments, qos_from_arguments, qos_of_publishers
from ros2cli.topic_echo import find_type


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic_name", help="Name of the topic to listen to (e.g. '/chatter')")
    parser.add_argument(
        "--window", "-w", type=int, default=10000, help="Number of messages to average over"
    )
    parser.add_argument("--spin-time", type=float, default=FIND_TIMEOUT, help="Discovery time")
    add_qos_arguments(parser)
    parser.set_defaults(run=measure)


def measure(args: argparse.Namespace) -> None:
    """Print the rate of a topic every second until interrupted."""
    with cli_node(args, bulk=True) as node:
        topic = full_name(node, args.topic_name)
        message_class = get_interface(find_type(node, topic, args), "msg")
        profile = qos_from_arguments(args, qos_of_publishers(node, topic))
        periods: collections.deque[float] = collections.deque(maxlen=max(args.window - 1, 1))
        last: float | None = None

        def on_message(_: bytes) -> None:
            nonlocal last
            now = time.monotonic()
            if last is not None:
                periods.append(now - last)
            last = now

        # Raw: the messages are counted, not read.
        node.create_subscription(message_class, topic, on_message, profile, raw=True)
        next_print = time.monotonic() + 1.0
        while rclpy.ok():
            rclpy.spin_once(node, timeout_sec=max(0.0, next_print - time.monotonic()))
            if time.monotonic() >= next_print:
                next_print += 1.0
                if periods:
                    print(summary(list(periods)), flush=True)


def summary(periods: list[float]) -> str:
    """Return rate and spread of the times between messages, in seconds."""
    mean = statistics.fmean(periods)
    return (
        f"average rate: {1.0 / mean:.3f}\n"
        f"\tmin: {min(periods):.3f}s max: {max(periods):.3f}s "
        f"std dev: {statistics.pstdev(periods):.5f}s window: {len(periods) + 1}"
    )
