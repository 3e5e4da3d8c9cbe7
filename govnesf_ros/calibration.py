"""From CameraInfo to straight pinhole pictures: region of interest, binning, distortion.

    info = to_intrinsics(camera_info)                   # for the image as it is sent
    straight = Straightener()(rgb, depth, info)         # rgb, depth and K of a pinhole

`CameraInfo.k` speaks of the whole sensor. The image that comes with it is the region of interest of
the sensor, averaged in blocks of the binning; with pixel centres at integers the centre of a block
of b pixels that begins at x lies at x + (b - 1) / 2.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from govnesf_model.data.posed_scene import SceneError
from govnesf_model.data.readers.lens import Lens, Resampler, scaled_intrinsics
from govnesf_ros.conversions import BadInput
from govnesf_ros.images import MAX_PIXELS, MAX_SIDE

# Distortion model -> (whether it is OpenCV's fisheye, coefficients at most).
MODELS: dict[str, tuple[bool, int]] = {
    "plumb_bob": (False, 5),
    "radtan": (False, 5),
    "rational_polynomial": (False, 14),
    "equidistant": (True, 4),
    "fisheye": (True, 4),
}
STRAIGHT_MODELS = ("", "none", "pinhole")
_CACHED = 8  # lenses whose maps are kept; one camera has two when its depth has another size


@dataclass(frozen=True)
class Intrinsics:
    """A calibrated camera, for images as they are sent.

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

    @property
    def lens(self) -> Lens:
        """The same for resampling."""
        fisheye = bool(self.distortion) and MODELS[self.model][0]
        return Lens(self.K, self.width, self.height, self.distortion, fisheye)


@dataclass(frozen=True)
class Straight:
    """A picture of a pinhole camera.

    Attributes:
        rgb: uint8 [H, W, 3].
        depth: float32 [h, w] metres of the same view, or None.
        K: float64 [3, 3] for `rgb`.
    """

    rgb: np.ndarray
    depth: np.ndarray | None
    K: np.ndarray


def to_intrinsics(message: Any, rectified: bool = False, distorted: bool = True) -> Intrinsics:
    """Return the intrinsics of the image that a CameraInfo comes with.

    Args:
        message: sensor_msgs/CameraInfo; k and p are for the whole sensor, as is width x height.
        rectified: the image has been straightened by image_proc: p counts, k and d do not.
        distorted: whether d counts otherwise.

    Raises:
        BadInput: bad_camera_info.
    """
    where = f"camera_info of frame '{message.header.frame_id[:60]}'"
    K = _projection(message, where) if rectified else np.array(message.k, float).reshape(3, 3)
    if not np.isfinite(K).all():
        raise _refusal(f"{where} holds NaN or infinite numbers in {'p' if rectified else 'k'}")
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise _refusal(
            f"{where} has the focal lengths {K[0, 0]:g} and {K[1, 1]:g}: the camera is not "
            "calibrated; calibrate it or give the driver its calibration file"
        )
    width, height = message.width, message.height
    if width == 0 or height == 0:
        raise _refusal(
            f"{where} says the image has {width}x{height} pixels: the driver must fill width and "
            "height"
        )
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _refusal(f"{where} says the image has {width}x{height} pixels: that is too many")
    if abs(K[2, 2] - 1) > 1e-6 or not (0 <= K[0, 2] < width and 0 <= K[1, 2] < height):
        raise _refusal(
            f"{where} has its principal point at ({K[0, 2]:g}, {K[1, 2]:g}), outside its "
            f"{width}x{height} image: k must be row-major fx 0 cx 0 fy cy 0 0 1"
        )
    K = np.array([[K[0, 0], K[0, 1], K[0, 2]], [0, K[1, 1], K[1, 2]], [0, 0, 1]])
    model, distortion = _distortion(message, where) if distorted and not rectified else ("", ())
    K, width, height = _of_region(message, K, where)
    return Intrinsics(K, width, height, distortion, model)


class Straightener:
    """Takes distortion out of pictures; keeps the maps of the lenses seen last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, Resampler] = OrderedDict()

    def __call__(self, rgb: np.ndarray, depth: np.ndarray | None, info: Intrinsics) -> Straight:
        """Return a picture and its depth as a pinhole sees them.

        Args:
            rgb: uint8 [height, width, 3] of `info`.
            depth: float32 [h, w] metres through the same lens, of any size; its pixels are moved,
                never mixed.
            info: of `rgb`.

        Raises:
            BadInput: bad_camera_info, nothing straight is left of the picture.
        """
        lens = info.lens
        if lens.straight:
            return Straight(rgb, depth, info.K)
        views = self._views(lens)
        if depth is not None:
            depth_lens = lens.scaled((depth.shape[1], depth.shape[0]))
            target = views.target.scaled(depth_lens.size)
            depth = self._views(depth_lens, target).nearest(depth, depth_lens)
        return Straight(views.color(rgb, lens), depth, views.target.K)

    def _views(self, lens: Lens, target: Lens | None = None) -> Resampler:
        key = (lens.K.tobytes(), lens.size, lens.distortion, lens.fisheye)
        found = self._kept.pop(key, None)
        if found is None:
            found = Resampler(target or _pinhole(lens))
        self._kept[key] = found
        while len(self._kept) > _CACHED:
            self._kept.popitem(last=False)
        return found


def cropped_to_aspect(picture: Straight, width: int, height: int) -> Straight:
    """Return the middle of a picture that has the aspect of `width` x `height`.

    The picture itself is returned where it has that aspect to the pixel at that width.
    """
    rows, columns = picture.rgb.shape[:2]
    if round(rows * width / columns) == height:
        return picture
    if rows * width > columns * height:
        kept = columns, round(height * columns / width)
    else:
        kept = round(width * rows / height), rows
    left, top = (columns - kept[0]) // 2, (rows - kept[1]) // 2
    part = np.s_[top : top + kept[1], left : left + kept[0]]
    depth = picture.depth
    if depth is not None and depth.shape != (rows, columns):
        depth = cv2.resize(depth, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
    K = picture.K.copy()
    K[:2, 2] -= left, top
    return Straight(picture.rgb[part], None if depth is None else depth[part], K)


def is_rectified(topic: str) -> bool:
    """Tell by a topic's name whether image_proc has straightened its images."""
    return "rect" in topic.rpartition("/")[2].lower()


def _projection(message: Any, where: str) -> np.ndarray:
    P = np.array(message.p, float).reshape(3, 4)
    if P[0, 0] == 0 and not any(message.d):
        return np.array(message.k, float).reshape(3, 3)
    if np.isfinite(P).all() and (P[:, 3] != 0).any():
        raise _refusal(
            f"{where} has the projection of a second stereo camera (p holds {P[0, 3]:g}, "
            f"{P[1, 3]:g}): take the images of the first one, or those that are not rectified"
        )
    return P[:, :3]


def _distortion(message: Any, where: str) -> tuple[str, tuple[float, ...]]:
    distortion = tuple(float(value) for value in message.d)
    if not any(distortion):
        return "", ()
    model = message.distortion_model.lower()
    if model not in MODELS or not np.isfinite(distortion).all():
        why = f"the distortion model '{model[:60]}'" if model not in MODELS else "NaN in d"
        raise _refusal(
            f"{where} has {why}, known are: {', '.join(MODELS)}; take rectified images "
            "(image_topic:=.../image_rect_color), or set undistort:=off to ignore it"
        )
    most = MODELS[model][1]
    if any(distortion[most:]):
        raise _refusal(
            f"{where} has {len(distortion)} numbers of distortion, {model} has at most {most}"
        )
    return model, distortion[:most]


def _of_region(message: Any, K: np.ndarray, where: str) -> tuple[np.ndarray, int, int]:
    """Return K, width and height of the image that the region and the binning leave."""
    roi = message.roi
    bins = (message.binning_x or 1, message.binning_y or 1)
    width, height = roi.width or message.width, roi.height or message.height
    inside = roi.x_offset + width <= message.width and roi.y_offset + height <= message.height
    if not inside and not (roi.width and roi.height):
        # An offset alone: the region reaches to the sensor's end.
        width, height = message.width - roi.x_offset, message.height - roi.y_offset
        inside = width > 0 and height > 0
    if not inside or width < bins[0] or height < bins[1]:
        raise _refusal(
            f"{where} has the region of interest {roi.width}x{roi.height} at ({roi.x_offset}, "
            f"{roi.y_offset}) and the binning {bins[0]}x{bins[1]}, which does not fit its "
            f"{message.width}x{message.height} sensor"
        )
    cropped = K.copy()
    cropped[:2, 2] -= roi.x_offset, roi.y_offset
    if bins != (1, 1):
        cropped = scaled_intrinsics(cropped, 1 / bins[0], 1 / bins[1])
    return cropped, width // bins[0], height // bins[1]


def _pinhole(lens: Lens) -> Lens:
    try:
        return lens.pinhole()
    except (SceneError, cv2.error) as error:
        raise _refusal(f"{error}, or set undistort:=off to ignore it") from error


def _refusal(message: str) -> BadInput:
    return BadInput("bad_camera_info", message)
