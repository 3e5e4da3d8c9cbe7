"""Two robots in two namespaces of one graph do not mix."""

import pytest
from govnesf_ros.srv import MapFile, QueryText, SetVocabulary
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from govnesf_ros.mapper_node import MapperNode

SHARED = {"/tf", "/tf_static", "/diagnostics", "/rosout", "/parameter_events", "/clock"}


@pytest.fixture
def robots(make_robot, tmp_path):
    return [make_robot(2, f"/robot{number}", maps_dir=str(tmp_path)) for number in (1, 2)]


def test_a_query_of_one_is_not_heard_by_the_other(robots) -> None:
    one, two = robots
    assert one.call(QueryText, "query", texts=["table"]).success
    publisher = two.client.create_publisher(String, "govnesf/query_text", 1)
    two.graph.spin_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="mug, floor"))
    labels = [[c.class_name for c in r.wait("query/labels", 1).class_map] for r in robots]
    assert labels == [["table"], ["mug", "floor"]]
    assert [len(robot.got["query/labels"]) for robot in robots] == [1, 1]
    assert [robot.answers.active.texts for robot in robots] == [("table",), ("mug", "floor")]


def test_maps_vocabularies_and_pauses_are_their_own(robots) -> None:
    one, two = robots
    assert one.call(SetVocabulary, "set_vocabulary", texts=["mug"]).success
    assert one.call(SetBool, "pause", data=True).success
    assert one.call(MapFile, "save_map", path="kitchen").success
    assert one.call(Trigger, "reset").success
    assert one.answers.vocabulary == ("mug",)
    assert two.answers.vocabulary[0] != "mug"
    assert (one.mapper.paused, two.mapper.paused) == (True, False)
    assert len(one.map.snapshot().xyz) == 0
    assert len(two.map.snapshot().xyz) > 0


def test_every_name_of_the_real_node_follows_its_namespace(graph) -> None:
    values = {"autostart": False, "device": "cpu"}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = graph.add(
        MapperNode(context=graph.context, namespace="/robot1", parameter_overrides=overrides)
    )
    node.trigger_configure()
    node.trigger_activate()
    asked = (
        node.get_publisher_names_and_types_by_node,
        node.get_subscriber_names_and_types_by_node,
        node.get_service_names_and_types_by_node,
    )

    def names() -> set[str]:
        return {name for ask in asked for name, _ in ask("govnesf", "/robot1")}

    graph.spin_until(lambda: {"/robot1/govnesf/query", "/robot1/govnesf/frusta"} <= names())
    assert {name for name in names() if not name.startswith("/robot1/")} <= SHARED
    # QoS overrides are named after the topic, so they follow as well.
    override = "qos_overrides./robot1/govnesf/frusta.publisher.depth"
    assert node.get_parameter(override).value == 1
