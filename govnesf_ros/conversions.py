"""Stamps, transforms and refusals. Pure functions; no node, no state.

    stamp = stamp_to_ns(message.header.stamp)
    T = to_matrix(transform_stamped.transform)

Images are in `images`, camera_info in `calibration`. Every refusal is a `BadInput` with a short
reason for the status message and a sentence for the log.
"""

from typing import Any

import numpy as np


class BadInput(ValueError):
    """A message that cannot be used.

    Attributes:
        reason: short word for the status message.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def to_matrix(transform: Any) -> np.ndarray:
    """Return a geometry_msgs/Transform as float64 [4, 4]; the quaternion is normalised.

    Raises:
        BadInput: bad_transform, the quaternion has no length or a number is not finite.
    """
    t, q = transform.translation, transform.rotation
    xyzw = np.array([q.x, q.y, q.z, q.w])
    length = np.linalg.norm(xyzw)
    translation = np.array([t.x, t.y, t.z])
    if not np.isfinite(translation).all() or not np.isfinite(length) or length < 1e-6:
        raise BadInput(
            "bad_transform",
            f"a transform has translation {translation.tolist()} and quaternion {xyzw.tolist()}: "
            "check the node that publishes it",
        )
    x, y, z, w = xyzw / length
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = translation
    return T


def to_quaternion(R: np.ndarray) -> tuple[float, float, float, float]:
    """Return (x, y, z, w) with w >= 0 of a rotation matrix [3, 3]."""
    # The eigenvector of the largest eigenvalue (Bar-Itzhack): no case of four to choose from.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = R
    N = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    q = np.linalg.eigh(N)[1][:, -1]
    q = q if q[3] >= 0 else -q
    return tuple(float(value) for value in q)
