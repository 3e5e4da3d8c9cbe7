"""ros_overlay/ros2cli: `ros2 bag` plays to a subscriber."""

from __future__ import annotations

import time
from pathlib import Path

import overlay_processes
import pytest

overlay_processes.use_sources()

import rclpy  # noqa: E402
from overlay_processes import eventually, interrupt, ros2, start_ros2  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from rosbags.interfaces import (  # noqa: E402
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from std_msgs.msg import String  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _domain(tmp_path_factory):
    with overlay_processes.own_domain(tmp_path_factory.mktemp("prefix")):
        yield


@pytest.fixture(autouse=True)
def _no_leftovers():
    since = len(overlay_processes.started)
    yield
    overlay_processes.stop_started(since)


START = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    """Ten words over 0.9 s of the bag's time, a latched /tf_static, a type that is not there."""
    path = tmp_path_factory.mktemp("bags") / "tiny"
    types = get_typestore(Stores.ROS2_JAZZY)
    text = types.types["std_msgs/msg/String"]
    never = QosTime(2147483647, 4294967295)

    def offers(durability: QosDurability) -> list[Qos]:
        return [
            Qos(
                QosHistory.KEEP_LAST,
                10,
                QosReliability.RELIABLE,
                durability,
                never,
                never,
                QosLiveliness.AUTOMATIC,
                never,
                False,
            )
        ]

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:

        def connect(topic: str, durability: QosDurability, kind: str = "std_msgs/msg/String"):
            return writer.add_connection(
                topic, kind, typestore=types, offered_qos_profiles=offers(durability)
            )

        # A text on /tf_static: the QoS matters here, and tf2_msgs has no wheel.
        static = connect("/tf_static", QosDurability.TRANSIENT_LOCAL)
        words = connect("/words", QosDurability.VOLATILE)
        writer.write(static, START, types.serialize_cdr(text("static"), text.__msgtype__))
        for i in range(10):
            stamp = START + i * 100_000_000
            writer.write(words, stamp, types.serialize_cdr(text(f"w{i}"), text.__msgtype__))
    return path


class Listener:
    """Subscribes to the topics of the bag and remembers what arrives when."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[tuple[float, object]]] = {}

    def listen(self, kind: type, topic: str, profile: QoSProfile | int = 10) -> None:
        heard = self.heard.setdefault(topic, [])
        self.node.create_subscription(
            kind, topic, lambda m: heard.append((time.monotonic(), m)), profile
        )

    def spin_until(self, condition, timeout: float = 15.0) -> bool:
        def spun() -> bool:
            self.executor.spin_once(timeout_sec=0.02)
            return condition()

        return eventually(spun, timeout)

    def words(self, topic: str) -> list[str]:
        return [message.data for _, message in self.heard[topic]]

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.close()


# A greeting that was lost comes again after 3 s; until then the first messages would be missed.
MEETING = ("--delay", "3")
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.mark.slow
def test_bag_plays_in_the_rhythm_of_its_stamps(bag, listener):
    listener.listen(String, "/renamed")
    listener.listen(Clock, "/clock", qos_profile_sensor_data)
    player = start_ros2(
        "bag",
        "play",
        str(bag),
        *MEETING,
        "--remap",
        "/words:=/renamed",
        "-r",
        "2",
        "--clock",
        "100",
    )
    assert listener.spin_until(lambda: len(listener.heard["/renamed"]) == 10)
    assert listener.words("/renamed") == [f"w{i}" for i in range(10)]
    times = [moment for moment, _ in listener.heard["/renamed"]]
    assert times[-1] - times[0] == pytest.approx(0.45, abs=0.15)
    clock = [m.clock.sec * 10**9 + m.clock.nanosec for _, m in listener.heard["/clock"]]
    assert len(clock) > 5
    assert clock == sorted(clock)
    assert START <= clock[0] < clock[-1] < START + 1.5e9
    output = player.communicate(timeout=10)[0]
    assert player.returncode == 0, output


@pytest.mark.slow
def test_bag_loops_latches_static_transforms_and_ends_on_ctrl_c(bag, listener):
    listener.listen(String, "/words")
    player = start_ros2("bag", "play", str(bag), *MEETING, "--loop")
    assert listener.spin_until(lambda: len(listener.heard["/words"]) >= 11)
    assert listener.words("/words")[9:11] == ["w9", "w0"]
    # Subscribed after it was published: only a latched publisher still has it.
    listener.listen(String, "/tf_static", LATCHED)
    assert listener.spin_until(lambda: listener.heard["/tf_static"])
    assert listener.words("/tf_static")[0] == "static"
    output = interrupt(player)
    assert player.returncode == 0, output
    assert "Traceback" not in output


@pytest.mark.slow
def test_bag_plays_chosen_topics_from_an_offset(bag, listener):
    listener.listen(String, "/words")
    listener.listen(String, "/tf_static", LATCHED)
    arguments = [*MEETING, "--topics", "/words", "--start-offset", "0.55"]
    assert ros2("bag", "play", str(bag), *arguments).returncode == 0
    listener.spin_until(lambda: len(listener.heard["/words"]) >= 4, 2.0)
    assert listener.words("/words") == ["w6", "w7", "w8", "w9"]
    assert listener.words("/tf_static") == []


def test_bag_info(bag):
    result = ros2("bag", "info", str(bag))
    assert "Duration:          0.900000000s\n" in result.stdout
    assert "Messages:          11\n" in result.stdout
    assert (
        "Topic information: Topic: /tf_static | Type: std_msgs/msg/String | Count: 1 | "
        "Serialization Format: cdr\n"
        "                   Topic: /words | Type: std_msgs/msg/String | Count: 10 |"
    ) in result.stdout
    missing = ros2("bag", "info", "/no/bag")
    assert (missing.returncode, missing.stderr) == (1, "Bag path '/no/bag' does not exist!\n")
