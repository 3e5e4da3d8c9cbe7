"""An executor that goes on when something it waits for is destroyed under its hands.

    executor = SteadyExecutor(num_threads=6)
    executor.add_node(node)
    executor.spin()

Publishers and subscriptions bring waitables for their events. rclpy catches it when an entity is
destroyed while the executor lists what to wait for, but not for those, and `spin` then ends with an
exception: a node that is cleaned up or deactivated would die now and then.
"""

from contextlib import suppress

from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor


class SteadyExecutor(MultiThreadedExecutor):
    """A MultiThreadedExecutor; destroyed entities are left out the next time around."""

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and hand it to a thread."""
        # It is no longer among the node's entities, so the next round does not meet it.
        with suppress(InvalidHandle):
            super().spin_once(timeout_sec)
