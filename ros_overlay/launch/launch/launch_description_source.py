"""Where a launch description comes from."""

from __future__ import annotations

from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions


class LaunchDescriptionSource:
    """A launch description, or the location of a file that makes one.

    Args:
        launch_description: a description that is already there.
        location: path of the file, may hold substitutions.
        method: what `--show-args` says about the kind of source.
    """

    def __init__(
        self,
        launch_description: LaunchDescription | None = None,
        location: SomeSubstitutionsType = "",
        method: str = "unspecified mechanism from a script",
    ) -> None:
        self._description = launch_description
        self._location = normalize_to_list_of_substitutions(location)
        self._expanded_location: str | None = None
        self.method = method

    @property
    def location(self) -> str:
        """The path if it is known, else the description of its substitutions."""
        if self._expanded_location is not None:
            return self._expanded_location
        return " + ".join(part.describe() for part in self._location)

    def try_get_launch_description_without_context(self) -> LaunchDescription | None:
        """Return the description if it can be had without launching, else None."""
        if self._description is None:
            try:
                return self.get_launch_description(LaunchContext())
            except Exception:
                # A location that needs a launch argument, for instance, is known only later.
                self._description = self._expanded_location = None
        return self._description

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Return the description, read from the file at the first call."""
        if self._expanded_location is None:
            self._expanded_location = perform_substitutions(context, self._location)
        if self._description is None:
            self._description = self._get_launch_description(self._expanded_location)
        return self._description

    def _get_launch_description(self, location: str) -> LaunchDescription:
        raise TypeError(f"{type(self).__name__} does not say how '{location}' is read")
