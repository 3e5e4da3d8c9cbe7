"""Buffer: tf2_py's BufferCore with waiting, futures, and the /tf2_frames service."""

from __future__ import annotations

import time as wall
from collections.abc import Callable
from threading import Condition
from typing import Any

import rclpy.logging
from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from tf2_msgs.srv import FrameGraph
from tf2_py import BufferCore
from tf2_py.buffer_core import nanoseconds

from .buffer_interface import BufferInterface

NO_WAIT = Duration()


class Buffer(BufferCore, BufferInterface):
    """Transforms over time, with lookups that can wait.

    A wait with `timeout` blocks its thread: inside a callback it needs a MultiThreadedExecutor or
    a TransformListener with its own thread. The `_async` lookups do not block.

    Args:
        cache_time: how much of the past is kept, 10 s when None.
        node: offers the service `tf2_frames`, and its clock clears the buffer on a jump back.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        BufferCore.__init__(self, cache_time)
        BufferInterface.__init__(self)
        self._new_data = Condition()
        self._pending: dict[Future, Callable[[], TransformStamped | None]] = {}
        if node is not None:
            self.srv = node.create_service(FrameGraph, "tf2_frames", self._frame_graph)
        self.clock = node.get_clock() if node is not None else Clock()
        backward = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
        )
        self.jump_handle = self.clock.create_jump_callback(
            backward, post_callback=self.time_jump_callback
        )

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration = NO_WAIT
    ) -> TransformStamped:
        """The transform that maps `source_frame` to `target_frame` at `time` (0: the latest).

        Raises:
            TransformException: not possible, also not within `timeout` (wall time).
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def lookup_transform_full(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time,
        fixed_frame: str, timeout: Duration = NO_WAIT,
    ) -> TransformStamped:  # fmt: skip
        """The same between two times, through `fixed_frame`, which does not move meanwhile."""
        ask = (target_frame, target_time, source_frame, source_time, fixed_frame)
        self.can_transform_full(*ask, timeout)
        return self.lookup_transform_full_core(*ask)

    def can_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration = NO_WAIT,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:  # fmt: skip
        """Whether the lookup works, now or within `timeout`; as (answer, why not) on request."""
        answer = self._wait(
            lambda: self.can_transform_core(target_frame, source_frame, time), timeout
        )
        return answer if return_debug_tuple else answer[0]

    def can_transform_full(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time,
        fixed_frame: str, timeout: Duration = NO_WAIT, return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:  # fmt: skip
        """The same for `lookup_transform_full`."""
        ask = (target_frame, target_time, source_frame, source_time, fixed_frame)
        answer = self._wait(lambda: self.can_transform_full_core(*ask), timeout)
        return answer if return_debug_tuple else answer[0]

    async def lookup_transform_async(
        self, target_frame: str, source_frame: str, time: Time
    ) -> TransformStamped:
        """Await the transform, however long it takes."""
        await self.wait_for_transform_async(target_frame, source_frame, time)
        return self.lookup_transform_core(target_frame, source_frame, time)

    async def lookup_transform_full_async(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time,
        fixed_frame: str,
    ) -> TransformStamped:  # fmt: skip
        """Await the transform between two times."""
        ask = (target_frame, target_time, source_frame, source_time, fixed_frame)
        await self.wait_for_transform_full_async(*ask)
        return self.lookup_transform_full_core(*ask)

    def wait_for_transform_async(self, target_frame: str, source_frame: str, time: Time) -> Future:
        """A future of the transform. It has no timeout: cancel it to give up."""
        ask = (target_frame, source_frame, time)
        return self._future(
            lambda: self.lookup_transform_core(*ask) if self.can_transform_core(*ask)[0] else None
        )

    def wait_for_transform_full_async(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time,
        fixed_frame: str,
    ) -> Future:  # fmt: skip
        """A future of the transform between two times. It has no timeout: cancel it to give up."""
        ask = (target_frame, target_time, source_frame, source_time, fixed_frame)
        return self._future(
            lambda: (
                self.lookup_transform_full_core(*ask)
                if self.can_transform_full_core(*ask)[0]
                else None
            )
        )

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a sample and wake whoever waits for it."""
        super().set_transform(transform, authority)
        self._announce()

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Set a static transform and wake whoever waits for it."""
        super().set_transform_static(transform, authority)
        self._announce()

    def time_jump_callback(self, time_jump: TimeJump) -> None:
        """Forget the moving frames: their stamps now lie in the future."""
        rclpy.logging.get_logger("tf2_buffer").warning(
            "Detected jump back in time. Clearing tf buffer."
        )
        self.clear()

    def _wait(self, check: Callable[[], tuple[bool, str]], timeout: Any) -> tuple[bool, str]:
        deadline = wall.monotonic() + nanoseconds(timeout) / 1e9
        with self._new_data:
            while True:
                answer = check()
                left = deadline - wall.monotonic()
                if answer[0] or left <= 0.0:
                    return answer
                self._new_data.wait(left)

    def _future(self, attempt: Callable[[], TransformStamped | None]) -> Future:
        future = Future()
        with self._new_data:
            self._pending[future] = attempt
        self._try(future, attempt)
        return future

    def _announce(self) -> None:
        with self._new_data:
            self._new_data.notify_all()
            pending = list(self._pending.items())
        for future, attempt in pending:
            self._try(future, attempt)

    def _try(self, future: Future, attempt: Callable[[], TransformStamped | None]) -> None:
        try:
            result = None if _over(future) else attempt()
        except Exception as error:
            future.set_exception(error)
        else:
            if result is not None:
                future.set_result(result)
        if _over(future):
            with self._new_data:
                self._pending.pop(future, None)

    def _frame_graph(
        self, request: FrameGraph.Request, response: FrameGraph.Response
    ) -> FrameGraph.Response:
        response.frame_yaml = self.all_frames_as_yaml()
        return response


def _over(future: Future) -> bool:
    return future.done() or future.cancelled()
