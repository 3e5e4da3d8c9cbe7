"""Find where small things can stand."""

import numpy as np
import open3d as o3d

from govnesf_model.data.synthetic.room import Rng, Thing


class Spots:
    """Where things can stand on a piece of furniture: horizontal patches seen from above."""

    CELL = 0.04

    def __init__(self, thing: Thing, shelved: bool = False, tolerance: float = 0.012):
        self.thing, self.tolerance = thing, tolerance
        self.yaw = thing.yaw
        mesh = thing.mesh
        low, high = mesh.low, mesh.high
        nx, ny = np.maximum(np.ceil((high - low)[:2] / self.CELL).astype(int), 1)
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        points = np.ascontiguousarray(mesh.points.reshape(-1, 3), np.float32)
        scene.add_triangles(points, np.arange(len(points), dtype=np.uint32).reshape(-1, 3))
        x = low[0] + (np.arange(nx) + 0.5) * self.CELL
        y = low[1] + (np.arange(ny) + 0.5) * self.CELL
        gx, gy = np.meshgrid(x, y, indexing="ij")
        self.low = low
        top = np.full((nx, ny), high[2] + 0.05, np.float32)
        self.layers: list[tuple[np.ndarray, np.ndarray]] = []  # height, clearance above
        ceiling = np.full((nx, ny), 10.0, np.float32)
        for _ in range(8 if shelved else 1):
            rays = np.stack([gx, gy, top, 0 * gx, 0 * gx, 0 * gx - 1], -1).astype(np.float32)
            hit = scene.cast_rays(rays, nthreads=1)["t_hit"].numpy()
            height = np.where(np.isfinite(hit), top - hit, -1.0)
            if (height > 0.02).sum() < 4:
                break
            self.layers.append((height, ceiling - height))
            top = np.where(height > 0, height - 0.035, 0.0).astype(np.float32)
            ceiling = np.where(height > 0, height - 0.03, ceiling)
        self.area = float((self.layers[0][0] > 0.2).sum() * self.CELL**2) if self.layers else 0.0

    def find(self, rng: Rng, footprint: np.ndarray, height: float) -> np.ndarray | None:
        """Return a random place (x, y, z) for a thing of a size, or None."""
        if not self.layers:
            return None
        level, clear = self.layers[rng.integers(len(self.layers))]
        nx, ny = level.shape
        kx, ky = (max(1, int(np.ceil(f / self.CELL - 0.3))) for f in footprint)
        if kx > nx or ky > ny:
            return None
        i, j = int(rng.integers(nx - kx + 1)), int(rng.integers(ny - ky + 1))
        patch = level[i : i + kx, j : j + ky]
        high = float(patch.max())
        if high < 0.15 or high - float(patch.min()) > self.tolerance:
            return None
        if float(clear[i : i + kx, j : j + ky].min()) < height + 0.01:
            return None
        x = self.low[0] + (i + kx / 2) * self.CELL
        y = self.low[1] + (j + ky / 2) * self.CELL
        sink = 0.3 * (high - float(patch.min()))
        return np.array([x, y, high - sink + 0.0008])
