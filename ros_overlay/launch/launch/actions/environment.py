"""The environment that processes inherit."""

from __future__ import annotations

import os

from launch.action import Action
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import perform_text, perform_typed


class SetEnvironmentVariable(Action):
    """Sets an environment variable."""

    def __init__(self, name: SomeSubstitutionsType, value: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self._name = name
        self._value = value

    def execute(self, context: LaunchContext) -> None:
        name = perform_text(context, self._name)
        context.environment[name] = perform_text(context, self._value)


class UnsetEnvironmentVariable(Action):
    """Removes an environment variable if it is there."""

    def __init__(self, name: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self._name = name

    def execute(self, context: LaunchContext) -> None:
        context.environment.pop(perform_text(context, self._name), None)


class AppendEnvironmentVariable(Action):
    """Adds a value to the end, or to the front, of an environment variable that is a list."""

    def __init__(
        self,
        name: SomeSubstitutionsType,
        value: SomeSubstitutionsType,
        prepend: SomeSubstitutionsType | bool = False,
        separator: SomeSubstitutionsType = os.pathsep,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self._name = name
        self._value = value
        self._prepend = prepend
        self._separator = separator

    def execute(self, context: LaunchContext) -> None:
        name = perform_text(context, self._name)
        parts = [perform_text(context, self._value)]
        if context.environment.get(name):
            prepend = perform_typed(context, self._prepend, bool)
            parts.insert(1 if prepend else 0, context.environment[name])
        context.environment[name] = perform_text(context, self._separator).join(parts)


class PushEnvironment(Action):
    """Remembers the environment for `PopEnvironment`."""

    def execute(self, context: LaunchContext) -> None:
        context._push_environment()


class PopEnvironment(Action):
    """Puts back the environment of `PushEnvironment`."""

    def execute(self, context: LaunchContext) -> None:
        context._pop_environment()
