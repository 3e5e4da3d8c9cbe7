"""The list of entities that a launch file returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity

if TYPE_CHECKING:
    from launch.actions import DeclareLaunchArgument


class LaunchDescription(LaunchDescriptionEntity):
    """Entities that are visited in order."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] | None = None) -> None:
        self._entities = list(initial_entities or [])
        self.deprecated = False
        self.deprecated_reason: str | None = None

    @property
    def entities(self) -> list[LaunchDescriptionEntity]:
        return self._entities

    def add_entity(self, entity: LaunchDescriptionEntity) -> None:
        self._entities.append(entity)

    def add_action(self, action: LaunchDescriptionEntity) -> None:
        self.add_entity(action)

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        return self._entities

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        return self._entities

    def get_launch_arguments(
        self, conditional_inclusion: bool = False
    ) -> list[DeclareLaunchArgument]:
        """Return all declared arguments, those of included files too, each name once.

        Arguments under a condition are marked by `_conditionally_included`. An argument that an
        inclusion passes on by itself is not the user's to give and is left out.
        """
        arguments: dict[str, DeclareLaunchArgument] = {}
        _collect_arguments(self._entities, conditional_inclusion, frozenset(), arguments)
        return list(arguments.values())


def _collect_arguments(
    entities: Iterable[LaunchDescriptionEntity],
    conditional: bool,
    given: frozenset[str],
    found: dict[str, DeclareLaunchArgument],
) -> None:
    from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription

    for entity in entities:
        is_conditional = conditional or getattr(entity, "condition", None) is not None
        if isinstance(entity, DeclareLaunchArgument):
            if entity.name not in given and entity.name not in found:
                entity._conditionally_included = is_conditional
                found[entity.name] = entity
            continue
        given_below = given
        if isinstance(entity, IncludeLaunchDescription):
            given_below = given | entity.given_argument_names()
        _collect_arguments(entity.get_sub_entities(), is_conditional, given_below, found)
