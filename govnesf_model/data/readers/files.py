"""Files of scenes, read and checked: each refusal names the file and what is wrong in it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np

from govnesf_model.data.posed_scene import SceneError

ROTATION_TOLERANCE = 1e-3  # max |R R^T - 1| that is repaired rather than refused
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_rgb(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a colour image, uint8 [H, W, 3] RGB; `size` (width, height) is demanded if given."""
    return cv2.cvtColor(_read_image(path, cv2.IMREAD_COLOR, size), cv2.COLOR_BGR2RGB)


def read_millimetres(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a depth image of uint16 millimetres as float32 metres [H, W], 0 unknown."""
    image = _read_image(path, cv2.IMREAD_UNCHANGED, size)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise SceneError(
            f"{path} holds {image.dtype} with {image.ndim} axes: a depth image is "
            "one channel of uint16 millimetres"
        )
    return image.astype(np.float32) / 1000.0


def read_indices(path: Path, size: tuple[int, int] | None = None, wide: bool = False) -> np.ndarray:
    """Return an image of class indices [H, W], uint8, or uint16 where `wide` allows it."""
    image = _read_image(path, cv2.IMREAD_UNCHANGED, size)
    known = image.dtype == np.uint8 or (wide and image.dtype == np.uint16)
    if not known or image.ndim != 2:
        kinds = "uint8 or uint16" if wide else "uint8"
        raise SceneError(
            f"{path} holds {image.dtype} with {image.ndim} axes: a label image is one channel "
            f"of {kinds}"
        )
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image."""
    height, width = _read_image(path, cv2.IMREAD_UNCHANGED, None).shape[:2]
    return width, height


def read_matrix(path: Path, shape: tuple[int, int], finite: bool = True) -> np.ndarray:
    """Return a matrix of numbers, float64; `finite` refuses NaN and infinity."""
    if not path.exists():
        raise SceneError(f"{path} is missing")
    try:
        matrix = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SceneError(f"{path} is not a matrix of numbers: {error}") from error
    if matrix.shape != shape:
        raise SceneError(f"{path} holds a matrix of shape {matrix.shape}, expected {shape}")
    if finite and not np.isfinite(matrix).all():
        raise SceneError(f"{path} holds NaN or infinite values")
    return matrix


def read_intrinsics(path: Path) -> np.ndarray:
    """Return K [3, 3] from a file of 3x3 or 4x4 numbers."""
    numbers = path.read_text().split() if path.exists() else []
    K = read_matrix(path, (4, 4) if len(numbers) == 16 else (3, 3))[:3, :3]
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SceneError(f"{path} has a focal length of zero or less")
    return K


def rigid(pose: np.ndarray, where: object) -> np.ndarray:
    """Return a 4x4 pose with its rotation made exact.

    Raises:
        SceneError: it is no rigid motion; `where` names it in the message.
    """
    pose = np.array(pose, dtype=np.float64)
    if pose.shape != (4, 4):
        raise SceneError(f"{where} holds a matrix of shape {pose.shape}, expected (4, 4)")
    if not np.isfinite(pose).all():
        raise SceneError(f"{where} holds NaN or infinite values")
    R = pose[:3, :3]
    error = np.abs(R @ R.T - np.eye(3)).max()
    if error > ROTATION_TOLERANCE or np.linalg.det(R) <= 0:
        raise SceneError(
            f"{where} is not a rigid pose: its 3x3 part is off a rotation by {error:.2g} "
            f"(determinant {np.linalg.det(R):.3f}); poses are 4x4 T_world_camera"
        )
    if np.abs(pose[3] - [0, 0, 0, 1]).max() > ROTATION_TOLERANCE:
        raise SceneError(f"{where} has the last row {pose[3]}, expected 0 0 0 1: is it transposed?")
    U, _, Vt = np.linalg.svd(R)
    pose[:3, :3] = U @ Vt
    pose[3] = [0, 0, 0, 1]
    return pose


def read_json(path: Path) -> dict:
    """Return the object in a JSON file; empty when there is no file."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise SceneError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Return the files of a folder whose whole name matches, by their number, in its order.

    Args:
        folder: may be missing, which gives none.
        pattern: regular expression with one group, the number.
    """
    if not folder.is_dir():
        return {}
    found = {}
    for path in folder.iterdir():
        match = re.fullmatch(pattern, path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def _read_image(path: Path, flags: int, size: tuple[int, int] | None) -> np.ndarray:
    image = cv2.imread(str(path), flags) if path.exists() else None
    if image is None:
        problem = "is not a readable image" if path.exists() else "is missing"
        raise SceneError(f"{path} {problem}")
    if size is not None and image.shape[1::-1] != size:
        raise SceneError(
            f"{path} is {image.shape[1]}x{image.shape[0]} pixels, the scene's images are "
            f"{size[0]}x{size[1]}"
        )
    return image
