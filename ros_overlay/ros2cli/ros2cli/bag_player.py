"""Publishes the messages of a bag as they were recorded: same bytes, same QoS, same rhythm."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import rclpy
import yaml
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from rclpy.time import Time
from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

from ros2cli.graph import settle
from ros2cli.messages import get_interface

NODE_NAME = "rosbag2_player"


def play(reader: Reader, args: argparse.Namespace) -> None:
    """Publish a bag until its end, for ever with `--loop`, or until interrupted."""
    remaps = [part for rule in args.remap for part in ("-r", rule)]
    rclpy.init(args=["--ros-args", *remaps, *getattr(args, "ros_arguments", [])])
    node = rclpy.create_node(NODE_NAME, start_parameter_services=False)
    log = node.get_logger()
    try:
        publishers = create_publishers(node, reader.connections, args)
        if not publishers:
            log.warning("there is nothing to play: no topic of the bag is left")
            return
        log.info(f"Set rate to {args.rate:g}")
        clock = BagClock(reader.start_time + round(args.start_offset * 1e9), args.rate)
        clock_publisher = ClockPublisher(node, clock, args.clock)
        # Subscribers that are already there have to meet the new publishers first.
        settle(node)
        time.sleep(args.delay)
        clock.restart()
        with clock_publisher:
            while play_once(reader, publishers, clock, args) and args.loop:
                clock.restart()
        # Reliable subscribers may still be fetching the last messages.
        for publisher in publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=1.0))
    except KeyboardInterrupt:
        log.info("playback interrupted")
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def create_publishers(
    node: Node, connections: Iterable[Connection], args: argparse.Namespace
) -> dict[int, Publisher]:
    """Return a publisher per connection; a type that is not installed is said and left out."""
    overrides = read_overrides(args.qos_profile_overrides_path)
    publishers: dict[int, Publisher] = {}
    by_topic: dict[str, Publisher] = {}
    for connection in connections:
        topic = connection.topic
        if topic in args.exclude_topics or (args.topics and topic not in args.topics):
            continue
        if topic not in by_topic:
            try:
                message_class = get_interface(connection.msgtype, "msg")
            except RuntimeError as error:
                node.get_logger().warning(f"Ignoring topic '{topic}': {error}")
                continue
            profile = overrides.get(topic) or recorded_qos(connection.ext.offered_qos_profiles)
            by_topic[topic] = node.create_publisher(message_class, topic, profile)
        publishers[connection.id] = by_topic[topic]
    return publishers


def play_once(
    reader: Reader, publishers: dict[int, Publisher], clock: BagClock, args: argparse.Namespace
) -> bool:
    """Publish every message when its time has come; return False once ROS is shut down."""
    connections = [c for c in reader.connections if c.id in publishers]
    stop = None
    if args.playback_duration >= 0:
        stop = clock.start + round(args.playback_duration * 1e9)
    for connection, stamp, data in reader.messages(connections, start=clock.start, stop=stop):
        clock.sleep_until(stamp)
        if not rclpy.ok():
            return False
        publishers[connection.id].publish(bytes(data))
    return rclpy.ok()


class BagClock:
    """The time inside the bag.

    Args:
        start: stamp in ns that playback begins with.
        rate: how much faster than real time it goes.
    """

    def __init__(self, start: int, rate: float) -> None:
        self.start = start
        self._rate = rate
        self.restart()

    def restart(self) -> None:
        self._began = time.monotonic_ns()

    def now(self) -> int:
        """Return the bag's time in ns."""
        return self.start + round((time.monotonic_ns() - self._began) * self._rate)

    def sleep_until(self, stamp: int) -> None:
        """Sleep until the bag's time is `stamp` or ROS is shut down."""
        while (ahead := (stamp - self.now()) / self._rate / 1e9) > 0 and rclpy.ok():
            time.sleep(min(ahead, 0.1))


class ClockPublisher:
    """Publishes the bag's time on /clock from a thread while the `with` block runs."""

    def __init__(self, node: Node, clock: BagClock, frequency: float) -> None:
        self._clock = clock
        self._frequency = frequency
        if frequency > 0:
            profile = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
            self._publisher = node.create_publisher(Clock, "/clock", profile)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._frequency > 0:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set() and rclpy.ok():
            now = Time(nanoseconds=self._clock.now(), clock_type=ClockType.ROS_TIME)
            self._publisher.publish(Clock(clock=now.to_msg()))
            self._stopped.wait(1.0 / self._frequency)


def recorded_qos(offers: list[Qos]) -> QoSProfile:
    """Return the QoS of the recorded publishers, the weakest of each kind if they differ.

    Raises no error for bags without profiles: these get the default, reliable and volatile.
    """
    profile = QoSProfile(depth=10)
    if not offers:
        return profile
    if any(offer.reliability.name == "BEST_EFFORT" for offer in offers):
        profile.reliability = QoSReliabilityPolicy.BEST_EFFORT
    if all(offer.durability.name == "TRANSIENT_LOCAL" for offer in offers):
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    if all(offer.history.name == "KEEP_ALL" for offer in offers):
        profile.history = QoSHistoryPolicy.KEEP_ALL
    # All publishers of the topic have become one, which keeps as much as they did together.
    profile.depth = max(sum(offer.depth for offer in offers), 1)
    return profile


def read_overrides(path: str | None) -> dict[str, QoSProfile]:
    """Return QoS profiles by topic from a YAML file of `topic: {reliability: ..., ...}`."""
    overrides = {}
    for topic, values in (yaml.safe_load(Path(path).read_text()) if path else {}).items():
        profile = QoSProfile(depth=values.get("depth", 10))
        profile.reliability = QoSReliabilityPolicy.get_from_short_key(
            values.get("reliability", "reliable")
        )
        profile.durability = QoSDurabilityPolicy.get_from_short_key(
            values.get("durability", "volatile")
        )
        profile.history = QoSHistoryPolicy.get_from_short_key(values.get("history", "keep_last"))
        overrides[topic] = profile
    return overrides
