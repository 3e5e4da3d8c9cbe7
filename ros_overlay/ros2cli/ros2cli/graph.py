"""A short-lived node that looks at the ROS graph; there is no daemon that knows it already."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator

import rclpy
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node

NODE_NAME_PREFIX = "_ros2cli"
POLL = 0.02
# Neighbours are found within 0.3 s as a rule; if a first greeting is lost, at the next, after 3 s.
FIND_TIMEOUT = 5.0
SETTLE_ALONE, SETTLE_QUIET, SETTLE_TIMEOUT = 3.2, 0.6, 8.0


@contextlib.contextmanager
def cli_node(
    args: argparse.Namespace | None = None, name: str | None = None, *, bulk: bool = False
) -> Iterator[Node]:
    """Yield a node for one command.

    Args:
        args: arguments of the command, with those for ROS.
        name: name of the node, a hidden one if None.
        bulk: whether big messages are to come or go. Shared memory is for these alone: Fast DDS
            loses the first greetings of a newcomer more often over it than over UDP.
    """
    if not bulk:
        os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    rclpy.init(args=getattr(args, "ros_arguments", None) or [])
    node = rclpy.create_node(
        name or f"{NODE_NAME_PREFIX}_{os.getpid()}", start_parameter_services=False
    )
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def wait_until(predicate: Callable[[], bool], timeout: float = FIND_TIMEOUT) -> bool:
    """Poll until the predicate holds; return whether it did in time."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline or not rclpy.ok():
            return False
        time.sleep(POLL)
    return True


def settle(node: Node) -> None:
    """Wait until nothing new has been discovered for a moment, longer if nothing was yet."""

    def snapshot() -> tuple:
        return (
            node.get_node_names_and_namespaces(),
            node.get_topic_names_and_types(),
            node.get_service_names_and_types(),
        )

    start = changed = time.monotonic()
    known = snapshot()
    while time.monotonic() - start < SETTLE_TIMEOUT:
        time.sleep(POLL)
        now = snapshot()
        if now != known:
            known, changed = now, time.monotonic()
        if time.monotonic() - changed > (SETTLE_QUIET if changed > start else SETTLE_ALONE):
            return


def node_names(node: Node, include_hidden: bool = False) -> list[str]:
    """Return the full names of all nodes but those of this command line."""
    names = (
        f"{namespace.rstrip('/')}/{name}"
        for name, namespace in node.get_node_names_and_namespaces()
    )
    return sorted(name for name in names if include_hidden or not is_hidden(name))


def is_hidden(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("/"))


def full_name(node: Node, name: str) -> str:
    """Return a name with its namespace.

    Raises:
        RuntimeError: if no name can look like that.
    """
    try:
        return expand_topic_name(name, node.get_name(), node.get_namespace())
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def require_node(node: Node, name: str) -> str:
    """Return the full name of another node, once it has been discovered.

    Raises:
        RuntimeError: if it does not appear.
    """
    wanted = name if name.startswith("/") else f"/{name}"
    if not wait_until(lambda: wanted in node_names(node, include_hidden=True)):
        raise RuntimeError(f"Node not found: '{wanted}'")
    return wanted


def print_names(
    pairs: list[tuple[str, list[str]]], *, show_types: bool, count: bool, hidden: bool
) -> None:
    """Print names of topics or services, with `[type]` or only how many there are."""
    shown = [(name, types) for name, types in sorted(pairs) if hidden or not is_hidden(name)]
    if count:
        print(len(shown))
        return
    for name, types in shown:
        print(f"{name} [{', '.join(types)}]" if show_types else name)
