"""Image messages of a bag to arrays: raw, compressed, and compressed depth."""

import struct

import cv2
import numpy as np

from govnesf_model.data.posed_scene import SceneError

# encoding -> (dtype, channels, OpenCV's conversion to RGB)
_COLORS = {
    "rgb8": (np.uint8, 3, None),
    "8uc3": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "bgr8": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "8uc1": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "yuv422": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    "bayer_rggb8": (np.uint8, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (np.uint8, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (np.uint8, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (np.uint8, 1, cv2.COLOR_BayerGB2RGB),
}
_DEPTHS = {"16uc1": np.uint16, "mono16": np.uint16, "32fc1": np.float32}
_DEPTH_HEADER = 12  # bytes of compressed_depth_image_transport before the PNG


def color_image(message: object, topic: str) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB of a sensor_msgs Image or CompressedImage."""
    if not hasattr(message, "encoding"):
        image = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR)
        if image is None:
            raise SceneError(f"{topic} has an image of format {message.format!r} that is damaged")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    encoding = message.encoding.lower()
    if encoding not in _COLORS:
        raise SceneError(
            f"{topic} has the encoding {message.encoding}: colour can be {', '.join(_COLORS)}"
        )
    dtype, channels, conversion = _COLORS[encoding]
    image = _raw(message, np.dtype(dtype), channels, topic)
    return np.ascontiguousarray(image) if conversion is None else cv2.cvtColor(image, conversion)


def depth_image(message: object, topic: str) -> np.ndarray:
    """Return float32 [H, W] metres, 0 unknown, of a depth image in any of its ROS forms."""
    if hasattr(message, "encoding"):
        encoding = message.encoding.lower()
        if encoding not in _DEPTHS:
            raise SceneError(
                f"{topic} has the encoding {message.encoding}: depth is 16UC1 or 32FC1"
            )
        return _metres(_raw(message, np.dtype(_DEPTHS[encoding]), 1, topic))
    data = np.asarray(message.data)
    if "compressedDepth" not in message.format:
        return _metres(_decode_png(data, message.format, topic))
    if "rvl" in message.format.lower():
        raise SceneError(f"{topic} is compressed by RVL: record depth as raw or PNG")
    _, quantum_a, quantum_b = struct.unpack("<iff", data[:_DEPTH_HEADER].tobytes())
    image = _decode_png(data[_DEPTH_HEADER:], message.format, topic)
    if "32FC1" not in message.format:
        return _metres(image)
    # Inverse depth was quantised: value = a / depth + b.
    known = image > 0
    metres = np.zeros(image.shape, np.float32)
    metres[known] = quantum_a / (image[known].astype(np.float32) - quantum_b)
    return _metres(metres)


def _raw(message: object, dtype: np.dtype, channels: int, topic: str) -> np.ndarray:
    dtype = dtype.newbyteorder(">" if message.is_bigendian else "<")
    row = message.width * channels * dtype.itemsize
    data = np.asarray(message.data, dtype=np.uint8)
    if message.step < row or len(data) < message.step * message.height:
        raise SceneError(
            f"{topic} has an image of {message.width}x{message.height} {message.encoding} in "
            f"{len(data)} bytes, {message.step} a row: that does not fit"
        )
    rows = data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    image = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    shape = (message.height, message.width) + ((channels,) if channels > 1 else ())
    return image.reshape(shape)


def _decode_png(data: np.ndarray, form: str, topic: str) -> np.ndarray:
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2:
        raise SceneError(f"{topic} has a depth image of format {form!r} that cannot be read")
    return image


def _metres(image: np.ndarray) -> np.ndarray:
    """Return metres: integers are millimetres (REP 118), NaN and infinity unknown."""
    if image.dtype == np.uint16:
        return image.astype(np.float32) / 1000.0
    if image.dtype != np.float32:
        raise SceneError(f"a depth image holds {image.dtype}: depth is uint16 or float32")
    return np.where(np.isfinite(image) & (image > 0), image, np.float32(0))
