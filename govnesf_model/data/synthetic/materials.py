"""Named colours and procedural materials."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from govnesf_model.data.synthetic.mesh import Material

SIZE = 128  # pixels of a procedural texture, which repeats

# sRGB values in 0..255 of the colours that a recoloured thing is called by.
COLORS = {
    "red": (190, 35, 35),
    "blue": (40, 75, 170),
    "green": (50, 130, 60),
    "yellow": (225, 190, 50),
    "orange": (225, 120, 35),
    "purple": (115, 60, 140),
    "pink": (225, 140, 165),
    "brown": (105, 68, 42),
    "black": (35, 35, 38),
    "white": (235, 235, 232),
    "gray": (128, 128, 130),
    "beige": (212, 192, 158),
}
WOODS = ((150, 100, 60), (110, 70, 42), (190, 145, 95), (85, 52, 34), (205, 170, 125))


def to_linear(srgb) -> np.ndarray:
    """Return linear values in 0..1 of sRGB values in 0..255 (plain 2.2 gamma)."""
    return (np.asarray(srgb, np.float32) / 255.0) ** 2.2


def named_color(name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a linear shade of a named colour, varied but never so far that the name is wrong."""
    base = np.array(COLORS[name], float) * rng.uniform(0.85, 1.12) + rng.normal(0, 7, 3)
    r, g, b = to_linear(np.clip(base, 12, 245))
    return float(r), float(g), float(b)


def color_name(linear: Float[np.ndarray, "3"]) -> str | None:
    """Return the name of a linear colour where it is clear, else None."""
    srgb = np.clip(linear, 0, 1) ** (1 / 2.2) * 255
    lab = _lab(srgb[None])[0]
    names = list(COLORS)
    table = _lab(np.array([COLORS[n] for n in names], np.float32))
    distance = np.linalg.norm((lab - table) * [0.6, 1, 1], axis=-1)
    order = np.argsort(distance)
    clear = distance[order[0]] < 24 and distance[order[1]] - distance[order[0]] > 5
    return names[order[0]] if clear else None


@lru_cache(maxsize=512)
def texture(kind: str, seed: int) -> UInt8[np.ndarray, "h w 4"]:
    """Return a tileable procedural texture.

    Args:
        kind: wood, planks, parquet, tiles, carpet, plaster, brick, fabric, checks, stripes, marble,
            concrete, wicker, print or rug; coloured by the material, except print and rug.
    """
    rng = np.random.default_rng([seed, sum(map(ord, kind))])
    value = _PAINTERS[kind](rng)
    if value.ndim == 2:
        value = value[..., None].repeat(3, -1)
    image = np.full((*value.shape[:2], 4), 255, np.uint8)
    image[..., :3] = np.clip(value * 255, 0, 255)
    return image


def material(kind: str, rng: np.random.Generator, color=None, word: str | None = None) -> Material:
    """Return a random instance of a procedural material.

    Args:
        kind: see `texture`, or "plastic", "metal", "leather", "glass", "ceramic", "paint".
        color: linear albedo; a fitting one is drawn where None.
        word: what to call it; a kind's own word where None.
    """
    words = {
        "wood": "wooden", "planks": "wooden", "parquet": "wooden", "tiles": "tiled",
        "carpet": "fabric", "fabric": "fabric", "checks": "fabric", "stripes": "fabric",
        "brick": "brick", "marble": "marble", "concrete": "concrete", "wicker": "wicker",
        "plastic": "plastic", "metal": "metal", "leather": "leather", "glass": "glass",
        "ceramic": "ceramic", "plaster": "plaster",
    }  # fmt: skip
    gloss = {"metal": 0.5, "plastic": 0.2, "ceramic": 0.35, "glass": 0.5, "leather": 0.15}
    scales = {
        "wood": 0.6, "planks": 1.0, "parquet": 1.0, "tiles": 0.8, "carpet": 0.4, "plaster": 1.0,
        "brick": 0.8, "fabric": 0.12, "checks": 0.25, "stripes": 0.3, "marble": 1.2,
        "concrete": 1.5, "wicker": 0.2,
    }  # fmt: skip
    image, scale = None, 0.0
    if kind in scales:
        image = texture(kind, int(rng.integers(24)))
        scale = scales[kind] * float(rng.uniform(0.75, 1.35))
    if color is None:
        if kind in ("wood", "planks", "parquet"):
            base = np.array(WOODS[rng.integers(len(WOODS))], float) * rng.uniform(0.85, 1.15)
        elif kind == "metal":
            base = np.full(3, rng.uniform(90, 190))
        elif kind == "brick":
            base = np.array((160, 95, 70)) * rng.uniform(0.8, 1.2)
        else:
            base = np.array(COLORS[list(COLORS)[rng.integers(len(COLORS))]], float)
        color = to_linear(np.clip(base + rng.normal(0, 5, 3), 10, 245))
    return Material(
        color=(float(color[0]), float(color[1]), float(color[2])),
        texture=image,
        gloss=gloss.get(kind, 0.05),
        opacity=0.35 if kind == "glass" else 1.0,
        word=word or words.get(kind),
        scale=scale,
    )


def _lab(srgb: np.ndarray) -> np.ndarray:
    image = np.asarray(srgb, np.float32)[None] / 255.0
    return cv2.cvtColor(image, cv2.COLOR_RGB2Lab)[0]


def _noise(rng: np.random.Generator, fx: int, fy: int, octaves: int = 4) -> np.ndarray:
    """Tileable value noise in about -1..1 with fx by fy cells."""
    total, weight = np.zeros((SIZE, SIZE), np.float32), 0.0
    for o in range(octaves):
        nx, ny = min(fx << o, SIZE), min(fy << o, SIZE)
        grid = rng.uniform(-1, 1, (ny, nx)).astype(np.float32)
        grid = np.pad(grid, ((2, 2), (2, 2)), mode="wrap")
        x = (np.arange(SIZE, dtype=np.float32) * nx / SIZE) + 2
        y = (np.arange(SIZE, dtype=np.float32) * ny / SIZE) + 2
        mx, my = np.meshgrid(x, y)
        total += cv2.remap(grid, mx, my, cv2.INTER_CUBIC) * 0.6**o
        weight += 0.6**o
    return total / weight


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    return x, y


def _wood(rng, warp=0.6):
    _, y = _grid()
    n = _noise(rng, 2, 1, 3)
    rings = np.sin(2 * np.pi * (rng.integers(4, 9) * y + warp * n))
    return 0.85 + 0.12 * rings + 0.12 * _noise(rng, 4, 64, 2)


def _planks(rng):
    x, y = _grid()
    rows = int(rng.integers(5, 10))
    row = np.floor(y * rows).astype(int)
    shift = rng.random(rows)[row]
    column = np.floor((x + shift) * 2) % 2
    tone = rng.uniform(0.75, 1.1, (rows, 2))[row, column.astype(int)]
    gap = ((y * rows) % 1 < 0.05) | (((x + shift) * 2) % 1 < 0.012)
    return np.where(gap, 0.45, tone * _wood(rng, 0.3))


def _parquet(rng):
    x, y = _grid()
    n = 4
    cx, cy = np.floor(x * n).astype(int), np.floor(y * n).astype(int)
    along = np.where((cx + cy) % 2 == 0, x, y)
    strip = np.floor((along * n) % 1 * 4).astype(int)
    tone = rng.uniform(0.75, 1.1, (n, n, 4))[cy, cx, strip]
    gap = ((along * n) % 1 * 4) % 1 < 0.08
    return np.where(gap, 0.5, tone) * (1 + 0.08 * _noise(rng, 16, 16, 2))


def _tiles(rng):
    x, y = _grid()
    n = int(rng.integers(2, 5))
    cx, cy = np.floor(x * n).astype(int), np.floor(y * n).astype(int)
    tone = rng.uniform(0.9, 1.05, (n, n))[cy, cx]
    if rng.random() < 0.2 and n % 2 == 0:
        tone = tone * np.where((cx + cy) % 2 == 0, 1.0, 0.35)
    joint = ((x * n) % 1 < 0.04) | ((y * n) % 1 < 0.04)
    return np.where(joint, rng.uniform(0.4, 0.8), tone) + 0.04 * _noise(rng, 4, 4)


def _carpet(rng):
    return 0.85 + 0.25 * rng.normal(0, 0.5, (SIZE, SIZE)) * 0.6 + 0.1 * _noise(rng, 6, 6)


def _plaster(rng):
    return 0.95 + 0.05 * _noise(rng, 8, 8, 5)


def _brick(rng):
    x, y = _grid()
    rows, columns = 8, 4
    row = np.floor(y * rows).astype(int)
    xs = x * columns + 0.5 * (row % 2)
    tone = rng.uniform(0.7, 1.1, (rows, columns))[row, np.floor(xs).astype(int) % columns]
    joint = ((y * rows) % 1 < 0.12) | (xs % 1 < 0.06)
    return np.where(joint, 1.15, tone) * (1 + 0.12 * _noise(rng, 16, 16))


def _fabric(rng):
    x, y = _grid()
    n = 32
    weave = np.sin(2 * np.pi * n * x) * np.sin(2 * np.pi * n * y)
    return 0.9 + 0.1 * weave + 0.08 * _noise(rng, 8, 8)


def _checks(rng):
    x, y = _grid()
    n = int(rng.integers(1, 4)) * 2
    return 0.95 - 0.3 * ((x * n) % 1 < 0.5) - 0.3 * ((y * n) % 1 < 0.5)


def _stripes(rng):
    x, _ = _grid()
    n = int(rng.integers(2, 7))
    return np.where((x * n) % 1 < rng.uniform(0.3, 0.7), 1.0, rng.uniform(0.35, 0.7))


def _marble(rng):
    vein = np.abs(_noise(rng, 3, 3, 5))
    return 1.0 - 0.45 * np.exp(-vein * rng.uniform(9, 16)) + 0.05 * _noise(rng, 6, 6)


def _concrete(rng):
    return 0.85 + 0.12 * _noise(rng, 4, 4, 5) + 0.03 * rng.normal(size=(SIZE, SIZE))


def _wicker(rng):
    x, y = _grid()
    n = 8
    over = (np.floor(x * n) + np.floor(y * n)) % 2
    a, b = np.sin(np.pi * ((x * n) % 1)), np.sin(np.pi * ((y * n) % 1))
    return 0.55 + 0.45 * np.where(over > 0, a, b)


def _print(rng):
    """A picture: sky over hills, or overlapping shapes of strong colours."""
    _, y = _grid()
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    if rng.random() < 0.45:
        top, bottom = rng.uniform(0.3, 1, 3), rng.uniform(0.3, 1, 3)
        image[:] = top * (1 - y[..., None]) + bottom * y[..., None]
        for level in np.sort(rng.uniform(0.35, 0.9, 3)):
            hill = level + 0.15 * _noise(rng, 2, 1, 3)[0]
            image[y > hill[None, :]] = rng.uniform(0.05, 0.8, 3)
    else:
        image[:] = rng.uniform(0.1, 1, 3)
        for _ in range(int(rng.integers(4, 14))):
            colour = tuple(float(c) for c in rng.uniform(0, 1, 3))
            a = tuple(int(c) for c in rng.integers(0, SIZE, 2))
            if rng.random() < 0.5:
                cv2.circle(image, a, int(rng.integers(6, 40)), colour, -1, cv2.LINE_AA)
            else:
                b = tuple(int(c) for c in rng.integers(0, SIZE, 2))
                cv2.rectangle(image, a, b, colour, -1)
    return image + 0.05 * _noise(rng, 8, 8)[..., None]


def _rug(rng):
    """A rug: nested borders around stripes, diamonds or a plain field."""
    x, y = _grid()
    colours = rng.uniform(0.08, 0.85, (5, 3)).astype(np.float32)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    image = colours[np.digitize(edge, [0.04, 0.09, 0.12])]
    field = edge > 0.14
    n = int(rng.integers(3, 9))
    pattern = {
        0: (x * n) % 1 < 0.5,
        1: (np.abs((x * n) % 1 - 0.5) + np.abs((y * n) % 1 - 0.5)) < 0.3,
        2: np.zeros_like(field),
    }[int(rng.integers(3))]
    image[field & pattern] = colours[4]
    return image * (1 + 0.12 * rng.normal(size=(SIZE, SIZE, 1)))


_PAINTERS = {
    "wood": _wood, "planks": _planks, "parquet": _parquet, "tiles": _tiles, "carpet": _carpet,
    "plaster": _plaster, "brick": _brick, "fabric": _fabric, "checks": _checks,
    "stripes": _stripes, "marble": _marble, "concrete": _concrete, "wicker": _wicker,
    "print": _print, "rug": _rug,
}  # fmt: skip
