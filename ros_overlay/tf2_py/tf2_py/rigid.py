"""Rigid transforms as plain tuples: faster than numpy for three and four numbers.

Vectors are (x, y, z), quaternions (x, y, z, w) with Hamilton's product. A transform is (rotation,
translation) and maps p to rotate(rotation, p) + translation.
"""

from __future__ import annotations

import math

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Transform = tuple[Quaternion, Vector]

IDENTITY: Transform = ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0))


def compose(a: Transform, b: Transform) -> Transform:
    """The transform that applies `b` first and then `a`."""
    return multiply(a[0], b[0]), add(rotate(a[0], b[1]), a[1])


def inverse(t: Transform) -> Transform:
    """The transform that undoes `t`; its rotation has to be of unit length."""
    rotation = conjugate(t[0])
    return rotation, rotate(rotation, scale(t[1], -1.0))


def interpolate(a: Transform, b: Transform, ratio: float) -> Transform:
    """Between `a` (ratio 0) and `b` (ratio 1): straight line and shortest arc at even speed."""
    translation = add(scale(a[1], 1.0 - ratio), scale(b[1], ratio))
    return slerp(a[0], b[0], ratio), translation


def slerp(a: Quaternion, b: Quaternion, ratio: float) -> Quaternion:
    """Spherical interpolation along the shorter of the two arcs."""
    dot = sum(i * j for i, j in zip(a, b, strict=True))
    if dot < 0.0:
        b, dot = tuple(-i for i in b), -dot
    norms = math.sqrt(sum(i * i for i in a) * sum(i * i for i in b))
    angle = math.acos(min(dot / norms, 1.0))
    if angle < 1e-9:
        return a
    wa = math.sin((1.0 - ratio) * angle) / math.sin(angle)
    wb = math.sin(ratio * angle) / math.sin(angle)
    return tuple(wa * i + wb * j for i, j in zip(a, b, strict=True))


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Hamilton product a*b: rotates by `b` first."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by + ay * bw + az * bx - ax * bz,
        aw * bz + az * bw + ax * by - ay * bx,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Quaternion) -> Quaternion:
    """The opposite rotation, for a quaternion of unit length."""
    return -q[0], -q[1], -q[2], q[3]


def rotate(q: Quaternion, v: Vector) -> Vector:
    """`v` turned by `q`."""
    axis, w = (q[0], q[1], q[2]), q[3]
    t = scale(cross(axis, v), 2.0)
    return add(add(v, scale(t, w)), cross(axis, t))


def rotation_vector(q: Quaternion) -> Vector:
    """Axis times angle (radians, at most pi) of a unit quaternion."""
    if q[3] < 0.0:
        q = (-q[0], -q[1], -q[2], -q[3])
    sine = math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
    if sine < 1e-12:
        return 0.0, 0.0, 0.0
    return scale((q[0], q[1], q[2]), 2.0 * math.atan2(sine, q[3]) / sine)


def add(a: Vector, b: Vector) -> Vector:
    """a + b"""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def scale(a: Vector, s: float) -> Vector:
    """s * a"""
    return s * a[0], s * a[1], s * a[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Cross product a x b."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
