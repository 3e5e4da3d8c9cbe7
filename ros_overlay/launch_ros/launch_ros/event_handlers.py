"""Handlers that launch files register for lifecycle nodes."""

from __future__ import annotations

from collections.abc import Callable

from launch.event import Event
from launch.event_handler import EventHandler
from launch.some_substitutions_type import SomeEntitiesType
from launch_ros.actions import LifecycleNode
from launch_ros.events.lifecycle import StateTransition

__all__ = ["OnStateTransition"]


class OnStateTransition(EventHandler):
    """Visits `entities` when a lifecycle node has made a transition.

    Args:
        target_lifecycle_node: only this node.
        transition: only the transition of this label.
        start_state: only from the state of this label.
        goal_state: only to the state of this label.
        matcher: decides instead of all of the above.
    """

    def __init__(
        self,
        *,
        entities: SomeEntitiesType,
        target_lifecycle_node: LifecycleNode | None = None,
        transition: str | None = None,
        start_state: str | None = None,
        goal_state: str | None = None,
        matcher: Callable[[Event], bool] | None = None,
        handle_once: bool = False,
    ) -> None:
        wanted = {
            "action": target_lifecycle_node,
            "transition": transition,
            "start_state": start_state,
            "goal_state": goal_state,
        }

        def matches(event: Event) -> bool:
            return isinstance(event, StateTransition) and all(
                value is None or getattr(event, name) == value for name, value in wanted.items()
            )

        super().__init__(matcher=matcher or matches, entities=entities, handle_once=handle_once)
