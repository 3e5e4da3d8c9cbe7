"""A ROS graph of one test."""

import os
import random
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import MultiThreadedExecutor


class Graph:
    """Nodes of one test, spun in the background on a domain of their own."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        domain = 100 + (os.getpid() + random.randrange(100)) % 100
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = MultiThreadedExecutor(num_threads=4, context=self.context)
        self.nodes: list = []

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def node(self, name: str = "probe", namespace: str = ""):
        return self.add(rclpy.create_node(name, context=self.context, namespace=namespace))

    def spin_until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "the expected did not happen in time"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown(timeout_sec=1.0)
        for node in self.nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)
