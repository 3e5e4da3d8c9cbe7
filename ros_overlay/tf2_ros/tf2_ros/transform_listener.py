"""TransformListener: fills a buffer from /tf and /tf_static."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread, current_thread, main_thread

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_py import BufferCore

DEFAULT_TF_TOPIC = "/tf"
DEFAULT_STATIC_TF_TOPIC = "/tf_static"


class TransformListener:
    """Subscribes for as long as it lives.

    Args:
        buffer: receives the transforms; may be replaced while listening.
        node: carries the subscriptions; None makes a node of its own.
        spin_thread: spin that node in a thread. It leaves the executor that it was in.
        qos: for /tf, a profile or a depth; default reliable, volatile, depth 100.
        static_qos: for /tf_static; default reliable, transient local, depth 100.
        tf_topic: another name for /tf.
        tf_static_topic: another name for /tf_static.
        static_only: listen to /tf_static alone.
        override_tf_topics_namespaces: relative names, so that the node's namespace applies.
    """

    def __init__(
        self,
        buffer: BufferCore,
        node: Node | None,
        *,
        spin_thread: bool = False,
        qos: QoSProfile | int | None = None,
        static_qos: QoSProfile | int | None = None,
        tf_topic: str = DEFAULT_TF_TOPIC,
        tf_static_topic: str = DEFAULT_STATIC_TF_TOPIC,
        static_only: bool = False,
        override_tf_topics_namespaces: bool = False,
    ) -> None:
        self.buffer = buffer
        self.node = node if node is not None else self._own_node()
        # Reentrant, so that transforms arrive while another callback of the node waits for them.
        self.group = ReentrantCallbackGroup()
        if override_tf_topics_namespaces:
            tf_topic, tf_static_topic = tf_topic.lstrip("/"), tf_static_topic.lstrip("/")
        if not static_only:
            self.tf_sub = self.node.create_subscription(
                TFMessage, tf_topic, self.callback,
                qos if qos is not None else _qos(DurabilityPolicy.VOLATILE),
                callback_group=self.group,
            )  # fmt: skip
        self.tf_static_sub = self.node.create_subscription(
            TFMessage, tf_static_topic, self.static_callback,
            static_qos if static_qos is not None else _qos(DurabilityPolicy.TRANSIENT_LOCAL),
            callback_group=self.group,
        )  # fmt: skip
        if spin_thread:
            self.executor = SingleThreadedExecutor(context=self.node.context)
            self.executor.add_node(self.node)
            self._stop = Event()
            self.dedicated_listener_thread = Thread(target=_spin, args=(self.executor, self._stop))
            self.dedicated_listener_thread.start()

    def callback(self, data: TFMessage) -> None:
        """Take a message of /tf."""
        for transform in data.transforms:
            self.buffer.set_transform(transform, "default_authority")

    def static_callback(self, data: TFMessage) -> None:
        """Take a message of /tf_static."""
        for transform in data.transforms:
            self.buffer.set_transform_static(transform, "default_authority")

    def unregister(self) -> None:
        """Stop listening. A second call does nothing."""
        for name in ("tf_sub", "tf_static_sub"):
            subscription = self.__dict__.pop(name, None)
            if subscription is not None:
                self.node.destroy_subscription(subscription)

    def __del__(self) -> None:
        thread = getattr(self, "dedicated_listener_thread", None)
        if thread is not None:
            self._stop.set()
            self.executor.wake()
            if thread is not current_thread():
                thread.join()
        self.unregister()

    def _own_node(self) -> Node:
        return Node(
            f"transform_listener_impl_{id(self):010x}",
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter("use_sim_time", value=False)],
        )


def _qos(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(depth=100, durability=durability, history=HistoryPolicy.KEEP_LAST)


def _spin(executor: SingleThreadedExecutor, stop: Event) -> None:
    # Ends with the main thread too: a process that forgets to shut down rclpy must not hang here,
    # and a daemon thread would be torn down inside of rclpy's C++ code.
    with suppress(ExternalShutdownException):
        while executor.context.ok() and main_thread().is_alive() and not stop.is_set():
            executor.spin_once(timeout_sec=0.2)
    executor.shutdown(timeout_sec=0.0)
