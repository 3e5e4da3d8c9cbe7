"""Homogeneous 4x4 matrices, Euler angles and quaternions as ROS writes them: [x, y, z, w].

    q = quaternion_from_euler(roll, pitch, yaw)
    T = concatenate_matrices(translation_matrix((1, 2, 3)), quaternion_matrix(q))

The mathematics is transforms3d's, which puts w first; here is the change of order, and the names
that tf users know. Euler axes are strings such as "sxyz": static (s) or rotating (r) frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from transforms3d import _gohlketransforms as _wxyz
from transforms3d import quaternions
from transforms3d._gohlketransforms import (  # noqa: F401  the names that tf users know
    _AXES2TUPLE,
    _EPS,
    _NEXT_AXIS,
    _TUPLE2AXES,
    clip_matrix,
    compose_matrix,
    concatenate_matrices,
    euler_matrix,
    identity_matrix,
    inverse_matrix,
    is_same_transform,
    orthogonalization_matrix,
    random_rotation_matrix,
    random_vector,
    translation_matrix,
    unit_vector,
    vector_norm,
)

Axes = str | tuple[int, int, int, int]


def _accepting_lists(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with sequences made arrays: as it stands it refuses lists under numpy 2."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_as_array, args), **{k: _as_array(v) for k, v in kwargs.items()})

    return wrapper


def _as_array(value: Any) -> Any:
    is_sequence = isinstance(value, (list, tuple, np.ndarray))
    return np.asarray(value, dtype=np.float64) if is_sequence else value


decompose_matrix = _accepting_lists(_wxyz.decompose_matrix)
projection_from_matrix = _accepting_lists(_wxyz.projection_from_matrix)
projection_matrix = _accepting_lists(_wxyz.projection_matrix)
reflection_from_matrix = _accepting_lists(_wxyz.reflection_from_matrix)
reflection_matrix = _accepting_lists(_wxyz.reflection_matrix)
rotation_from_matrix = _accepting_lists(_wxyz.rotation_from_matrix)
rotation_matrix = _accepting_lists(_wxyz.rotation_matrix)
scale_from_matrix = _accepting_lists(_wxyz.scale_from_matrix)
scale_matrix = _accepting_lists(_wxyz.scale_matrix)
shear_from_matrix = _accepting_lists(_wxyz.shear_from_matrix)
shear_matrix = _accepting_lists(_wxyz.shear_matrix)
translation_from_matrix = _accepting_lists(_wxyz.translation_from_matrix)


def euler_from_matrix(matrix: ArrayLike, axes: Axes = "sxyz") -> tuple[float, float, float]:
    """Three angles (radians) of the rotation in a 4x4 or 3x3 matrix."""
    return _wxyz.euler_from_matrix(np.asarray(matrix, dtype=np.float64), axes)


def euler_from_quaternion(quaternion: ArrayLike, axes: Axes = "sxyz") -> tuple[float, float, float]:
    """Three angles (radians); roll, pitch, yaw for the default axes."""
    return euler_from_matrix(quaternion_matrix(quaternion), axes)


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: Axes = "sxyz") -> np.ndarray:
    """The quaternion of three angles (radians); roll, pitch, yaw for the default axes."""
    return _w_last(_wxyz.quaternion_from_euler(ai, aj, ak, axes))


def quaternion_about_axis(angle: float, axis: ArrayLike) -> np.ndarray:
    """The quaternion that turns by `angle` radians about `axis`."""
    return _w_last(quaternions.axangle2quat(np.asarray(axis, dtype=float), angle))


def quaternion_matrix(quaternion: ArrayLike) -> np.ndarray:
    """The 4x4 matrix of a rotation. The quaternion needs no unit length."""
    matrix = np.identity(4)
    matrix[:3, :3] = quaternions.quat2mat(_w_first(quaternion))
    return matrix


def quaternion_from_matrix(matrix: ArrayLike) -> np.ndarray:
    """The quaternion, with w >= 0, of the rotation in a 4x4 or 3x3 matrix."""
    return _w_last(quaternions.mat2quat(np.asarray(matrix, dtype=float)[:3, :3]))


def quaternion_multiply(quaternion1: ArrayLike, quaternion0: ArrayLike) -> np.ndarray:
    """The product quaternion1 * quaternion0, which turns by `quaternion0` first."""
    return _w_last(quaternions.qmult(_w_first(quaternion1), _w_first(quaternion0)))


def quaternion_conjugate(quaternion: ArrayLike) -> np.ndarray:
    """The same with the vector part negated."""
    return _w_last(quaternions.qconjugate(_w_first(quaternion)))


def quaternion_inverse(quaternion: ArrayLike) -> np.ndarray:
    """The quaternion that gives [0, 0, 0, 1] when multiplied."""
    # Not transforms3d's: it divides by the length instead of its square.
    conjugate = quaternion_conjugate(quaternion)
    return conjugate / np.dot(conjugate, conjugate)


def quaternion_slerp(
    quat0: ArrayLike,
    quat1: ArrayLike,
    fraction: float,
    spin: int = 0,
    shortestpath: bool = True,
) -> np.ndarray:
    """Between two quaternions at even speed, with `spin` additional half turns."""
    # The formula treats all four components alike, so their order does not matter.
    return _wxyz.quaternion_slerp(quat0, quat1, fraction, spin, shortestpath)


def random_quaternion(rand: ArrayLike | None = None) -> np.ndarray:
    """A uniformly distributed unit quaternion, from three numbers in 0..1 if they are given."""
    return _w_last(_wxyz.random_quaternion(rand))


def superimposition_matrix(
    v0: ArrayLike, v1: ArrayLike, scaling: bool = False, usesvd: bool = True
) -> np.ndarray:
    """The matrix that maps points `v0` [3 or 4, n] best onto `v1` in the least-squares sense."""
    return _wxyz.superimposition_matrix(_as_array(v0), _as_array(v1), scaling, usesvd)


def _w_first(quaternion: ArrayLike) -> np.ndarray:
    return np.roll(np.asarray(quaternion, dtype=np.float64), 1)


def _w_last(quaternion: ArrayLike) -> np.ndarray:
    return np.roll(np.asarray(quaternion, dtype=np.float64), -1)
