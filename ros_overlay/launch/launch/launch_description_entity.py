"""The common base of actions and launch descriptions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class LaunchDescriptionEntity:
    """Anything that a launch description may hold."""

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        """Act, and return the entities that are to be visited next."""
        return None

    def describe(self) -> str:
        """Return a text for people."""
        return repr(self)

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """Return the entities inside this one as far as they are known without a context."""
        return []

    def get_asyncio_future(self) -> asyncio.Future | None:
        """Return a future that is done when this entity is, None if it already is."""
        return None
