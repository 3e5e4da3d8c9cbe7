"""What is to be done when an event happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from launch.event import Event

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext
    from launch.launch_description_entity import LaunchDescriptionEntity


class BaseEventHandler:
    """Decides by `matcher(event)` and leaves what to do to its subclasses."""

    def __init__(self, *, matcher: Callable[[Event], bool], handle_once: bool = False) -> None:
        self._matcher = matcher
        self.handle_once = handle_once

    def matches(self, event: Event) -> bool:
        """Return whether this handler reacts to the event."""
        return bool(self._matcher(event))

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        """React, and return entities to visit; the event is `context.locals.event` for them."""
        context.extend_locals({"event": event})
        if self.handle_once:
            context.unregister_event_handler(self)
        return None


class EventHandler(BaseEventHandler):
    """Visits `entities` when the event matches."""

    def __init__(
        self,
        *,
        matcher: Callable[[Event], bool],
        entities: LaunchDescriptionEntity | Iterable[LaunchDescriptionEntity] | None = None,
        handle_once: bool = False,
    ) -> None:
        super().__init__(matcher=matcher, handle_once=handle_once)
        self._entities = as_entity_list(entities)

    @property
    def entities(self) -> list[LaunchDescriptionEntity]:
        return self._entities

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        super().handle(event, context)
        return self._entities


def as_entity_list(
    entities: LaunchDescriptionEntity | Iterable[LaunchDescriptionEntity] | None,
) -> list[LaunchDescriptionEntity]:
    """Return a list from one entity, several, or None."""
    if entities is None:
        return []
    return list(entities) if isinstance(entities, Iterable) else [entities]
