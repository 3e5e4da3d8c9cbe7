"""A yes or no that is known only when the launch file runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class Condition:
    """Base of `IfCondition` and its kin; `predicate(context)` decides."""

    def __init__(self, *, predicate: Callable[[LaunchContext], bool] | None = None) -> None:
        self._predicate = predicate

    def evaluate(self, context: LaunchContext) -> bool:
        """Return whether the action that carries this condition is to run."""
        return True if self._predicate is None else bool(self._predicate(context))
