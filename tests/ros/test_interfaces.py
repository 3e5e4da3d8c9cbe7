"""docs/interfaces.md names exactly what the running node advertises, with its types and QoS."""

import re
import shlex
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_graph import Graph

from govnesf_ros.mapper_node import MapperNode

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interfaces.md"
# What every node has, and what the document says of it in one paragraph.
OF_ROS = re.compile(
    r"/rosout|/parameter_events|/govnesf/((describe|get|list|set)_parameter\w*|change_state"
    r"|get_state|get_available_\w+|get_transition_graph|get_type_description)"
)


@dataclass(frozen=True)
class Entry:
    """A section of the document: name as documented, type, QoS in words, command."""

    name: str
    kind: str
    qos: str
    command: str

    @property
    def full_name(self) -> str:
        return self.name.replace("~", "/govnesf") if self.name[0] in "~/" else f"/{self.name}"


def entries() -> dict[str, Entry]:
    found = {}
    for section in DOCUMENT.read_text().split("\n### ")[1:]:
        title, line, *rest = section.split("\n")
        kind, _, qos = line.partition(" · ")
        commands = [text[4:] for text in rest if text.startswith("    ")]
        entry = Entry(title.strip("` "), kind.strip("` "), qos.strip(), commands[0])
        assert entry.name not in found
        found[entry.name] = entry
    return found


ENTRIES = entries()
TOPICS = [entry for entry in ENTRIES.values() if "/srv/" not in entry.kind]
SERVICES = [entry for entry in ENTRIES.values() if "/srv/" in entry.kind]


@pytest.fixture(scope="module")
def node():
    graph = Graph()
    values = {"autostart": False, "device": "cpu"}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = graph.add(MapperNode(context=graph.context, parameter_overrides=overrides))
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    yield node
    graph.close()


def advertised(node, kind: str) -> dict[str, str]:
    """Return names and types of the node's own topics or services, once the graph knows them."""
    ask = {
        "out": node.get_publisher_names_and_types_by_node,
        "in": node.get_subscriber_names_and_types_by_node,
        "service": node.get_service_names_and_types_by_node,
    }[kind]
    before: list = []
    while not before or before != ask("govnesf", "/"):
        before = ask("govnesf", "/")
        time.sleep(0.2)
    return {name: types[0] for name, types in before if not OF_ROS.fullmatch(name)}


def test_topics_are_those_of_the_document(node) -> None:
    real = {**advertised(node, "out"), **advertised(node, "in")}
    assert real == {entry.full_name: entry.kind for entry in TOPICS}


def test_services_are_those_of_the_document(node) -> None:
    assert advertised(node, "service") == {entry.full_name: entry.kind for entry in SERVICES}


def test_quality_of_service_is_that_of_the_document(node) -> None:
    for entry in TOPICS:
        name = entry.full_name
        ends = node.get_publishers_info_by_topic(name) + node.get_subscriptions_info_by_topic(name)
        profiles = [end.qos_profile for end in ends if end.node_name == "govnesf"]
        assert profiles, name
        words = "reliable, transient local" if entry.qos == "latched" else entry.qos
        for profile in profiles:
            told = f"{profile.reliability.name}, {profile.durability.name}".lower()
            assert words.startswith(told.replace("_", " ")), name


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_the_command_is_about_its_interface(entry) -> None:
    words = shlex.split(entry.command)
    assert words[0] == "ros2"
    assert entry.full_name in words
    if words[1] == "service" or words[2] == "pub":
        assert words[-2] == entry.kind
        package, folder, name = entry.kind.split("/")
        kind = getattr(import_module(f"{package}.{folder}"), name)
        fill(kind.Request() if folder == "srv" else kind(), yaml.safe_load(words[-1]))


def fill(message, values: dict) -> None:
    """Check that YAML names fields of a message, all the way down."""
    for name, value in values.items():
        assert name in message.get_fields_and_field_types(), name
        if isinstance(value, dict):
            fill(getattr(message, name), value)


def test_every_service_of_the_package_is_offered() -> None:
    folder = DOCUMENT.parents[1] / "srv"
    offered = {entry.kind.rpartition("/")[2] for entry in SERVICES}
    assert {path.stem for path in folder.glob("*.srv")} <= offered
