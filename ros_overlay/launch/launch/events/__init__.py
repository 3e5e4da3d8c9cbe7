"""What can happen during a launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from launch.event import Event
from launch.events import process

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_description import LaunchDescription

__all__ = [
    "ExecutionComplete",
    "IncludeLaunchDescription",
    "Shutdown",
    "TimerEvent",
    "matches_action",
    "process",
]


class Shutdown(Event):
    """The launch is about to end; `reason` says why."""

    name = "launch.events.Shutdown"

    def __init__(
        self, *, reason: str = "reason not given", due_to_sigint: bool = False, **_: Any
    ) -> None:
        self.reason = reason
        self.due_to_sigint = due_to_sigint


class IncludeLaunchDescription(Event):
    """A description is to be visited by the launch service."""

    name = "launch.events.IncludeLaunchDescription"

    def __init__(self, launch_description: LaunchDescription) -> None:
        self.launch_description = launch_description


class ExecutionComplete(Event):
    """An action has done all that it had to do."""

    name = "launch.events.ExecutionComplete"

    def __init__(self, *, action: Action) -> None:
        self.action = action


class TimerEvent(Event):
    """The time of a `TimerAction` has come."""

    name = "launch.events.TimerEvent"

    def __init__(self, *, timer_action: Action) -> None:
        self.timer_action = timer_action


def matches_action(target: Action) -> Callable[[Action], bool]:
    """Return a matcher that is true for this very action."""
    return lambda action: action is target
