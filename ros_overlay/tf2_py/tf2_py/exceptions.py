"""Why a transform could not be had."""


class TransformException(Exception):
    """Base of everything that a lookup raises."""


class ConnectivityException(TransformException):
    """The two frames are in different trees."""


class LookupException(TransformException):
    """A frame is not known, or the tree has a loop."""


class ExtrapolationException(TransformException):
    """The requested time lies outside of the stored data; nothing is extrapolated."""


class InvalidArgumentException(TransformException):
    """A frame name is empty or starts with a slash."""


class TimeoutException(TransformException):
    """The answer did not come in time."""
