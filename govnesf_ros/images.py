"""Image messages in, numpy out, raw or compressed. Pure functions; no node, no state.

rgb = to_rgb(image_message)              # Image or CompressedImage -> uint8 [H, W, 3]
depth = to_metres(depth_message)         # -> float32 [H, W], 0 invalid
"""

import struct
from typing import Any

import cv2
import numpy as np

from govnesf_ros.conversions import BadInput

# OpenCV names a Bayer pattern by its second row, ROS by its first two pixels.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_ORDERS: dict[str, tuple[int, int | None]] = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
    **{f"bayer_{pattern}": (1, conversion) for pattern, conversion in _BAYER.items()},
}
# Encoding -> (type, channels, conversion to RGB); names as in sensor_msgs/image_encodings.
_COLOUR: dict[str, tuple[np.dtype, int, int | None]] = {
    **{name + "8": (np.dtype(np.uint8), *order) for name, order in _ORDERS.items()},
    **{name + "16": (np.dtype(np.uint16), *order) for name, order in _ORDERS.items()},
    # Without a name for its channels an image is as OpenCV keeps it.
    "8UC3": (np.dtype(np.uint8), *_ORDERS["bgr"]),
    "8UC4": (np.dtype(np.uint8), *_ORDERS["bgra"]),
    "8UC1": (np.dtype(np.uint8), *_ORDERS["mono"]),
}
_DEPTH: dict[str, np.dtype] = {
    "16UC1": np.dtype(np.uint16),
    "mono16": np.dtype(np.uint16),
    "32FC1": np.dtype(np.float32),
}
MAX_PIXELS = 64_000_000  # larger images are refused before anything is allocated for them
MAX_SIDE = 16_384  # pixels; OpenCV's remap and others count in 16 bits
_DEPTH_HEADER = struct.Struct("<iff")  # of compressedDepth: format and two numbers


def to_rgb(message: Any) -> np.ndarray:
    """Return a colour image, uint8 [H, W, 3], of an Image or CompressedImage.

    Of 16-bit channels the high byte is kept. Grey images get three equal channels.

    Raises:
        BadInput: bad_encoding or bad_data.
    """
    if hasattr(message, "format"):
        return _compressed_to_rgb(message)
    if message.encoding not in _COLOUR:
        raise BadInput(
            "bad_encoding",
            f"the colour image has encoding '{message.encoding[:60]}', known are: "
            f"{', '.join(_COLOUR)}; set the driver's encoding or choose another image_topic",
        )
    dtype, channels, conversion = _COLOUR[message.encoding]
    image = _pixels(message, dtype, channels)
    if dtype.itemsize > 1:
        image = (image >> 8).astype(np.uint8)
    return _converted(image, conversion)


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
            f"the depth image has encoding '{message.encoding[:60]}', known are 16UC1 "
            "(millimetres) and 32FC1 (metres): check the parameter depth_topic",
        )
    return _depth_values(_pixels(message, _DEPTH[message.encoding], 1))


def _pixels(message: Any, dtype: np.dtype, channels: int) -> np.ndarray:
    """Return a view of an Image's pixels, [H, W] or [H, W, channels]."""
    width, height, step = message.width, message.height, message.step
    row = width * channels * dtype.itemsize
    size = f"{width}x{height} image of encoding '{message.encoding}'"
    if width == 0 or height == 0:
        raise BadInput("bad_data", f"a {size} has no pixels")
    _demand_bearable(width, height, f"a {size}")
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


def _converted(image: np.ndarray, conversion: int | None) -> np.ndarray:
    if conversion is None:
        return image.copy()
    if conversion in _BAYER.values() and min(image.shape) < 2:
        raise BadInput(
            "bad_data",
            f"a Bayer image of {image.shape[1]}x{image.shape[0]} pixels lacks colours",
        )
    return cv2.cvtColor(np.ascontiguousarray(image), conversion)


def _depth_values(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "u":
        return values.astype(np.float32) * np.float32(0.001)
    metres = values.astype(np.float32)
    metres[~np.isfinite(metres) | (metres < 0)] = 0.0
    return metres


def _compressed_to_rgb(message: Any) -> np.ndarray:
    # The format reads "rgb8; jpeg compressed bgr8": the camera's encoding, then the file's.
    camera, _, method = (part.strip() for part in message.format.partition(";"))
    what = f"compressed image '{message.format[:60]}'"
    if camera.startswith("bayer_") and "compressed bgr" not in method:
        # The mosaic itself is stored, as a grey picture.
        if camera not in _COLOUR:
            raise BadInput("bad_encoding", f"{what} has a Bayer pattern that is not known")
        mosaic = _decode(message.data, cv2.IMREAD_GRAYSCALE, what)
        return _converted(mosaic, _COLOUR[camera][2])
    image = _decode(message.data, cv2.IMREAD_COLOR, what)
    stored = method.rpartition("compressed")[2].strip()
    return image if stored.startswith("rgb") else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _compressed_to_metres(message: Any) -> np.ndarray:
    encoding, _, method = (part.strip() for part in message.format.partition(";"))
    what = f"compressed depth '{message.format[:60]}'"
    if "rvl" in method or "jpeg" in method or encoding not in _DEPTH:
        raise BadInput(
            "bad_encoding",
            f"{what} is not understood: 16UC1 or 32FC1 in PNG is; set the publisher's png format",
        )
    data = message.data
    if "compressedDepth" not in method:
        values = _decode(data, cv2.IMREAD_UNCHANGED, what)
    else:
        if len(data) <= _DEPTH_HEADER.size:
            raise BadInput("bad_data", f"{what} holds {len(data)} bytes: truncated")
        _, scale, offset = _DEPTH_HEADER.unpack_from(data)
        values = _decode(data[_DEPTH_HEADER.size :], cv2.IMREAD_UNCHANGED, what)
        if encoding == "32FC1" and values.ndim == 2 and values.dtype == np.uint16:
            if not (np.isfinite(scale) and np.isfinite(offset) and scale > 0):
                raise BadInput(
                    "bad_data", f"{what} has the depth parameters {scale:g} and {offset:g}"
                )
            # Quantised inverse depth: value = scale / depth + offset.
            inverse = values.astype(np.float32) - np.float32(offset)
            valid = (values > 0) & (inverse > 0)
            with np.errstate(over="ignore"):
                depth = np.float32(scale) / np.where(valid, inverse, 1)
            return _depth_values(np.where(valid, depth, 0).astype(np.float32))
    if values.ndim != 2 or values.dtype != np.uint16:
        raise BadInput(
            "bad_data",
            f"{what} holds {values.dtype} of shape {values.shape}, expected one channel of uint16",
        )
    return _depth_values(values)


def _decode(data: Any, flags: int, what: str) -> np.ndarray:
    buffer = np.frombuffer(data, np.uint8)
    content = memoryview(buffer)
    size = _stored_size(content)
    if size is None:
        raise BadInput("bad_data", f"{what} of {len(buffer)} bytes is not a readable JPEG or PNG")
    _demand_bearable(*size, f"{what} of {size[0]}x{size[1]} pixels")
    # OpenCV fills what a truncated file lacks with grey instead of refusing it.
    tail = bytes(content[-1024:]).rstrip(b"\0")
    if (b"IEND" if content[0] == 0x89 else b"\xff\xd9") not in tail:
        raise BadInput("bad_data", f"{what} holds {len(buffer)} bytes and no end: truncated")
    try:
        image = cv2.imdecode(buffer, flags)
    except cv2.error:
        image = None
    if image is None:
        raise BadInput("bad_data", f"{what} of {len(buffer)} bytes is not a readable JPEG or PNG")
    return image


def _stored_size(data: memoryview) -> tuple[int, int] | None:
    """Return width and height that a JPEG or PNG states, None for anything else.

    Read before the file is decoded: a few kilobytes can unpack to gigabytes.
    """
    if bytes(data[:8]) == b"\x89PNG\r\n\x1a\n" and bytes(data[12:16]) == b"IHDR":
        return struct.unpack(">II", data[16:24]) if len(data) >= 24 else None
    if bytes(data[:2]) != b"\xff\xd8":
        return None
    position = 2
    while position + 9 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF:
            return None
        if marker == 0xFF:  # padding before a marker
            position += 1
            continue
        # The start of a frame, whatever its kind; C4, C8 and CC in the row are other things.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return width, height
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 2 + length
        if length < 2:
            return None
    return None


def _demand_bearable(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise BadInput(
            "bad_data",
            f"{what} is larger than the {MAX_PIXELS} pixels and {MAX_SIDE} a side allowed",
        )
