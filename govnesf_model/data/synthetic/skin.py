"""Textures of a whole room in one atlas with mipmaps, sampled by material."""

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16

from govnesf_model.data.synthetic.mesh import Material

LEVELS = 6
MAX_ROWS = 32_000  # OpenCV's remap wants images below 32768 rows and columns
# Linear values in 0..65535 of 8-bit ones, for red, green, blue and alpha.
_LINEAR = np.stack([np.rint((np.arange(256) / 255) ** p * 65535) for p in (2.2, 2.2, 2.2, 1)], -1)
_LINEAR = _LINEAR.astype(np.uint16)[None]


class Skin:
    """All textures of a room, linear, each with its mipmaps side by side in a strip of the atlas.

    Every level has a border of one wrapped pixel, so that bilinear samples repeat without seams.
    """

    def __init__(self, materials: list[Material]):
        self.color = np.array([m.color for m in materials], np.float32).reshape(-1, 3).T.copy()
        self.emission = np.array([m.emission for m in materials], np.float32)
        self.gloss = np.array([m.gloss for m in materials], np.float32)
        self.opacity = np.array([m.opacity for m in materials], np.float32)
        textures = {id(m.texture): m.texture for m in materials if m.texture is not None}
        number = {key: i for i, key in enumerate(textures)}
        self.slot = np.array([number.get(id(m.texture), -1) for m in materials], np.int32)
        self._place(list(textures.values()))

    def _place(self, textures: list[UInt8[np.ndarray, "_ _ 4"]]) -> None:
        """Lay strips out in columns and fill the atlas."""
        x = y = widest = 0
        starts, height = [], 1
        for texture in textures:
            h, w = texture.shape[:2]
            if y + h + 2 > MAX_ROWS:
                x, y, widest = x + widest, 0, 0
            starts.append((x, y))
            y += h + 2
            widest = max(widest, sum(max(w >> k, 1) + 2 for k in range(LEVELS)))
            height = max(height, y)
        self.atlas = np.zeros((height, max(x + widest, 1), 4), np.uint16)
        # Width and height of the level, and where its pixel (0, 0) lies.
        self.table = np.zeros((4, len(textures), LEVELS), np.float32)
        for i, (texture, (x, y)) in enumerate(zip(textures, starts, strict=True)):
            image = texture
            for level in range(LEVELS):
                h, w = image.shape[:2]
                self.atlas[y : y + h + 2, x : x + w + 2] = np.pad(
                    _linear(image), ((1, 1), (1, 1), (0, 0)), mode="wrap"
                )
                self.table[:, i, level] = w, h, x + 1, y + 1
                x += w + 2
                image = cv2.resize(
                    image, (max(w // 2, 1), max(h // 2, 1)), interpolation=cv2.INTER_AREA
                )

    def sample(
        self,
        material: Int[np.ndarray, "n"],
        u: Float[np.ndarray, "n"],
        v: Float[np.ndarray, "n"],
        footprint: Float[np.ndarray, "n"],
    ) -> tuple[Float[np.ndarray, "3 n"], Float[np.ndarray, "n"]]:
        """Return linear albedo and coverage at texture coordinates.

        Args:
            material: index of each sample.
            u, v: texture coordinates; v points up, as in OBJ.
            footprint: size of a pixel on the surface in texture units.
        """
        color = np.take(self.color, material, axis=1)
        alpha = np.ones(len(material), np.float32)
        slot = np.take(self.slot, material)
        pick = np.flatnonzero(slot >= 0)
        if len(pick):
            every = len(pick) == len(material)
            if not every:
                slot, u, v, footprint = (a[pick] for a in (slot, u, v, footprint))
            value = self._texels(slot, u, v, footprint)
            if every:
                color *= value[:3]
                alpha = value[3]
            else:
                for channel, factor in zip(color, value, strict=False):
                    channel[pick] *= factor
                alpha[pick] = value[3]
        return np.minimum(color, np.float32(0.95)), alpha

    def _texels(self, slot, u, v, footprint) -> Float[np.ndarray, "4 n"]:
        width = np.take(self.table[0, :, 0], slot)
        level = np.log2(np.maximum(footprint * width, np.float32(1e-6)))
        level = np.clip(np.rint(level), 0, LEVELS - 1).astype(np.int32)
        w, h, x0, y0 = np.take(self.table.reshape(4, -1), slot * LEVELS + level, axis=1)
        x = (u - np.floor(u)) * w - np.float32(0.5) + x0
        y = (np.floor(v) + 1 - v) * h - np.float32(0.5) + y0
        n = len(x)
        rows = -(-n // 256)
        x, y = (np.resize(a, rows * 256).reshape(rows, 256) for a in (x, y))
        found = np.empty((rows, 256, 4), np.uint16)
        for k in range(0, rows, MAX_ROWS):
            part = slice(k, k + MAX_ROWS)
            found[part] = cv2.remap(self.atlas, x[part], y[part], cv2.INTER_LINEAR)
        value = found.reshape(-1, 4)[:n].T.astype(np.float32, order="C")
        value *= np.float32(1 / 65535)
        return value


def _linear(image: UInt8[np.ndarray, "h w 4"]) -> UInt16[np.ndarray, "h w 4"]:
    return cv2.LUT(image, _LINEAR)


def texel_density(
    uv: Float[np.ndarray, "6 n"], doubled_area: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Return the texture units per metre of every triangle from twice its area in square metres."""
    (ax, ay), (bx, by) = uv[2:4] - uv[:2], uv[4:] - uv[:2]
    return np.sqrt(np.abs(ax * by - ay * bx) / np.maximum(doubled_area, np.float32(1e-12)))
