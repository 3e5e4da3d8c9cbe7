"""BufferClient: asks a buffer server (an action) instead of keeping transforms itself."""

from __future__ import annotations

import threading
import time
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from tf2_msgs.action import LookupTransform
from tf2_msgs.msg import TF2Error
from tf2_py import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TimeoutException,
    TransformException,
)
from tf2_py.buffer_core import nanoseconds

from .buffer_interface import BufferInterface

NO_WAIT = Duration()
EXCEPTIONS = {
    TF2Error.LOOKUP_ERROR: LookupException,
    TF2Error.CONNECTIVITY_ERROR: ConnectivityException,
    TF2Error.EXTRAPOLATION_ERROR: ExtrapolationException,
    TF2Error.INVALID_ARGUMENT_ERROR: InvalidArgumentException,
    TF2Error.TIMEOUT_ERROR: TimeoutException,
}


class BufferClient(BufferInterface):
    """Lookups by the action `ns`. The node has to be spinning in another thread.

    Args:
        node: carries the action client.
        ns: name of the server's action.
        check_frequency: how often to look for a server that is not there yet, Hz.
        timeout_padding: time beyond the lookup's timeout that an answer may take.
    """

    def __init__(
        self,
        node: Node,
        ns: str,
        check_frequency: float = 10.0,
        timeout_padding: Duration | float = Duration(seconds=2.0),  # noqa: B008  immutable
    ) -> None:
        super().__init__()
        self.node = node
        self.action_client = ActionClient(node, LookupTransform, action_name=ns)
        self._services = {
            node.resolve_service_name(f"{ns}/_action/{name}")
            for name in ("send_goal", "get_result")
        }
        self.check_frequency = check_frequency
        self.timeout_padding = timeout_padding

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Any, timeout: Duration = NO_WAIT
    ) -> TransformStamped:
        """The transform that maps `source_frame` to `target_frame` at `time` (0: the latest).

        Raises:
            TransformException: as the server found it, or TimeoutException without an answer.
        """
        return self._ask(
            LookupTransform.Goal(
                target_frame=target_frame,
                source_frame=source_frame,
                source_time=_message(time),
                timeout=timeout.to_msg(),
            )
        )

    def lookup_transform_full(
        self, target_frame: str, target_time: Any, source_frame: str, source_time: Any,
        fixed_frame: str, timeout: Duration = NO_WAIT,
    ) -> TransformStamped:  # fmt: skip
        """The same between two times, through `fixed_frame`."""
        return self._ask(
            LookupTransform.Goal(
                target_frame=target_frame,
                target_time=_message(target_time),
                source_frame=source_frame,
                source_time=_message(source_time),
                fixed_frame=fixed_frame,
                timeout=timeout.to_msg(),
                advanced=True,
            )
        )

    def can_transform(self, *args: Any, **kwargs: Any) -> bool:
        """Whether `lookup_transform` with the same arguments succeeds."""
        return _succeeds(self.lookup_transform, *args, **kwargs)

    def can_transform_full(self, *args: Any, **kwargs: Any) -> bool:
        """Whether `lookup_transform_full` with the same arguments succeeds."""
        return _succeeds(self.lookup_transform_full, *args, **kwargs)

    def _ask(self, goal: LookupTransform.Goal) -> TransformStamped:
        padding = self.timeout_padding
        padding = padding if isinstance(padding, (int, float)) else nanoseconds(padding) / 1e9
        patience = nanoseconds(goal.timeout) / 1e9 + padding
        self._wait_for_server(patience)
        handle = _wait(self.action_client.send_goal_async(goal), patience)
        if not handle.accepted:
            raise TimeoutException("The BufferServer did not accept the LookupTransform goal.")
        result = _wait(handle.get_result_async(), patience).result
        if result.error.error != TF2Error.NO_ERROR:
            kind = EXCEPTIONS.get(result.error.error, TransformException)
            raise kind(result.error.error_string)
        return result.transform

    def _wait_for_server(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not (self.action_client.server_is_ready() or self._has_services()):
            if time.monotonic() >= deadline:
                raise TimeoutException("The BufferServer is not ready.")
            time.sleep(1.0 / self.check_frequency)

    def _has_services(self) -> bool:
        # Enough for a lookup, also where a server leaves out the status topic.
        return all(self.node.count_services(service) for service in self._services)


def _wait(future: Future, seconds: float) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(seconds):
        raise TimeoutException(
            f"The BufferServer did not answer a LookupTransform goal within {seconds:.1f} s. "
            "Is it alive, and is this node spinning in another thread?"
        )
    return future.result()


def _succeeds(lookup: Any, *args: Any, **kwargs: Any) -> bool:
    try:
        lookup(*args, **kwargs)
    except TransformException:
        return False
    return True


def _message(time: Any) -> Any:
    return time.to_msg() if isinstance(time, Time) else time
