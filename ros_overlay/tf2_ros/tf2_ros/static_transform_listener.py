"""StaticTransformListener: fills a buffer from /tf_static alone."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_py import BufferCore

from .transform_listener import DEFAULT_STATIC_TF_TOPIC, TransformListener


class StaticTransformListener(TransformListener):
    """A TransformListener without /tf."""

    def __init__(
        self,
        buffer: BufferCore,
        node: Node | None,
        *,
        spin_thread: bool = False,
        static_qos: QoSProfile | int | None = None,
        tf_static_topic: str = DEFAULT_STATIC_TF_TOPIC,
    ) -> None:
        super().__init__(
            buffer, node, spin_thread=spin_thread, static_qos=static_qos,
            tf_static_topic=tf_static_topic, static_only=True,
        )  # fmt: skip
