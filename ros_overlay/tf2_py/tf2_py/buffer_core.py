"""BufferCore: the frame tree behind ROS messages, names checked, safe for several threads."""

from __future__ import annotations

import math
from threading import RLock
from typing import Any

import rclpy.logging
from builtin_interfaces.msg import Time as TimeMsg
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.time import Time

from . import rigid
from .exceptions import InvalidArgumentException, LookupException, TransformException
from .frame_tree import FrameTree
from .time_cache import Sample, display

DEFAULT_CACHE_SECONDS = 10
NORM_TOLERANCE = 0.01  # of the squared length of a quaternion

Velocity = tuple[rigid.Vector, rigid.Vector]


class BufferCore:
    """Stores transforms over time and answers what lies between two frames.

    Times and durations may be rclpy objects or messages.
    """

    def __init__(self, cache_time: Any = None) -> None:
        seconds = DEFAULT_CACHE_SECONDS * 10**9
        self._tree = FrameTree(seconds if cache_time is None else nanoseconds(cache_time))
        self._authority: dict[str, str] = {}
        self._lock = RLock()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a sample of a moving frame. What cannot be right is refused with a log line."""
        self._insert(transform, authority, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Set where a frame is for all time."""
        self._insert(transform, authority, static=True)

    def lookup_transform_core(
        self, target_frame: str, source_frame: str, time: Any
    ) -> TransformStamped:
        """The transform that maps coordinates in `source_frame` to `target_frame` at `time`.

        Raises:
            TransformException: one of its kinds; the message says which frame or time is missing.
        """
        with self._lock:
            transform, stamp = self._lookup(target_frame, source_frame, nanoseconds(time))
        return _stamped(transform, stamp, target_frame, source_frame)

    def lookup_transform_full_core(
        self, target_frame: str, target_time: Any, source_frame: str, source_time: Any,
        fixed_frame: str,
    ) -> TransformStamped:  # fmt: skip
        """From `source_frame` at `source_time` to `target_frame` at `target_time`.

        `fixed_frame` is the frame that does not move between the two times.
        """
        with self._lock:
            for role, frame in (
                ("target_frame", target_frame),
                ("source_frame", source_frame),
                ("fixed_frame", fixed_frame),
            ):
                self._check_frame(f"lookupTransform argument {role}", frame)
            to_fixed, _ = self._lookup(fixed_frame, source_frame, nanoseconds(source_time))
            to_target, stamp = self._lookup(target_frame, fixed_frame, nanoseconds(target_time))
        transform = rigid.compose(to_target, to_fixed)
        return _stamped(transform, stamp, target_frame, source_frame)

    def can_transform_core(
        self, target_frame: str, source_frame: str, time: Any
    ) -> tuple[bool, str]:
        """Whether the lookup would succeed, and if not, why."""
        with self._lock:
            if target_frame == source_frame:
                return True, ""
            problem = self._frame_problem(target_frame=target_frame, source_frame=source_frame)
            return (
                self._can((target_frame, source_frame, time)) if not problem else (False, problem)
            )

    def can_transform_full_core(
        self, target_frame: str, target_time: Any, source_frame: str, source_time: Any,
        fixed_frame: str,
    ) -> tuple[bool, str]:  # fmt: skip
        """Whether `lookup_transform_full_core` would succeed, and if not, why."""
        with self._lock:
            problem = self._frame_problem(
                target_frame=target_frame, source_frame=source_frame, fixed_frame=fixed_frame
            )
            if problem:
                return False, problem
            return self._can(
                (target_frame, fixed_frame, target_time), (fixed_frame, source_frame, source_time)
            )

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> Time:
        """The newest time at which the two frames can be related; zero when all is static."""
        with self._lock:
            self._check_frame("get_latest_common_time", target_frame)
            self._check_frame("get_latest_common_time", source_frame)
            try:
                return Time(nanoseconds=self._tree.latest_common_time(target_frame, source_frame))
            except TransformException as error:
                raise TransformException(str(error)) from error

    def clear(self) -> None:
        """Forget the samples of moving frames. Names and static transforms stay."""
        with self._lock:
            for cache in self._tree.caches.values():
                if cache is not None:
                    cache.clear()

    def all_frames_as_string(self) -> str:
        """One sentence a frame."""
        with self._lock:
            return self._tree.describe()

    def all_frames_as_yaml(self) -> str:
        """A YAML mapping: frame to parent, broadcaster, rate (Hz), and the times that are held."""
        with self._lock:
            entries = [
                f"{name}: \n"
                f"  parent: '{facts['parent']}'\n"
                f"  broadcaster: '{facts['authority']}'\n"
                f"  rate: {facts['rate']:.3f}\n"
                f"  most_recent_transform: {display(facts['latest'])}\n"
                f"  oldest_transform: {display(facts['oldest'])}\n"
                f"  buffer_length: {(facts['latest'] - facts['oldest']) / 1e9:.3f}\n"
                for name, facts in self._statistics()
            ]
            return "".join(entries) if self._tree.caches else "[]"

    def _allFramesAsDot(self, time: Any = None) -> str:
        """The tree as a Graphviz document."""
        with self._lock:
            edges = [
                f'"{facts["parent"]}" -> "{name}"'
                f'[label="Broadcaster: {facts["authority"]}\\n'
                f"Average rate: {facts['rate']:.3f} Hz\\n"
                f'Most recent transform: {display(facts["latest"])} "];\n'
                for name, facts in self._statistics()
            ]
            body = "".join(edges) if self._tree.caches else '"no tf data recieved"'
            return f"digraph G {{\n{body}}}"

    def _frameExists(self, frame_id: str) -> bool:
        with self._lock:
            return frame_id in self._tree.caches

    def _getFrameStrings(self) -> list[str]:
        with self._lock:
            return list(self._tree.caches)

    def _chain(
        self, target_frame: str, target_time: Any, source_frame: str, source_time: Any,
        fixed_frame: str,
    ) -> list[str]:  # fmt: skip
        """The frames that a full lookup passes, from source over fixed to target."""
        with self._lock:
            for frame in (target_frame, source_frame, fixed_frame):
                self._check_frame("chainAsVector", frame)
            first = self._tree.path(fixed_frame, source_frame, nanoseconds(source_time))
            second = self._tree.path(target_frame, fixed_frame, nanoseconds(target_time))
        return first[:-1] + second

    def lookupVelocityCore(
        self, tracking_frame: str, observation_frame: str, time: Any, averaging_interval: Any
    ) -> Velocity:
        """Linear and angular velocity of `tracking_frame`'s origin seen in `observation_frame`.

        Metres and radians a second, a difference over `averaging_interval` around `time`.
        """
        return self.lookupVelocityFullCore(
            tracking_frame, observation_frame, observation_frame, (0.0, 0.0, 0.0), tracking_frame,
            time, averaging_interval,
        )  # fmt: skip

    def lookupVelocityFullCore(
        self, tracking_frame: str, observation_frame: str, reference_frame: str,
        reference_point: rigid.Vector, reference_point_frame: str,
        time: Any, averaging_interval: Any,
    ) -> Velocity:  # fmt: skip
        """The same for a point fixed to `tracking_frame`, expressed in `reference_frame`."""
        now, interval = nanoseconds(time), nanoseconds(averaging_interval)
        with self._lock:
            latest = self._tree.latest_common_time(observation_frame, tracking_frame)
            # Stamp 0 means "latest", so the window begins no earlier than just after it.
            end = min(now + interval // 2, latest)
            start = max(end - interval, 10_000)
            seconds = (end - start) / 1e9
            first, _ = self._lookup(observation_frame, tracking_frame, start)
            last, _ = self._lookup(observation_frame, tracking_frame, end)
            tracking, _ = self._lookup(observation_frame, tracking_frame, now)
            to_point, _ = self._lookup(observation_frame, reference_point_frame, now)
            to_reference, _ = self._lookup(reference_frame, observation_frame, now)
        turn = rigid.multiply(last[0], rigid.conjugate(first[0]))
        angular = rigid.scale(rigid.rotation_vector(turn), 1.0 / seconds)
        moved = rigid.add(last[1], rigid.scale(first[1], -1.0))
        point = rigid.add(rigid.rotate(to_point[0], reference_point), to_point[1])
        lever = rigid.add(point, rigid.scale(tracking[1], -1.0))
        linear = rigid.add(rigid.scale(moved, 1.0 / seconds), rigid.cross(angular, lever))
        return rigid.rotate(to_reference[0], linear), rigid.rotate(to_reference[0], angular)

    def _lookup(self, target: str, source: str, time: int) -> tuple[rigid.Transform, int]:
        if target != source:  # a frame relative to itself needs not be known
            self._check_frame("lookupTransform argument target_frame", target)
            self._check_frame("lookupTransform argument source_frame", source)
        return self._tree.lookup(target, source, time)

    def _can(self, *lookups: tuple[str, str, Any]) -> tuple[bool, str]:
        try:
            for target, source, time in lookups:
                self._tree.lookup(target, source, nanoseconds(time))
        except TransformException as error:
            return False, str(error)
        return True, ""

    def _check_frame(self, where: str, frame: str) -> None:
        flaw = _name_flaw(frame)
        if flaw:
            raise InvalidArgumentException(f'Invalid argument "{frame}" passed to {where} - {flaw}')
        if frame not in self._tree.caches:
            raise LookupException(f'"{frame}" passed to {where} does not exist. ')

    def _frame_problem(self, **frames: str) -> str:
        for role, frame in frames.items():
            flaw = _name_flaw(frame)
            if not flaw and frame not in self._tree.caches:
                flaw = "frame does not exist"
            if flaw:
                return f'Invalid frame ID "{frame}" passed to canTransform argument {role} - {flaw}'
        return ""

    def _insert(self, message: TransformStamped, authority: str, static: bool) -> None:
        parent = message.header.frame_id.removeprefix("/")
        child = message.child_frame_id.removeprefix("/")
        stamp = nanoseconds(message.header.stamp)
        transform = _read_transform(message)
        problem = _refusal(parent, child, transform, authority)
        if problem:
            rclpy.logging.get_logger("tf2").error(problem)
            return
        with self._lock:
            if self._tree.insert(child, Sample(stamp, parent, transform), static):
                self._authority[child] = authority
                return
        rclpy.logging.get_logger("tf2").warning(
            f"TF_OLD_DATA ignoring data from the past for frame {child} at time {display(stamp)} "
            f"according to authority {authority}: it is older than the buffer keeps"
        )

    def _statistics(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for name, cache in self._tree.caches.items():
            if cache is None or cache.latest is None:
                continue
            oldest, latest = cache.span
            facts = {
                "parent": cache.latest.parent,
                "authority": self._authority.get(name, "no recorded authority"),
                "rate": len(cache) * 1e9 / max(latest - oldest, 100_000),
                "oldest": oldest,
                "latest": latest,
            }
            found.append((name, facts))
        return found


def nanoseconds(time: Any) -> int:
    """Nanoseconds of a time or duration, as a message or an rclpy object."""
    if hasattr(time, "sec") and hasattr(time, "nanosec"):
        return time.sec * 10**9 + time.nanosec
    if hasattr(time, "nanoseconds"):
        return time.nanoseconds
    raise TypeError("time must have sec and nanosec, or nanoseconds.")


def _name_flaw(frame: str) -> str:
    if not isinstance(frame, str):
        raise TypeError(f"a frame name must be str, not {type(frame).__name__}")
    if not frame:
        return "in tf2 frame_ids cannot be empty"
    return "in tf2 frame_ids cannot start with a '/'" if frame.startswith("/") else ""


def _read_transform(message: TransformStamped) -> rigid.Transform:
    t, q = message.transform.translation, message.transform.rotation
    if not isinstance(t, Vector3):
        raise TypeError("transform.translation must be of type Vector3")
    if not isinstance(q, Quaternion):
        raise TypeError("transform.rotation must be of type Quaternion")
    rotation = float(q.x), float(q.y), float(q.z), float(q.w)
    return rotation, (float(t.x), float(t.y), float(t.z))


def _refusal(parent: str, child: str, transform: rigid.Transform, authority: str) -> str:
    rotation, translation = transform
    if not child:
        return f'TF_NO_CHILD_FRAME_ID: Ignoring transform from authority "{authority}" because child_frame_id not set'  # noqa: E501
    if not parent:
        return f'TF_NO_FRAME_ID: Ignoring transform with child_frame_id "{child}" from authority "{authority}" because frame_id not set'  # noqa: E501
    if child == parent:
        return f'TF_SELF_TRANSFORM: Ignoring transform from authority "{authority}" with frame_id and child_frame_id "{child}" because they are the same'  # noqa: E501
    ignoring = f'Ignoring transform for child_frame_id "{child}" from authority "{authority}"'
    if any(math.isnan(value) for value in (*rotation, *translation)):
        return f"TF_NAN_INPUT: {ignoring} because of a nan value in {translation} {rotation}"
    if not abs(sum(value * value for value in rotation) - 1.0) < NORM_TOLERANCE:
        return f"TF_DENORMALIZED_QUATERNION: {ignoring} because of an invalid quaternion {rotation}"
    return ""


def _stamped(transform: rigid.Transform, stamp: int, target: str, source: str) -> TransformStamped:
    message = TransformStamped()
    seconds, rest = divmod(stamp, 10**9)
    message.header.stamp = TimeMsg(sec=seconds, nanosec=rest)
    message.header.frame_id = target
    message.child_frame_id = source
    q, t = transform
    message.transform.rotation = Quaternion(x=q[0], y=q[1], z=q[2], w=q[3])
    message.transform.translation = Vector3(x=t[0], y=t[1], z=t[2])
    return message
