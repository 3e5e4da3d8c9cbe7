import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, Vector3

from govnesf_ros.conversions import BadInput, stamp_to_ns, to_matrix, to_quaternion
from govnesf_ros.messages import header_message


def test_quaternions_and_matrices_are_inverses() -> None:
    rng = np.random.default_rng(3)
    for xyzw in [*rng.normal(size=(50, 4)), *np.eye(4)]:
        q = xyzw / np.linalg.norm(xyzw)
        # A scaled quaternion means the same rotation.
        T = to_matrix(_transform(rng.normal(size=3), 1.7 * q))
        assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3))
        assert np.linalg.det(T[:3, :3]) > 0
        assert abs(np.dot(to_quaternion(T[:3, :3]), q)) == pytest.approx(1.0)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    T = to_matrix(_transform([1, 2, 3], [0, 0, np.sqrt(0.5), np.sqrt(0.5)]))
    assert np.allclose(T @ [1, 0, 0, 1], [1, 3, 3, 1])


@pytest.mark.parametrize("xyzw", [[0, 0, 0, 0], [0, 0, 0, np.nan]])
def test_a_rotation_that_is_none_is_refused(xyzw) -> None:
    with pytest.raises(BadInput, match="quaternion"):
        to_matrix(_transform([0, 0, 0], xyzw))


def test_stamps_keep_every_nanosecond() -> None:
    assert stamp_to_ns(Time(sec=1_700_000_000, nanosec=123_456_789)) == 1_700_000_000_123_456_789
    header = header_message(1_700_000_000_123_456_789, "map")
    assert (header.stamp.sec, header.stamp.nanosec) == (1_700_000_000, 123_456_789)


def _transform(xyz, xyzw) -> Transform:
    x, y, z, w = map(float, xyzw)
    translation = Vector3(**dict(zip("xyz", map(float, xyz), strict=True)))
    return Transform(translation=translation, rotation=Quaternion(x=x, y=y, z=z, w=w))
