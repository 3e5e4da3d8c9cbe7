"""Events and their handlers."""

from __future__ import annotations

from collections.abc import Iterable

from launch.action import Action
from launch.event import Event
from launch.event_handler import BaseEventHandler
from launch.events import Shutdown as ShutdownEvent
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import perform_text


class RegisterEventHandler(Action):
    """Adds an event handler."""

    def __init__(self, event_handler: BaseEventHandler, **kwargs) -> None:
        super().__init__(**kwargs)
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        context.register_event_handler(self.event_handler)

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        entities = getattr(self.event_handler, "entities", None)
        return list(entities) if isinstance(entities, Iterable) else []


class UnregisterEventHandler(Action):
    """Removes an event handler."""

    def __init__(self, event_handler: BaseEventHandler, **kwargs) -> None:
        super().__init__(**kwargs)
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        context.unregister_event_handler(self.event_handler)


class EmitEvent(Action):
    """Lets an event happen."""

    def __init__(self, *, event: Event, **kwargs) -> None:
        super().__init__(**kwargs)
        self.event = event

    def execute(self, context: LaunchContext) -> None:
        context.emit_event_sync(self.event)


class Shutdown(Action):
    """Ends the launch."""

    def __init__(self, *, reason: SomeSubstitutionsType = "reason not given", **kwargs) -> None:
        super().__init__(**kwargs)
        self._reason = reason

    def execute(self, context: LaunchContext) -> None:
        context.emit_event_sync(ShutdownEvent(reason=perform_text(context, self._reason)))


ShutdownAction = Shutdown
