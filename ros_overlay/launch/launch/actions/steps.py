"""Functions, log lines and delays inside a launch file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import launch.logging
from launch.action import Action
from launch.event_handler import EventHandler, as_entity_list
from launch.events import Shutdown, TimerEvent
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import perform_text, perform_typed


class LogInfo(Action):
    """Writes a line `[INFO] [launch.user]: msg`."""

    def __init__(self, *, msg: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self.msg = msg

    def execute(self, context: LaunchContext) -> None:
        launch.logging.get_logger("launch.user").info(perform_text(context, self.msg))


class OpaqueFunction(Action):
    """Calls `function(context, *args, **kwargs)` and visits the entities that it returns."""

    def __init__(
        self,
        *,
        function: Callable[..., Iterable[LaunchDescriptionEntity] | None],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **other,
    ) -> None:
        super().__init__(**other)
        self._function = function
        self._args = list(args or [])
        self._kwargs = dict(kwargs or {})

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        return as_entity_list(self._function(context, *self._args, **self._kwargs))


class OpaqueCoroutine(Action):
    """Runs `coroutine(context, *args, **kwargs)` beside everything else.

    Args:
        ignore_context: True to call it without the context.
    """

    def __init__(
        self,
        *,
        coroutine: Callable[..., Awaitable[None]],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        ignore_context: bool = False,
        **other,
    ) -> None:
        super().__init__(**other)
        self._coroutine = coroutine
        self._args = list(args or [])
        self._kwargs = dict(kwargs or {})
        self._ignore_context = ignore_context
        self._task: asyncio.Task | None = None

    def execute(self, context: LaunchContext) -> None:
        args = self._args if self._ignore_context else [context, *self._args]
        self._task = context.asyncio_loop.create_task(self._coroutine(*args, **self._kwargs))
        context.register_event_handler(
            EventHandler(
                matcher=lambda event: isinstance(event, Shutdown),
                entities=OpaqueFunction(function=lambda context: self._task.cancel() and None),
                handle_once=True,
            )
        )

    def get_asyncio_future(self) -> asyncio.Future | None:
        return self._task


class TimerAction(Action):
    """Visits actions after a time.

    Args:
        period: seconds, or substitutions that give them.
        actions: what is to be done then.
        cancel_on_shutdown: whether the end of the launch stops the timer.
    """

    def __init__(
        self,
        *,
        period: float | SomeSubstitutionsType,
        actions: Iterable[LaunchDescriptionEntity],
        cancel_on_shutdown: bool | SomeSubstitutionsType = True,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.period = period
        self.actions = list(actions)
        self._cancel_on_shutdown = cancel_on_shutdown
        self._future: asyncio.Future | None = None
        self._canceled = False

    def cancel(self) -> None:
        """Stop the timer; its actions are not visited."""
        self._canceled = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def reset(self) -> None:
        self._canceled = False
        self._future = None

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        return self.actions

    def get_asyncio_future(self) -> asyncio.Future | None:
        return self._future

    def execute(self, context: LaunchContext) -> None:
        if self._canceled or context.is_shutdown:
            return
        loop = context.asyncio_loop
        self._future = loop.create_future()
        local_values = dict(context.get_locals_as_dict())
        context.register_event_handler(
            EventHandler(
                matcher=lambda e: isinstance(e, TimerEvent) and e.timer_action is self,
                entities=[
                    OpaqueFunction(function=lambda context: context.extend_locals(local_values)),
                    *self.actions,
                ],
                handle_once=True,
            )
        )
        if perform_typed(context, self._cancel_on_shutdown, bool):
            context.register_event_handler(
                EventHandler(
                    matcher=lambda event: isinstance(event, Shutdown),
                    entities=OpaqueFunction(function=lambda context: self.cancel()),
                    handle_once=True,
                )
            )
        loop.call_later(perform_typed(context, self.period, float), self._fire, context)

    def _fire(self, context: LaunchContext) -> None:
        if not self._canceled and not self._future.done():
            context.emit_event_sync(TimerEvent(timer_action=self))
            self._future.set_result(None)
