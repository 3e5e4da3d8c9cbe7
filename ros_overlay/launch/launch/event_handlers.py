"""Handlers that launch files register for processes, actions and the end of the launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch.action import Action
from launch.event import Event
from launch.event_handler import BaseEventHandler, EventHandler, as_entity_list
from launch.events import ExecutionComplete, IncludeLaunchDescription, Shutdown
from launch.events.process import ProcessExited, ProcessIO, ProcessStarted
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.some_substitutions_type import SomeEntitiesType

__all__ = [
    "EventHandler",
    "OnExecutionComplete",
    "OnIncludeLaunchDescription",
    "OnProcessExit",
    "OnProcessIO",
    "OnProcessStart",
    "OnShutdown",
]

Reaction = SomeEntitiesType | Callable[[Any, LaunchContext], SomeEntitiesType | None]
Target = Action | Callable[[Action], bool] | None


class OnActionEventBase(BaseEventHandler):
    """Reacts to events of one class and, if a target is given, of that action only."""

    def __init__(
        self,
        *,
        action_matcher: Target,
        on_event: Reaction,
        target_event_cls: type[Event],
        handle_once: bool = False,
    ) -> None:
        def matcher(event: Event) -> bool:
            if not isinstance(event, target_event_cls):
                return False
            if action_matcher is None:
                return True
            if isinstance(action_matcher, Action):
                return event.action is action_matcher
            return action_matcher(event.action)

        super().__init__(matcher=matcher, handle_once=handle_once)
        self._on_event = on_event

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        super().handle(event, context)
        return _react(self._on_event, event, context)


class OnProcessStart(OnActionEventBase):
    """Reacts when a process has started."""

    def __init__(
        self, *, target_action: Target = None, on_start: Reaction, handle_once: bool = False
    ) -> None:
        super().__init__(
            action_matcher=target_action,
            on_event=on_start,
            target_event_cls=ProcessStarted,
            handle_once=handle_once,
        )


class OnProcessExit(OnActionEventBase):
    """Reacts when a process has ended."""

    def __init__(
        self, *, target_action: Target = None, on_exit: Reaction, handle_once: bool = False
    ) -> None:
        super().__init__(
            action_matcher=target_action,
            on_event=on_exit,
            target_event_cls=ProcessExited,
            handle_once=handle_once,
        )


class OnExecutionComplete(OnActionEventBase):
    """Reacts when an action has done all that it had to do."""

    def __init__(
        self, *, target_action: Target = None, on_completion: Reaction, handle_once: bool = False
    ) -> None:
        super().__init__(
            action_matcher=target_action,
            on_event=on_completion,
            target_event_cls=ExecutionComplete,
            handle_once=handle_once,
        )


class OnProcessIO(OnActionEventBase):
    """Reacts to what a process writes, by one function of the event for each stream."""

    def __init__(
        self,
        *,
        target_action: Target = None,
        on_stdin: Callable[[ProcessIO], SomeEntitiesType | None] | None = None,
        on_stdout: Callable[[ProcessIO], SomeEntitiesType | None] | None = None,
        on_stderr: Callable[[ProcessIO], SomeEntitiesType | None] | None = None,
    ) -> None:
        callbacks = {0: on_stdin, 1: on_stdout, 2: on_stderr}

        def on_event(event: ProcessIO, context: LaunchContext) -> SomeEntitiesType | None:
            callback = callbacks[event.fd]
            return callback(event) if callback is not None else None

        super().__init__(
            action_matcher=target_action, on_event=on_event, target_event_cls=ProcessIO
        )


class OnShutdown(BaseEventHandler):
    """Reacts when the launch is about to end."""

    def __init__(self, *, on_shutdown: Reaction, handle_once: bool = False) -> None:
        super().__init__(matcher=lambda e: isinstance(e, Shutdown), handle_once=handle_once)
        self._on_shutdown = on_shutdown

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        super().handle(event, context)
        return _react(self._on_shutdown, event, context)


class OnIncludeLaunchDescription(BaseEventHandler):
    """Visits the description that an event brings."""

    def __init__(self) -> None:
        super().__init__(matcher=lambda e: isinstance(e, IncludeLaunchDescription))

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        super().handle(event, context)
        return [event.launch_description]


def _react(
    reaction: Reaction, event: Event, context: LaunchContext
) -> list[LaunchDescriptionEntity]:
    if callable(reaction):
        reaction = reaction(event, context)
    return as_entity_list(reaction)
