"""Entities that are destroyed while the executor lists what to wait for."""

import threading

import pytest
import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor
from rclpy.waitable import NumberOfEntities, Waitable

from govnesf_ros.steady_executor import SteadyExecutor


class Destroyed(Waitable):
    """Is destroyed between being listed and being waited for, once."""

    def __init__(self, node) -> None:
        super().__init__(node.default_callback_group)
        self.asked = 0

    def add_to_wait_set(self, wait_set) -> None:
        self.asked += 1
        if self.asked == 1:
            raise InvalidHandle("cannot use Destroyable because destruction was requested")

    def get_num_entities(self) -> NumberOfEntities:
        return NumberOfEntities()

    def is_ready(self, wait_set) -> bool:
        return False

    def take_data(self) -> None: ...

    async def execute(self, taken_data) -> None: ...


@pytest.fixture
def node(graph):
    node = rclpy.create_node("spun", context=graph.context)
    yield node
    node.destroy_node()


def test_rclpy_alone_ends_with_an_exception(graph, node) -> None:
    """If this fails rclpy has been mended, and SteadyExecutor may go."""
    executor = MultiThreadedExecutor(num_threads=1, context=graph.context)
    executor.add_node(node)
    node.add_waitable(Destroyed(node))
    with pytest.raises(InvalidHandle):
        executor.spin_once(timeout_sec=1.0)
    executor.shutdown(timeout_sec=1.0)


def test_callbacks_come_after_an_entity_was_destroyed(graph, node) -> None:
    executor = SteadyExecutor(num_threads=2, context=graph.context)
    executor.add_node(node)
    waitable = Destroyed(node)
    node.add_waitable(waitable)
    called = threading.Event()
    node.create_timer(0.01, called.set)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    try:
        assert called.wait(10.0)
        assert waitable.asked > 1
        assert spinning.is_alive()
    finally:
        executor.shutdown(timeout_sec=1.0)
        spinning.join(5.0)
