"""From what a launch file says about parameters to values and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions, perform_text
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

SCALARS = (bool, int, float, str)


def evaluate_parameters(context: LaunchContext, parameters: Iterable[Any]) -> list[dict | Path]:
    """Return a flat dict (`a.b` for nested ones) or a path for every entry of `parameters`."""
    evaluated: list[dict | Path] = []
    for entry in parameters:
        if isinstance(entry, Mapping):
            evaluated.append(evaluate_parameter_dict(context, entry))
        elif isinstance(entry, ParameterFile):
            evaluated.append(entry.evaluate(context))
        else:
            evaluated.append(Path(perform_text(context, entry)))
    return evaluated


def evaluate_parameter_dict(
    context: LaunchContext, parameters: Mapping, prefix: str = ""
) -> dict[str, Any]:
    """Return names and values; nested dicts become names with dots."""
    values: dict[str, Any] = {}
    for key, value in parameters.items():
        name = prefix + perform_text(context, key)
        if isinstance(value, Mapping):
            values.update(evaluate_parameter_dict(context, value, f"{name}."))
        elif isinstance(value, ParameterValue):
            values[name] = value.evaluate(context)
        else:
            values[name] = evaluate_value(context, value, name)
    return values


def evaluate_value(context: LaunchContext, value: Any, name: str = "") -> Any:
    """Return a parameter's value.

    Values of Python keep their type. The text of a substitution is read as YAML, so that
    `LaunchConfiguration("rate")` of `2.0` is a float. A list of substitutions and texts is one
    text; a list of lists, or of texts alone, is a list.

    Raises:
        TypeError: if ROS has no such parameter type.
    """
    if isinstance(value, Substitution):
        return _from_yaml(value.perform(context), name)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (*SCALARS, bytes)):
        return value
    if not isinstance(value, list | tuple):
        raise TypeError(f"parameter '{name}' is {value!r}; ROS has no parameter of that type")
    if any(isinstance(item, Substitution) for item in value):
        parts = normalize_to_list_of_substitutions(value)
        return _from_yaml(perform_substitutions(context, parts), name)
    items = [
        _from_yaml(perform_text(context, item), name) if isinstance(item, list | tuple) else item
        for item in value
    ]
    return _uniform(items, name)


def _from_yaml(text: str, name: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, list):
        return _uniform(value, name)
    # A time, a mapping or an empty text is no parameter value, but its text is.
    return value if isinstance(value, SCALARS) else text


def _uniform(items: list, name: str) -> list:
    types = {type(item) for item in items}
    if types == {int, float}:
        return [float(item) for item in items]
    if len(types) > 1:
        return [str(item) for item in items]
    if not types <= set(SCALARS):
        raise TypeError(f"parameter '{name}' is a list of {items!r}; use bool, int, float or str")
    return items
