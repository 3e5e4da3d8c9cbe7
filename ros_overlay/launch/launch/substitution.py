"""A text that is known only when the launch file runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class Substitution:
    """Base of everything that becomes a string during launch."""

    def describe(self) -> str:
        """Return a text for `--show-args` that needs no context."""
        return f"{type(self).__name__}()"

    def perform(self, context: LaunchContext) -> str:
        """Return the text in this context."""
        raise TypeError(f"{type(self).__name__} does not say how it is performed")

    def __repr__(self) -> str:
        return self.describe()
