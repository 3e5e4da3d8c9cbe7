"""The state that launch files read and change while they run."""

from __future__ import annotations

import asyncio
import collections
import os
import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from launch.event import Event
from launch.event_handler import BaseEventHandler
from launch.substitution import Substitution


class LaunchContext:
    """Launch configurations, environment, local values, event queue and event handlers.

    Args:
        argv: command line arguments that launch files may read.
        noninteractive: True if no terminal sends ctrl-c to the processes.
    """

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False) -> None:
        self.argv = list(argv or [])
        self.noninteractive = noninteractive
        self.launch_configurations: dict[str, str] = {}
        self.is_shutdown = False
        self._global_values: dict[str, Any] = {}
        self._locals_stack: list[dict[str, Any]] = [{}]
        self._configuration_stack: list[dict[str, str]] = []
        self._environment_stack: list[dict[str, str]] = []
        self._event_handlers: collections.deque[BaseEventHandler] = collections.deque()
        self._event_queue: asyncio.Queue[Event] = asyncio.Queue()
        self._completion_futures: list[asyncio.Future] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: int | None = None
        self._process_count = 0

    # Values

    @property
    def environment(self) -> os._Environ[str]:
        """The environment that processes inherit; it is the one of this process."""
        return os.environ

    @property
    def locals(self) -> SimpleNamespace:
        """Values of the current launch file and event, as attributes."""
        return SimpleNamespace(**self.get_locals_as_dict())

    def get_locals_as_dict(self) -> dict[str, Any]:
        return {**self._global_values, **self._locals_stack[-1]}

    def extend_locals(self, values: dict[str, Any]) -> None:
        self._locals_stack[-1].update(values)

    def extend_globals(self, values: dict[str, Any]) -> None:
        self._global_values.update(values)

    def perform_substitution(self, substitution: Substitution) -> str:
        return substitution.perform(self)

    def next_process_number(self) -> int:
        """Return 1 for the first process of this launch, 2 for the second, ..."""
        self._process_count += 1
        return self._process_count

    # Scopes

    def _push_locals(self) -> None:
        self._locals_stack.append(dict(self._locals_stack[-1]))

    def _pop_locals(self) -> None:
        self._locals_stack.pop()

    def _push_launch_configurations(self) -> None:
        self._configuration_stack.append(dict(self.launch_configurations))

    def _pop_launch_configurations(self) -> None:
        self.launch_configurations = self._configuration_stack.pop()

    def _push_environment(self) -> None:
        self._environment_stack.append(dict(os.environ))

    def _pop_environment(self) -> None:
        before = self._environment_stack.pop()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)

    # Events

    @property
    def asyncio_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the running launch service, None before and after."""
        return self._loop

    def _set_asyncio_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident() if loop is not None else None

    def register_event_handler(self, handler: BaseEventHandler, append: bool = False) -> None:
        """Add a handler; the one that was added last is asked first unless `append`."""
        if append:
            self._event_handlers.append(handler)
        else:
            self._event_handlers.appendleft(handler)

    def unregister_event_handler(self, handler: BaseEventHandler) -> None:
        """Remove a handler.

        Raises:
            ValueError: if the handler is not registered.
        """
        self._event_handlers.remove(handler)

    def would_handle_event(self, event: Event) -> bool:
        return any(handler.matches(event) for handler in self._event_handlers)

    def emit_event_sync(self, event: Event) -> None:
        """Queue an event; may be called from any thread."""
        if self._loop is not None and threading.get_ident() != self._loop_thread:
            self._loop.call_soon_threadsafe(self._event_queue.put_nowait, event)
        else:
            self._event_queue.put_nowait(event)

    async def emit_event(self, event: Event) -> None:
        self.emit_event_sync(event)

    def add_completion_future(self, future: asyncio.Future) -> None:
        """Keep the launch running until this future is done."""
        self._completion_futures.append(future)
