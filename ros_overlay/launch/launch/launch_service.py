"""Runs launch descriptions: visits entities, hands out events, ends when nothing is left to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import traceback
from collections.abc import Iterable

import launch.logging
from launch.event import Event
from launch.event_handlers import OnIncludeLaunchDescription, OnShutdown
from launch.events import IncludeLaunchDescription, Shutdown
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.utilities import visit_all_entities_and_collect_futures


class LaunchService:
    """One launch; `run()` blocks until it has ended and returns 0, or 1 after an error.

    Args:
        argv: command line arguments that launch files may read.
        noninteractive: True if there is no terminal.
        debug: show tracebacks and debug messages.
    """

    def __init__(
        self,
        *,
        argv: Iterable[str] | None = None,
        noninteractive: bool = False,
        debug: bool = False,
    ) -> None:
        if debug:
            launch.logging.launch_config.level = logging.DEBUG
        self._logger = launch.logging.get_logger("launch")
        self._context = LaunchContext(argv=argv, noninteractive=noninteractive)
        self._context.register_event_handler(OnIncludeLaunchDescription())
        self._context.register_event_handler(OnShutdown(on_shutdown=self._on_shutdown))
        self._pending: list[tuple[LaunchDescriptionEntity, asyncio.Future]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._return_code = 0
        self._signalled = False

    @property
    def context(self) -> LaunchContext:
        return self._context

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        return self._loop

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Visit a description; may be called from any thread, before or during `run()`."""
        self.emit_event(IncludeLaunchDescription(launch_description))

    def emit_event(self, event: Event) -> None:
        """Queue an event; may be called from any thread."""
        self._context.emit_event_sync(event)

    def run(self, *, shutdown_when_idle: bool = True) -> int:
        """Run until all is done, or until `shutdown()` or a signal; return the exit code."""
        return asyncio.run(self.run_async(shutdown_when_idle=shutdown_when_idle))

    async def run_async(self, *, shutdown_when_idle: bool = True) -> int:
        """Run in the event loop of the caller; see `run`.

        Raises:
            RuntimeError: if it is already running.
        """
        with self._lock:
            if self._loop is not None:
                raise RuntimeError("this LaunchService is already running")
            self._loop = asyncio.get_running_loop()
        self._return_code = 0
        self._signalled = False
        self._context.is_shutdown = False
        self._context._set_asyncio_loop(self._loop)
        try:
            with self._signals():
                await self._run_until_done(shutdown_when_idle)
        finally:
            self._context._set_asyncio_loop(None)
            with self._lock:
                self._loop = None
        return self._return_code

    def shutdown(self, force_sync: bool = False) -> None:
        """End the launch; may be called from any thread and does nothing when none runs."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(
                    self._shutdown, "LaunchService.shutdown() called", False
                )

    async def _run_until_done(self, shutdown_when_idle: bool) -> None:
        next_event: asyncio.Task | None = None
        try:
            while True:
                futures = self._unfinished_futures()
                if (
                    not futures
                    and self._context._event_queue.empty()
                    and not (next_event is not None and next_event.done())
                ):
                    if self._context.is_shutdown:
                        return
                    if shutdown_when_idle:
                        self._shutdown("idle", False)
                        continue
                if next_event is None:
                    next_event = asyncio.create_task(self._context._event_queue.get())
                await asyncio.wait([next_event, *futures], return_when=asyncio.FIRST_COMPLETED)
                if next_event.done():
                    event, next_event = next_event.result(), None
                    self._process_event(event)
        finally:
            if next_event is not None:
                next_event.cancel()

    def _unfinished_futures(self) -> list[asyncio.Future]:
        for entity, future in self._pending:
            if future.done() and not future.cancelled() and future.exception() is not None:
                self._report_error(future.exception(), f"in {entity.describe()}")
        self._pending = [(e, f) for e, f in self._pending if not f.done()]
        context = self._context
        context._completion_futures = [f for f in context._completion_futures if not f.done()]
        return [f for _, f in self._pending] + context._completion_futures

    def _process_event(self, event: Event) -> None:
        for handler in tuple(self._context._event_handlers):
            try:
                if not handler.matches(event):
                    continue
                self._context._push_locals()
                try:
                    for entity in handler.handle(event, self._context) or []:
                        self._pending += visit_all_entities_and_collect_futures(
                            entity, self._context
                        )
                finally:
                    self._context._pop_locals()
            except Exception as error:
                self._report_error(error)

    def _report_error(self, error: BaseException, where: str = "") -> None:
        trace = "".join(traceback.format_exception(error))
        self._logger.debug(trace)
        hint = (
            ""
            if launch.logging.launch_config.level == logging.DEBUG
            else " (see debug for traceback)"
        )
        place = f" {where}" if where else ""
        self._logger.error(f"Caught exception in launch{place}{hint}: {error}")
        self._return_code = 1
        self._shutdown("an exception in launch", False)

    def _shutdown(self, reason: str, due_to_sigint: bool) -> None:
        if self._context.is_shutdown:
            return
        self._context.is_shutdown = True
        self._context.emit_event_sync(Shutdown(reason=reason, due_to_sigint=due_to_sigint))

    def _on_shutdown(self, event: Shutdown, context: LaunchContext) -> None:
        context.is_shutdown = True

    @contextlib.contextmanager
    def _signals(self):
        """Turn SIGINT, SIGTERM and SIGQUIT into a shutdown; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {
            signal.SIGINT: self._on_sigint,
            signal.SIGTERM: self._on_sigterm,
            signal.SIGQUIT: self._on_sigquit,
        }
        before = {number: signal.getsignal(number) for number in handlers}
        for number, handler in handlers.items():
            self._loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number, handler in before.items():
                self._loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _on_sigint(self) -> None:
        message = "user interrupted with ctrl-c (SIGINT)"
        self._logger.warning(f"{message} again, ignoring..." if self._signalled else message)
        self._signalled = True
        self._shutdown("ctrl-c (SIGINT)", True)

    def _on_sigterm(self) -> None:
        self._signalled = True
        self._logger.warning("received SIGTERM, shutting down")
        self._shutdown("SIGTERM", False)

    def _on_sigquit(self) -> None:
        self._logger.error("user interrupted with ctrl-\\ (SIGQUIT), terminating...")
        from launch.actions import ExecuteProcess

        for entity, _ in self._pending:
            if isinstance(entity, ExecuteProcess):
                entity.signal(signal.SIGKILL)
        self._return_code = 1
        self._shutdown(f"SIGQUIT of process {os.getpid()}", False)
