"""Parameters with a type, and parameter files with substitutions inside."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch.utilities import normalize_to_list_of_substitutions, perform_text, perform_typed

__all__ = ["Parameter", "ParameterFile", "ParameterValue"]


class ParameterValue:
    """A value of a given type.

    Args:
        value: a value, a substitution, or a list of them.
        value_type: bool, int, float, str, bytes or a list of one of them such as `list[str]`;
            None takes a text as YAML would.
    """

    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        self.value = value
        self.value_type = value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """Return the value.

        Raises:
            ValueError: if it is not of the type.
        """
        from launch_ros.parameters import evaluate_value

        if self.value_type is None:
            return evaluate_value(context, self.value)
        (item_type,) = getattr(self.value_type, "__args__", (None,))
        if item_type is None:
            return perform_typed(context, self.value, self.value_type)
        values = evaluate_value(context, self.value)
        if not isinstance(values, list | tuple):
            raise ValueError(f"parameter value {values!r} is not a {self.value_type}")
        return [perform_typed(context, value, item_type) for value in values]


class ParameterFile:
    """A YAML file of parameters.

    Args:
        param_file: its path.
        allow_substs: whether `$(var name)` and `$(env NAME)` inside it are replaced.
    """

    def __init__(
        self,
        param_file: SomeSubstitutionsType,
        *,
        allow_substs: bool | SomeSubstitutionsType = False,
    ) -> None:
        self.param_file = normalize_to_list_of_substitutions(param_file)
        self._allow_substs = allow_substs

    def evaluate(self, context: LaunchContext) -> Path:
        """Return the path of the file, of a temporary one if something was replaced in it."""
        path = Path(perform_text(context, self.param_file))
        if not perform_typed(context, self._allow_substs, bool):
            return path

        def replaced(match: re.Match) -> str:
            kind = LaunchConfiguration if match[1] == "var" else EnvironmentVariable
            return kind(match[2].strip("'\"")).perform(context)

        text = re.sub(r"\$\((var|env)\s+([^)\s]+)\)", replaced, path.read_text())
        return write_temporary_yaml(yaml.safe_load(text))


class Parameter:
    """A named value, as `SetParameter` takes it."""

    def __init__(self, name: SomeSubstitutionsType, value: Any, *, value_type: Any = None) -> None:
        self.name = normalize_to_list_of_substitutions(name)
        self._value = ParameterValue(value, value_type=value_type)

    def evaluate(self, context: LaunchContext) -> tuple[str, Any]:
        return perform_text(context, self.name), self._value.evaluate(context)


def parameter_yaml(content: Any, flow_style: bool = False) -> str:
    """Return YAML for ROS, which unlike PyYAML takes a bare `y` for a truth: texts are quoted."""
    return yaml.dump(
        content, Dumper=_QuotingDumper, default_flow_style=flow_style, width=float("inf")
    )


def write_temporary_yaml(content: dict) -> Path:
    """Write a parameter file that the node reads when it starts."""
    descriptor, path = tempfile.mkstemp(prefix="launch_params_")
    with os.fdopen(descriptor, "w") as file:
        file.write(parameter_yaml(content))
    return Path(path)


class _QuotingDumper(yaml.SafeDumper):
    pass


_QuotingDumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)
