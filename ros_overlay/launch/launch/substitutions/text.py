"""Texts from literals, launch configurations, the environment, Python and commands."""

from __future__ import annotations

import importlib
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterable

from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions, perform_text


class SubstitutionFailure(RuntimeError):
    """A substitution has no text in this context."""


class TextSubstitution(Substitution):
    """A literal text."""

    def __init__(self, *, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"the text of a TextSubstitution is {text!r}, expected a str")
        self.text = text

    def describe(self) -> str:
        return f"'{self.text}'"

    def perform(self, context: LaunchContext) -> str:
        return self.text


class LaunchConfiguration(Substitution):
    """The value of a launch configuration, which is also how launch arguments are read."""

    def __init__(
        self, variable_name: SomeSubstitutionsType, *, default: SomeSubstitutionsType | None = None
    ) -> None:
        self.variable_name = normalize_to_list_of_substitutions(variable_name)
        self._default = default

    def describe(self) -> str:
        return f"LaunchConfiguration({_describe(self.variable_name)})"

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.variable_name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self._default is None:
            raise SubstitutionFailure(f"launch configuration '{name}' does not exist")
        if isinstance(self._default, bool | int | float):
            return str(self._default)
        return perform_text(context, self._default)


class LocalSubstitution(Substitution):
    """A local value of the launch context, such as `event.reason` in an event handler."""

    def __init__(self, expression: str, description: str | None = None) -> None:
        self.expression = expression
        self._description = description

    def describe(self) -> str:
        return f"LocalVar('{self._description or self.expression}')"

    def perform(self, context: LaunchContext) -> str:
        first, *rest = self.expression.split(".")
        value = context.get_locals_as_dict().get(first)
        if value is None:
            raise SubstitutionFailure(f"there is no local value '{first}' here")
        for attribute in rest:
            value = getattr(value, attribute)
        return str(value)


class EnvironmentVariable(Substitution):
    """The value of an environment variable."""

    def __init__(
        self,
        name: SomeSubstitutionsType,
        *,
        default_value: SomeSubstitutionsType | None = None,
    ) -> None:
        self.name = normalize_to_list_of_substitutions(name)
        self._default = default_value

    def describe(self) -> str:
        return f"EnvVar({_describe(self.name)})"

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.name)
        if name in context.environment:
            return context.environment[name]
        if self._default is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return perform_text(context, self._default)


class PythonExpression(Substitution):
    """The value of a Python expression, as `str()` writes it.

    Args:
        expression: texts and substitutions that make up the expression.
        python_modules: modules that the expression may name; the names in `math` are always there.
    """

    def __init__(
        self, expression: SomeSubstitutionsType, python_modules: Iterable[str] = ("math",)
    ) -> None:
        self.expression = normalize_to_list_of_substitutions(expression)
        self._modules = [python_modules] if isinstance(python_modules, str) else python_modules

    def describe(self) -> str:
        return f"PythonExpr({_describe(self.expression)})"

    def perform(self, context: LaunchContext) -> str:
        names = dict(vars(importlib.import_module("math")))
        for module in self._modules:
            names[perform_text(context, module)] = importlib.import_module(
                perform_text(context, module)
            )
        text = perform_substitutions(context, self.expression)
        try:
            return str(eval(text, names))
        except Exception as error:
            raise SubstitutionFailure(f"Python expression '{text}' failed: {error}") from error


class Command(Substitution):
    """What a command writes to stdout.

    Args:
        command: the command line, split like a shell does.
        on_stderr: what to do if it writes to stderr: "fail", "ignore", "warn" or "capture".
    """

    def __init__(
        self, command: SomeSubstitutionsType, *, on_stderr: SomeSubstitutionsType = "fail"
    ) -> None:
        self.command = normalize_to_list_of_substitutions(command)
        self._on_stderr = on_stderr

    def describe(self) -> str:
        return f"Command({_describe(self.command)})"

    def perform(self, context: LaunchContext) -> str:
        text = perform_substitutions(context, self.command)
        on_stderr = perform_text(context, self._on_stderr)
        try:
            result = subprocess.run(
                shlex.split(text), capture_output=True, text=True, env=dict(context.environment)
            )
        except FileNotFoundError as error:
            raise SubstitutionFailure(f"file not found: {error}") from error
        if result.returncode != 0:
            raise SubstitutionFailure(
                f"executed command failed. Command: {text}, exit code {result.returncode}, "
                f"stderr: {result.stderr}"
            )
        if result.stderr and on_stderr == "fail":
            raise SubstitutionFailure(f"executed command showed stderr output. Command: {text}")
        if result.stderr and on_stderr == "warn":
            from launch.logging import get_logger

            get_logger("launch").warning(f"'{text}' wrote to stderr: {result.stderr}")
        return result.stdout + (result.stderr if on_stderr == "capture" else "")


class AnonName(Substitution):
    """A name made unique by host, process and time; the same name gives the same text."""

    def __init__(self, name: SomeSubstitutionsType) -> None:
        self.name = normalize_to_list_of_substitutions(name)

    def describe(self) -> str:
        return f"AnonName({_describe(self.name)})"

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.name)
        key = f"anon{name}"
        if key not in context.launch_configurations:
            host = socket.gethostname().replace(".", "_").replace("-", "_").replace(":", "_")
            moment = int(time.time() * 1000)
            context.launch_configurations[key] = f"{name}_{host}_{os.getpid()}_{moment}"
        return context.launch_configurations[key]


class StringJoinSubstitution(Substitution):
    """Texts joined by a delimiter."""

    def __init__(
        self, substitutions: Iterable[SomeSubstitutionsType], delimiter: SomeSubstitutionsType = ""
    ) -> None:
        self._parts = list(substitutions)
        self._delimiter = delimiter

    def perform(self, context: LaunchContext) -> str:
        delimiter = perform_text(context, self._delimiter)
        return delimiter.join(perform_text(context, part) for part in self._parts)


def _describe(parts: Iterable[Substitution]) -> str:
    return " + ".join(part.describe() for part in parts)
