import pytest
import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from std_msgs.msg import String

from govnesf_ros.parameter_values import ParameterProblem
from govnesf_ros.qos import latched_publisher, subscription

PUBLISHER = "qos_overrides./govnesf/words.publisher"
SUBSCRIPTION = "qos_overrides./govnesf/words.subscription"


def node_with(graph, **overrides):
    parameters = [Parameter(name.replace("__", "."), value=v) for name, v in overrides.items()]
    return graph.add(
        rclpy.create_node("govnesf", context=graph.context, parameter_overrides=parameters)
    )


def test_topics_are_latched_and_one_does_not_change_the_other(graph) -> None:
    node = node_with(graph, **{f"{PUBLISHER}__reliability": "best_effort"})
    changed = latched_publisher(node, String, "~/words")
    plain = latched_publisher(node, String, "~/other")
    assert changed.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert changed.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert plain.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_a_topic_that_comes_up_again_keeps_its_override(graph) -> None:
    node = node_with(graph, **{f"{PUBLISHER}__depth": 7})
    for _ in range(2):  # cleanup and configure
        publisher = latched_publisher(node, String, "~/words")
        assert publisher.qos_profile.depth == 7
        node.destroy_publisher(publisher)


def test_subscriptions_too(graph) -> None:
    node = node_with(graph, **{f"{SUBSCRIPTION}__reliability": "best_effort"})
    made = subscription(node, String, "~/words", print, 10, None)
    assert made.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert made.qos_profile.depth == 10


@pytest.mark.parametrize(
    ("policy", "value", "words"),
    [("reliability", "sometimes", "known are e.g. reliable"), ("depth", "many", "wrong type")],
)
def test_what_is_no_policy_gets_a_sentence(graph, policy, value, words) -> None:
    node = node_with(graph, **{f"{PUBLISHER}__{policy}": value})
    with pytest.raises(ParameterProblem) as caught:
        latched_publisher(node, String, "~/words")
    assert words in str(caught.value)
    assert "~/words" in str(caught.value)
