"""Conditions that launch files attach to actions."""

from __future__ import annotations

from collections.abc import Iterable

from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions, perform_text

__all__ = [
    "IfCondition",
    "InvalidConditionExpressionError",
    "LaunchConfigurationEquals",
    "LaunchConfigurationNotEquals",
    "UnlessCondition",
    "evaluate_condition_expression",
]

TRUE_TEXTS = ("true", "1")
FALSE_TEXTS = ("false", "0")


class InvalidConditionExpressionError(Exception):
    """The text of a condition is neither true nor false."""


def evaluate_condition_expression(
    context: LaunchContext, expression: Iterable[Substitution]
) -> bool:
    """Return the truth of 'true', 'false', '1' or '0', in any case.

    Raises:
        InvalidConditionExpressionError: for any other text.
    """
    text = perform_substitutions(context, expression)
    if text.strip().lower() in TRUE_TEXTS:
        return True
    if text.strip().lower() in FALSE_TEXTS:
        return False
    raise InvalidConditionExpressionError(
        f"a condition must be one of {TRUE_TEXTS + FALSE_TEXTS}, found '{text}'"
    )


class IfCondition(Condition):
    """Holds if the expression is 'true' or '1'."""

    def __init__(self, predicate_expression: SomeSubstitutionsType) -> None:
        self._expression = normalize_to_list_of_substitutions(predicate_expression)
        super().__init__(predicate=lambda c: evaluate_condition_expression(c, self._expression))


class UnlessCondition(Condition):
    """Holds if the expression is 'false' or '0'."""

    def __init__(self, predicate_expression: SomeSubstitutionsType) -> None:
        self._expression = normalize_to_list_of_substitutions(predicate_expression)
        super().__init__(predicate=lambda c: not evaluate_condition_expression(c, self._expression))


class LaunchConfigurationEquals(Condition):
    """Holds if a launch configuration is set and equals a text; None means "is not set"."""

    def __init__(
        self, launch_configuration_name: str, expected_value: SomeSubstitutionsType | None
    ) -> None:
        self._name = launch_configuration_name
        self._expected = expected_value
        super().__init__(predicate=self._equals)

    def _equals(self, context: LaunchContext) -> bool:
        expected = None if self._expected is None else perform_text(context, self._expected)
        return context.launch_configurations.get(self._name) == expected


class LaunchConfigurationNotEquals(LaunchConfigurationEquals):
    """Holds if `LaunchConfigurationEquals` does not."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)
