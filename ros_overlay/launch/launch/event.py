"""Something that happened and that handlers may react to."""


class Event:
    """Base of all events; handlers tell them apart by class."""

    name = "launch.Event"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"
