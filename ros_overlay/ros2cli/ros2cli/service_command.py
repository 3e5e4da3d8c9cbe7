"""`ros2 service list` and `ros2 service call`."""

from __future__ import annotations

import argparse
import time

import rclpy
import yaml

from ros2cli.graph import cli_node, full_name, print_names, settle, wait_until
from ros2cli.messages import get_interface, set_fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("list", help="Output a list of available services")
    verb.add_argument("-t", "--show-types", action="store_true", help="Show the service type too")
    verb.add_argument("-c", "--count-services", action="store_true", help="Only their number")
    verb.add_argument("--include-hidden-services", action="store_true", help="Hidden ones as well")
    verb.set_defaults(run=list_services)

    verb = verbs.add_parser("type", help="Output a service's type")
    verb.add_argument("service_name")
    verb.set_defaults(run=print_type)

    verb = verbs.add_parser("call", help="Call a service")
    verb.add_argument("service_name", help="Name of the service (e.g. '/add_two_ints')")
    verb.add_argument("service_type", help="Type of the service (e.g. 'std_srvs/srv/Empty')")
    verb.add_argument("values", nargs="?", default="{}", help="Request in YAML: '{a: 1, b: 2}'")
    verb.add_argument("-r", "--rate", metavar="N", type=float, help="Repeat the call at N Hz")
    verb.set_defaults(run=call)


def list_services(args: argparse.Namespace) -> None:
    """Print the services of all nodes."""
    with cli_node(args) as node:
        settle(node)
        print_names(
            node.get_service_names_and_types(),
            show_types=args.show_types,
            count=args.count_services,
            hidden=args.include_hidden_services,
        )


def print_type(args: argparse.Namespace) -> int:
    """Print the type of one service."""
    with cli_node(args) as node:
        name = full_name(node, args.service_name)
        wait_until(lambda: name in dict(node.get_service_names_and_types()))
        types = dict(node.get_service_names_and_types()).get(name, [])
        print("\n".join(types))
        return 0 if types else 1


def call(args: argparse.Namespace) -> None:
    """Call a service with a request in YAML and print the response.

    Raises:
        RuntimeError: if type or values are wrong.
    """
    if args.rate is not None and args.rate <= 0:
        raise RuntimeError("rate must be greater than zero")
    service = get_interface(args.service_type, "srv")
    request = service.Request()
    try:
        set_fields(request, yaml.safe_load(args.values))
    except (ValueError, yaml.YAMLError) as error:
        raise RuntimeError(f"Failed to populate field: {error}") from error
    with cli_node(args) as node:
        client = node.create_client(service, args.service_name)
        if not client.wait_for_service(timeout_sec=0.5):
            print("waiting for service to become available...", flush=True)
            while not client.wait_for_service(timeout_sec=0.5):
                pass
        while True:
            print(f"requester: making request: {request!r}\n", flush=True)
            start = time.monotonic()
            future = client.call_async(request)
            rclpy.spin_until_future_complete(node, future)
            print(f"response:\n{future.result()!r}\n", flush=True)
            if args.rate is None:
                return
            time.sleep(max(0.0, start + 1.0 / args.rate - time.monotonic()))
