"""What every buffer offers: transforming stamped objects of registered types."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from std_msgs.msg import Header


class BufferInterface:
    """Transforms objects with the lookups that a subclass provides."""

    def __init__(self) -> None:
        self.registration = TransformRegistration()

    def transform(
        self,
        object_stamped: Any,
        target_frame: str,
        timeout: Duration = Duration(),  # noqa: B008  immutable
        new_type: type | None = None,
    ) -> Any:
        """`object_stamped` in `target_frame` at its own stamp, as `new_type` if that is given.

        Raises:
            TypeException: nothing is registered for the object's type (import tf2_geometry_msgs).
            TransformException: no such transform within `timeout`.
        """
        do_transform = self.registration.get(type(object_stamped))
        header = object_stamped.header
        transform = self.lookup_transform(target_frame, header.frame_id, header.stamp, timeout)
        result = do_transform(object_stamped, transform)
        return result if new_type is None else convert(result, new_type)

    def transform_full(
        self,
        object_stamped: Any,
        target_frame: str,
        target_time: Time,
        fixed_frame: str,
        timeout: Duration = Duration(),  # noqa: B008  immutable
        new_type: type | None = None,
    ) -> Any:
        """The same, to `target_frame` as it was at `target_time`, by way of `fixed_frame`."""
        do_transform = self.registration.get(type(object_stamped))
        header = object_stamped.header
        transform = self.lookup_transform_full(
            target_frame, target_time, header.frame_id, header.stamp, fixed_frame, timeout
        )
        result = do_transform(object_stamped, transform)
        return result if new_type is None else convert(result, new_type)

    def lookup_transform(self, *args: Any, **kwargs: Any) -> TransformStamped:
        """Provided by a subclass."""
        raise NotImplementedException()

    def lookup_transform_full(self, *args: Any, **kwargs: Any) -> TransformStamped:
        """Provided by a subclass."""
        raise NotImplementedException()

    def can_transform(self, *args: Any, **kwargs: Any) -> bool:
        """Provided by a subclass."""
        raise NotImplementedException()

    def can_transform_full(self, *args: Any, **kwargs: Any) -> bool:
        """Provided by a subclass."""
        raise NotImplementedException()


class TypeException(Exception):
    """A type is not registered."""

    def __init__(self, errstr: str) -> None:
        super().__init__(errstr)
        self.errstr = errstr


class NotImplementedException(Exception):
    """The buffer's class lacks a lookup."""

    def __init__(self) -> None:
        self.errstr = "CanTransform or LookupTransform not implemented"
        super().__init__(self.errstr)


class TransformRegistration:
    """How to transform each type; one table for the process."""

    _transforms: ClassVar[dict[type, Callable[[Any, TransformStamped], Any]]] = {}

    def add(self, key: type, callback: Callable[[Any, TransformStamped], Any]) -> None:
        """Register `callback(object, transform) -> object` for a type."""
        self._transforms[key] = callback

    def get(self, key: type) -> Callable[[Any, TransformStamped], Any]:
        """The callback of a type; TypeException when there is none."""
        return _registered(self._transforms, key)

    def print_me(self) -> None:
        """Print the table."""
        print(self._transforms)


class ConvertRegistration:
    """How to convert between types, directly or by way of a message; one table a process."""

    _to_msg: ClassVar[dict[Any, Callable[[Any], Any]]] = {}
    _from_msg: ClassVar[dict[Any, Callable[[Any], Any]]] = {}
    _convert: ClassVar[dict[Any, Callable[[Any], Any]]] = {}

    def add_to_msg(self, key: type, callback: Callable[[Any], Any]) -> None:
        """Register the conversion of a type to its message."""
        self._to_msg[key] = callback

    def add_from_msg(self, key: type, callback: Callable[[Any], Any]) -> None:
        """Register the conversion of a type from its message."""
        self._from_msg[key] = callback

    def add_convert(self, key: tuple[type, type], callback: Callable[[Any], Any]) -> None:
        """Register a direct conversion for a pair (from, to)."""
        self._convert[key] = callback

    def get_to_msg(self, key: type) -> Callable[[Any], Any]:
        """The conversion of a type to its message."""
        return _registered(self._to_msg, key)

    def get_from_msg(self, key: type) -> Callable[[Any], Any]:
        """The conversion of a type from its message."""
        return _registered(self._from_msg, key)

    def get_convert(self, key: tuple[type, type]) -> Callable[[Any], Any]:
        """The direct conversion of a pair (from, to)."""
        return _registered(self._convert, key)


def convert(a: Any, b_type: type) -> Any:
    """`a` as a `b_type`: directly if registered, a copy if it is one, else through a message."""
    registry = ConvertRegistration()
    try:
        direct = registry.get_convert((type(a), b_type))
    except TypeException:
        if type(a) is b_type:
            return deepcopy(a)
        return registry.get_from_msg(b_type)(registry.get_to_msg(type(a))(a))
    return direct(a)


def Stamped(obj: Any, stamp: Any, frame_id: str) -> Any:
    """Give `obj` a header."""
    obj.header = Header(frame_id=frame_id, stamp=stamp)
    return obj


def _registered(table: dict[Any, Any], key: Any) -> Callable[..., Any]:
    try:
        return table[key]
    except KeyError:
        raise TypeException(f"Type {key} is not loaded or supported") from None
