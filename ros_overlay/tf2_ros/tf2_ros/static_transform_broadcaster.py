"""StaticTransformBroadcaster: sends frames that do not move on /tf_static, latched."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from .transform_broadcaster import as_list


class StaticTransformBroadcaster:
    """Latched with depth 1: every message carries all transforms sent so far, newest per child.

    So a late joiner, which receives the last message alone, receives them all.
    """

    def __init__(
        self,
        node: Node,
        qos: QoSProfile | int | None = None,
        *,
        override_tf_topics_namespaces: bool = False,
    ) -> None:
        if qos is None:
            qos = QoSProfile(
                depth=1,
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
                history=HistoryPolicy.KEEP_LAST,
            )
        topic = "tf_static" if override_tf_topics_namespaces else "/tf_static"
        self.pub_tf = node.create_publisher(TFMessage, topic, qos)
        self._by_child: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Add or replace transforms and send all."""
        self._by_child.update((t.child_frame_id, t) for t in as_list(transform))
        self.pub_tf.publish(TFMessage(transforms=list(self._by_child.values())))
