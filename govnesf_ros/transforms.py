"""Transforms from tf2 without waiting, and why there is none in words a user can act on.

tf = TfSource(node, "map", cache=30.0)
T_map_camera = tf.lookup.try_lookup(frame_id, stamp)
"""

from typing import Any

import numpy as np
import yaml
from rclpy.duration import Duration
from rclpy.time import Time
from tf2_ros import (
    Buffer,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformListener,
)

from govnesf_ros.conversions import BadInput, stamp_to_ns, to_matrix
from govnesf_ros.frame_buffer import TransformUnavailable

_UNAVAILABLE = (
    LookupException,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
)


class TfSource:
    """Listens to TF for all cameras of a node.

    Args:
        node: that the subscriptions belong to.
        map_frame: the target of every lookup.
        cache: seconds of history.
    """

    def __init__(self, node: Any, map_frame: str, cache: float) -> None:
        self._buffer = Buffer(cache_time=Duration(seconds=cache))
        self._listener = TransformListener(self._buffer, node, spin_thread=False)
        self.lookup = TfLookup(self._buffer, map_frame)

    def clear(self) -> None:
        """Forget what was heard, e.g. after a clock jump; fixed transforms stay."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Stop listening."""
        self._listener.unregister()


class TfLookup:
    """`frame_buffer.Lookup` on a tf2_ros.Buffer.

    Args:
        buffer: filled by a TransformListener.
        map_frame: the target of every lookup.
    """

    def __init__(self, buffer: Any, map_frame: str) -> None:
        self._buffer = buffer
        self._map_frame = map_frame

    def try_lookup(self, frame_id: str, stamp: int) -> np.ndarray | None:
        """Return T_map_frame [4, 4] at a stamp [ns], or None while it is not known."""
        if stamp < 0:
            return None
        try:
            found = self._buffer.lookup_transform(
                self._map_frame, frame_id.lstrip("/"), Time(nanoseconds=stamp)
            )
            return to_matrix(found.transform)
        except (*_UNAVAILABLE, BadInput):
            return None

    def between(self, frame: str, other: str, stamp: int) -> np.ndarray | None:
        """Return T_frame_other [4, 4] at a stamp [ns], or None if it is not known."""
        try:
            found = self._buffer.lookup_transform(
                frame, other.lstrip("/"), Time(nanoseconds=max(stamp, 0))
            )
            return to_matrix(found.transform)
        except (*_UNAVAILABLE, BadInput):
            return None

    def explain(self, frame_id: str, stamp: int) -> TransformUnavailable:
        """Return the reason and a sentence for a transform that never came."""
        frame_id = frame_id.lstrip("/")
        known = self.known_frames()
        missing = [name for name in (frame_id, self._map_frame) if name not in known]
        try:
            latest = self._buffer.lookup_transform(self._map_frame, frame_id, Time())
        except _UNAVAILABLE:
            return TransformUnavailable(
                "unknown_frame" if known and missing else "no_transform",
                self._not_connected(frame_id, known),
            )
        newest = stamp_to_ns(latest.header.stamp)
        ahead = (stamp - newest) / 1e9
        if ahead > 0:
            return TransformUnavailable(
                "no_transform",
                f"the newest transform from '{frame_id}' to '{self._map_frame}' is {ahead:.2f} s "
                "older than the image: is localisation slow or stopped, or do clocks differ? "
                "raise tf_timeout if it is only late",
            )
        return TransformUnavailable(
            "transform_too_old",
            f"an image is {-ahead:.2f} s older than the newest transform from '{frame_id}' to "
            f"'{self._map_frame}' and TF holds nothing that old: do clocks differ between camera "
            "and localisation, or is tf_cache too short?",
        )

    def age(self, frame_id: str, stamp: int) -> float | None:
        """Return how much older the newest transform is than a stamp [s], None if there is none."""
        try:
            latest = self._buffer.lookup_transform(self._map_frame, frame_id.lstrip("/"), Time())
        except _UNAVAILABLE:
            return None
        newest = stamp_to_ns(latest.header.stamp)
        return (stamp - newest) / 1e9 if newest else 0.0  # a static chain has no stamp

    def known_frames(self) -> list[str]:
        """Return the names of all frames that TF has told of."""
        frames = yaml.safe_load(self._buffer.all_frames_as_yaml()) or {}
        if not isinstance(frames, dict):
            return []
        parents = {entry.get("parent") for entry in frames.values() if isinstance(entry, dict)}
        return sorted(set(frames) | (parents - {None, "NO_PARENT"}))

    def _not_connected(self, frame_id: str, known: list[str]) -> str:
        if not known:
            return (
                f"frame '{frame_id}' is not connected to '{self._map_frame}' (no transform has "
                "arrived at all): is your SLAM or localisation running, and does it publish /tf?"
            )
        advice = "is your SLAM running?"
        if self._map_frame not in known:
            if "odom" in known and self._map_frame != "odom":
                advice += " set map_frame:=odom to use odometry"
            else:
                advice += " or set map_frame to the frame that it publishes"
        elif frame_id not in known:
            advice = "does the robot description or camera driver publish it under another name?"
        return (
            f"frame '{frame_id}' is not connected to '{self._map_frame}' (known frames: "
            f"{', '.join(known)}): {advice}"
        )
