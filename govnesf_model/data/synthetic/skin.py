"""Textures of a whole room, sampled by material with mipmaps."""

import cv2
import numpy as np

from govnesf_model.data.synthetic.mesh import Material


class Skin:
    """All textures of a room in one array with mipmaps, sampled by material."""

    def __init__(self, materials: list[Material]):
        self.color = np.array([m.color for m in materials], np.float32)
        self.emission = np.array([m.emission for m in materials], np.float32)
        self.gloss = np.array([m.gloss for m in materials], np.float32)
        self.opacity = np.array([m.opacity for m in materials], np.float32)
        self.levels = 6
        known: dict[int, int] = {}
        chunks, rows = [], []
        at = 0
        self.slot = np.full(len(materials), -1)
        for i, m in enumerate(materials):
            if m.texture is None:
                continue
            if id(m.texture) not in known:
                known[id(m.texture)] = len(rows)
                image, row = m.texture, []
                for _ in range(self.levels):
                    h, w = image.shape[:2]
                    row.append((at, w, h))
                    linear = (image.astype(np.float32) / 255) ** ([2.2, 2.2, 2.2, 1.0])
                    chunks.append(linear.reshape(-1, 4).astype(np.float32))
                    at += h * w
                    image = cv2.resize(
                        image, (max(w // 2, 1), max(h // 2, 1)), interpolation=cv2.INTER_AREA
                    )
                rows.append(row)
            self.slot[i] = known[id(m.texture)]
        self.texels = np.concatenate(chunks) if chunks else np.zeros((1, 4), np.float32)
        self.table = np.array(rows, np.int64).reshape(-1, self.levels, 3)
        self.base = (
            np.array([t[0][1] for t in rows], np.float32) if rows else np.zeros(1, np.float32)
        )

    def sample(self, material, uv, footprint) -> tuple[np.ndarray, np.ndarray]:
        """Return linear albedo and coverage at texture coordinates.

        Args:
            material: index of each sample.
            uv: texture coordinates; v points up, as in OBJ.
            footprint: size of a pixel on the surface in texture units.
        """
        color = self.color[material]
        alpha = np.ones(len(material), np.float32)
        slot = self.slot[material]
        pick = np.flatnonzero(slot >= 0)
        if len(pick):
            s = slot[pick]
            size = self.base[s]
            level = np.log2(np.maximum(footprint[pick] * size, 1e-6))
            level = np.clip(np.round(level), 0, self.levels - 1).astype(np.int64)
            start, w, h = self.table[s, level].T
            x = uv[pick, 0] * w - 0.5
            y = (1 - uv[pick, 1]) * h - 0.5
            x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
            fx, fy = (x - x0)[:, None], (y - y0)[:, None]
            value = 0
            for ox, wx in ((0, 1 - fx), (1, fx)):
                for oy, wy in ((0, 1 - fy), (1, fy)):
                    texel = start + ((y0 + oy) % h) * w + (x0 + ox) % w
                    value = value + self.texels[texel] * (wx * wy)
            color = color.copy()
            color[pick] *= value[:, :3]
            alpha[pick] = value[:, 3]
        return np.minimum(color, 0.95), alpha


def texel_density(points, uv) -> np.ndarray:
    """Texture units per metre of every triangle."""
    area = np.linalg.norm(
        np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=-1
    )
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    return np.sqrt(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / np.maximum(area, 1e-12))
