"""Light on surfaces: lamps with soft shadows, bounced light with ambient occlusion.

Shadows and occlusion are cast at every second pixel, in a pattern of 2x2 that the way up to full
resolution cancels; cosines and distances are exact everywhere.
"""

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float

from govnesf_model.data.synthetic.room import Light, Room
from govnesf_model.data.synthetic.vectors import Vectors, column, cross, dot, ray_rows, unit

AO_REACH = 0.6  # metres
_CORNERS = np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], np.float32) * 0.58


class Lighting:
    """The lights of a room and what stands in their way."""

    def __init__(self, room: Room, scene: o3d.t.geometry.RaycastingScene):
        self.room, self.scene = room, scene
        self.ambient = column(room.ambient)
        self._hemisphere = _cosine_samples(16)

    def over_image(self, points: Vectors, normal: Vectors, flat: Vectors, size) -> Vectors:
        """Return irradiance / pi at every pixel.

        Args:
            points, normal, flat: what the pixels show, their smooth and their true normals.
            size: width and height of the image.
        """
        guide = Guide(points, flat, size)
        p, n = guide.points + guide.flat * np.float32(2e-3), guide.flat
        out = np.zeros_like(points)
        for light in self.room.lights:
            shift = _CORNERS[guide.pattern].T * light.radius
            free = ~self._blocked(p, column(light.position) + shift - p, n)
            gain = _gain(light, normal, column(light.position) - points)
            gain *= guide.spread(free.astype(np.float32))
            out += gain * column(light.power)
        ao = guide.spread(self._open(p, n, guide.pattern))
        # Bounced light: brighter from above, never black under a table.
        out += (ao * (np.float32(0.8) + np.float32(0.2) * normal[2])) * self.ambient
        return out

    def at_points(self, points: Vectors, normal: Vectors, flat: Vectors) -> Vectors:
        """Return irradiance / pi with a hard shadow of each light: enough for behind glass."""
        out = np.repeat(self.ambient * np.float32(0.7), points.shape[1], axis=1)
        start = points + flat * np.float32(2e-3)
        for light in self.room.lights:
            ray = column(light.position) - points
            free = ~self._blocked(start, ray, flat)
            out += (_gain(light, normal, ray) * free) * column(light.power)
        return out

    def _blocked(self, p: Vectors, ray: Vectors, n: Vectors) -> Bool[np.ndarray, "n"]:
        blocked = dot(ray, n) <= 0
        live = np.flatnonzero(~blocked)
        blocked[live] = self._meets(p[:, live], ray[:, live], 0.97)
        return blocked

    def _open(self, p: Vectors, n: Vectors, pattern) -> Float[np.ndarray, "n"]:
        """Return how much of the hemisphere is open, 1 for all of it."""
        a = np.where(np.abs(n[2]) < 0.9, column([0, 0, 1]), column([1, 0, 0]))
        x = unit(cross(a, n))
        y = cross(n, x)
        total = np.zeros(p.shape[1], np.float32)
        for k in range(3):
            d = self._hemisphere[(pattern * 4 + k) % 16].T
            total += 1 - np.float32(0.75) * self._meets(p, x * d[0] + y * d[1] + n * d[2], AO_REACH)
        return total / 3

    def _meets(self, p: Vectors, ray: Vectors, far: float) -> Bool[np.ndarray, "n"]:
        rays = o3d.core.Tensor.from_numpy(ray_rows(p, ray))
        return self.scene.test_occlusions(rays, tnear=0.0, tfar=far, nthreads=1).numpy()


class Guide:
    """Carries values at every second pixel to all pixels, without crossing edges.

    A neighbour counts where its surface lies in the pixel's plane and faces the same way.

    Attributes:
        points, flat: positions and normals at every second pixel, row by row.
        pattern: which of the four places of a 2x2 block each of them takes.
    """

    def __init__(self, points: Vectors, flat: Vectors, size: tuple[int, int]):
        self.width, self.height = size
        gh, gw = (self.height + 1) // 2, (self.width + 1) // 2
        p, n = (self._blocks(a.reshape(3, self.height, self.width)) for a in (points, flat))
        self.points, self.flat = (a[:, 0, 0].reshape(3, -1) for a in (p, n))
        x, y = np.meshgrid(np.arange(gw), np.arange(gh))
        self.pattern = ((x % 2) + 2 * (y % 2)).reshape(-1)
        p_near, n_near = (_framed(a[:, 0, 0]) for a in (p, n))
        own = p[0] * n[0] + p[1] * n[1] + p[2] * n[2]
        self.weights = []
        for oy, ox in _AROUND:
            q = p_near[:, oy : oy + gh, ox : ox + gw]
            off = q[0] * n[0] + q[1] * n[1] + q[2] * n[2]
            off -= own
            m = n_near[:, oy : oy + gh, ox : ox + gw]
            like = m[0] * n[0] + m[1] * n[1] + m[2] * n[2] > 0.8
            like &= np.abs(off, out=off) < 0.03
            # 1-2-1 weights cancel the 2x2 sampling pattern exactly.
            spatial = (2 - abs(oy - 1)) * (2 - abs(ox - 1))
            self.weights.append(like * np.float32(spatial - 1e-4) + np.float32(1e-4))
        total = np.add.reduce(self.weights)
        np.reciprocal(total, out=total)
        for w in self.weights:
            w *= total

    def spread(self, values: Float[np.ndarray, "g"]) -> Float[np.ndarray, "n"]:
        """Return values at all pixels."""
        gh, gw = self.weights[0].shape[2:]
        near = _framed(values.reshape(1, gh, gw))[0]
        out = np.zeros_like(self.weights[0])
        for (oy, ox), w in zip(_AROUND, self.weights, strict=True):
            out += w * near[oy : oy + gh, ox : ox + gw]
        out = out.transpose(2, 0, 3, 1).reshape(2 * gh, 2 * gw)
        return out[: self.height, : self.width].reshape(-1)

    def _blocks(self, image: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "3 2 2 gh gw"]:
        if self.height % 2 or self.width % 2:
            odd = ((0, 0), (0, self.height % 2), (0, self.width % 2))
            image = np.pad(image, odd, mode="edge")
        _, h, w = image.shape
        blocks = image.reshape(3, h // 2, 2, w // 2, 2).transpose(0, 2, 4, 1, 3)
        return np.ascontiguousarray(blocks)


_AROUND = [(oy, ox) for oy in range(3) for ox in range(3)]


def _framed(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")


def _gain(light: Light, normal: Vectors, towards: Vectors) -> Float[np.ndarray, "n"]:
    """Return the cosine and distance terms of a light."""
    square = np.maximum(dot(towards, towards), np.float32(0.15**2))
    scale = 1 / np.sqrt(square)
    gain = np.maximum(dot(towards, normal) * scale, 0)
    if light.axis is not None:
        gain *= np.maximum(dot(towards, -column(light.axis)) * scale, 0)
    gain /= square + np.float32(0.1)
    return gain


def _cosine_samples(n: int) -> Float[np.ndarray, "n 3"]:
    """Directions around +z, denser towards it, as ambient light weighs them."""
    k = np.arange(n) + 0.5
    r, a = np.sqrt(k / n), 2 * np.pi * ((k * 0.61803) % 1)
    return np.stack([r * np.cos(a), r * np.sin(a), np.sqrt(1 - r**2)], -1).astype(np.float32)
