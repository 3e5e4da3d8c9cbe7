"""tf2_geometry_msgs: numbers that can be checked by hand, and the way through Buffer.transform."""

import math

import numpy as np
import pytest
import tf2_geometry_msgs
import tf2_ros
from geometry_msgs.msg import (
    PointStamped,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    TransformStamped,
    TwistStamped,
    Vector3,
    Vector3Stamped,
)
from rclpy.time import Time

HALF = math.sqrt(0.5)
FLIPPED = Quaternion(x=1.0, w=0.0)


@pytest.fixture
def quarter_turn():
    """Turns by 90 degrees about z, x to y, and moves by (1, 2, 3)."""
    transform = TransformStamped()
    transform.header.frame_id, transform.child_frame_id = "a", "b"
    transform.header.stamp = Time(seconds=2).to_msg()
    transform.transform.translation = Vector3(x=1.0, y=2.0, z=3.0)
    transform.transform.rotation = Quaternion(z=HALF, w=HALF)
    return transform


def stamped(kind):
    message = kind()
    message.header.frame_id = "b"
    message.header.stamp = Time(seconds=2).to_msg()
    return message


def values(message):
    return [getattr(message, name) for name in message.get_fields_and_field_types()]


def test_a_point_is_turned_and_moved(quarter_turn):
    point = stamped(PointStamped)
    point.point.x, point.point.z = 10.0, 5.0
    found = tf2_geometry_msgs.do_transform_point(point, quarter_turn)
    assert values(found.point) == pytest.approx([1.0, 12.0, 8.0])
    assert found.header == quarter_turn.header
    assert point.point.x == 10.0


def test_a_direction_is_turned_and_not_moved(quarter_turn):
    direction = stamped(Vector3Stamped)
    direction.vector.x = 10.0
    found = tf2_geometry_msgs.do_transform_vector3(direction, quarter_turn)
    assert values(found.vector) == pytest.approx([0.0, 10.0, 0.0])
    assert values(quarter_turn.transform.translation) == [1.0, 2.0, 3.0]


def test_a_pose_is_turned_twice_and_its_quaternion_has_positive_w(quarter_turn):
    eighth = math.pi / 8
    pose = Pose(orientation=Quaternion(z=-math.sin(eighth), w=-math.cos(eighth)))
    pose.position.y = 4.0
    found = tf2_geometry_msgs.do_transform_pose(pose, quarter_turn)
    assert values(found.position) == pytest.approx([-3.0, 2.0, 3.0])
    turned = [0.0, 0.0, math.sin(3 * eighth), math.cos(3 * eighth)]
    assert values(found.orientation) == pytest.approx(turned)
    flipped = TransformStamped()
    flipped.transform.rotation = FLIPPED
    assert values(tf2_geometry_msgs.do_transform_pose(Pose(orientation=FLIPPED), flipped)
                  .orientation) == [0.0, 0.0, 0.0, 1.0]  # fmt: skip


def test_a_covariance_turns_with_the_axes(quarter_turn):
    pose = stamped(PoseWithCovarianceStamped)
    pose.pose.covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape(36)
    found = tf2_geometry_msgs.do_transform_pose_with_covariance_stamped(pose, quarter_turn)
    expected = np.diag([2.0, 1.0, 3.0, 5.0, 4.0, 6.0])
    np.testing.assert_allclose(np.reshape(found.pose.covariance, (6, 6)), expected, atol=1e-12)
    rng = np.random.default_rng(5)
    full, angle = rng.normal(size=(6, 6)), math.radians(30)
    quarter_turn.transform.rotation = Quaternion(z=math.sin(angle / 2), w=math.cos(angle / 2))
    sine, cosine = math.sin(angle), math.cos(angle)
    turn = np.kron(np.eye(2), [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned = tf2_geometry_msgs.transform_covariance(full.reshape(36), quarter_turn)
    np.testing.assert_allclose(turned.reshape(6, 6), turn @ full @ turn.T)
    assert values(found.pose.pose.position) == [1.0, 2.0, 3.0]


def test_half_a_turn_is_exact():
    flipped = TransformStamped()
    flipped.transform.rotation = FLIPPED
    rows = np.tile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (6, 1))
    signs = np.array([1.0, -1.0, -1.0, 1.0, -1.0, -1.0])
    found = tf2_geometry_msgs.transform_covariance(rows.reshape(36), flipped)
    np.testing.assert_array_equal(found.reshape(6, 6), rows * np.outer(signs, signs))


def test_a_buffer_transforms_the_registered_types_there_and_back(quarter_turn):
    buffer = tf2_ros.Buffer()
    buffer.set_transform(quarter_turn, "test")
    for kind, part in (
        (PointStamped, lambda m: m.point),
        (Vector3Stamped, lambda m: m.vector),
        (PoseStamped, lambda m: m.pose.position),
        (PoseWithCovarianceStamped, lambda m: m.pose.pose.position),
    ):
        message = stamped(kind)
        part(message).x, part(message).y, part(message).z = 1.5, -2.0, 0.25
        there = buffer.transform(message, "a", new_type=kind)
        assert there.header.frame_id == "a"
        assert values(part(there)) != values(part(message))
        back = buffer.transform(there, "b")
        assert values(part(back)) == pytest.approx(values(part(message)))
        full = buffer.transform_full(message, "a", Time(seconds=2), "a")
        assert values(part(full)) == pytest.approx(values(part(there)))


def test_an_unknown_type_is_named():
    with pytest.raises(tf2_ros.TypeException, match=r"TwistStamped.*not loaded or supported"):
        tf2_ros.Buffer().transform(stamped(TwistStamped), "a")


def test_convert_goes_directly_by_copy_or_by_message():
    point = stamped(PointStamped)
    copy = tf2_ros.convert(point, PointStamped)
    assert copy == point
    assert copy is not point
    registry = tf2_ros.ConvertRegistration()
    registry.add_convert((PointStamped, tuple), lambda p: (p.point.x, p.point.y, p.point.z))
    registry.add_from_msg(list, lambda m: values(m.point))
    assert tf2_ros.convert(point, tuple) == (0.0, 0.0, 0.0)
    assert tf2_ros.convert(point, list) == [0.0, 0.0, 0.0]
    with pytest.raises(tf2_ros.TypeException):
        tf2_ros.convert(point, dict)
    assert tf2_ros.Stamped(PointStamped(), Time(seconds=3).to_msg(), "x").header.frame_id == "x"
