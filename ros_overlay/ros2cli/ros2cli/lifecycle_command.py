"""`ros2 lifecycle nodes`, `get`, `set` and `list`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import rclpy
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rclpy.node import Node

from ros2cli.graph import cli_node, is_hidden, settle, wait_until

STATE_SERVICE = "lifecycle_msgs/srv/GetState"
TIMEOUT = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("nodes", help="Output a list of nodes with lifecycle")
    verb.add_argument("-a", "--all", action="store_true", help="Hidden ones as well")
    verb.add_argument("-c", "--count-nodes", action="store_true", help="Only their number")
    verb.set_defaults(run=list_nodes)

    verb = verbs.add_parser("get", help="Get lifecycle state for one or more nodes")
    verb.add_argument("node_name", nargs="?", help="Only of this node")
    verb.set_defaults(run=get)

    verb = verbs.add_parser("set", help="Trigger lifecycle state transition")
    verb.add_argument("node_name")
    verb.add_argument("transition", help="Label (configure, activate, ...) or id")
    verb.set_defaults(run=set_state)

    verb = verbs.add_parser("list", help="Output a list of available transitions")
    verb.add_argument("node_name")
    verb.add_argument("-a", "--all", action="store_true", help="Not only from its state")
    verb.set_defaults(run=list_transitions)


def list_nodes(args: argparse.Namespace) -> None:
    """Print the names of all nodes that have a lifecycle."""
    with cli_node(args) as node:
        settle(node)
        names = lifecycle_nodes(node, args.all)
        print(len(names) if args.count_nodes else "\n".join(names))


def get(args: argparse.Namespace) -> None:
    """Print the state of one node, or of every node with its name."""
    with cli_node(args) as node:
        if args.node_name:
            name = require_lifecycle_node(node, args.node_name)
            print(_state(_call(node, GetState, name, "get_state").current_state))
            return
        settle(node)
        for name in lifecycle_nodes(node):
            print(f"{name}: {_state(_call(node, GetState, name, 'get_state').current_state)}")


def set_state(args: argparse.Namespace) -> int:
    """Make a node go through a transition.

    Raises:
        RuntimeError: if its state does not allow that, with those that it allows.
    """
    with cli_node(args) as node:
        name = require_lifecycle_node(node, args.node_name)
        transitions = _transitions(node, name)
        chosen = [
            item.transition
            for item in transitions
            if args.transition in (item.transition.label, str(item.transition.id))
        ]
        if not chosen:
            available = "\n".join(
                f"- {item.transition.label} [{item.transition.id}]" for item in transitions
            )
            raise RuntimeError(f"Unknown transition requested, available ones are:\n{available}")
        request = ChangeState.Request(transition=chosen[0])
        # A transition takes as long as the work in it, such as loading a network.
        response = _call(node, ChangeState, name, "change_state", request, timeout=None)
        if response.success:
            print("Transitioning successful")
            return 0
        print("Transitioning failed", file=sys.stderr)
        return 1


def list_transitions(args: argparse.Namespace) -> None:
    """Print transitions with the states that they lead from and to."""
    with cli_node(args) as node:
        name = require_lifecycle_node(node, args.node_name)
        for item in _transitions(node, name, "get_transition_graph" if args.all else None):
            print(f"- {_state(item.transition)}")
            print(f"\tStart: {item.start_state.label}\n\tGoal: {item.goal_state.label}")


def lifecycle_nodes(node: Node, include_hidden: bool = False) -> list[str]:
    """Return the names of the nodes that offer their lifecycle state."""
    names = (
        service.removesuffix("/get_state")
        for service, types in node.get_service_names_and_types()
        if service.endswith("/get_state") and STATE_SERVICE in types
    )
    return sorted(name for name in names if include_hidden or not is_hidden(name))


def require_lifecycle_node(node: Node, name: str) -> str:
    """Return the full name of a lifecycle node, once it has been discovered.

    Raises:
        RuntimeError: if it does not appear.
    """
    wanted = name if name.startswith("/") else f"/{name}"
    if not wait_until(lambda: wanted in lifecycle_nodes(node, include_hidden=True)):
        raise RuntimeError(f"Node not found: '{wanted}' is not there or has no lifecycle")
    return wanted


def _transitions(node: Node, name: str, service: str | None = None) -> list[Any]:
    service = service or "get_available_transitions"
    return _call(node, GetAvailableTransitions, name, service).available_transitions


def _state(state: Any) -> str:
    return f"{state.label} [{state.id}]"


def _call(
    node: Node,
    service: type,
    name: str,
    suffix: str,
    request: Any = None,
    timeout: float | None = TIMEOUT,
) -> Any:
    client = node.create_client(service, f"{name}/{suffix}")
    if not client.wait_for_service(timeout_sec=TIMEOUT):
        raise RuntimeError(f"service '{name}/{suffix}' is not available")
    future = client.call_async(request or service.Request())
    rclpy.spin_until_future_complete(node, future, timeout_sec=timeout)
    if future.result() is None:
        raise RuntimeError(f"'{name}/{suffix}' did not answer within {timeout} s")
    return future.result()
