"""Small helpers for those who write actions and substitutions."""

from __future__ import annotations

import asyncio
import keyword
from collections.abc import Iterable
from os import PathLike
from typing import Any

import yaml
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution


def normalize_to_list_of_substitutions(value: SomeSubstitutionsType) -> list[Substitution]:
    """Return a list of substitutions from a text, a path, a substitution or several of them.

    Raises:
        TypeError: if something else is among them.
    """
    from launch.substitutions import TextSubstitution

    if isinstance(value, Substitution):
        return [value]
    if isinstance(value, str | PathLike):
        return [TextSubstitution(text=str(value))]
    if isinstance(value, Iterable):
        return [part for item in value for part in normalize_to_list_of_substitutions(item)]
    raise TypeError(f"expected a text or a substitution, found {type(value).__name__}: {value!r}")


def perform_substitutions(context: LaunchContext, substitutions: Iterable[Substitution]) -> str:
    """Return the texts of all substitutions joined."""
    return "".join(substitution.perform(context) for substitution in substitutions)


def perform_text(context: LaunchContext, value: SomeSubstitutionsType) -> str:
    """Return the text of anything that `normalize_to_list_of_substitutions` takes."""
    return perform_substitutions(context, normalize_to_list_of_substitutions(value))


def visit_all_entities_and_collect_futures(
    entity: LaunchDescriptionEntity, context: LaunchContext
) -> list[tuple[LaunchDescriptionEntity, asyncio.Future]]:
    """Visit an entity and, depth first, all that it returns; return those not yet done."""
    sub_entities = entity.visit(context)
    future = entity.get_asyncio_future()
    pairs = [] if future is None else [(entity, future)]
    for sub_entity in sub_entities or []:
        pairs += visit_all_entities_and_collect_futures(sub_entity, context)
    return pairs


def is_a_subclass(value: Any, kind: type) -> bool:
    return isinstance(value, kind) or (isinstance(value, type) and issubclass(value, kind))


def is_valid_identifier(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def ensure_argument_type(value: Any, types: type | tuple[type, ...], name: str, caller: str = ""):
    """Raise a TypeError with a sentence unless `value` has one of the types."""
    wanted = types if isinstance(types, tuple) else (types,)
    if not is_a_subclass_of_any(value, wanted):
        names = ", ".join(kind.__name__ for kind in wanted)
        where = f" of {caller}" if caller else ""
        raise TypeError(f"argument '{name}'{where} is {value!r}, expected one of: {names}")


def is_a_subclass_of_any(value: Any, types: Iterable[type]) -> bool:
    return any(isinstance(value, kind) for kind in types)


def perform_typed(context: LaunchContext, value: Any, kind: type) -> Any:
    """Return `value` as `kind`: as it is, or from the YAML text of its substitutions.

    Raises:
        ValueError: if the text is not of that type.
    """
    if isinstance(value, kind) and not isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return kind(value)
    text = perform_text(context, value)
    if kind is str:
        return text
    found = yaml.safe_load(text)
    if kind is float and type(found) is int:
        found = float(found)
    if kind is bool and found in (0, 1):
        found = bool(found)
    if not isinstance(found, kind):
        raise ValueError(f"'{text}' is not of type {kind.__name__}")
    return found
