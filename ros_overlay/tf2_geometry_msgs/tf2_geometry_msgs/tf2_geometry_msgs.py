"""Transforming geometry_msgs types by a TransformStamped. Inputs are never changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import tf2_ros
from geometry_msgs.msg import (
    PointStamped,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    TransformStamped,
    Vector3Stamped,
)
from tf2_py import rigid


def do_transform_point(point: PointStamped, transform: TransformStamped) -> PointStamped:
    """Turn and move a point; the result has the transform's header."""
    result = PointStamped(header=transform.header)
    p = point.point
    result.point.x, result.point.y, result.point.z = _apply(transform, (p.x, p.y, p.z))
    return result


def do_transform_vector3(vector3: Vector3Stamped, transform: TransformStamped) -> Vector3Stamped:
    """Turn a direction; translation does not apply to it."""
    result = Vector3Stamped(header=transform.header)
    rotation, _ = _rigid(transform)
    v = vector3.vector
    turned = rigid.rotate(rotation, (float(v.x), float(v.y), float(v.z)))
    result.vector.x, result.vector.y, result.vector.z = turned
    return result


def do_transform_pose(pose: Pose, transform: TransformStamped) -> Pose:
    """Turn and move a pose; the quaternion comes back with w >= 0."""
    result = Pose()
    p, q = pose.position, pose.orientation
    result.position.x, result.position.y, result.position.z = _apply(transform, (p.x, p.y, p.z))
    x, y, z, w = rigid.multiply(_rigid(transform)[0], (q.x, q.y, q.z, q.w))
    sign = -1.0 if w < 0.0 else 1.0
    o = result.orientation
    o.x, o.y, o.z, o.w = sign * x, sign * y, sign * z, sign * w
    return result


def do_transform_pose_stamped(pose: PoseStamped, transform: TransformStamped) -> PoseStamped:
    """Turn and move a stamped pose; the result has the transform's header."""
    return PoseStamped(header=transform.header, pose=do_transform_pose(pose.pose, transform))


def do_transform_pose_with_covariance_stamped(
    pose: PoseWithCovarianceStamped, transform: TransformStamped
) -> PoseWithCovarianceStamped:
    """Turn and move a pose and turn its covariance."""
    result = PoseWithCovarianceStamped(header=transform.header)
    result.pose.pose = do_transform_pose(pose.pose.pose, transform)
    result.pose.covariance = transform_covariance(pose.pose.covariance, transform)
    return result


def transform_covariance(cov_in: Any, transform: TransformStamped) -> np.ndarray:
    """A 6x6 covariance (36 numbers, row by row: position, then rotation) in the new axes."""
    rotation, _ = _rigid(transform)
    axes = [rigid.rotate(rotation, axis) for axis in np.eye(3).tolist()]
    turn = np.kron(np.eye(2), np.array(axes).T)
    return (turn @ np.asarray(cov_in, dtype=float).reshape(6, 6) @ turn.T).reshape(36)


def to_msg_msg(msg: Any) -> Any:
    """A message is its own message."""
    return msg


from_msg_msg = to_msg_msg


def _rigid(transform: TransformStamped) -> rigid.Transform:
    q, t = transform.transform.rotation, transform.transform.translation
    return (q.x, q.y, q.z, q.w), (t.x, t.y, t.z)


def _apply(transform: TransformStamped, point: rigid.Vector) -> rigid.Vector:
    rotation, translation = _rigid(transform)
    return rigid.add(rigid.rotate(rotation, tuple(float(c) for c in point)), translation)


for _type, _do_transform in (
    (PointStamped, do_transform_point),
    (Vector3Stamped, do_transform_vector3),
    (PoseStamped, do_transform_pose_stamped),
    (PoseWithCovarianceStamped, do_transform_pose_with_covariance_stamped),
):
    tf2_ros.TransformRegistration().add(_type, _do_transform)
    tf2_ros.ConvertRegistration().add_to_msg(_type, to_msg_msg)
    tf2_ros.ConvertRegistration().add_from_msg(_type, from_msg_msg)
