"""A corrected trajectory: read from a nav_msgs/Path, looked up at the stamps of keyframes.

    track = read_track(message, "map")
    poses, found = track.at(stamps, slop)

Pure functions and one value; no node, no state. Stamps are nanoseconds.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.transform import Rotation

from govnesf_ros.conversions import BadInput, stamp_to_ns, to_matrix

MAX_POSES = 200_000  # of one path; a day at two a second


class BadPath(ValueError):
    """A path that cannot be used; the message says why.

    Attributes:
        kind: short word, so that one complaint does not keep another from the log.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, eq=False)
class Track:
    """Poses by time.

    Attributes:
        stamps: nanoseconds, strictly rising.
        poses: T_map_body at each stamp.
    """

    stamps: Int64[np.ndarray, "p"]
    poses: Float64[np.ndarray, "p 4 4"]

    def at(
        self, stamps: Int64[np.ndarray, "k"], slop: float
    ) -> tuple[Float64[np.ndarray, "k 4 4"], Bool[np.ndarray, "k"]]:
        """Return the pose at each stamp and whether there is one.

        Between two poses that are both within `slop` seconds it is interpolated, at constant speed
        and turn; with one within `slop` it is that one; with none there is no pose (identity).
        """
        right = np.searchsorted(self.stamps, stamps)
        after = np.minimum(right, len(self.stamps) - 1)
        before = np.maximum(right - 1, 0)
        since = np.abs(stamps - self.stamps[before]).astype(float)
        until = np.abs(self.stamps[after] - stamps).astype(float)
        has_before, has_after = since <= slop * 1e9, until <= slop * 1e9
        part = np.where(has_before & has_after, since / np.maximum(since + until, 1.0), has_after)
        found = has_before | has_after
        poses = _between(self.poses[before], self.poses[after], part)
        poses[~found] = np.eye(4)
        return poses, found


def read_track(message: Any, map_frame: str) -> Track:
    """Return the poses of a nav_msgs/Path in the order of their stamps; of equal ones the last.

    Raises:
        BadPath: the path is in another frame than the map, holds no pose or too many, a pose that
            is none, or poses without a stamp.
    """
    for number, frame in enumerate([message.header, *(p.header for p in message.poses)]):
        # Most publishers leave the frame of the single poses empty.
        if frame.frame_id.lstrip("/") != map_frame and (frame.frame_id or number == 0):
            where = "the path" if number == 0 else f"pose {number} of the path"
            raise BadPath(
                "frame",
                f"{where} is in the frame '{frame.frame_id}' and the map in '{map_frame}': publish "
                "corrected poses in the map frame, or set map_frame to theirs",
            )
    if not 0 < len(message.poses) <= MAX_POSES:
        raise BadPath(
            "length", f"the path has {len(message.poses)} poses, expected 1 to {MAX_POSES}"
        )
    stamps = np.array([stamp_to_ns(pose.header.stamp) for pose in message.poses], np.int64)
    if (stamps <= 0).any():
        raise BadPath(
            "stamps",
            f"{int((stamps <= 0).sum())} of {len(stamps)} poses have no stamp of their own: poses "
            "are told apart by it, so each needs the time at which the robot was there",
        )
    poses = np.stack([_matrix(stamped.pose) for stamped in message.poses])
    # The last of equal stamps: what comes later in a path is what its publisher knows better.
    stamps, last = np.unique(stamps[::-1], return_index=True)
    return Track(stamps, poses[::-1][last])


def _matrix(pose: Any) -> np.ndarray:
    try:
        return to_matrix(SimpleNamespace(translation=pose.position, rotation=pose.orientation))
    except BadInput as error:
        raise BadPath("pose", str(error).replace("a transform", "a pose")) from error


def _between(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the poses [K, 4, 4] a part 0..1 of the way from the first to the second ones."""
    start = Rotation.from_matrix(first[:, :3, :3])
    turn = (start.inv() * Rotation.from_matrix(second[:, :3, :3])).as_rotvec()
    poses = np.tile(np.eye(4), (len(first), 1, 1))
    poses[:, :3, :3] = (start * Rotation.from_rotvec(turn * part[:, None])).as_matrix()
    poses[:, :3, 3] = first[:, :3, 3] + part[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    return poses
