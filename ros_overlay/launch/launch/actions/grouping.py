"""Groups of actions and other launch files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from launch.action import Action
from launch.actions.arguments import (
    PopLaunchConfigurations,
    PushLaunchConfigurations,
    ResetLaunchConfigurations,
    SetLaunchConfiguration,
)
from launch.actions.environment import PopEnvironment, PushEnvironment
from launch.actions.steps import OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_source import LaunchDescriptionSource
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import perform_text


class GroupAction(Action):
    """Actions that share a condition and a scope.

    Args:
        actions: what is visited, in order.
        scoped: changes to launch configurations and environment end with the group.
        forwarding: the group sees the launch configurations from outside.
        launch_configurations: values that are set for the group.
    """

    def __init__(
        self,
        actions: Iterable[LaunchDescriptionEntity],
        *,
        scoped: bool = True,
        forwarding: bool = True,
        launch_configurations: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self._actions = list(actions)
        self._scoped = scoped
        self._forwarding = forwarding
        self._launch_configurations = dict(launch_configurations or {})
        if not forwarding and not scoped:
            raise ValueError("a GroupAction that is not forwarding has to be scoped")

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        return self._actions

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        values = self._launch_configurations
        if not self._forwarding:
            preparation = [ResetLaunchConfigurations(values)]
        else:
            preparation = [SetLaunchConfiguration(name, value) for name, value in values.items()]
        if not self._scoped:
            return [*preparation, *self._actions]
        return [
            PushLaunchConfigurations(),
            PushEnvironment(),
            *preparation,
            *self._actions,
            PopEnvironment(),
            PopLaunchConfigurations(),
        ]


class IncludeLaunchDescription(Action):
    """Another launch file, with arguments.

    As in ROS, its launch configurations leak into the including file unless a `GroupAction` is
    around it.

    Args:
        launch_description_source: a source, or a path (substitutions allowed).
        launch_arguments: pairs of name and value, both may be substitutions.
    """

    def __init__(
        self,
        launch_description_source: LaunchDescriptionSource | SomeSubstitutionsType,
        *,
        launch_arguments: Iterable[tuple[SomeSubstitutionsType, SomeSubstitutionsType]]
        | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(launch_description_source, LaunchDescriptionSource):
            launch_description_source = AnyLaunchDescriptionSource(launch_description_source)
        self.launch_description_source = launch_description_source
        self.launch_arguments = tuple(launch_arguments or ())

    def given_argument_names(self) -> set[str]:
        """Return the names of the arguments that this inclusion passes, where they are literal."""
        return {name for name, _ in self.launch_arguments if isinstance(name, str)}

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        source = self.launch_description_source
        description = source.try_get_launch_description_without_context()
        return [] if description is None else [description]

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        before = {
            name: context.get_locals_as_dict().get(name)
            for name in ("current_launch_file_path", "current_launch_file_directory")
        }
        description = self.launch_description_source.get_launch_description(context)
        path = Path(self.launch_description_source.location).absolute()
        context.extend_locals(
            {
                "current_launch_file_path": str(path),
                "current_launch_file_directory": str(path.parent),
            }
        )
        arguments = [SetLaunchConfiguration(name, value) for name, value in self.launch_arguments]
        self._check_required_arguments(description, context)
        return [
            *arguments,
            description,
            OpaqueFunction(function=lambda context: context.extend_locals(before)),
        ]

    def _check_required_arguments(
        self, description: LaunchDescription, context: LaunchContext
    ) -> None:
        given = [perform_text(context, name) for name, _ in self.launch_arguments]
        for argument in description.get_launch_arguments():
            is_given = argument.name in given or argument.name in context.launch_configurations
            if argument._conditionally_included or argument.default_value is not None or is_given:
                continue
            raise RuntimeError(
                f"Included launch description missing required argument '{argument.name}' "
                f"(description: '{argument.description}'), given: [{', '.join(given)}]"
            )
