"""Every display of rviz/govnesf.rviz against the running node; RViz itself is not needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from govnesf_ros.srv import QueryText
from launched import Client, Launched
from nav_msgs.msg import Path as PathMessage
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((REPOSITORY / "rviz" / "govnesf.rviz").read_text())["Visualization Manager"]
MESSAGES = {
    "PointCloud2": PointCloud2,
    "MarkerArray": MarkerArray,
    "Image": Image,
    "Camera": Image,
    "Path": PathMessage,
}
WITHOUT_TOPIC = {"Grid", "TF"}
RELIABILITY = {
    "Reliable": ReliabilityPolicy.RELIABLE,
    "Best Effort": ReliabilityPolicy.BEST_EFFORT,
}
DURABILITY = {
    "Transient Local": DurabilityPolicy.TRANSIENT_LOCAL,
    "Volatile": DurabilityPolicy.VOLATILE,
}


def displays(group: dict = CONFIG) -> Iterator[dict]:
    """Yield the displays of a configuration, those in groups included."""
    for display in group["Displays"]:
        if display["Class"] == "rviz_common/Group":
            yield from displays(display)
        else:
            yield display


def kind(display: dict) -> str:
    package, _, name = display["Class"].partition("/")
    assert package == "rviz_default_plugins"
    return name


WITH_TOPIC = [display for display in displays() if kind(display) not in WITHOUT_TOPIC]
each_display = pytest.mark.parametrize("display", WITH_TOPIC, ids=lambda d: d["Name"])


@dataclass
class Shown:
    """A running node, and what came on each topic with the QoS that a display asks for."""

    client: Client
    received: dict[str, object]


@pytest.fixture(scope="module")
def shown(domain, room, tmp_path_factory) -> Iterator[Shown]:
    log = tmp_path_factory.mktemp("rviz") / "log"
    launched = Launched(log, f"source:=folder:{room}", "rate:=4", "loop:=true", "depth:=auto")
    client = Client(domain)
    received: dict[str, object] = {}
    try:
        client.until_active(launched)
        for display in WITH_TOPIC:
            name = display["Name"]
            client.node.create_subscription(
                MESSAGES[kind(display)],
                display["Topic"]["Value"],
                lambda message, name=name: received.update({name: message}),
                wanted_qos(display),
            )
        info = "/camera/color/camera_info"
        client.node.create_subscription(
            CameraInfo, info, lambda message: received.update({info: message}), 5
        )
        client.until(lambda: client.status.frames_used >= 2, 60.0)
        client.call(QueryText, "query", texts=["table", "cabinet"], min_score=0.01)
        client.until(lambda: len(received) == len(WITH_TOPIC) + 1, 30.0)
        # The first path that came may be that of the first keyframe alone.
        client.until(lambda: len(received["Keyframes"].poses) >= 2, 60.0)
        yield Shown(client, received)
    finally:
        client.close()
        launched.stop()


def wanted_qos(display: dict) -> QoSProfile:
    topic = display["Topic"]
    assert topic["History Policy"] == "Keep Last"
    return QoSProfile(
        depth=topic["Depth"],
        reliability=RELIABILITY[topic["Reliability Policy"]],
        durability=DURABILITY[topic["Durability Policy"]],
        liveliness=LivelinessPolicy.AUTOMATIC,
    )


def test_everything_that_a_person_wants_to_see_is_there() -> None:
    shown = {(kind(display), display["Topic"]["Value"]) for display in WITH_TOPIC}
    assert shown >= {
        ("PointCloud2", "/govnesf/semantic_cloud"),
        ("PointCloud2", "/govnesf/query/cloud"),
        ("MarkerArray", "/govnesf/query/markers"),
        ("Image", "/govnesf/query/overlay"),
        ("Path", "/govnesf/keyframes"),
        ("MarkerArray", "/govnesf/frusta"),
        ("Image", "/camera/color/image_raw"),
        ("Camera", "/camera/color/image_raw"),
    }
    channels = {
        display.get("Channel Name", display.get("Color Transformer")) for display in WITH_TOPIC
    }
    assert channels >= {"RGB8", "relevancy", "label", "confidence"}
    names = [display["Name"] for display in displays()]
    assert len(names) == len(set(names))
    assert {kind(display) for display in displays()} <= {*MESSAGES, *WITHOUT_TOPIC}


@each_display
def test_a_display_has_a_topic_of_its_type_with_a_compatible_qos(shown, display) -> None:
    topic = display["Topic"]["Value"]
    publishers = shown.client.node.get_publishers_info_by_topic(topic)
    assert publishers, f"nobody publishes {topic}"
    message = MESSAGES[kind(display)]
    package = message.__module__.split(".")[0]
    for publisher in publishers:
        assert publisher.topic_type == f"{package}/msg/{message.__name__}"
        verdict, why = qos_check_compatible(publisher.qos_profile, wanted_qos(display))
        assert verdict == QoSCompatibility.OK, why


@each_display
def test_a_display_gets_a_message_in_a_frame_that_rviz_can_place(shown, display) -> None:
    message = shown.received[display["Name"]]
    fixed = CONFIG["Global Options"]["Fixed Frame"]
    headers = (
        [message.header] if hasattr(message, "header") else [m.header for m in message.markers]
    )
    assert headers
    camera = kind(display) in ("Image", "Camera")
    for header in headers:
        assert header.frame_id == ("camera_color_optical_frame" if camera else fixed)
        assert header.stamp.sec > 0
    if kind(display) == "Camera":
        info = shown.received["/camera/color/camera_info"]
        assert (info.width, info.height) == (message.width, message.height)
    if kind(display) == "Path":
        assert len(message.poses) >= 2


@pytest.mark.parametrize(
    "display",
    [display for display in WITH_TOPIC if kind(display) == "PointCloud2"],
    ids=lambda d: d["Name"],
)
def test_a_cloud_has_the_channel_that_colours_it(shown, display) -> None:
    cloud = shown.received[display["Name"]]
    names = {field.name for field in cloud.fields}
    assert {"x", "y", "z"} <= names
    assert cloud.width > 0
    if display["Color Transformer"] == "RGB8":
        assert "rgb" in names  # the only name that RViz knows beside rgba
    else:
        assert display["Channel Name"] in names


def test_the_bringup_starts_rviz_with_this_file(domain) -> None:
    launch = (REPOSITORY / "launch" / "bringup.launch.py").read_text()
    assert '"rviz", "govnesf.rviz"' in launch
    cmake = (REPOSITORY / "CMakeLists.txt").read_text()
    assert "rviz" in cmake
