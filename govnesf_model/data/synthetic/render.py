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

from govnesf_model.data.synthetic.lighting import Lighting
from govnesf_model.data.synthetic.room import Room
from govnesf_model.data.synthetic.skin import Skin, texel_density
from govnesf_model.data.synthetic.vectors import Vectors, column, cross, dot, ray_rows, unit

MAX_LAYERS = 3  # holes and panes that a ray goes through before it gives up
CLEAR = 0.75  # opacity below which one sees through
SKY = (0.75, 0.85, 1.0)
EDGE = 0.06  # steps of brightness (0..1, square root) that are smoothed
NEAR = 0.01  # metres within which the light on one thing is the same
CALM = 0.01  # spread of the first rays of an edge pixel below which more would change nothing


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
        points = np.ascontiguousarray(np.concatenate([m.points for m in meshes]), np.float32)
        uv = np.concatenate([m.uv for m in meshes]).astype(np.float32)
        normals = np.concatenate([m.normals for m in meshes]).astype(np.float32)
        self.owner = np.repeat(np.arange(1, len(meshes) + 1, dtype=np.int32), counts)
        offsets = np.cumsum([0] + [len(m.materials) for m in meshes])
        self.material = np.concatenate(
            [m.material + o for m, o in zip(meshes, offsets, strict=False)]
        ).astype(np.int32)
        self.skin = Skin([x for m in meshes for x in m.materials])
        # One row an axis and corner, so that lookups of many rays give rows, too.
        self.uv = np.ascontiguousarray(uv.reshape(-1, 6).T)
        self.normals = np.ascontiguousarray(normals.reshape(-1, 9).T)
        a, b, c = np.ascontiguousarray(points.reshape(-1, 9).T).reshape(3, 3, -1)
        across = cross(b - a, c - a)
        self.face = unit(across)
        self.density = texel_density(self.uv, np.sqrt(dot(across, across)))
        each = [np.abs(dot(n, self.face)) for n in self.normals.reshape(3, 3, -1)]
        self.curved = np.minimum.reduce(each) < 0.9999
        self.scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        flat = points.reshape(-1, 3)
        self.scene.add_triangles(flat, np.arange(len(flat), dtype=np.uint32).reshape(-1, 3))
        self.lighting = Lighting(room, self.scene)

    def probe(
        self, origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Return distance (inf for none) and instance of rays, without shading."""
        t, triangle, _ = self._cast(np.asarray(origins).T, np.asarray(directions).T)
        return t, np.where(np.isfinite(t), self.owner[triangle], 0)

    def render(
        self, K: Float[np.ndarray, "3 3"], T_world_camera: Float[np.ndarray, "4 4"],
        width: int, height: int, smooth: bool = True,
    ) -> View:  # fmt: skip
        """Render a view.

        Args:
            K: intrinsics.
            T_world_camera: pose.
            width, height: image size in pixels.
            smooth: cast more rays where the image has edges (anti-aliasing).
        """
        pixels = np.arange(width * height)
        origin, directions = _rays(pixels % width, pixels // width, K, T_world_camera)
        s = self._surface(origin, directions, K[0, 0])
        light = self.lighting.over_image(s.points, s.normal, s.flat, (width, height))
        color = self._shade(s, light, directions)
        self._add_behind(color, s, origin, directions, K[0, 0])
        if smooth:
            self._smooth_edges(color, s, light, K, T_world_camera, width, height)
        depth = np.where(np.isfinite(s.t), s.t, 0).astype(np.float32)
        return View(
            np.ascontiguousarray(color.T).reshape(height, width, 3),
            depth.reshape(height, width),
            s.instance.reshape(height, width),
        )

    def _cast(self, origins: Vectors, directions: Vectors):
        """Return distance (inf for none), triangle (0 for none) and its barycentric u, v."""
        rays = o3d.core.Tensor.from_numpy(ray_rows(origins, directions))
        hit = self.scene.cast_rays(rays, nthreads=1)
        t, triangle = hit["t_hit"].numpy(), hit["primitive_ids"].numpy().astype(np.int64)
        triangle[triangle >= len(self.owner)] = 0
        return t, triangle, np.ascontiguousarray(hit["primitive_uvs"].numpy().T)

    def _surface(self, origin: Vectors, directions: Vectors, focal: float) -> "_Surface":
        """Return what rays meet first; through the holes of textures they go on."""
        t, triangle, weights = self._cast(origin, directions)
        albedo, alpha = self._albedo(triangle, weights, t, focal)
        on = np.flatnonzero((alpha < 0.5) & np.isfinite(t))
        if len(on):
            own = origin if origin.shape[1] == 1 else origin[:, on]
            self._go_on(on, own, directions[:, on], focal, t, triangle, weights, albedo)
        found = np.isfinite(t)
        flat = np.take(self.face, triangle, axis=1)
        flat *= np.where(dot(flat, directions) > 0, np.float32(-1), np.float32(1))
        normal = flat.copy()
        curved = np.flatnonzero(self.curved[triangle])
        corners = np.take(self.normals, triangle[curved], axis=1)
        given = unit(_mix(corners[:3], corners[3:6], corners[6:], weights[:, curved]))
        # Smooth normals only where they agree with the triangle; many models carry wrong ones.
        side = dot(given, flat[:, curved])
        agree = np.abs(side) > 0.35
        normal[:, curved[agree]] = (given * np.sign(side))[:, agree]
        reach = np.where(found, t, np.float32(0))
        instance = np.where(found, self.owner[triangle], 0)
        material = np.where(found, self.material[triangle], 0)
        return _Surface(
            t, origin + directions * reach, normal, flat, albedo, instance, material, triangle
        )

    def _albedo(self, triangle, weights, t, focal: float):
        corners = np.take(self.uv, triangle, axis=1)
        u, v = _mix(corners[:2], corners[2:4], corners[4:], weights)
        footprint = self.density[triangle] * np.where(np.isfinite(t), t, np.float32(0))
        footprint *= np.float32(1 / focal)
        return self.skin.sample(self.material[triangle], u, v, footprint)

    def _go_on(self, rays, origin, directions, focal, t, triangle, weights, albedo) -> None:
        """Follow rays that met a hole, and put what they meet behind it in its place."""
        offset = t[rays]
        t[rays] = np.inf
        triangle[rays], weights[:, rays], albedo[:, rays] = 0, 0, 0
        for layer in range(1, MAX_LAYERS + 1):
            offset = offset + np.float32(2e-4)
            far, tri, w = self._cast(origin + directions * offset, directions)
            far = far + offset
            a, alpha = self._albedo(tri, w, far, focal)
            met = np.isfinite(far)
            solid = met & ((alpha >= 0.5) | (layer == MAX_LAYERS))
            keep = rays[solid]
            t[keep], triangle[keep], weights[:, keep] = far[solid], tri[solid], w[:, solid]
            albedo[:, keep] = a[:, solid]
            on = met & ~solid
            if not on.any():
                return
            rays, offset, directions = rays[on], far[on], directions[:, on]
            origin = origin if origin.shape[1] == 1 else origin[:, on]

    def _shade(self, s: "_Surface", light: Vectors, directions: Vectors) -> Vectors:
        color = light + self.skin.emission[s.material]
        color *= s.albedo
        gloss = self.skin.gloss[s.material]
        shiny = np.flatnonzero(gloss > 0.08)
        if len(shiny) and self.room.lights:
            d, n, at = unit(directions[:, shiny]), s.normal[:, shiny], s.points[:, shiny]
            mirror = d - 2 * dot(d, n) * n
            level = np.minimum(light[1, shiny] / np.float32(0.6), 1.5) * gloss[shiny]
            total = np.zeros(len(shiny), np.float32)
            for lamp in self.room.lights[:2]:
                x = np.maximum(dot(mirror, unit(column(lamp.position) - at)), 0)
                x2 = x * x
                x4 = x2 * x2
                x8 = x4 * x4
                total += x8 * x8 * x8 * x4 * x2  # x^30
            color[:, shiny] += total * level * np.float32(0.7)
        np.copyto(color, column(SKY), where=~np.isfinite(s.t))
        return color

    def _add_behind(self, color: Vectors, s: "_Surface", origin, directions, focal: float) -> None:
        """Let what lies behind panes shine through them, in place."""
        opacity = self.skin.opacity[s.material]
        rays = np.flatnonzero((opacity < CLEAR) & np.isfinite(s.t))
        opacity, t = opacity[rays], s.t[rays]
        left = 1 - opacity
        color[:, rays] *= opacity
        for layer in range(MAX_LAYERS):
            if not len(rays):
                return
            ahead = directions[:, rays]
            sub = self._surface(origin + ahead * (t + np.float32(2e-3)), ahead, focal)
            light = self.lighting.at_points(sub.points, sub.normal, sub.flat)
            shade = self._shade(sub, light, ahead)
            solid = np.where(np.isfinite(sub.t), self.skin.opacity[sub.material], 1)
            solid = np.where((solid < CLEAR) & (layer < MAX_LAYERS - 1), solid, np.float32(1))
            color[:, rays] += left * solid * shade
            on = solid < 1
            rays, left = rays[on], (left * (1 - solid))[on]
            t = (t + np.float32(2e-3) + sub.t)[on]

    def _smooth_edges(self, color, s, light, K, T_world_camera, width: int, height: int) -> None:
        """Average more rays at the pixels of edges, in place."""
        index = np.flatnonzero(_edges(color, s.instance, width, height))
        if not len(index):
            return
        low = high = color[:, index]
        total = low.copy()
        count = np.ones(len(index), np.float32)
        todo = np.arange(len(index))
        for k, (du, dv) in enumerate(((-0.3, -0.3), (0.3, 0.3), (0.3, -0.3), (-0.3, 0.3))):
            if k == 2:
                spread = (np.sqrt(np.minimum(high, 2)) - np.sqrt(np.minimum(low, 2))).max(0)
                todo = np.flatnonzero(spread > CALM)
            pixel = index[todo]
            origin, directions = _rays(pixel % width + du, pixel // width + dv, K, T_world_camera)
            sub = self._surface(origin, directions, K[0, 0])
            near = _nearest_light(sub, s, light, pixel, du, dv, width, height)
            shade = self._shade(sub, near, directions)
            self._add_behind(shade, sub, origin, directions, K[0, 0])
            if k < 2:
                low, high = np.minimum(low, shade), np.maximum(high, shade)
            total[:, todo] += shade
            count[todo] += 1
        color[:, index] = total / count


@dataclass(frozen=True, eq=False)
class _Surface:
    t: Float[np.ndarray, "n"]
    points: Vectors
    normal: Vectors
    flat: Vectors
    albedo: Vectors
    instance: Int[np.ndarray, "n"]
    material: Int[np.ndarray, "n"]
    triangle: Int[np.ndarray, "n"]


def _edges(color: Vectors, instance, width: int, height: int) -> np.ndarray:
    tone = np.sqrt(np.minimum(color, 2)).reshape(3, height, width)
    instance = instance.reshape(height, width)
    edge = np.zeros((height, width), bool)
    for axis in (0, 1):
        step = np.abs(np.diff(tone, axis=axis + 1)).max(0) > EDGE
        step |= np.diff(instance, axis=axis) != 0
        if axis == 0:
            edge[1:] |= step
            edge[:-1] |= step
        else:
            edge[:, 1:] |= step
            edge[:, :-1] |= step
    return edge.reshape(-1)


def _nearest_light(sub, s, light, pixel, du, dv, width: int, height: int) -> Vectors:
    """Take a sub-ray's light from the neighbouring pixel that shows the same surface best."""
    out = light[:, pixel]
    search = np.flatnonzero(sub.triangle != s.triangle[pixel])
    away = sub.points[:, search] - s.points[:, pixel[search]]
    turn = dot(sub.normal[:, search], s.normal[:, pixel[search]])
    same = sub.instance[search] == s.instance[pixel[search]]
    search = search[(dot(away, away) > NEAR**2) | (turn < 0.98) | ~same]
    points, normal, instance = sub.points[:, search], sub.normal[:, search], sub.instance[search]
    x, y = pixel[search] % width, pixel[search] // width
    best = np.full(len(search), np.inf, np.float32)
    chosen = pixel[search]
    sx, sy = int(np.sign(du)), int(np.sign(dv))
    for ox, oy in ((0, 0), (sx, 0), (0, sy), (sx, sy)):
        j = np.clip(y + oy, 0, height - 1) * width + np.clip(x + ox, 0, width - 1)
        offset = points - s.points[:, j]
        cost = np.sqrt(dot(offset, offset)) + 1 - dot(normal, s.normal[:, j])
        cost += np.float32(5) * (instance != s.instance[j])
        take = cost < best
        best = np.where(take, cost, best)
        chosen = np.where(take, j, chosen)
    out[:, search] = light[:, chosen]
    return out


def _mix(a: np.ndarray, b: np.ndarray, c: np.ndarray, weights) -> np.ndarray:
    """Interpolate values at the corners of triangles."""
    return a * (1 - weights[0] - weights[1]) + b * weights[0] + c * weights[1]


def _rays(u, v, K, T_world_camera) -> tuple[Vectors, Vectors]:
    """Origin and directions of unit z-depth through pixel positions, in world."""
    camera = np.empty((3, len(u)))
    camera[0] = (u - K[0, 2]) / K[0, 0]
    camera[1] = (v - K[1, 2]) / K[1, 1]
    camera[2] = 1
    directions = T_world_camera[:3, :3] @ camera
    return column(T_world_camera[:3, 3]), directions.astype(np.float32)
