"""The transform buffer of tf2, in Python, with the names of the compiled tf2_py module.

buffer = BufferCore(Duration(seconds=10))
buffer.set_transform(transform_stamped, "who sent it")
buffer.lookup_transform_core("map", "camera", Time())   # time 0: the latest common time
"""

from .buffer_core import BufferCore
from .exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TimeoutException,
    TransformException,
)

__all__ = [
    "BufferCore",
    "ConnectivityException",
    "ExtrapolationException",
    "InvalidArgumentException",
    "LookupException",
    "TimeoutException",
    "TransformException",
]
