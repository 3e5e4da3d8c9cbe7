"""From declared parameters to values in force: declare, read, check.

    settings = declare(node, MapperSettings)     # a frozen dataclass with the values in force

A value that cannot be used is refused with a sentence, at start and later.
"""

import math
from collections.abc import Iterable
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

T = TypeVar("T")


class ParameterProblem(ValueError):
    """A parameter value that cannot be used; the message is a sentence for the user."""


def declare(node: Any, settings: type[T]) -> T:
    """Declare all parameters of a settings class on a node and return their values.

    Raises:
        ParameterProblem: a value given at start has the wrong type, range or choice.
    """
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    for item in fields(settings):
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        descriptor = ParameterDescriptor(
            description=item.metadata["description"],
            additional_constraints=constraints(item),
            read_only=item.metadata["applies"] == "start",
        )
        # A string array may be empty, which rclpy cannot tell from an empty array of bytes.
        descriptor.dynamic_typing = isinstance(item.default, tuple)
        _set_range(descriptor, item)
        try:
            node.declare_parameter(item.name, default, descriptor)
        except InvalidParameterTypeException as error:
            raise ParameterProblem(
                f"parameter '{item.name}' is given the wrong type ({error}): expected "
                f"{_kind(item)}, e.g. {item.name}: {literal(item.default)}"
            ) from error
        except InvalidParameterValueException as error:
            raise ParameterProblem(f"parameter '{item.name}' cannot be used: {error}") from error
    values = {item.name: node.get_parameter(item.name).value for item in fields(settings)}
    for name, value in values.items():
        if problem := problem_with(settings, name, value):
            raise ParameterProblem(problem)
    return read(node, settings)


def read(node: Any, settings: type[T]) -> T:
    """Return the values in force of declared parameters."""
    names = [item.name for item in fields(settings)]
    return settings(**{name: _frozen(node.get_parameter(name).value) for name in names})


def with_live_values(settings: T, parameters: Iterable[Any]) -> T:
    """Return settings with the values of those parameters that apply at once."""
    live = {item.name for item in fields(settings) if item.metadata["applies"] == "live"}
    changed = {
        parameter.name: _frozen(parameter.value)
        for parameter in parameters
        if parameter.name in live
    }
    return replace(settings, **changed)


def too_late(settings: T, parameters: Iterable[Any]) -> str:
    """Return why changes to a configured node would have no effect, or an empty string.

    Args:
        settings: in force.
        parameters: wanted.
    """
    applies = {item.name: item.metadata["applies"] for item in fields(settings)}
    for parameter in parameters:
        name, value = parameter.name, _frozen(parameter.value)
        if applies.get(name) == "configure" and value != getattr(settings, name):
            return (
                f"parameter '{name}' is read when the node is configured and would have no effect "
                "now: deactivate and clean up the node first (the map is lost: save it), or "
                "restart it with the new value"
            )
    return ""


def problem_with(settings: type, name: str, value: Any) -> str:
    """Return why a value cannot be taken, as a sentence, or an empty string.

    Names that are not in the settings (use_sim_time and others of ROS) have no problem.
    """
    item = next((item for item in fields(settings) if item.name == name), None)
    if item is None:
        return ""
    choices = item.metadata["choices"]
    if choices and value not in choices:
        return f"parameter '{name}' is '{value}', expected one of: {', '.join(choices)}"
    is_list = value is None or (
        not isinstance(value, str | bytes | bool | int | float)
        and all(isinstance(text, str) for text in value)
    )
    if isinstance(item.default, tuple) and not is_list:
        return f"parameter '{name}' is {value!r}, expected a list of strings"
    if isinstance(value, float) and not math.isfinite(value):
        return f"parameter '{name}' is {value}, expected a finite number"
    return ""


def constraints(item: Any) -> str:
    """Return the choices or the range of a parameter in words, empty for none."""
    if item.metadata["choices"]:
        return "one of: " + ", ".join(item.metadata["choices"])
    limits = item.metadata["limits"]
    return f"{limits[0]:g} to {limits[1]:g}" if limits else ""


def literal(default: Any) -> str:
    """Return a default as it is written in a parameter file."""
    if default is MISSING:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(default) + "]"
    return str(default)


def _frozen(value: Any) -> Any:
    # No parameter here may be unset: None is how rclpy gives an empty list.
    return () if value is None else tuple(value) if isinstance(value, list) else value


def _set_range(descriptor: Any, item: Any) -> None:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange

    limits = item.metadata["limits"]
    if limits is None:
        return
    low, high = limits
    if isinstance(item.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
        ]


def _kind(item: Any) -> str:
    kinds = {bool: "true or false", int: "an integer", float: "a number with a decimal point"}
    return kinds.get(type(item.default), "text")
