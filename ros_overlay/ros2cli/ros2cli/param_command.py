"""`ros2 param list`, `get`, `set`, `dump` and `load`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rclpy.node import Node
from rclpy.parameter import get_parameter_value, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient

from ros2cli.graph import cli_node, node_names, require_node, settle
from ros2cli.messages import dump_yaml

LABELS = {
    ParameterType.PARAMETER_BOOL: "Boolean value is:",
    ParameterType.PARAMETER_INTEGER: "Integer value is:",
    ParameterType.PARAMETER_DOUBLE: "Double value is:",
    ParameterType.PARAMETER_STRING: "String value is:",
    ParameterType.PARAMETER_BYTE_ARRAY: "Byte values are:",
    ParameterType.PARAMETER_BOOL_ARRAY: "Boolean values are:",
    ParameterType.PARAMETER_INTEGER_ARRAY: "Integer values are:",
    ParameterType.PARAMETER_DOUBLE_ARRAY: "Double values are:",
    ParameterType.PARAMETER_STRING_ARRAY: "String values are:",
}
TIMEOUT = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("list", help="Output a list of available parameters")
    verb.add_argument("node_name", nargs="?", help="Only of this node")
    verb.add_argument("--include-hidden-nodes", action="store_true", help="Hidden ones as well")
    verb.set_defaults(run=list_parameters)

    verb = verbs.add_parser("get", help="Get a parameter")
    verb.add_argument("node_name")
    verb.add_argument("parameter_name")
    verb.add_argument("--hide-type", action="store_true", help="Only the value")
    verb.set_defaults(run=get)

    verb = verbs.add_parser("set", help="Set a parameter")
    verb.add_argument("node_name")
    verb.add_argument("parameter_name")
    verb.add_argument("value", help="Value in YAML")
    verb.set_defaults(run=set_parameter)

    verb = verbs.add_parser("dump", help="Show all parameters of a node in YAML")
    verb.add_argument("node_name")
    verb.set_defaults(run=dump)

    verb = verbs.add_parser("load", help="Set parameters from a YAML file")
    verb.add_argument("node_name")
    verb.add_argument("parameter_file")
    verb.set_defaults(run=load)


def list_parameters(args: argparse.Namespace) -> None:
    """Print the names of the parameters of one node or of all."""
    with cli_node(args) as node:
        if args.node_name:
            name = require_node(node, args.node_name)
            print("\n".join(f"  {parameter}" for parameter in parameter_names(node, name)))
            return
        settle(node)
        for name in node_names(node, args.include_hidden_nodes):
            client = AsyncParameterClient(node, name)
            if client.wait_for_services(0.5):
                names = parameter_names(node, name)
                print("\n".join([f"{name}:", *(f"  {parameter}" for parameter in names)]))


def get(args: argparse.Namespace) -> int:
    """Print the value of a parameter."""
    with cli_node(args) as node:
        name = require_node(node, args.node_name)
        (value,) = parameter_values(node, name, [args.parameter_name])
        if value.type == ParameterType.PARAMETER_NOT_SET:
            print("Parameter not set." if args.hide_type else "Parameter not set", file=sys.stderr)
            return 1
        python_value = parameter_value_to_python(value)
        print(python_value if args.hide_type else f"{LABELS[value.type]} {python_value}")
        return 0


def set_parameter(args: argparse.Namespace) -> int:
    """Set a parameter to a value in YAML."""
    with cli_node(args) as node:
        name = require_node(node, args.node_name)
        parameter = Parameter(
            name=args.parameter_name, value=_value_for(node, name, args.parameter_name, args.value)
        )
        return _report(_call(node, _client(node, name).set_parameters([parameter])).results[0])


def dump(args: argparse.Namespace) -> None:
    """Print all parameters of a node as a parameter file."""
    with cli_node(args) as node:
        name = require_node(node, args.node_name)
        names = parameter_names(node, name)
        tree: dict[str, Any] = {}
        for parameter, value in zip(names, parameter_values(node, name, names), strict=True):
            *parents, leaf = parameter.split(".")
            branch = tree
            for parent in parents:
                branch = branch.setdefault(parent, {})
            plain = parameter_value_to_python(value)
            branch[leaf] = list(plain) if hasattr(plain, "typecode") else plain
        print(dump_yaml({name: {"ros__parameters": tree}}), end="")


def load(args: argparse.Namespace) -> int:
    """Set the parameters that a file has for a node."""
    with cli_node(args) as node:
        name = require_node(node, args.node_name)
        content = yaml.safe_load(Path(args.parameter_file).read_text())
        values: dict[str, Any] = {}
        for section in ("/**", name, name.removeprefix("/")):
            values.update(_flat((content.get(section) or {}).get("ros__parameters", {})))
        if not values:
            raise RuntimeError(f"'{args.parameter_file}' has no parameters for node '{name}'")
        parameters = [
            rclpy.parameter.Parameter(key, value=value).to_parameter_msg()
            for key, value in values.items()
        ]
        results = _call(node, _client(node, name).set_parameters(parameters)).results
        codes = []
        for parameter, result in zip(parameters, results, strict=True):
            codes.append(_report(result, f"Set parameter {parameter.name} successful"))
        return max(codes)


def parameter_names(node: Node, node_name: str) -> list[str]:
    """Return the names of the parameters of another node, sorted."""
    return sorted(_call(node, _client(node, node_name).list_parameters()).result.names)


def parameter_values(node: Node, node_name: str, names: list[str]) -> Iterable[ParameterValue]:
    """Return the values of parameters of another node."""
    values = _call(node, _client(node, node_name).get_parameters(names)).values
    # A node that lacks one of them and does not allow that answers with nothing.
    return values if len(values) == len(names) else [ParameterValue()] * len(names)


def _value_for(node: Node, node_name: str, parameter: str, text: str) -> ParameterValue:
    value = get_parameter_value(text)
    (current,) = parameter_values(node, node_name, [parameter])
    # `2` is meant as `2.0` where a double is wanted, and any text as a text.
    if current.type == ParameterType.PARAMETER_DOUBLE and value.type == 2:
        return ParameterValue(type=current.type, double_value=float(value.integer_value))
    if current.type == ParameterType.PARAMETER_STRING and value.type in (1, 2, 3):
        return ParameterValue(type=current.type, string_value=text)
    return value


def _report(result: Any, success: str = "Set parameter successful") -> int:
    if result.successful:
        print(success)
        return 0
    reason = f": {result.reason}" if result.reason else ""
    print(f"Setting parameter failed{reason}", file=sys.stderr)
    return 1


def _client(node: Node, node_name: str) -> AsyncParameterClient:
    client = AsyncParameterClient(node, node_name)
    if not client.wait_for_services(TIMEOUT):
        raise RuntimeError(f"Wait for service timed out: node '{node_name}' has no parameters")
    return client


def _call(node: Node, future: Any) -> Any:
    rclpy.spin_until_future_complete(node, future, timeout_sec=TIMEOUT)
    if future.result() is None:
        raise RuntimeError("the node did not answer in time")
    return future.result()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
