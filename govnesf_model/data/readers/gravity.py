"""Which way is down in a scene's world, and the rotation that makes z point up."""

import math

import numpy as np
from jaxtyping import Float

from govnesf_model.data.posed_scene import SceneError

MIN_SPREAD = 0.02  # second smallest mean square of the cameras' x axes; less: they never turned
MAX_TILT = 60.0  # degrees that cameras look up or down on average
UNIT_DOWN = (0.0, 0.0, -1.0)


def turn_to_z_up(gravity: object, where: object) -> Float[np.ndarray, "4 4"]:
    """Return the rotation that takes the direction of gravity to -z by the shortest way.

    Raises:
        SceneError: `gravity` is no direction; `where` names its place in the message.
    """
    try:
        down = np.asarray(gravity, dtype=np.float64)
    except (TypeError, ValueError):
        down = np.zeros(0)
    length = np.linalg.norm(down) if down.shape == (3,) else 0.0
    if not math.isfinite(length) or length < 1e-6:
        raise SceneError(f"{where} has gravity {gravity}, expected a direction [x, y, z]")
    down = down / length
    target = np.array(UNIT_DOWN)
    axis = np.cross(down, target)
    cosine = float(down @ target)
    T = np.eye(4)
    if cosine < -1 + 1e-9:
        T[:3, :3] = np.diag([1.0, -1.0, -1.0])
    elif cosine < 1 - 1e-12:
        skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        T[:3, :3] = np.eye(3) + skew + skew @ skew / (1 + cosine)
    return T


def gravity_of_cameras(
    poses: Float[np.ndarray, "n 4 4"], snap_degrees: float = 0.0
) -> Float[np.ndarray, "3"]:
    """Estimate the direction of gravity from cameras that were held upright.

    A camera without roll has a horizontal x axis, however it is pitched: gravity is the direction
    to which all x axes are most nearly orthogonal. Where the cameras hardly turn, that leaves a
    choice, and the mean of their y axes is taken instead.

    Args:
        poses: T_world_camera.
        snap_degrees: an axis of the world is taken when it is that near.
    """
    right, down = poses[:, :3, 0], poses[:, :3, 1].mean(axis=0)
    values, vectors = np.linalg.eigh(right.T @ right / len(right))
    length = np.linalg.norm(down)
    estimate = down / length if length > 0.1 else np.array(UNIT_DOWN)
    flattest = vectors[:, 0] * (1 if vectors[:, 0] @ estimate >= 0 else -1)
    if values[1] > MIN_SPREAD and flattest @ estimate > 0.5:
        estimate = flattest
    axis = np.zeros(3)
    largest = np.abs(estimate).argmax()
    axis[largest] = np.sign(estimate[largest])
    near = math.degrees(math.acos(min(1.0, float(axis @ estimate))))
    return axis if near <= snap_degrees else estimate


def uprightness(poses: Float[np.ndarray, "n 4 4"]) -> float:
    """Return how far down the lower edges of images point on average: 1 level, -1 on its head.

    Args:
        poses: T_world_camera in a world whose z should be up.
    """
    return float((poses[:, :3, 1] @ np.array(UNIT_DOWN)).mean())


def tilt_warning(poses: Float[np.ndarray, "n 4 4"]) -> str:
    """Return a sentence where the cameras lie so oddly that z may not be up, or nothing."""
    tilt = math.degrees(math.acos(max(-1.0, min(1.0, uprightness(poses)))))
    if tilt <= MAX_TILT:
        return ""
    return (
        f"the cameras are tilted by {tilt:.0f} degrees on average: if z is not up in this world, "
        "give gravity (scene.json, or the option gravity=x,y,z or gravity=cameras)"
    )
