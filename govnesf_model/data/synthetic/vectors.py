"""Vectors of many rays at once, one row an axis: numpy is several times faster over long rows.

Directions, points and normals of n rays are float32 arrays [3, n]; [3, 1] serves all rays.
"""

import numpy as np
from jaxtyping import Float

Vectors = Float[np.ndarray, "3 #n"]


def dot(a: Vectors, b: Vectors) -> Float[np.ndarray, "n"]:
    """Return the dot products of vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vectors, b: Vectors) -> Vectors:
    """Return the cross products of vectors."""
    return np.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def unit(a: Vectors) -> Vectors:
    """Return vectors of length one (zero stays zero)."""
    return a / np.maximum(np.sqrt(dot(a, a)), np.float32(1e-9))


def column(values) -> Float[np.ndarray, "3 1"]:
    """Return a constant vector that adds to many."""
    return np.asarray(values, np.float32).reshape(3, 1)


def ray_rows(origins: Vectors, directions: Vectors) -> Float[np.ndarray, "n 6"]:
    """Return rays as the ray caster takes them."""
    rows = np.empty((directions.shape[1], 6), np.float32)
    rows[:, :3] = origins.T
    rows[:, 3:] = directions.T
    return rows
