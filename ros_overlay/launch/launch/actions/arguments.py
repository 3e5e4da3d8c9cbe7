"""Launch arguments and launch configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launch.action import Action
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions, perform_text


class DeclareLaunchArgument(Action):
    """An argument that the user, or an including file, may give.

    Args:
        name: name of the argument and of the launch configuration that holds its value.
        default_value: value if none is given; None makes the argument required.
        description: what it is for, shown by `--show-args`.
        choices: the only values that are allowed.
    """

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeSubstitutionsType | None = None,
        description: str | None = None,
        choices: Iterable[str] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.choices = None if choices is None else list(choices)
        self._conditionally_included = False
        self.default_value = (
            None if default_value is None else normalize_to_list_of_substitutions(default_value)
        )
        self.description = description or "no description given"
        if self.choices is not None:
            self.description = f"{self.description}. Valid choices are: {self.choices}"
            if isinstance(default_value, str) and default_value not in self.choices:
                raise RuntimeError(
                    f"the default '{default_value}' of launch argument '{name}' is not one of its "
                    f"choices {self.choices}"
                )

    def execute(self, context: LaunchContext) -> None:
        configurations = context.launch_configurations
        if self.name not in configurations:
            if self.default_value is None:
                raise RuntimeError(
                    f"Required launch argument '{self.name}' (description: '{self.description}') "
                    "was not provided"
                )
            configurations[self.name] = perform_substitutions(context, self.default_value)
        value = configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{value}" is not valid. '
                f"Valid options are: {self.choices}"
            )


class SetLaunchConfiguration(Action):
    """Sets a launch configuration."""

    def __init__(self, name: SomeSubstitutionsType, value: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self._name = normalize_to_list_of_substitutions(name)
        self._value = normalize_to_list_of_substitutions(value)

    def execute(self, context: LaunchContext) -> None:
        name = perform_substitutions(context, self._name)
        context.launch_configurations[name] = perform_substitutions(context, self._value)


class UnsetLaunchConfiguration(Action):
    """Removes a launch configuration if it is there."""

    def __init__(self, name: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self._name = name

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations.pop(perform_text(context, self._name), None)


class ResetLaunchConfigurations(Action):
    """Removes all launch configurations but those given."""

    def __init__(
        self,
        launch_configurations: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self._kept = dict(launch_configurations or {})

    def execute(self, context: LaunchContext) -> None:
        kept = {
            perform_text(context, name): perform_text(context, value)
            for name, value in self._kept.items()
        }
        context.launch_configurations.clear()
        context.launch_configurations.update(kept)


class PushLaunchConfigurations(Action):
    """Remembers the launch configurations for `PopLaunchConfigurations`."""

    def execute(self, context: LaunchContext) -> None:
        context._push_launch_configurations()


class PopLaunchConfigurations(Action):
    """Puts back the launch configurations of `PushLaunchConfigurations`."""

    def execute(self, context: LaunchContext) -> None:
        context._pop_launch_configurations()
