"""'true', 'false' and choices between texts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable

from launch.conditions import evaluate_condition_expression
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions


class _Logic(Substitution):
    """A substitution over operands that are texts, substitutions or bool and numbers."""

    def __init__(self, *operands: SomeSubstitutionsType | bool | int | float | None) -> None:
        self._operands = [_normalize(operand) for operand in operands]

    def describe(self) -> str:
        operands = ", ".join(" + ".join(s.describe() for s in part) for part in self._operands)
        return f"{type(self).__name__}({operands})"

    def _truths(self, context: LaunchContext) -> Iterable[bool]:
        return (evaluate_condition_expression(context, operand) for operand in self._operands)


class NotSubstitution(_Logic):
    """'true' if the value is false."""

    def __init__(self, value: SomeSubstitutionsType) -> None:
        super().__init__(value)

    def perform(self, context: LaunchContext) -> str:
        return _text(not all(self._truths(context)))


class AndSubstitution(_Logic):
    """'true' if both are."""

    def __init__(self, left: SomeSubstitutionsType, right: SomeSubstitutionsType) -> None:
        super().__init__(left, right)

    def perform(self, context: LaunchContext) -> str:
        return _text(all(self._truths(context)))


class OrSubstitution(_Logic):
    """'true' if one of them is."""

    def __init__(self, left: SomeSubstitutionsType, right: SomeSubstitutionsType) -> None:
        super().__init__(left, right)

    def perform(self, context: LaunchContext) -> str:
        return _text(any(self._truths(context)))


class AllSubstitution(_Logic):
    """'true' if all are."""

    def perform(self, context: LaunchContext) -> str:
        return _text(all(self._truths(context)))


class AnySubstitution(_Logic):
    """'true' if one of them is."""

    def perform(self, context: LaunchContext) -> str:
        return _text(any(self._truths(context)))


class EqualsSubstitution(_Logic):
    """'true' if both texts are equal, or both truths ('1' and 'true'), or both numbers."""

    def __init__(self, left: SomeSubstitutionsType, right: SomeSubstitutionsType) -> None:
        super().__init__(left, right)

    def perform(self, context: LaunchContext) -> str:
        return _text(self._equal(context))

    def _equal(self, context: LaunchContext) -> bool:
        left, right = (perform_substitutions(context, operand) for operand in self._operands)
        if left == right:
            return True
        truths = {"true": True, "1": True, "false": False, "0": False}
        if left.lower() in truths and right.lower() in truths:
            return truths[left.lower()] == truths[right.lower()]
        with contextlib.suppress(ValueError):
            return math.isclose(float(left), float(right))
        return False


class NotEqualsSubstitution(EqualsSubstitution):
    """'true' if `EqualsSubstitution` is 'false'."""

    def perform(self, context: LaunchContext) -> str:
        return _text(not self._equal(context))


class IfElseSubstitution(_Logic):
    """One text if the condition is true, else the other."""

    def __init__(
        self,
        condition: SomeSubstitutionsType,
        if_value: SomeSubstitutionsType = "",
        else_value: SomeSubstitutionsType = "",
    ) -> None:
        super().__init__(condition, if_value, else_value)

    def perform(self, context: LaunchContext) -> str:
        condition, if_value, else_value = self._operands
        chosen = if_value if evaluate_condition_expression(context, condition) else else_value
        return perform_substitutions(context, chosen)


def _normalize(operand: SomeSubstitutionsType | bool | int | float | None) -> list[Substitution]:
    if isinstance(operand, bool | int | float):
        operand = str(operand).lower()
    return normalize_to_list_of_substitutions("" if operand is None else operand)


def _text(truth: bool) -> str:
    return "true" if truth else "false"
