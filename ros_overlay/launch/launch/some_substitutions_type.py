"""Type aliases for what launch files pass where a text, an action or an entity is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Union

from launch.substitution import Substitution

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_description_entity import LaunchDescriptionEntity

SomeSubstitutionsType = str | Path | Substitution | Iterable[str | Path | Substitution]
SomeSubstitutionsType_types_tuple = (str, Path, Substitution, Iterable)
SomeActionsType = Union["Action", Iterable["Action"]]
SomeEntitiesType = Union["LaunchDescriptionEntity", Iterable["LaunchDescriptionEntity"]]
