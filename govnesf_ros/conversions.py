"""ROS messages in, numpy out. Pure functions; no node, no state.

    rgb = to_rgb(image_message)              # Image or CompressedImage -> uint8 [H, W, 3]
    depth = to_metres(depth_message)         # -> float32 [H, W], 0 invalid
    intrinsics = to_intrinsics(camera_info)

Every refusal is a `BadInput` with a short reason for the status message and a sentence for the log.
"""

import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# Encoding -> (channels, conversion to RGB); names as in sensor_msgs/image_encodings.
_COLOUR: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "8UC4": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    # OpenCV names a pattern by its second row, ROS by its first two pixels.
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
}
_DEPTH: dict[str, np.dtype] = {
    "16UC1": np.dtype(np.uint16),
    "mono16": np.dtype(np.uint16),
    "32FC1": np.dtype(np.float32),
}
MAX_PIXELS = 64_000_000  # larger images are refused before anything is allocated for them
_COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")


class BadInput(ValueError):
    """A message that cannot be used.

    Attributes:
        reason: short word for the status message.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Intrinsics:
    """A calibrated pinhole.

    Attributes:
        K: float64 [3, 3], pixel centres at integers.
        width, height: of the image that K belongs to.
        distortion: coefficients, empty when there is none.
        model: name of the distortion model.
    """

    K: np.ndarray
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    model: str = ""


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def to_rgb(message: Any) -> np.ndarray:
    """Return a colour image, uint8 [H, W, 3], of an Image or CompressedImage.

    Raises:
        BadInput: bad_encoding or bad_data.
    """
    if hasattr(message, "format"):
        return _compressed_to_rgb(message)
    if message.encoding not in _COLOUR:
        raise BadInput(
            "bad_encoding",
            f"the colour image has encoding '{message.encoding}', known are: "
            f"{', '.join(_COLOUR)}; set the driver's encoding or choose another image_topic",
        )
    channels, conversion = _COLOUR[message.encoding]
    image = _pixels(message, np.dtype(np.uint8), channels)
    return image.copy() if conversion is None else cv2.cvtColor(image, conversion)


def to_metres(message: Any) -> np.ndarray:
    """Return depth, float32 [H, W] in metres with 0 for invalid, of an Image or CompressedImage.

    16UC1 is millimetres with 0 invalid, 32FC1 metres with NaN, infinity or 0 invalid (REP 118).

    Raises:
        BadInput: bad_encoding or bad_data.
    """
    if hasattr(message, "format"):
        return _compressed_to_metres(message)
    if message.encoding not in _DEPTH:
        raise BadInput(
            "bad_encoding",
            f"the depth image has encoding '{message.encoding}', known are 16UC1 (millimetres) and "
            "32FC1 (metres): check the parameter depth_topic",
        )
    return _depth_values(_pixels(message, _DEPTH[message.encoding], 1))


def to_intrinsics(message: Any) -> Intrinsics:
    """Return the intrinsics of a CameraInfo.

    Raises:
        BadInput: bad_camera_info.
    """
    K = np.array(message.k, dtype=np.float64).reshape(3, 3)
    where = f"camera_info of frame '{message.header.frame_id}'"
    if not np.isfinite(K).all():
        raise BadInput("bad_camera_info", f"{where} holds NaN or infinite numbers in k")
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise BadInput(
            "bad_camera_info",
            f"{where} has the focal lengths {K[0, 0]:g} and {K[1, 1]:g}: the camera is not "
            "calibrated; calibrate it or give the driver its calibration file",
        )
    if message.width == 0 or message.height == 0:
        raise BadInput(
            "bad_camera_info",
            f"{where} says the image has {message.width}x{message.height} pixels: the driver must "
            "fill width and height",
        )
    if abs(K[2, 2] - 1) > 1e-6 or not (
        0 <= K[0, 2] < message.width and 0 <= K[1, 2] < message.height
    ):
        raise BadInput(
            "bad_camera_info",
            f"{where} has its principal point at ({K[0, 2]:g}, {K[1, 2]:g}), outside its "
            f"{message.width}x{message.height} image: k must be row-major fx 0 cx 0 fy cy 0 0 1",
        )
    distortion = tuple(float(value) for value in message.d)
    if not any(distortion):
        distortion = ()
    return Intrinsics(K, message.width, message.height, distortion, message.distortion_model)


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


def _pixels(message: Any, dtype: np.dtype, channels: int) -> np.ndarray:
    """Return a view of an Image's pixels, [H, W] or [H, W, channels]."""
    width, height, step = message.width, message.height, message.step
    row = width * channels * dtype.itemsize
    size = f"{width}x{height} image of encoding '{message.encoding}'"
    if width == 0 or height == 0:
        raise BadInput("bad_data", f"a {size} has no pixels")
    if width * height > MAX_PIXELS:
        raise BadInput("bad_data", f"a {size} is larger than the {MAX_PIXELS} pixels allowed")
    if step < row:
        raise BadInput(
            "bad_data", f"a {size} has a step of {step} bytes, a row needs at least {row}"
        )
    needed = step * (height - 1) + row
    if len(message.data) < needed:
        raise BadInput(
            "bad_data", f"a {size} holds {len(message.data)} bytes, expected {needed}: truncated"
        )
    if message.is_bigendian:
        dtype = dtype.newbyteorder(">")
    data = np.frombuffer(message.data, np.uint8)
    return np.lib.stride_tricks.as_strided(
        data[: width * channels * dtype.itemsize].view(dtype),
        shape=(height, width) if channels == 1 else (height, width, channels),
        strides=(step, dtype.itemsize)
        if channels == 1
        else (step, channels * dtype.itemsize, dtype.itemsize),
        writeable=False,
    )


def _depth_values(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "u":
        return values.astype(np.float32) * np.float32(0.001)
    metres = values.astype(np.float32)
    metres[~np.isfinite(metres) | (metres < 0)] = 0.0
    return metres


def _compressed_to_rgb(message: Any) -> np.ndarray:
    # The format reads "rgb8; jpeg compressed bgr8": the camera's encoding, then the file's.
    image = _decode(message.data, cv2.IMREAD_COLOR, f"compressed image '{message.format}'")
    stored = message.format.rpartition("compressed")[2].strip()
    return image if stored.startswith("rgb") else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _compressed_to_metres(message: Any) -> np.ndarray:
    encoding, _, method = (part.strip() for part in message.format.partition(";"))
    what = f"compressed depth '{message.format}'"
    if "rvl" in method or "jpeg" in method or encoding not in _DEPTH:
        raise BadInput(
            "bad_encoding",
            f"{what} is not understood: 16UC1 or 32FC1 in PNG is; set the publisher's png format",
        )
    data = message.data
    if "compressedDepth" not in method:
        values = _decode(data, cv2.IMREAD_UNCHANGED, what)
    else:
        if len(data) <= _COMPRESSED_DEPTH_HEADER.size:
            raise BadInput("bad_data", f"{what} holds {len(data)} bytes: truncated")
        _, scale, offset = _COMPRESSED_DEPTH_HEADER.unpack_from(data)
        values = _decode(data[_COMPRESSED_DEPTH_HEADER.size :], cv2.IMREAD_UNCHANGED, what)
        if encoding == "32FC1" and values.dtype == np.uint16:
            # Quantised inverse depth: value = scale / depth + offset.
            inverse = values.astype(np.float32) - offset
            valid = (values > 0) & (inverse > 0)
            return np.where(valid, scale / np.where(valid, inverse, 1), 0).astype(np.float32)
    if values.ndim != 2 or values.dtype != np.uint16:
        raise BadInput(
            "bad_data",
            f"{what} holds {values.dtype} of shape {values.shape}, expected one channel of uint16",
        )
    return _depth_values(values)


def _decode(data: Any, flags: int, what: str) -> np.ndarray:
    buffer = np.frombuffer(data, np.uint8)
    tail = buffer[-1024:].tobytes().rstrip(b"\0")
    head = buffer[:4].tobytes()
    # OpenCV fills what a truncated file lacks with grey instead of refusing it.
    is_jpeg, is_png = head[:2] == b"\xff\xd8", head == b"\x89PNG"
    if (is_jpeg and b"\xff\xd9" not in tail) or (is_png and b"IEND" not in tail):
        raise BadInput("bad_data", f"{what} holds {len(buffer)} bytes and no end: truncated")
    try:
        image = cv2.imdecode(buffer, flags) if len(buffer) else None
    except cv2.error:
        image = None
    if image is None:
        raise BadInput("bad_data", f"{what} of {len(buffer)} bytes is not a readable JPEG or PNG")
    return image
