"""Quality of service from options, from publishers that are there, and from recordings."""

from __future__ import annotations

import argparse

from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSPresetProfiles,
    QoSProfile,
    QoSReliabilityPolicy,
)


def add_qos_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--qos-profile`, `--qos-depth`, `--qos-history`, `--qos-reliability`, ..."""
    parser.add_argument(
        "--qos-profile",
        choices=QoSPresetProfiles.short_keys(),
        help="Quality of service preset profile to start from",
    )
    parser.add_argument("--qos-depth", metavar="N", type=int, help="Queue size")
    parser.add_argument("--qos-history", choices=QoSHistoryPolicy.short_keys(), help="History")
    parser.add_argument(
        "--qos-reliability", choices=QoSReliabilityPolicy.short_keys(), help="Reliability"
    )
    parser.add_argument(
        "--qos-durability", choices=QoSDurabilityPolicy.short_keys(), help="Durability"
    )


def qos_from_arguments(args: argparse.Namespace, profile: QoSProfile) -> QoSProfile:
    """Change a profile as the options say and return it."""
    if args.qos_profile:
        profile = QoSPresetProfiles.get_from_short_key(args.qos_profile)
    if args.qos_durability:
        profile.durability = QoSDurabilityPolicy.get_from_short_key(args.qos_durability)
    if args.qos_reliability:
        profile.reliability = QoSReliabilityPolicy.get_from_short_key(args.qos_reliability)
    if args.qos_history:
        profile.history = QoSHistoryPolicy.get_from_short_key(args.qos_history)
    if args.qos_depth is not None:
        profile.depth = args.qos_depth
    return profile


def qos_of_publishers(node: Node, topic: str) -> QoSProfile:
    """Return the strictest profile that hears every publisher of the topic."""
    profile = QoSProfile(depth=10)
    offers = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    if any(offer.reliability != QoSReliabilityPolicy.RELIABLE for offer in offers):
        profile.reliability = QoSReliabilityPolicy.BEST_EFFORT
    if offers and all(o.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for o in offers):
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        # Several latched messages may be waiting, one of each publisher or more.
        profile.depth = max([10, *(offer.depth for offer in offers)])
    return profile
