"""The ROS node inside launch, for services and topics that launch itself uses."""

from __future__ import annotations

import os
import threading

import rclpy
from launch.event_handlers import OnShutdown
from launch.launch_context import LaunchContext
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


def get_ros_node(context: LaunchContext) -> Node:
    """Return the node of this launch; it is made at the first call and spins in a thread."""
    adapter = context.get_locals_as_dict().get("ros_adapter")
    if adapter is None:
        adapter = RosAdapter()
        context.extend_globals({"ros_adapter": adapter})
        context.register_event_handler(
            OnShutdown(on_shutdown=lambda event, context: adapter.shutdown()), append=True
        )
    return adapter.node


class RosAdapter:
    """A context, a node and the thread that spins it."""

    def __init__(self) -> None:
        self._context = Context()
        # Signals belong to the launch service.
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(f"launch_ros_{os.getpid()}", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Stop the thread and destroy the node."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
