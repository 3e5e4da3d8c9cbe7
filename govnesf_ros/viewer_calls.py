"""Calls of the mapper's services that cannot wait forever and always end in a sentence.

calls = Calls(node, "/govnesf", {"~/reset": Trigger})
calls.call("~/reset", Trigger.Request(), done=show, failed=complain)
calls.give_up_late_ones()        # now and then
"""

import threading
import time
from collections.abc import Callable
from typing import Any

DISCOVERY = 1.5  # seconds that a service may take to be found
PATIENCE = 60.0  # seconds; a map of an hour takes its time to load


class Calls:
    """The clients of one mapper.

    Args:
        node: that calls.
        mapper: full name of the mapper.
        services: name, private to the mapper as in topics, and kind of each.
        patience: seconds after which an answer is given up.
    """

    def __init__(
        self, node: Any, mapper: str, services: dict[str, type], patience: float = PATIENCE
    ) -> None:
        self._node = node
        self._mapper = mapper
        self._patience = patience
        self._clients = {
            name: node.create_client(kind, f"{mapper}/{name.removeprefix('~/')}")
            for name, kind in services.items()
        }
        self._pending: dict[Any, tuple[float, str, Callable[[str], object]]] = {}
        self._lock = threading.Lock()

    def call(
        self,
        name: str,
        request: Any,
        done: Callable[[Any], object],
        failed: Callable[[str], object],
    ) -> None:
        """Call a service; from any thread but that of ROS. Waits for it to be there, not for it.

        Args:
            name: of the service.
            request: for it.
            done: given the reply, on the thread of ROS.
            failed: given a sentence, on this thread or that of ROS.
        """
        client = self._clients[name]
        full = f"{self._mapper}/{name.removeprefix('~/')}"
        # Somebody who asks right after the start is too quick for discovery.
        if not client.wait_for_service(DISCOVERY):
            failed(self._absence(full))
            return
        future = client.call_async(request)
        with self._lock:
            self._pending[future] = (time.monotonic() + self._patience, full, failed)
        future.add_done_callback(lambda future: self._end(future, done, failed))

    def give_up_late_ones(self) -> None:
        """Tell of calls that were not answered in time."""
        now = time.monotonic()
        with self._lock:
            late = {future: call for future, call in self._pending.items() if call[0] < now}
            for future in late:
                del self._pending[future]
        for future, (_, full, failed) in late.items():
            future.cancel()
            failed(
                f"No answer from {full} within {self._patience:.0f} s: the mapper is busy or has "
                "ended. Try again."
            )

    def _end(
        self, future: Any, done: Callable[[Any], object], failed: Callable[[str], object]
    ) -> None:
        with self._lock:
            call = self._pending.pop(future, None)
        if call is None or future.cancelled():
            return
        if future.exception() is not None:
            failed(f"{call[1]} failed: {future.exception()}")
            return
        done(future.result())

    def _absence(self, full: str) -> str:
        # Every mapper, however old, sends its status.
        if self._node.count_publishers(f"{self._mapper}/status"):
            return (
                f"This mapper does not offer {full} now: it is still loading, or it is of another "
                "version."
            )
        return (
            f"There is no mapper that offers {full}. Start one with ros2 launch govnesf_ros "
            "bringup.launch.py, or name yours with the viewer's parameter mapper."
        )
