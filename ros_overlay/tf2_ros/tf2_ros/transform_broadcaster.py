"""TransformBroadcaster: sends moving frames on /tf."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage


class TransformBroadcaster:
    """Publishes reliably with depth 100 unless `qos` (a profile or a depth) says otherwise.

    `override_tf_topics_namespaces` makes the topic relative to the node's namespace.
    """

    def __init__(
        self,
        node: Node,
        qos: QoSProfile | int | None = None,
        *,
        override_tf_topics_namespaces: bool = False,
    ) -> None:
        topic = "tf" if override_tf_topics_namespaces else "/tf"
        self.pub_tf = node.create_publisher(
            TFMessage, topic, qos if qos is not None else QoSProfile(depth=100)
        )

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Send one transform or several in one message."""
        self.pub_tf.publish(TFMessage(transforms=as_list(transform)))


def as_list(transform: TransformStamped | Iterable[TransformStamped]) -> list[TransformStamped]:
    """One transform or several, as a list."""
    return list(transform) if hasattr(transform, "__iter__") else [transform]
