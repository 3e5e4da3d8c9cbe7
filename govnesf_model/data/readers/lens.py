"""Images of any camera brought to the one pinhole camera that a scene has.

lens = Lens(K, 1296, 968, distortion=(0.1, -0.2, 0, 0))
views = Resampler(lens.pinhole((320, 240)))
rgb, depth = views.color(image, lens), views.nearest(depth_image, depth_lens)
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from govnesf_model.data.posed_scene import SceneError

_GRID = 65  # points along each side at which a pinhole is held against its lens
_ZOOM = 8.0  # straightening that changes the focal length more than this is no calibration


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera that took images.

    Attributes:
        K: float64 [3, 3], pixel centres at integers.
        width, height: of its images.
        distortion: OpenCV's k1 k2 p1 p2 [k3 [k4 k5 k6]]; with `fisheye` k1 k2 k3 k4; () none.
        fisheye: the equidistant model.
    """

    K: np.ndarray
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def straight(self) -> bool:
        """Whether it is a pinhole already."""
        return not self.fisheye and not any(self.distortion)

    def scaled(self, size: tuple[int, int]) -> "Lens":
        """Return the camera for its images resized to (width, height)."""
        K = scaled_intrinsics(self.K, size[0] / self.width, size[1] / self.height)
        return replace(self, K=K, width=size[0], height=size[1])

    def pinhole(self, size: tuple[int, int] | None = None) -> "Lens":
        """Return the widest pinhole of which this camera sees every pixel, for images of a size.

        It keeps the principal point and the shape of the pixels.

        Raises:
            SceneError: the distortion leaves no such camera.
        """
        lens = self
        if not self.straight:
            lens = Lens(self._zoomed(self._narrowest_view()), self.width, self.height)
        return lens if size is None else lens.scaled(size)

    def same(self, other: "Lens") -> bool:
        """Tell whether two cameras put the world on the same pixels."""
        return (
            self.size == other.size
            and self.fisheye == other.fisheye
            and np.allclose(self.K, other.K, rtol=0, atol=1e-6)
            and tuple(np.trim_zeros(self.distortion, "b"))
            == tuple(np.trim_zeros(other.distortion, "b"))
        )

    def coefficients(self) -> np.ndarray:
        """Return the coefficients in a number that OpenCV takes: 4 for fisheye, else 5, 8, ..."""
        count = 4 if self.fisheye else next(n for n in (5, 8, 12, 14) if n >= len(self.distortion))
        bend = np.zeros(count)
        bend[: len(self.distortion)] = self.distortion[:count]
        return bend

    def straightening(
        self, K: Float[np.ndarray, "3 3"], size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where in this image every pixel of a pinhole is, two float32 [H, W]."""
        find = cv2.fisheye.initUndistortRectifyMap if self.fisheye else cv2.initUndistortRectifyMap
        return find(self.K, self.coefficients(), np.eye(3), K, size, cv2.CV_32FC1)

    def _narrowest_view(self) -> float:
        """Return the least zoom at which the lens sees all of the pinhole's image."""
        low, high = 1 / _ZOOM, _ZOOM
        if self._sees_all(low):
            return low
        if not self._sees_all(high):
            raise SceneError(
                f"the distortion {', '.join(f'{value:g}' for value in self.distortion)} leaves "
                f"nothing of a {self.width}x{self.height} image: calibrate the camera again"
            )
        while high / low > 1 + 1e-4:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if self._sees_all(middle) else (middle, high)
        return high

    def _sees_all(self, zoom: float) -> bool:
        """Tell whether all pixels of the pinhole lie in the image, none in a fold of it."""
        steps = np.array([self.width - 1, self.height - 1]) / (_GRID - 1)
        on_grid = np.diag([*(1 / steps), 1.0]) @ self._zoomed(zoom)
        u, v = self.straightening(on_grid, (_GRID, _GRID))
        u, v = u.astype(np.float64), v.astype(np.float64)
        inside = (u >= 0) & (u <= self.width - 1) & (v >= 0) & (v <= self.height - 1)
        # Beyond where the polynomial turns back, far directions fall onto near ones.
        along, down = np.diff(np.stack([u, v]), axis=2), np.diff(np.stack([u, v]), axis=1)
        turn = along[0, :-1] * down[1, :, :-1] - along[1, :-1] * down[0, :, :-1]
        return bool(inside.all() and (turn > 0).all())

    def _zoomed(self, zoom: float) -> np.ndarray:
        K = self.K.astype(np.float64).copy()
        K[:2, :2] *= zoom
        return K


class Resampler:
    """Brings images of lenses with the same centre and axes to one pinhole."""

    def __init__(self, target: Lens) -> None:
        self.target = target
        self._maps: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def color(self, image: UInt8[np.ndarray, "h w 3"], lens: Lens) -> UInt8[np.ndarray, "H W 3"]:
        """Return an image resampled smoothly; black where the lens saw nothing."""
        _demand_size(image, lens)
        middle = self.target.scaled(lens.size)
        if not lens.same(middle):
            # Straightened at full size first, then averaged: a map that shrinks would alias.
            u, v = self._map(lens, middle)
            image = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        if lens.size == self.target.size:
            return image
        shrinks = self.target.width < lens.width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(image, self.target.size, interpolation=how)

    def nearest(self, image: np.ndarray, lens: Lens) -> np.ndarray:
        """Return depth or labels of the nearest pixels; 0 where the lens saw nothing."""
        _demand_size(image, lens)
        if lens.same(self.target):
            return image
        u, v = self._map(lens, self.target)
        column, row = np.rint(u).astype(np.int32), np.rint(v).astype(np.int32)
        inside = (column >= 0) & (column < lens.width) & (row >= 0) & (row < lens.height)
        found = image[row.clip(0, lens.height - 1), column.clip(0, lens.width - 1)]
        return np.where(inside, found, image.dtype.type(0))

    def register_depth(
        self,
        depth: Float[np.ndarray, "h w"],
        lens: Lens,
        T_target_lens: Float[np.ndarray, "4 4"],
    ) -> Float[np.ndarray, "H W"]:
        """Return the depth of a camera beside the target as the target sees it.

        Every measured point is projected; where several meet the nearest stays, and pixels that
        none meets are unknown (0).
        """
        if np.allclose(T_target_lens, np.eye(4), atol=1e-6):
            return self.nearest(depth, lens)
        # A coarser camera's pixels cover several of the target's: without this there are holes.
        finer = math.ceil(max(np.diag(self.target.K)[:2] / np.diag(lens.K)[:2]))
        straight = lens.pinhole((lens.width * finer, lens.height * finer))
        depth = Resampler(straight).nearest(depth, lens)
        v, u = np.nonzero(depth > 0)
        z = depth[v, u].astype(np.float64)
        K = straight.K
        points = np.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z])
        points = T_target_lens[:3, :3] @ points + T_target_lens[:3, 3:]
        points = points[:, points[2] > 1e-3]
        projected = self.target.K @ points
        column, row = np.rint(projected[:2] / projected[2]).astype(np.int64)
        inside = (column >= 0) & (column < self.target.width)
        inside &= (row >= 0) & (row < self.target.height)
        registered = np.full((self.target.height, self.target.width), np.inf, np.float32)
        np.minimum.at(
            registered, (row[inside], column[inside]), points[2, inside].astype(np.float32)
        )
        registered[np.isinf(registered)] = 0
        return registered

    def _map(self, lens: Lens, target: Lens) -> tuple[np.ndarray, np.ndarray]:
        """Return the position in the lens's image of every pixel of the target, float32 each."""
        key = (lens.K.tobytes(), lens.size, lens.distortion, lens.fisheye, target.size)
        if key not in self._maps:
            self._maps[key] = lens.straightening(target.K, target.size)
        return self._maps[key]


def scaled_intrinsics(
    K: Float[np.ndarray, "3 3"], scale_x: float, scale_y: float
) -> Float[np.ndarray, "3 3"]:
    """Return K for the image resized by the factors, pixel centres at integers, in float64."""
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    return np.linalg.inv(shift) @ np.diag([scale_x, scale_y, 1.0]) @ shift @ K


def _demand_size(image: np.ndarray, lens: Lens) -> None:
    if image.shape[1::-1] != lens.size:
        raise SceneError(
            f"an image has {image.shape[1]}x{image.shape[0]} pixels, its intrinsics are for "
            f"{lens.width}x{lens.height}"
        )
