"""Base of everything that a launch file does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from launch.condition import Condition
from launch.launch_description_entity import LaunchDescriptionEntity

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class Action(LaunchDescriptionEntity):
    """An intention; `execute` carries it out if the condition holds."""

    def __init__(self, *, condition: Condition | None = None) -> None:
        if condition is not None and not isinstance(condition, Condition):
            raise TypeError(f"condition of {type(self).__name__} is not a Condition: {condition!r}")
        self._condition = condition

    @property
    def condition(self) -> Condition | None:
        return self._condition

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        if self._condition is not None and not self._condition.evaluate(context):
            return None
        try:
            entities = self.execute(context)
        finally:
            self._announce_completion(context)
        if entities is None or isinstance(entities, Iterable):
            return entities
        return [entities]

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        """Do it, and return the entities that are to be visited next."""
        return None

    def _announce_completion(self, context: LaunchContext) -> None:
        from launch.events import ExecutionComplete

        event = ExecutionComplete(action=self)
        if not context.would_handle_event(event):
            return
        future = self.get_asyncio_future()
        if future is None:
            context.emit_event_sync(event)
        else:
            future.add_done_callback(lambda _: context.emit_event_sync(event))
