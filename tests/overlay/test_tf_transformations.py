"""tf_transformations: known values, matrices as the judge, and xyzw order throughout."""

import math

import numpy as np
import pytest
import tf_transformations as tf
from scipy.spatial.transform import Rotation

RNG = np.random.default_rng(11)
X_AXIS, Y_AXIS, Z_AXIS = np.eye(3)
QUARTER_Z = [0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)]


def test_w_comes_last():
    np.testing.assert_allclose(tf.quaternion_about_axis(math.pi / 2, Z_AXIS), QUARTER_Z)
    np.testing.assert_allclose(tf.quaternion_from_euler(0, 0, math.pi / 2), QUARTER_Z)
    np.testing.assert_allclose(
        tf.quaternion_from_matrix(tf.rotation_matrix(math.pi / 2, Z_AXIS)), QUARTER_Z
    )
    np.testing.assert_allclose(tf.euler_from_quaternion(QUARTER_Z), [0, 0, math.pi / 2])
    np.testing.assert_allclose(
        tf.quaternion_matrix(QUARTER_Z) @ [1, 0, 0, 1], [0, 1, 0, 1], atol=1e-12
    )


def test_values_from_the_documentation_of_tf():
    np.testing.assert_allclose(
        tf.quaternion_from_euler(1, 2, 3, "ryxz"),
        [0.310622, -0.718287, 0.444435, 0.435953],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        tf.quaternion_multiply([1, -2, 3, 4], [-5, 6, 7, 8]), [-44, -14, 48, 28]
    )
    assert tf.euler_matrix(1, 2, 3, "syxz")[0].sum() == pytest.approx(-1.34786452)
    assert tf.euler_matrix(1, 2, 3, (0, 1, 0, 1))[0].sum() == pytest.approx(-0.383436184)
    np.testing.assert_allclose(
        tf.quaternion_from_matrix(tf.rotation_matrix(0.123, (1, 2, 3))),
        [0.0164262, 0.0328524, 0.0492786, 0.9981095],
        atol=1e-6,
    )


@pytest.mark.parametrize("axes", tf._AXES2TUPLE)
def test_euler_angles_of_every_convention_come_back_as_the_same_rotation(axes):
    angles = RNG.uniform(-math.pi, math.pi, 3)
    matrix = tf.euler_matrix(*angles, axes)
    assert tf.is_same_transform(matrix, tf.euler_matrix(*tf.euler_from_matrix(matrix, axes), axes))
    quaternion = tf.quaternion_from_euler(*angles, axes)
    assert tf.is_same_transform(matrix, tf.quaternion_matrix(quaternion))
    again = tf.euler_from_quaternion(quaternion, axes)
    assert tf.is_same_transform(matrix, tf.euler_matrix(*again, axes))


def test_quaternions_agree_with_scipy():
    a, b = Rotation.random(2, rng=RNG)
    np.testing.assert_allclose(tf.quaternion_matrix(a.as_quat())[:3, :3], a.as_matrix())
    product = tf.quaternion_multiply(a.as_quat(), b.as_quat())
    np.testing.assert_allclose(tf.quaternion_matrix(product)[:3, :3], (a * b).as_matrix())
    euler = Rotation.from_euler("xyz", (0.1, -0.2, 0.3))
    np.testing.assert_allclose(tf.quaternion_from_euler(0.1, -0.2, 0.3), euler.as_quat())
    undone = tf.quaternion_matrix(tf.quaternion_conjugate(a.as_quat()))
    np.testing.assert_allclose(undone[:3, :3], a.inv().as_matrix())


def test_an_inverse_undoes_also_without_unit_length():
    quaternion = 2.5 * tf.random_quaternion([0.1, 0.6, 0.9])
    product = tf.quaternion_multiply(quaternion, tf.quaternion_inverse(quaternion))
    np.testing.assert_allclose(product, [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_slerp_turns_evenly(fraction):
    start = tf.quaternion_about_axis(0.2, X_AXIS)
    end = tf.quaternion_about_axis(1.4, X_AXIS)
    expected = tf.quaternion_about_axis(0.2 + 1.2 * fraction, X_AXIS)
    np.testing.assert_allclose(tf.quaternion_slerp(start, end, fraction), expected, atol=1e-12)
    np.testing.assert_allclose(
        tf.quaternion_matrix(tf.quaternion_slerp(start, -end, fraction)),
        tf.quaternion_matrix(expected),
        atol=1e-12,
    )


def test_random_rotations_are_rotations():
    assert tf.vector_norm(tf.random_quaternion()) == pytest.approx(1.0)
    matrix = tf.random_rotation_matrix(RNG.random(3))
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(4), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_a_matrix_is_taken_apart_and_put_together():
    parts = (
        tf.translation_matrix((1, 2, 3)),
        tf.euler_matrix(0.3, -0.2, 1.0),
        tf.shear_matrix(-1.234, X_AXIS, (0, 0, 0), Z_AXIS),
        tf.scale_matrix(1.23, (0, 0, 0)),
    )
    matrix = tf.concatenate_matrices(*parts)
    scale, shear, angles, translation, perspective = tf.decompose_matrix(matrix)
    np.testing.assert_allclose(scale, 1.23)
    np.testing.assert_allclose(shear, (0, math.tan(-1.234), 0), atol=1e-12)
    np.testing.assert_allclose(angles, (0.3, -0.2, 1.0))
    np.testing.assert_allclose(translation, (1, 2, 3))
    again = tf.compose_matrix(scale, shear, angles, translation, perspective)
    assert tf.is_same_transform(matrix, again)
    np.testing.assert_allclose(tf.inverse_matrix(matrix) @ matrix, np.eye(4), atol=1e-12)


POINT, NORMAL, DIRECTION, EYE = RNG.uniform(-0.5, 0.5, (4, 3))


@pytest.mark.parametrize(("make", "read", "arguments"), [
    (tf.reflection_matrix, tf.reflection_from_matrix, (POINT, NORMAL)),
    (tf.rotation_matrix, tf.rotation_from_matrix, (0.7, DIRECTION, POINT)),
    (tf.scale_matrix, tf.scale_from_matrix, (-1.7, POINT, DIRECTION)),
    (tf.shear_matrix, tf.shear_from_matrix, (0.4, np.cross(NORMAL, EYE), POINT, NORMAL)),
    (tf.projection_matrix, tf.projection_from_matrix, (POINT, NORMAL)),
    (tf.projection_matrix, tf.projection_from_matrix, (POINT, NORMAL, DIRECTION)),
    (tf.projection_matrix, tf.projection_from_matrix, (POINT, NORMAL, None, EYE)),
])  # fmt: skip
@pytest.mark.parametrize("container", [np.asarray, list, tuple])
def test_parameters_read_from_a_matrix_make_the_same_matrix(make, read, arguments, container):
    given = [container(a) if isinstance(a, np.ndarray) else a for a in arguments]
    matrix = make(*given)
    assert tf.is_same_transform(make(*read(container(matrix))), matrix)


def test_small_helpers():
    np.testing.assert_array_equal(tf.identity_matrix(), np.eye(4))
    np.testing.assert_allclose(
        tf.translation_from_matrix(tf.translation_matrix((1, 2, 3))), (1, 2, 3)
    )
    np.testing.assert_allclose(tf.unit_vector([3, 0, 4]), [0.6, 0, 0.8])
    np.testing.assert_allclose(tf.vector_norm(np.full((2, 4), 2.0), axis=1), [4.0, 4.0])
    np.testing.assert_allclose(
        tf.orthogonalization_matrix((10.0, 10.0, 10.0), (90.0, 90.0, 90.0))[:3, :3],
        10 * np.eye(3),
        atol=1e-12,
    )
    clip = tf.clip_matrix(-1, 1, -2, 2, 1, 3) @ [1, 2, 3, 1]
    np.testing.assert_allclose(clip, [1, 1, 1, 1])


def test_superimposition_finds_rotation_translation_and_scale():
    source = RNG.normal(size=(3, 20))
    matrix = tf.concatenate_matrices(
        tf.translation_matrix((1, -2, 3)), tf.random_rotation_matrix(), tf.scale_matrix(0.4)
    )
    target = matrix[:3, :3] @ source + matrix[:3, 3:]
    np.testing.assert_allclose(
        tf.superimposition_matrix(source, target, scaling=True), matrix, atol=1e-9
    )
