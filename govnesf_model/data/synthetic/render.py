"""Render a room by ray casting: colour with shadows, z-depth, instance ids.

    stage = Stage(room)
    view = stage.render(K, T_world_camera, 320, 240)    # View(rgb, depth, instance)

The ray of pixel (u, v) goes through exactly (u, v): pixel centres lie at integer coordinates. Depth
is the z coordinate in the camera. Through glass the colour of what is behind shines, but depth and
instance are the glass's own.
"""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Float, Int

from govnesf_model.data.synthetic.mesh import face_normals
from govnesf_model.data.synthetic.room import Light, Room
from govnesf_model.data.synthetic.skin import Skin, texel_density

MAX_LAYERS = 3  # holes and panes that a ray goes through before it gives up
CLEAR = 0.75  # opacity below which one sees through
AO_REACH = 0.6  # metres
SKY = (0.75, 0.85, 1.0)


@dataclass(frozen=True, eq=False)
class View:
    """One rendered image.

    Attributes:
        radiance: linear colour before exposure.
        depth: z-depth in metres, 0 where the ray meets nothing.
        instance: index of the thing plus one, 0 where there is none.
    """

    radiance: Float[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    instance: Int[np.ndarray, "h w"]


class Stage:
    """A room prepared for casting."""

    def __init__(self, room: Room):
        self.room = room
        meshes = [t.mesh for t in room.things]
        counts = [len(m.points) for m in meshes]
        self.points = np.ascontiguousarray(np.concatenate([m.points for m in meshes]), np.float32)
        self.uv = np.concatenate([m.uv for m in meshes]).astype(np.float32)
        self.normals = np.concatenate([m.normals for m in meshes]).astype(np.float32)
        self.owner = np.repeat(np.arange(1, len(meshes) + 1), counts)
        offsets = np.cumsum([0] + [len(m.materials) for m in meshes])
        self.material = np.concatenate(
            [m.material + o for m, o in zip(meshes, offsets, strict=False)]
        ).astype(np.int64)
        self.skin = Skin([x for m in meshes for x in m.materials])
        self.density = texel_density(self.points, self.uv)
        self.face = face_normals(self.points).astype(np.float32)
        self.scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        flat = self.points.reshape(-1, 3)
        self.scene.add_triangles(flat, np.arange(len(flat), dtype=np.uint32).reshape(-1, 3))
        self._hemisphere = _cosine_samples(16)

    def cast(self, origins, directions) -> dict[str, np.ndarray]:
        """Cast rays; returns t (inf for none), triangle, barycentric uv, as flat arrays."""
        rays = np.concatenate([origins, directions], -1).astype(np.float32)
        hit = self.scene.cast_rays(rays, nthreads=1)
        return {
            "t": hit["t_hit"].numpy(),
            "triangle": hit["primitive_ids"].numpy().astype(np.int64),
            "uv": hit["primitive_uvs"].numpy(),
        }

    def probe(self, origins, directions) -> tuple[np.ndarray, np.ndarray]:
        """Return distance (inf for none) and instance of rays, without shading."""
        hit = self.cast(origins, directions)
        found = np.isfinite(hit["t"])
        triangle = np.where(found, hit["triangle"], 0)
        return hit["t"], np.where(found, self.owner[triangle], 0)

    def render(
        self, K: Float[np.ndarray, "3 3"], T_world_camera: Float[np.ndarray, "4 4"],
        width: int, height: int, smooth: bool = True,
    ) -> View:  # fmt: skip
        """Render a view.

        Args:
            K: intrinsics.
            T_world_camera: pose.
            width, height: image size in pixels.
            smooth: cast four more rays where the image has edges (anti-aliasing).
        """
        u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        uv = np.stack([u, v], -1).reshape(-1, 2)
        origin, directions = _rays(uv, K, T_world_camera)
        surface = self._surface(origin, directions, K[0, 0])
        light = self._light(surface, width, height)
        color = self._shade(surface, light, directions)
        self._add_behind(color, surface, origin, directions, K[0, 0])
        depth = np.where(np.isfinite(surface.t), surface.t, 0).astype(np.float32)
        depth = depth.reshape(height, width)
        instance = surface.instance.reshape(height, width)
        radiance = color.reshape(height, width, 3)
        if smooth:
            radiance = self._smooth_edges(radiance, surface, light, K, T_world_camera)
        return View(radiance.astype(np.float32), depth, instance)

    def _surface(self, origin, directions, focal: float) -> "_Surface":
        n = len(directions)
        origin = np.broadcast_to(origin, directions.shape)
        start = origin.copy()
        offset = np.zeros(n, np.float32)
        t = np.full(n, np.inf, np.float32)
        triangle = np.zeros(n, np.int64)
        bary = np.zeros((n, 2), np.float32)
        albedo = np.zeros((n, 3), np.float32)
        rays = np.arange(n)
        for layer in range(MAX_LAYERS + 1):
            hit = self.cast(start[rays], directions[rays])
            good = np.isfinite(hit["t"])
            rays, tri, b = rays[good], hit["triangle"][good], hit["uv"][good]
            total = hit["t"][good] + offset[rays]
            w = np.stack([1 - b[:, 0] - b[:, 1], b[:, 0], b[:, 1]], -1)
            tex = _mix(self.uv[tri], w)
            level = self.density[tri] * total / focal
            a, alpha = self.skin.sample(self.material[tri], tex, level)
            solid = (alpha >= 0.5) | (layer == MAX_LAYERS)
            keep = rays[solid]
            t[keep], triangle[keep], bary[keep] = total[solid], tri[solid], b[solid]
            albedo[keep] = a[solid]
            rays, total = rays[~solid], total[~solid]
            if not len(rays):
                break
            offset[rays] = total + 2e-4
            start[rays] = origin[rays] + directions[rays] * offset[rays, None]
        found = np.isfinite(t)
        w = np.stack([1 - bary[:, 0] - bary[:, 1], bary[:, 0], bary[:, 1]], -1)
        normal = _mix(self.normals[triangle], w)
        normal = _unit(normal)
        flat = self.face[triangle]
        flat = np.where((_dot(flat, directions) > 0)[:, None], -flat, flat)
        # Smooth normals only where they agree with the triangle; many models carry wrong ones.
        side = _dot(normal, flat)[:, None]
        normal = np.where(np.abs(side) > 0.35, normal * np.sign(side), flat)
        points = origin + directions * np.where(found, t, 0)[:, None]
        instance = np.where(found, self.owner[triangle], 0)
        material = np.where(found, self.material[triangle], 0)
        return _Surface(
            t, points.astype(np.float32), normal.astype(np.float32), flat.astype(np.float32),
            albedo, instance, material,
        )  # fmt: skip

    def _light(self, s: "_Surface", width: int, height: int) -> np.ndarray:
        """Irradiance / pi at every pixel: shadows at half resolution, cosines at full."""
        gh, gw = (height + 1) // 2, (width + 1) // 2
        index = (np.arange(height)[::2, None] * width + np.arange(width)[None, ::2]).reshape(-1)
        p = s.points[index] + s.flat[index] * 2e-3
        n = s.flat[index]
        out = np.zeros((len(s.t), 3), np.float32)
        x, y = np.meshgrid(np.arange(gw), np.arange(gh))
        pattern = ((x % 2) + 2 * (y % 2)).reshape(-1)
        guide = _Guide(s, index, width, height)
        jitter = np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], np.float32) * 0.58
        for light in self.room.lights:
            target = np.asarray(light.position, np.float32) + jitter[pattern] * light.radius
            ray = target - p
            free = ~self._blocked(p, ray, n)
            visible = guide.spread(free.astype(np.float32))
            gain = self._gain(light, s, np.asarray(light.position, np.float32) - s.points)
            out += (gain * visible)[:, None] * np.asarray(light.power, np.float32)
        ao = guide.spread(self._ambient(p, n, pattern))
        # Bounced light: brighter from above, never black under a table.
        up = 0.8 + 0.2 * s.normal[:, 2]
        out += (ao * up)[:, None] * np.asarray(self.room.ambient, np.float32)
        return out

    def _blocked(self, p, ray, n) -> np.ndarray:
        blocked = _dot(ray, n) <= 0
        live = np.flatnonzero(~blocked)
        rays = np.concatenate([p[live], ray[live]], -1).astype(np.float32)
        hit = self.scene.test_occlusions(rays, tnear=0.0, tfar=0.97, nthreads=1).numpy()
        blocked[live] = hit
        return blocked

    def _ambient(self, p, n, pattern) -> np.ndarray:
        a = np.where(np.abs(n[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
        x = np.cross(a, n)
        x = _unit(x)
        y = np.cross(n, x)
        total = np.zeros(len(p), np.float32)
        for k in range(3):
            d = self._hemisphere[(pattern * 4 + k) % 16]
            ray = x * d[:, :1] + y * d[:, 1:2] + n * d[:, 2:]
            rays = np.concatenate([p, ray], -1).astype(np.float32)
            hit = self.scene.test_occlusions(rays, tnear=0.0, tfar=AO_REACH, nthreads=1)
            total += 1 - 0.75 * hit.numpy()
        return total / 3

    def _shade(self, s: "_Surface", light: np.ndarray, directions: np.ndarray) -> np.ndarray:
        emission = self.skin.emission[s.material][:, None]
        gloss = self.skin.gloss[s.material]
        color = s.albedo * (light + emission)
        shiny = np.flatnonzero(gloss > 0.08)
        if len(shiny) and self.room.lights:
            d = _unit(directions[shiny])
            n = s.normal[shiny]
            mirror = d - 2 * _dot(d, n)[:, None] * n
            for lamp in self.room.lights[:2]:
                to = np.asarray(lamp.position, np.float32) - s.points[shiny]
                spot = np.maximum(_dot(mirror, _unit(to)), 0) ** 30
                level = light[shiny, 1] / 0.6
                color[shiny] += (gloss[shiny] * spot * np.minimum(level, 1.5))[:, None] * 0.7
        color[~np.isfinite(s.t)] = SKY
        return color

    def _add_behind(self, color, s: "_Surface", origin, directions, focal: float) -> None:
        """Let what lies behind panes shine through them, in place."""
        opacity = np.where(np.isfinite(s.t), self.skin.opacity[s.material], 1.0)
        rays = np.flatnonzero(opacity < CLEAR)
        left = 1 - opacity[rays]
        color[rays] *= opacity[rays, None]
        t = s.t[rays]
        for layer in range(MAX_LAYERS):
            if not len(rays):
                return
            ahead = directions[rays]
            sub = self._surface(origin + ahead * (t + 2e-3)[:, None], ahead, focal)
            shade = self._shade(sub, self._plain_light(sub), ahead)
            solid = np.where(np.isfinite(sub.t), self.skin.opacity[sub.material], 1.0)
            solid = np.where((solid < CLEAR) & (layer < MAX_LAYERS - 1), solid, 1.0)
            color[rays] += (left * solid)[:, None] * shade
            on = solid < 1
            rays, left, t = rays[on], (left * (1 - solid))[on], (t + 2e-3 + sub.t)[on]

    def _plain_light(self, s: "_Surface") -> np.ndarray:
        """Light on few samples, a hard shadow for each: seen through glass that is enough."""
        out = np.broadcast_to(
            np.asarray(self.room.ambient, np.float32) * 0.7, s.points.shape
        ).copy()
        for light in self.room.lights:
            ray = np.asarray(light.position, np.float32) - s.points
            free = ~self._blocked(s.points + s.flat * 2e-3, ray, s.flat)
            out += (
                self._gain(light, s, ray)[:, None]
                * free[:, None]
                * np.asarray(light.power, np.float32)
            )
        return out

    @staticmethod
    def _gain(light: Light, s: "_Surface", towards: np.ndarray) -> np.ndarray:
        """Cosine and distance terms of a light."""
        distance = np.maximum(np.sqrt(_dot(towards, towards)), 0.15)
        towards = towards / distance[:, None]
        cosine = np.maximum(_dot(towards, s.normal), 0)
        if light.axis is not None:
            cosine = cosine * np.maximum(-(towards @ np.asarray(light.axis, np.float32)), 0)
        return cosine / (distance**2 + 0.1)

    def _smooth_edges(self, radiance, s, light, K, T_world_camera) -> np.ndarray:
        height, width = radiance.shape[:2]
        tone = np.minimum(radiance, 2.0) ** (1 / 2.2)
        edge = np.zeros((height, width), bool)
        for axis in (0, 1):
            d = np.abs(np.diff(tone, axis=axis))
            step = np.maximum(np.maximum(d[..., 0], d[..., 1]), d[..., 2]) > 0.06
            change = np.diff(s.instance.reshape(height, width), axis=axis) != 0
            step |= change
            if axis == 0:
                edge[1:] |= step
                edge[:-1] |= step
            else:
                edge[:, 1:] |= step
                edge[:, :-1] |= step
        index = np.flatnonzero(edge)
        if not len(index):
            return radiance
        base = np.stack([index % width, index // width], -1).astype(np.float64)
        total = radiance.reshape(-1, 3)[index].copy()
        for du, dv in ((-0.3, -0.3), (0.3, 0.3), (0.3, -0.3), (-0.3, 0.3)):
            origin, directions = _rays(base + np.array([du, dv]), K, T_world_camera)
            sub = self._surface(origin, directions, K[0, 0])
            near = self._nearest_light(sub, s, light, index, du, dv, width, height)
            color = self._shade(sub, near, directions)
            self._add_behind(color, sub, origin, directions, K[0, 0])
            total += color
        out = radiance.reshape(-1, 3).copy()
        out[index] = total / 5
        return out.reshape(height, width, 3)

    @staticmethod
    def _nearest_light(sub, s, light, index, du, dv, width, height) -> np.ndarray:
        """Take a sub-ray's light from the neighbouring pixel that shows the same surface best."""
        x, y = index % width, index // width
        best = np.full(len(index), np.inf, np.float32)
        out = light[index].copy()
        sx, sy = int(np.sign(du)), int(np.sign(dv))
        for ox, oy in ((0, 0), (sx, 0), (0, sy), (sx, sy)):
            j = np.clip(y + oy, 0, height - 1) * width + np.clip(x + ox, 0, width - 1)
            offset = sub.points - s.points[j]
            cost = np.sqrt(_dot(offset, offset)) + 1 - _dot(sub.normal, s.normal[j])
            cost = cost + 5.0 * (sub.instance != s.instance[j])
            take = cost < best
            best = np.where(take, cost, best)
            out[take] = light[j[take]]
        return out


@dataclass(frozen=True, eq=False)
class _Surface:
    t: np.ndarray
    points: np.ndarray
    normal: np.ndarray
    flat: np.ndarray
    albedo: np.ndarray
    instance: np.ndarray
    material: np.ndarray


class _Guide:
    """Carries values at every second pixel to all pixels, without crossing edges."""

    def __init__(self, s: _Surface, index: np.ndarray, width: int, height: int):
        self.shape = ((height + 1) // 2, (width + 1) // 2)
        full = np.arange(height * width)
        y, x = full // width, full % width
        gh, gw = self.shape
        weights, sources = [], []
        for oy in (-1, 0, 1):
            for ox in (-1, 0, 1):
                j = np.clip(y // 2 + oy, 0, gh - 1) * gw + np.clip(x // 2 + ox, 0, gw - 1)
                k = index[j]
                offset = s.points[k] - s.points
                off = np.abs(_dot(offset, s.flat))
                like = (_dot(s.flat[k], s.flat) > 0.8) & (off < 0.03)
                # 1-2-1 weights cancel the 2x2 sampling pattern exactly.
                spatial = (2 - abs(oy)) * (2 - abs(ox))
                weights.append(np.where(like, spatial, 1e-4).astype(np.float32))
                sources.append(j)
        total = np.add.reduce(weights)
        self.weights = [w / total for w in weights]
        self.sources = sources

    def spread(self, values: np.ndarray) -> np.ndarray:
        out = values[self.sources[0]] * self.weights[0]
        for j, w in zip(self.sources[1:], self.weights[1:], strict=True):
            out += values[j] * w
        return out


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dot products of rows; numpy's own reductions are slow over an axis of three."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _unit(a: np.ndarray) -> np.ndarray:
    return a / np.maximum(np.sqrt(_dot(a, a)), 1e-9)[:, None]


def _mix(corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Interpolate values at the corners of triangles."""
    return (
        corners[:, 0] * weights[:, :1]
        + corners[:, 1] * weights[:, 1:2]
        + corners[:, 2] * weights[:, 2:]
    )


def _rays(uv, K, T_world_camera) -> tuple[np.ndarray, np.ndarray]:
    """Origin and directions of unit z-depth through pixel positions, in world."""
    x = (uv[:, 0] - K[0, 2]) / K[0, 0]
    y = (uv[:, 1] - K[1, 2]) / K[1, 1]
    camera = np.stack([x, y, np.ones_like(x)], -1)
    directions = camera @ T_world_camera[:3, :3].T
    return T_world_camera[:3, 3].astype(np.float32), directions.astype(np.float32)


def _cosine_samples(n: int) -> Float[np.ndarray, "n 3"]:
    """Directions around +z, denser towards it, as ambient light weighs them."""
    k = np.arange(n) + 0.5
    r, a = np.sqrt(k / n), 2 * np.pi * ((k * 0.61803) % 1)
    return np.stack([r * np.cos(a), r * np.sin(a), np.sqrt(1 - r**2)], -1).astype(np.float32)
