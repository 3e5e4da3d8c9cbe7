"""What the encoding names of sensor_msgs/Image mean, and how to get from one to another."""

from __future__ import annotations

import re
from typing import NamedTuple

import cv2
import numpy as np


class CvBridgeError(TypeError):
    """An image that is malformed, or a conversion that makes no sense."""


class Encoding(NamedTuple):
    """Layout of a pixel; `color` is None where the numbers are not a colour (16UC1, 32FC1...)."""

    name: str
    dtype: np.dtype
    channels: int
    color: str | None


DEPTHS = {
    "8U": np.dtype("uint8"),
    "8S": np.dtype("int8"),
    "16U": np.dtype("uint16"),
    "16S": np.dtype("int16"),
    "32S": np.dtype("int32"),
    "32F": np.dtype("float32"),
    "64F": np.dtype("float64"),
}
DEPTH_OF_DTYPE = {dtype.name: depth for depth, dtype in DEPTHS.items()}
# Encoding name without its bit depth -> OpenCV's name for the colour, channels.
COLORS = {
    "mono": ("GRAY", 1),
    "rgb": ("RGB", 3),
    "bgr": ("BGR", 3),
    "rgba": ("RGBA", 4),
    "bgra": ("BGRA", 4),
    "bayer_rggb": ("BayerRGGB", 1),
    "bayer_bggr": ("BayerBGGR", 1),
    "bayer_gbrg": ("BayerGBRG", 1),
    "bayer_grbg": ("BayerGRBG", 1),
}
PACKED_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}


def parse(name: str) -> Encoding:
    """Look an encoding up by name.

    Raises:
        CvBridgeError: the name is not known.
    """
    if name in PACKED_YUV:
        return Encoding(name, DEPTHS["8U"], 2, PACKED_YUV[name])
    color = re.fullmatch(r"(\w+?)(8|16)", name)
    if color and color[1] in COLORS:
        opencv_name, channels = COLORS[color[1]]
        return Encoding(name, DEPTHS[f"{color[2]}U"], channels, opencv_name)
    generic = re.fullmatch(r"(8U|8S|16U|16S|32S|32F|64F)(?:C(\d+))?", name)
    if generic:
        return Encoding(name, DEPTHS[generic[1]], int(generic[2] or 1), None)
    raise CvBridgeError(f"Unrecognized image encoding [{name}]")


def convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """A copy of `image` in another encoding. Between 8 and 16 bit the full range is kept.

    Raises:
        CvBridgeError: there is no such conversion.
    """
    old, new = parse(source), parse(target)
    if old.name == new.name:
        return image.copy()
    if old.color is None or new.color is None:
        _check_plain(old, new)
    elif old.color != new.color:
        image = _convert_color(image, old, new)
    return _convert_depth(image, new.dtype)


def _check_plain(old: Encoding, new: Encoding) -> None:
    if old.color is None and new.color is not None:
        raise CvBridgeError(
            f"[{old.name}] is not a color format. but [{new.name}] is. "
            "The conversion does not make sense"
        )
    if old.channels != new.channels:
        raise CvBridgeError(f"[{old.name}] and [{new.name}] do not have the same number of channel")


def _convert_color(image: np.ndarray, old: Encoding, new: Encoding) -> np.ndarray:
    if old.name in PACKED_YUV:
        code = f"COLOR_YUV2{new.color}_{old.color}"
    else:
        code = f"COLOR_{old.color}2{new.color}"
    if not hasattr(cv2, code) or new.name in PACKED_YUV:
        raise CvBridgeError(f"Unsupported conversion from [{old.name}] to [{new.name}]")
    return cv2.cvtColor(np.ascontiguousarray(image), getattr(cv2, code))


def _convert_depth(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if image.dtype == dtype:
        return image.copy()
    bits = image.dtype.itemsize * 8, dtype.itemsize * 8
    scale = {(8, 16): 65535.0 / 255.0, (16, 8): 255.0 / 65535.0}.get(bits, 1.0)
    scaled = image.astype(np.float64) * scale
    if dtype.kind == "f":
        return scaled.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(scaled), limits.min, limits.max).astype(dtype)
