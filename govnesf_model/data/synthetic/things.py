"""Parametric things: what the catalogues lack, and every class in many more shapes.

shape = make("mug", np.random.default_rng(0))   # a Shape: mesh, colour word, material word
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, Mesh, join
from govnesf_model.data.synthetic.shapes import box, cylinder, ellipsoid, flat, quad, rod, turned

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Shape:
    """A parametric thing: front towards -y, centred, standing on z = 0.

    Attributes:
        mesh: its triangles in metres.
        color: the name of its main colour where it has one.
        material: the word for its main material.
    """

    mesh: Mesh
    color: str | None
    material: str | None


def make(name: str, rng: Rng, color: str | None = None) -> Shape:
    """Return a random thing of a class in PROCEDURAL, painted in a named colour if given."""
    paint = _Paint(rng, color)
    mesh = PROCEDURAL[name](rng, paint)
    return Shape(mesh, paint.color, paint.word)


class _Paint:
    """Draws the main material of a thing and remembers what to call it."""

    def __init__(self, rng: Rng, color: str | None):
        self.rng, self.wanted = rng, color
        self.color: str | None = None
        self.word: str | None = None

    def __call__(self, *kinds: str, colors: str = "") -> Material:
        rng = self.rng
        kind = kinds[rng.integers(len(kinds))]
        natural = kind in ("wood", "metal", "wicker")
        if self.wanted or (not natural) or rng.random() < 0.15:
            pool = colors.split() or list(materials.COLORS)
            self.color = self.wanted or pool[rng.integers(len(pool))]
            made = materials.material(kind, rng, materials.named_color(self.color, rng))
        else:
            made = materials.material(kind, rng)
        self.word = made.word
        return made


def _any(rng: Rng, *kinds: str) -> Material:
    return materials.material(kinds[rng.integers(len(kinds))], rng)


def _plain(*srgb, gloss=0.1) -> Material:
    """Return an untextured material of an sRGB colour in 0..255."""
    r, g, b = materials.to_linear(srgb)
    return Material(color=(float(r), float(g), float(b)), gloss=gloss)


def _mug(rng, paint):
    m = paint("ceramic", "ceramic", "plastic")
    r, h = rng.uniform(0.035, 0.05), rng.uniform(0.08, 0.12)
    top = r * rng.uniform(0.9, 1.15)
    body = turned(
        [(0, 0), (r, 0), (r, 0.01), (top, h), (top - 0.004, h), (r - 0.004, 0.006), (0, 0.006)],
        m,
        20,
    )
    angles = np.linspace(-1.3, 1.3, 7)
    grip = rng.uniform(0.45, 0.6) * h
    path = [
        (r * 0.95 + 0.03 * np.cos(a), 0, h / 2 + grip / 2 * np.sin(a) / np.sin(1.3)) for a in angles
    ]
    parts = [body, *(rod(a, b, 0.005, m, 6) for a, b in zip(path, path[1:], strict=False))]
    if rng.random() < 0.4:
        parts.append(cylinder(top - 0.005, 0.001, _plain(70, 40, 20), (0, 0, h * 0.8)))
    return join(parts)


def _cup(rng, paint):
    m = paint("ceramic", "ceramic", "plastic")
    r, h = rng.uniform(0.035, 0.05), rng.uniform(0.05, 0.11)
    parts = [
        turned([(0, 0), (r * 0.6, 0), (r * 0.8, h * 0.4), (r, h), (r - 0.004, h), (0, 0.01)], m)
    ]
    if rng.random() < 0.5:
        parts = [parts[0].moved(0, (0, 0, 0.008))]
        parts.append(turned([(0, 0), (0.04, 0), (0.075, 0.014), (0.073, 0.016), (0, 0.006)], m))
    return join(parts)


def _glass(rng, paint):
    m = Material(color=(0.75, 0.85, 0.88), gloss=0.5, opacity=0.35, word="glass")
    paint.word = "glass"
    r, h = rng.uniform(0.03, 0.042), rng.uniform(0.09, 0.16)
    if rng.random() < 0.4:
        p = [
            (0, 0),
            (r, 0),
            (r, 0.004),
            (0.005, 0.008),
            (0.005, h * 0.5),
            (r, h * 0.7),
            (r * 0.9, h),
        ]
        return turned(p, m)
    return turned([(0, 0), (r * 0.85, 0), (r, h), (r - 0.003, h), (r * 0.8, 0.01), (0, 0.01)], m)


def _bowl(rng, paint):
    m = paint("ceramic", "ceramic", "plastic", "metal", "wood")
    r, h = rng.uniform(0.06, 0.16), rng.uniform(0.05, 0.1)
    t = np.linspace(0.25, 1, 6)
    outer = [(r * x, h * x**2.2) for x in t]
    inner = [(max(x - 0.006, 0), z + 0.006) for x, z in outer[::-1]]
    return turned([(0, 0), *outer, *inner, (0, inner[-1][1])], m, 24)


def _plate(rng, paint):
    m = paint("ceramic", colors="white white beige blue red gray green yellow")
    r = rng.uniform(0.08, 0.15)
    return turned(
        [(0, 0), (r * 0.6, 0), (r, 0.02), (r, 0.024), (r * 0.6, 0.006), (0, 0.006)], m, 28
    )


def _bottle(rng, paint):
    m = paint("plastic", "ceramic", "metal")
    r, h = rng.uniform(0.025, 0.045), rng.uniform(0.16, 0.3)
    n = r * rng.uniform(0.3, 0.5)
    shoulder = rng.uniform(0.55, 0.75)
    body = turned(
        [
            (0, 0),
            (r, 0),
            (r, h * shoulder),
            (n, h * (shoulder + 0.17)),
            (n, h * 0.95),
            (0, h * 0.95),
        ],
        m,
    )
    cap = cylinder(n * 1.15, h * 0.07, _any(rng, "plastic"), (0, 0, h * 0.94))
    label = turned([(r + 0.0008, h * 0.15), (r + 0.0008, h * 0.45)], _printed(rng))
    return join([body, cap, label] if rng.random() < 0.6 else [body, cap])


def _wine_bottle(rng, paint):
    paint.word = "glass"
    tint = [(25, 55, 30), (40, 25, 15), (20, 20, 20)][rng.integers(3)]
    m = _plain(*tint, gloss=0.5)
    r, h = rng.uniform(0.034, 0.042), rng.uniform(0.28, 0.33)
    p = [(0, 0), (r, 0), (r, h * 0.58), (r * 0.85, h * 0.66), (0.014, h * 0.75), (0.014, h), (0, h)]
    label = turned([(r + 0.001, h * 0.18), (r + 0.001, h * 0.45)], _plain(225, 215, 190))
    foil = cylinder(0.0155, h * 0.14, _any(rng, "plastic"), (0, 0, h * 0.87))
    return join([turned(p, m), label, foil])


def _can(rng, paint):
    r, h = rng.uniform(0.028, 0.042), rng.uniform(0.09, 0.13)
    steel = _plain(170, 170, 175, gloss=0.5)
    side = paint("plastic")
    body = turned([(r, 0.004), (r, h - 0.004)], side)
    return join(
        [
            body,
            turned([(0, 0), (r, 0), (r, 0.004)], steel),
            turned([(r, h - 0.004), (r * 0.9, h), (0, h - 0.004)], steel),
        ]
    )


def _vase(rng, paint):
    m = paint("ceramic", "ceramic", "glass", "metal")
    h = rng.uniform(0.15, 0.35)
    r = h * rng.uniform(0.15, 0.3, 5)
    t = np.linspace(0, 1, 17)
    profile = np.interp(t, np.linspace(0, 1, 5), r)
    profile = np.convolve(np.pad(profile, 2, mode="edge"), np.ones(5) / 5, "valid")
    return turned(
        [
            (0, 0),
            *zip(profile, t * h, strict=True),
            (profile[-1] * 0.85, h),
            (profile[-1] * 0.8, h * 0.7),
        ],
        m,
        24,
    )


def _pot_of_soil(rng, m, r, h):
    soil = _plain(60, 42, 30)
    pot = turned([(0, 0), (r * 0.7, 0), (r, h), (r * 1.05, h), (r * 1.05, h * 0.92)], m)
    return [pot, cylinder(r * 0.98, 0.004, soil, (0, 0, h * 0.88))]


def _leaves(rng, n, base, reach, height, width, material):
    """Bent leaves that rise from a point and spread out, each of two curved strips."""
    triangles = []
    for _ in range(n):
        a = rng.uniform(0, 2 * np.pi)
        out = np.array([np.cos(a), np.sin(a)])
        side = np.array([-out[1], out[0], 0]) * width * rng.uniform(0.7, 1.2)
        r, z = reach * rng.uniform(0.4, 1.0), height * rng.uniform(0.45, 1.0)
        droop = rng.uniform(0.05, 0.5) * z
        t = np.linspace(0, 1, 6)
        path = np.stack(
            [out[0] * r * t, out[1] * r * t, z * np.sin(t * np.pi / 2) - droop * t**3], -1
        )
        path = path + base
        w = np.sin(np.pi * (0.12 + 0.86 * t))[:, None]
        left, right = path + side * w, path - side * w
        for i in range(5):
            triangles += [[left[i], right[i], right[i + 1]], [left[i], right[i + 1], left[i + 1]]]
    return flat(np.array(triangles), material)


def _plant(rng, paint, scale=1.0):
    pot = _any(rng, "ceramic", "plastic", "wicker", "concrete")
    paint.color, paint.word = "green", None
    r, h = scale * rng.uniform(0.12, 0.2), scale * rng.uniform(0.2, 0.35)
    green = _plain(*(np.array((55, 105, 45)) * rng.uniform(0.6, 1.3) + rng.normal(0, 8, 3)))
    top = np.array([0, 0, h * 0.9])
    height = scale * rng.uniform(0.35, 1.0)
    parts = _pot_of_soil(rng, pot, r, h)
    if rng.random() < 0.5:
        parts.append(
            _leaves(
                rng,
                int(rng.integers(14, 40)),
                top,
                scale * rng.uniform(0.2, 0.5),
                height,
                scale * rng.uniform(0.02, 0.06),
                green,
            )
        )
    else:
        trunk = top + [0, 0, height]
        parts.append(rod(top, trunk, 0.012 * scale + 0.004, _plain(95, 70, 45)))
        for z in np.linspace(0.35, 1, 4):
            parts.append(
                _leaves(
                    rng,
                    int(rng.integers(10, 22)),
                    top + [0, 0, height * z],
                    scale * 0.3,
                    scale * 0.3,
                    scale * rng.uniform(0.02, 0.05),
                    green,
                )
            )
    return join(parts)


def _small_plant(rng, paint):
    return _plant(rng, paint, rng.uniform(0.3, 0.5))


def _flowers(rng, paint):
    vase = _vase(rng, _Paint(rng, None))
    top = np.array([0, 0, vase.size[2] * 0.9])
    green = _plain(60, 110, 50)
    petals = paint("plastic", colors="red yellow pink purple white orange")
    paint.word = None
    parts = [vase]
    for _ in range(int(rng.integers(6, 14))):
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.12)
        end = top + [r * np.cos(a), r * np.sin(a), rng.uniform(0.1, 0.22)]
        parts.append(rod(top, end, 0.003, green, 5))
        s = rng.uniform(0.03, 0.06)
        parts.append(ellipsoid((s, s, s * 0.7), petals, n=5).moved(0, tuple(end - [0, 0, s * 0.3])))
    parts.append(_leaves(rng, 10, top, 0.12, 0.14, 0.012, green))
    return join(parts)


def _cactus(rng, paint):
    paint.color = "green"
    green = _plain(70, 115, 60)
    parts = _pot_of_soil(rng, _any(rng, "ceramic", "plastic"), 0.05, 0.07)
    h = rng.uniform(0.08, 0.2)
    parts.append(ellipsoid((0.06, 0.06, h), green, 2.6, 8).moved(0, (0, 0, 0.055)))
    if rng.random() < 0.6:
        parts.append(
            ellipsoid((0.03, 0.03, h * 0.5), green, 2.6, 6).moved(0, (0.04, 0, 0.05 + h * 0.35))
        )
    return join(parts)


def _printed(rng) -> Material:
    return Material(
        color=(0.9, 0.9, 0.9), texture=materials.texture("print", int(rng.integers(200))), gloss=0.1
    )


def _book(rng, paint):
    w, d, h = rng.uniform(0.12, 0.22), rng.uniform(0.17, 0.3), rng.uniform(0.012, 0.05)
    cover = paint("leather", "plastic")
    paint.word = None
    pages = _plain(235, 228, 205)
    parts = [
        box((w - 0.006, d - 0.008, h - 0.004), (0.002, 0, 0.002), pages),
        box((w, d, 0.003), (0, 0, 0), cover),
        box((w, d, 0.003), (0, 0, h - 0.003), cover),
        box((0.003, d, h), (-w / 2, 0, 0), cover),
    ]
    if rng.random() < 0.5:
        a, b, z = w * rng.uniform(0.25, 0.45), d * rng.uniform(0.15, 0.45), h + 0.0006
        parts.append(quad([[-a, -b, z], [a, -b, z], [a, b, z], [-a, b, z]], _printed(rng)))
    return join(parts)


def _books(rng, paint):
    """A pile or a row of books counts as books."""
    n = int(rng.integers(1, 6))
    parts, z, x = [], 0.0, 0.0
    row = rng.random() < 0.4
    for _ in range(n):
        one = _book(rng, paint if n == 1 else _Paint(rng, None))
        if row:
            up = one.transformed(np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float), np.zeros(3))
            up = up.moved(0, (x - up.low[0], 0, -up.low[2]))
            x += float(up.size[0]) + 0.001
            parts.append(up)
        else:
            parts.append(
                one.moved(rng.normal(0, 0.15), (rng.normal(0, 0.008), rng.normal(0, 0.008), z))
            )
            z += float(one.size[2])
    return _centred(join(parts))


def _magazine(rng, paint):
    w, d = rng.uniform(0.18, 0.23), rng.uniform(0.25, 0.31)
    parts = [box((w, d, 0.005), (0, 0, 0), _plain(225, 225, 220))]
    z = 0.0058
    parts.append(
        quad(
            [[-w / 2, -d / 2, z], [w / 2, -d / 2, z], [w / 2, d / 2, z], [-w / 2, d / 2, z]],
            _printed(rng),
        )
    )
    return join(parts)


def _paper(rng, paint):
    paint.color, parts = "white", []
    for i in range(int(rng.integers(1, 4))):
        parts.append(
            box((0.21, 0.297, 0.001), (0, 0, 0), _plain(240, 240, 238)).moved(
                rng.normal(0, 0.3), (rng.normal(0, 0.03), rng.normal(0, 0.03), 0.001 * i)
            )
        )
        for k in range(8):
            y = 0.11 - 0.03 * k
            line = box((0.15, 0.006, 0.0003), (0, y, 0.0011 + 0.001 * i), _plain(120, 120, 125))
            parts.append(line) if i == 0 else None
    return join(parts)


def _box(rng, paint):
    w, d, h = rng.uniform(0.06, 0.25), rng.uniform(0.06, 0.2), rng.uniform(0.04, 0.25)
    m = paint("plastic", "plastic", "wood", "metal")
    parts = [box((w, d, h), (0, 0, 0), m)]
    kind = rng.random()
    if kind < 0.45:
        y = -d / 2 - 0.0007
        a, b, c = w * 0.4, h * rng.uniform(0.1, 0.3), h * rng.uniform(0.6, 0.9)
        parts.append(quad([[-a, y, b], [a, y, b], [a, y, c], [-a, y, c]], _printed(rng)))
    elif kind < 0.7:
        parts.append(box((w * 1.03, d * 1.03, h * 0.2), (0, 0, h * 0.85), m))
    return join(parts)


def _carton(rng, paint):
    w, d, h = rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.45), rng.uniform(0.18, 0.45)
    paint.color, paint.word = "brown", "cardboard"
    tan = np.array((176, 134, 92)) * rng.uniform(0.85, 1.1)
    parts = [box((w, d, h), (0, 0, 0), _plain(*tan, gloss=0.02))]
    parts.append(
        box((w + 0.002, 0.05, h + 0.002), (0, 0, -0.0005), _plain(*(tan * 1.12), gloss=0.2))
    )
    return join(parts)


def _ball(rng, paint):
    r = rng.uniform(0.04, 0.24)
    return ellipsoid((r, r, r), paint("plastic", "leather"), n=14)


def _keyboard(rng, paint):
    m = paint("plastic", colors="black white gray")
    key = _plain(50, 50, 52) if paint.color != "black" else _plain(75, 75, 78)
    w = rng.uniform(0.36, 0.46)
    parts = [box((w, 0.15, 0.018), (0, 0, 0), m)]
    for i in range(5):
        for j in range(14):
            parts.append(
                box(
                    (w / 17, 0.02, 0.004),
                    (-w / 2 + w * (j + 1) / 15, -0.055 + 0.027 * i, 0.018),
                    key,
                )
            )
    return join(parts)


def _mouse(rng, paint):
    return ellipsoid((0.062, 0.11, 0.036), paint("plastic", colors="black white gray"), 2.3, 10)


def _screen_picture(rng) -> Material:
    if rng.random() < 0.5:
        return _plain(18, 20, 24, gloss=0.5)
    return Material(
        color=(0.9, 0.9, 0.9),
        texture=materials.texture("print", int(rng.integers(200))),
        emission=0.7,
    )


def _panel(rng, w, h, t, z, frame, picture):
    e, y = 0.015, -t / 2 - 0.0008
    screen = quad(
        [
            [-w / 2 + e, y, z + e],
            [w / 2 - e, y, z + e],
            [w / 2 - e, y, z + h - e],
            [-w / 2 + e, y, z + h - e],
        ],
        picture,
    )
    return [box((w, t, h), (0, 0, z), frame), screen]


def _monitor(rng, paint):
    m = paint("plastic", colors="black black white gray")
    w = rng.uniform(0.42, 0.68)
    h = w * rng.uniform(0.55, 0.65)
    parts = _panel(rng, w, h, 0.03, 0.12, m, _screen_picture(rng))
    parts += [box((0.05, 0.03, 0.14), (0, 0.03, 0), m), box((0.24, 0.18, 0.012), (0, 0.02, 0), m)]
    return join(parts)


def _television(rng, paint):
    m = paint("plastic", colors="black black gray")
    w = rng.uniform(0.7, 1.2)
    parts = _panel(rng, w, w * 0.57, 0.04, 0.06, m, _screen_picture(rng))
    parts += [box((0.08, 0.03, 0.07), (0, 0.02, 0), m), box((w * 0.4, 0.2, 0.012), (0, 0.02, 0), m)]
    return join(parts)


def _laptop(rng, paint):
    m = paint("plastic", "metal", colors="black gray white")
    w, d = rng.uniform(0.3, 0.38), rng.uniform(0.21, 0.26)
    parts = [
        box((w, d, 0.016), (0, 0, 0), m),
        box((w * 0.85, d * 0.45, 0.001), (0, d * 0.1, 0.0165), _plain(35, 35, 38)),
    ]
    lid = join(_panel(rng, w, d, 0.008, 0, m, _screen_picture(rng)))
    a = rng.uniform(0.1, 0.5)
    R = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    parts.append(lid.transformed(R, np.array([0, d / 2, 0.012])))
    return join(parts)


def _phone(rng, paint):
    m = paint("plastic", colors="black black white red blue gray")
    parts = [box((0.072, 0.148, 0.008), (0, 0, 0), m)]
    return join(
        [*parts, box((0.066, 0.136, 0.0006), (0, 0, 0.0082), _plain(20, 22, 26, gloss=0.6))]
    )


def _remote(rng, paint):
    parts = [box((0.045, 0.17, 0.018), (0, 0, 0), paint("plastic", colors="black gray white"))]
    for i in range(6):
        for j in range(3):
            parts.append(
                box(
                    (0.008, 0.008, 0.003),
                    (-0.013 + 0.013 * j, -0.06 + 0.02 * i, 0.018),
                    _any(rng, "plastic"),
                )
            )
    return join(parts)


def _pot(rng, paint):
    m = paint("metal", "metal", "ceramic")
    r, h = rng.uniform(0.09, 0.14), rng.uniform(0.08, 0.18)
    body = turned([(0, 0), (r, 0), (r, h), (r - 0.004, h), (r - 0.004, 0.01), (0, 0.01)], m, 24)
    parts = [body, box((0.05, 2 * r + 0.09, 0.012), (0, 0, h * 0.8), m)]
    if rng.random() < 0.6:
        parts.append(
            turned(
                [(r, h), (r * 0.5, h + 0.02), (0.015, h + 0.025), (0.02, h + 0.045), (0, h + 0.05)],
                m,
                24,
            )
        )
    else:
        parts[1] = box((0.04, 0.03, 0.012), (0, r + 0.01, h * 0.8), m)
    return join(parts)


def _pan(rng, paint):
    m = paint("metal", colors="black black gray red")
    r = rng.uniform(0.1, 0.15)
    body = turned(
        [(0, 0), (r * 0.8, 0), (r, 0.045), (r - 0.004, 0.045), (r * 0.78, 0.006), (0, 0.006)], m, 24
    )
    return _centred(
        join([body, box((0.03, 0.19, 0.015), (0, r + 0.09, 0.035), _plain(35, 33, 32))])
    )


def _fruit(rng, paint):
    kind = [("red", 0.075), ("green", 0.075), ("orange", 0.08), ("yellow", 0.065)][rng.integers(4)]
    paint.color = kind[0]
    m = Material(color=materials.named_color(kind[0], rng), gloss=0.15)
    parts = []
    for i in range(int(rng.integers(1, 4))):
        s = kind[1] * rng.uniform(0.9, 1.1)
        a = 2.1 * i + rng.uniform(0, 0.3)
        parts.append(
            ellipsoid((s, s, s * 0.93), m, n=9).moved(0, (0.045 * np.cos(a), 0.045 * np.sin(a), 0))
        )
    return _centred(join(parts))


def _banana(rng, paint):
    paint.color = "yellow"
    m = Material(color=materials.named_color("yellow", rng), gloss=0.1)
    parts = []
    for k in range(int(rng.integers(1, 4))):
        t = np.linspace(-0.8, 0.8, 7)
        path = np.stack([0.11 * np.sin(t), 0.03 * k + 0.09 * np.cos(t), np.full(7, 0.018)], -1)
        parts += [
            rod(a, b, 0.017 - 0.006 * abs(i - 2.5) / 2.5, m, 8)
            for i, (a, b) in enumerate(zip(path, path[1:], strict=False))
        ]
    return _centred(join(parts))


def _knife(rng, paint):
    steel = _plain(175, 175, 180, gloss=0.6)
    handle = _any(rng, "plastic", "wood")
    return join(
        [
            box((0.022, 0.14, 0.003), (0, 0.06, 0.005), steel),
            box((0.022, 0.1, 0.014), (0, -0.06, 0), handle),
        ]
    )


def _spoon(rng, paint):
    steel = paint("metal", "wood")
    bowl = ellipsoid((0.035, 0.055, 0.012), steel, n=7).moved(0, (0, 0.08, 0))
    return join([bowl, box((0.01, 0.14, 0.004), (0, -0.01, 0.004), steel)])


def _cutting_board(rng, paint):
    return box(
        (rng.uniform(0.2, 0.4), rng.uniform(0.15, 0.28), rng.uniform(0.012, 0.03)),
        (0, 0, 0),
        paint("wood", "wood", "wood", "plastic"),
    )


def _cushion(rng, paint):
    s = rng.uniform(0.34, 0.5)
    return ellipsoid(
        (s, s, rng.uniform(0.1, 0.16)), paint("fabric", "checks", "stripes", "leather"), 3.2, 12
    )


def _pillow(rng, paint):
    return ellipsoid(
        (rng.uniform(0.5, 0.7), rng.uniform(0.35, 0.45), rng.uniform(0.1, 0.16)),
        paint("fabric", colors="white white beige blue gray pink"),
        3.2,
        12,
    )


def _towel(rng, paint):
    m = paint("fabric", "stripes")
    w, d = rng.uniform(0.25, 0.4), rng.uniform(0.18, 0.28)
    return join(
        [
            ellipsoid((w, d, 0.035), m, 6, 8).moved(rng.normal(0, 0.05), (0, 0, 0.03 * i))
            for i in range(int(rng.integers(1, 5)))
        ]
    )


def _basket(rng, paint):
    r, h = rng.uniform(0.14, 0.25), rng.uniform(0.18, 0.4)
    m = paint("wicker")
    return turned(
        [(0, 0.0), (r * 0.85, 0), (r, h), (r - 0.012, h), (r * 0.83, 0.02), (0, 0.02)], m, 24
    )


def _trash(rng, paint):
    r, h = rng.uniform(0.11, 0.18), rng.uniform(0.25, 0.5)
    m = paint("plastic", "metal")
    parts = [
        turned([(0, 0), (r * 0.8, 0), (r, h), (r - 0.006, h), (r * 0.78, 0.01), (0, 0.01)], m, 24)
    ]
    if rng.random() < 0.4:
        parts.append(
            turned([(r * 1.03, h), (r * 1.03, h + 0.02), (r * 0.5, h + 0.06), (0, h + 0.07)], m, 24)
        )
    return join(parts)


def _desk_lamp(rng, paint):
    m = paint("metal", "plastic")
    h = rng.uniform(0.3, 0.45)
    elbow, head = (0, 0.08, h * 0.55), (0, -0.06, h)
    shade = turned([(0.02, 0.09), (0.025, 0.07), (0.075, 0), (0.072, 0), (0.02, 0.07)], m)
    bulb = Material(color=(1.0, 0.9, 0.7), emission=2.5)
    parts = [
        cylinder(0.08, 0.02, m),
        rod((0, 0, 0.02), elbow, 0.008, m),
        rod(elbow, head, 0.008, m),
    ]
    parts += [
        shade.moved(0, (0, -0.08, h - 0.09)),
        ellipsoid((0.05, 0.05, 0.05), bulb, n=6).moved(0, (0, -0.08, h - 0.07)),
    ]
    return join(parts)


def _table_lamp(rng, paint, base=0.25, r=0.16):
    foot = _any(rng, "ceramic", "metal", "wood")
    c = materials.named_color(["white", "beige", "yellow", "red", "gray"][rng.integers(5)], rng)
    shade = Material(color=c, emission=float(rng.uniform(0.3, 1.2)))
    h = base * rng.uniform(0.8, 1.3)
    r = r * rng.uniform(0.8, 1.2)
    bulge = (
        ellipsoid((r * 0.9, r * 0.9, h), foot, n=9)
        if base < 0.5
        else rod((0, 0, 0), (0, 0, h), 0.014, foot)
    )
    top = r * rng.uniform(0.5, 1.0)
    t = r * rng.uniform(1.1, 1.6)
    parts = [
        cylinder(r * 0.7, 0.015, foot),
        bulge,
        turned([(r, h), (top, h + t), (top - 0.003, h + t), (r - 0.003, h)], shade, 24),
    ]
    return join(parts)


def _floor_lamp(rng, paint):
    return _table_lamp(rng, paint, 1.25, 0.22)


def _pendant(rng, paint):
    """Hangs from z = 0 downwards before it is lifted to stand on its lowest point."""
    m = paint("metal", "plastic")
    drop, r = rng.uniform(0.3, 0.8), rng.uniform(0.12, 0.25)
    bulb = Material(color=(1.0, 0.93, 0.8), emission=3.0)
    shade = turned(
        [(0.02, r), (r * 0.6, r * 0.7), (r, 0), (r - 0.005, 0), (r * 0.58, r * 0.68)], m, 24
    )
    return join(
        [
            shade,
            ellipsoid((0.09, 0.09, 0.09), bulb, n=7),
            rod((0, 0, r), (0, 0, r + drop), 0.006, _plain(30, 30, 30)),
        ]
    )


def _ceiling_lamp(rng, paint):
    glow = Material(color=(1.0, 0.97, 0.9), emission=2.0)
    r = rng.uniform(0.15, 0.28)
    return turned([(0, 0), (r * 0.7, 0.015), (r, 0.07), (r, 0.09)], glow, 24)


def _picture(rng, paint):
    w, h = rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.8)
    frame = _any(rng, "wood", "plastic", "metal")
    e = rng.uniform(0.01, 0.05)
    y = -0.0165
    print_ = quad(
        [[-w / 2 + e, y, e], [w / 2 - e, y, e], [w / 2 - e, y, h - e], [-w / 2 + e, y, h - e]],
        _printed(rng),
    )
    return join([box((w, 0.03, h), (0, 0, 0), frame), print_])


def _picture_frame(rng, paint):
    return join([_picture(rng, paint)]).transformed(np.diag([0.3, 1, 0.35]), np.zeros(3))


def _mirror(rng, paint):
    w, h = rng.uniform(0.4, 0.8), rng.uniform(0.5, 1.2)
    glass = Material(color=(0.5, 0.56, 0.6), gloss=1.0)
    y = -0.0165
    return join(
        [
            box((w, 0.03, h), (0, 0, 0), _any(rng, "wood", "metal")),
            quad(
                [
                    [-w / 2 + 0.03, y, 0.03],
                    [w / 2 - 0.03, y, 0.03],
                    [w / 2 - 0.03, y, h - 0.03],
                    [-w / 2 + 0.03, y, h - 0.03],
                ],
                glass,
            ),
        ]
    )


def _clock(rng, paint):
    r = rng.uniform(0.12, 0.2)
    upright = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
    rim, face = (
        cylinder(r, 0.03, paint("plastic", "metal", "wood")),
        cylinder(r * 0.9, 0.004, _plain(240, 240, 235), (0, 0, 0.03)),
    )
    parts = [rim, face]
    for k in range(12):
        a = k * np.pi / 6
        parts.append(
            box((0.008, r * 0.12, 0.002), (0, 0, 0), _plain(30, 30, 30))
            .moved(0, (0, r * 0.78, 0.034))
            .moved(a)
        )
    for length, a in ((0.5, rng.uniform(0, 6.28)), (0.75, rng.uniform(0, 6.28))):
        parts.append(
            box((0.01, r * length, 0.002), (0, r * length / 2, 0.036), _plain(20, 20, 20)).moved(a)
        )
    mesh = join(parts).transformed(upright, np.zeros(3))
    return mesh.moved(0, (0, 0.0, r))


def _curtain(rng, paint):
    m = paint("fabric", "stripes")
    w, h = rng.uniform(0.4, 0.9), rng.uniform(1.7, 2.3)
    x = np.linspace(-w / 2, w / 2, 40)
    y = 0.035 * np.sin(x * rng.uniform(35, 60)) * 0.8
    low = np.stack([x, y, np.zeros(40)], -1)
    high = np.stack([x, y * 0.7, np.full(40, h)], -1)
    tris = []
    for i in range(39):
        tris += [[low[i], low[i + 1], high[i + 1]], [low[i], high[i + 1], high[i]]]
    rail = rod((-w / 2 - 0.05, 0, h), (w / 2 + 0.05, 0, h), 0.014, _any(rng, "metal", "wood"))
    return join([flat(np.array(tris), m), rail])


def _rug(rng, paint):
    w, d = rng.uniform(1.0, 2.6), rng.uniform(0.7, 1.9)
    if rng.random() < 0.55:
        m = Material(
            color=(0.9, 0.9, 0.9),
            texture=materials.texture("rug", int(rng.integers(200))),
            word="fabric",
        )
        paint.word = "fabric"
        top = quad(
            [
                [-w / 2, -d / 2, 0.0105],
                [w / 2, -d / 2, 0.0105],
                [w / 2, d / 2, 0.0105],
                [-w / 2, d / 2, 0.0105],
            ],
            m,
        )
        return join([box((w, d, 0.01), (0, 0, 0), _any(rng, "carpet")), top])
    if rng.random() < 0.3:
        return cylinder(d / 2, 0.012, paint("carpet"))
    return box((w, d, 0.012), (0, 0, 0), paint("carpet", "stripes", "checks"))


def _legs(w, d, h, t, m, splay=0.0):
    return [
        rod((sx * (w / 2 - t) * (1 + splay), sy * (d / 2 - t) * (1 + splay), 0), (sx * (w / 2 - t), sy * (d / 2 - t), h), t / 2, m)
        if splay or t < 0.035
        else box((t, t, h), (sx * (w / 2 - t / 2 - 0.01), sy * (d / 2 - t / 2 - 0.01), 0), m)
        for sx in (-1, 1) for sy in (-1, 1)
    ]  # fmt: skip


def _table_like(rng, paint, w, d, h):
    m = paint("wood", "wood", "wood", "plastic", "metal", "marble")
    legs = m if rng.random() < 0.6 else _any(rng, "metal", "wood", "plastic")
    t = rng.uniform(0.02, 0.05)
    if rng.random() < 0.2:
        r = min(w, d) / 2
        return join(
            [
                cylinder(r, t, m, (0, 0, h - t)),
                cylinder(0.05, h - t, legs),
                cylinder(r * 0.55, 0.03, legs),
            ]
        )
    parts = [
        box((w, d, t), (0, 0, h - t), m),
        *_legs(w, d, h - t, rng.uniform(0.025, 0.07), legs, rng.choice([0, 0, 0.08])),
    ]
    if rng.random() < 0.5:
        parts.append(box((w * 0.9, d * 0.88, 0.07), (0, 0, h - t - 0.07), legs))
    return join(parts)


def _table(rng, paint):
    return _table_like(
        rng, paint, rng.uniform(0.8, 1.9), rng.uniform(0.7, 1.0), rng.uniform(0.7, 0.78)
    )


def _coffee_table(rng, paint):
    return _table_like(
        rng, paint, rng.uniform(0.6, 1.3), rng.uniform(0.45, 0.7), rng.uniform(0.35, 0.5)
    )


def _desk(rng, paint):
    w, d, h = rng.uniform(1.0, 1.6), rng.uniform(0.55, 0.75), rng.uniform(0.7, 0.77)
    m = paint("wood", "wood", "plastic")
    parts = [
        box((w, d, 0.03), (0, 0, h - 0.03), m),
        box((0.03, d * 0.95, h - 0.03), (-w / 2 + 0.03, 0, 0), m),
    ]
    parts.append(box((w * 0.95, 0.02, h * 0.5), (0, d / 2 - 0.05, h * 0.45), m))
    c = rng.uniform(0.35, 0.45)
    parts.append(
        _fronted(rng, c, d * 0.9, h - 0.03, m, 3, 1).moved(0, (w / 2 - c / 2 - 0.01, 0, 0))
    )
    return join(parts)


def _stool(rng, paint):
    m = paint("wood", "plastic", "leather", "fabric")
    h, r = rng.uniform(0.42, 0.8), rng.uniform(0.15, 0.2)
    seat = (
        cylinder(r, 0.04, m, (0, 0, h - 0.04))
        if rng.random() < 0.6
        else box((2 * r, 2 * r, 0.05), (0, 0, h - 0.05), m)
    )
    legs = _any(rng, "wood", "metal")
    return join([seat, *_legs(1.7 * r, 1.7 * r, h - 0.04, 0.03, legs, 0.15)])


def _chair(rng, paint):
    m = paint("wood", "wood", "plastic", "fabric", "leather")
    legs = m if m.word == "wooden" or rng.random() < 0.4 else _any(rng, "wood", "metal")
    w, d, h = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.48), rng.uniform(0.42, 0.48)
    back, t = rng.uniform(0.35, 0.55), rng.uniform(0.02, 0.045)
    parts = [
        box((w, d, max(t, 0.03)), (0, 0, h - t), m),
        *_legs(w, d, h - t, rng.uniform(0.025, 0.045), legs, rng.choice([0, 0, 0.1])),
    ]
    style = rng.random()
    y = d / 2 - 0.02
    posts = [
        rod((s * (w / 2 - 0.02), y, h), (s * (w / 2 - 0.02), y + 0.05, h + back), 0.014, legs)
        for s in (-1, 1)
    ]
    if style < 0.4:
        parts.append(box((w, t, back * 0.95), (0, y + 0.02, h + 0.04), m))
    elif style < 0.7:
        parts += [box((w, 0.02, 0.06), (0, y + 0.03, h + back * z), m) for z in (0.3, 0.6, 0.88)]
    else:
        parts += [
            box((0.03, 0.015, back * 0.85), (x * w, y + 0.025, h), m)
            for x in (-0.3, -0.1, 0.1, 0.3)
        ]
        parts.append(box((w, 0.025, 0.07), (0, y + 0.03, h + back * 0.85), m))
    if rng.random() < 0.25:
        parts += [box((0.04, d * 0.8, 0.025), (s * w / 2, 0, h + 0.2), legs) for s in (-1, 1)]
        parts += [box((0.03, 0.03, 0.2), (s * w / 2, -d * 0.35, h), legs) for s in (-1, 1)]
    return join(parts + posts)


def _office_chair(rng, paint):
    m = paint("fabric", "leather", "plastic", colors="black black gray blue red green")
    dark = _plain(40, 40, 42)
    w, h = rng.uniform(0.45, 0.52), rng.uniform(0.45, 0.52)
    parts = [
        ellipsoid((w, w, 0.1), m, 5, 9).moved(0, (0, 0, h - 0.05)),
        rod((0, 0, 0.1), (0, 0, h), 0.025, dark),
    ]
    parts.append(
        ellipsoid((w * 0.95, 0.09, rng.uniform(0.45, 0.7)), m, 5, 9).moved(0, (0, w / 2, h + 0.1))
    )
    parts.append(box((0.06, 0.02, 0.3), (0, w / 2 + 0.02, h - 0.03), dark))
    for k in range(5):
        a = 2 * np.pi * k / 5
        end = (0.3 * np.cos(a), 0.3 * np.sin(a), 0.06)
        parts += [
            rod((0, 0, 0.11), end, 0.018, dark),
            ellipsoid((0.05, 0.05, 0.06), dark, n=5).moved(0, (end[0], end[1], 0)),
        ]
    if rng.random() < 0.6:
        parts += [box((0.05, 0.25, 0.03), (s * w / 2, 0, h + 0.2), dark) for s in (-1, 1)]
        parts += [box((0.03, 0.04, 0.2), (s * w / 2, 0.08, h), dark) for s in (-1, 1)]
    return join(parts)


def _upholstered(rng, paint, w):
    m = paint("fabric", "fabric", "leather", "checks", "stripes")
    d, h = rng.uniform(0.75, 0.95), rng.uniform(0.38, 0.45)
    arm, back = rng.uniform(0.12, 0.24), rng.uniform(0.7, 0.9)
    p = rng.uniform(5, 12)
    seat_z = rng.uniform(0.06, 0.14)
    foot = _any(rng, "wood", "metal")
    parts = [
        ellipsoid((w, d, h - 0.12 - seat_z), m, 14, 10).moved(0, (0, 0, seat_z)),
        *_legs(w * 0.95, d * 0.9, seat_z + 0.03, 0.05, foot),
    ]
    parts.append(
        ellipsoid((w - arm, 0.24, back - seat_z), m, p, 10).moved(0, (0, d / 2 - 0.12, seat_z))
    )
    parts += [
        ellipsoid((arm, d * 0.98, rng.uniform(0.55, 0.65) - seat_z), m, p, 10).moved(
            0, (s * (w - arm) / 2, 0, seat_z)
        )
        for s in (-1, 1)
    ]
    n = max(1, round((w - 2 * arm) / 0.65))
    cw = (w - 2 * arm) / n
    for i in range(n):
        x = -w / 2 + arm + cw * (i + 0.5)
        parts.append(ellipsoid((cw * 0.99, d - 0.22, 0.17), m, 6, 10).moved(0, (x, -0.1, h - 0.15)))
        parts.append(
            ellipsoid((cw * 0.97, 0.18, back - h), m, 5, 10).moved(0, (x, d / 2 - 0.27, h))
        )
    return join(parts)


def _sofa(rng, paint):
    return _upholstered(rng, paint, rng.uniform(1.4, 2.3))


def _armchair(rng, paint):
    return _upholstered(rng, paint, rng.uniform(0.75, 1.0))


def _pouf(rng, paint):
    s, h = rng.uniform(0.4, 0.7), rng.uniform(0.35, 0.45)
    return ellipsoid((s, s, h), paint("fabric", "leather", "checks"), rng.choice([2.5, 5, 9]), 14)


def _bed(rng, paint):
    w, d = rng.uniform(0.9, 1.8), rng.uniform(1.95, 2.1)
    frame = _any(rng, "wood", "wood", "metal", "fabric")
    cover = paint("fabric", "stripes", "checks")
    h = rng.uniform(0.4, 0.55)
    sheet = _plain(230, 230, 228)
    parts = [
        box((w, d, 0.1), (0, 0, h - 0.28), frame),
        box((w + 0.04, 0.06, rng.uniform(0.8, 1.1)), (0, d / 2, 0), frame),
    ]
    parts += _legs(w, d, h - 0.28, 0.07, frame)
    parts.append(ellipsoid((w * 0.98, d * 0.98, 0.22), sheet, 14, 10).moved(0, (0, 0, h - 0.2)))
    parts.append(
        ellipsoid((w * 1.04, d * 0.72, 0.26), cover, 14, 10).moved(0, (0, -d * 0.14, h - 0.215))
    )
    n = 1 if w < 1.3 else 2
    for i in range(n):
        x = (i - (n - 1) / 2) * w * 0.48
        parts.append(
            ellipsoid((min(0.65, w * 0.46), 0.4, 0.14), sheet, 3.2, 10).moved(0, (x, d * 0.37, h))
        )
    return join(parts)


def _fronted(rng, w, d, h, m, rows, columns, knobs=None):
    """A box whose front is divided into doors or drawers with handles."""
    knob = knobs or _any(rng, "metal", "wood", "plastic")
    dark = Material(color=tuple(0.25 * c for c in m.color))
    parts = [box((w, d, h), (0, 0, 0), m)]
    fw, fh = w / columns, (h - 0.06) / rows
    for i in range(rows):
        for j in range(columns):
            x, z = -w / 2 + fw * (j + 0.5), 0.05 + fh * i
            parts.append(box((fw, 0.004, fh), (x, -d / 2 - 0.002, z), dark))
            parts.append(box((fw - 0.008, 0.018, fh - 0.008), (x, -d / 2 - 0.01, z + 0.004), m))
            if fh < 0.4:
                parts.append(
                    box((min(0.12, fw * 0.5), 0.02, 0.012), (x, -d / 2 - 0.03, z + fh * 0.6), knob)
                )
            else:
                side = 1 if j % 2 == 0 else -1
                parts.append(
                    box(
                        (0.012, 0.02, 0.12),
                        (x + side * fw * 0.4, -d / 2 - 0.03, z + fh * 0.5),
                        knob,
                    )
                )
    return join(parts)


def _cabinet(rng, paint):
    m = paint("wood", "wood", "plastic", "plastic", "metal")
    w, d, h = rng.uniform(0.6, 1.4), rng.uniform(0.35, 0.5), rng.uniform(0.6, 1.3)
    leg = rng.choice([0, 0.1, 0.15])
    body = _fronted(rng, w, d, h, m, int(rng.choice([1, 1, 2])), max(1, round(w / 0.45))).moved(
        0, (0, 0, leg)
    )
    return join(
        [body, *_legs(w, d, leg + 0.01, 0.04, _any(rng, "wood", "metal"))] if leg else [body]
    )


def _drawers(rng, paint):
    w, d, h = rng.uniform(0.5, 1.1), rng.uniform(0.4, 0.5), rng.uniform(0.6, 1.1)
    return _fronted(
        rng,
        w,
        d,
        h,
        paint("wood", "wood", "plastic"),
        int(rng.integers(3, 6)),
        int(rng.choice([1, 1, 2])),
    )


def _bedside(rng, paint):
    return _fronted(
        rng,
        rng.uniform(0.38, 0.5),
        0.4,
        rng.uniform(0.4, 0.6),
        paint("wood", "wood", "plastic"),
        2,
        1,
    )


def _wardrobe(rng, paint):
    return _fronted(
        rng,
        rng.uniform(0.9, 1.8),
        0.6,
        rng.uniform(1.85, 2.2),
        paint("wood", "wood", "plastic"),
        1,
        int(rng.integers(2, 4)),
    )


def _filing(rng, paint):
    return _fronted(
        rng,
        0.42,
        0.55,
        rng.uniform(0.65, 1.3),
        paint("metal", colors="gray beige black white blue"),
        int(rng.integers(2, 5)),
        1,
    )


def _fridge(rng, paint):
    m = paint("metal", "plastic", colors="white white gray red black")
    return _fronted(
        rng,
        rng.uniform(0.55, 0.7),
        0.62,
        rng.uniform(1.4, 1.9),
        m,
        2,
        1,
        _plain(120, 120, 125, gloss=0.5),
    )


def _kitchen_cabinet(rng, paint):
    body = _fronted(
        rng, 0.6, 0.58, 0.86, paint("wood", "plastic", "plastic"), int(rng.choice([1, 1, 3])), 1
    )
    return join(
        [body, box((0.6, 0.62, 0.035), (0, -0.01, 0.86), _any(rng, "marble", "wood", "concrete"))]
    )


def _wall_cabinet(rng, paint):
    return _fronted(
        rng,
        rng.uniform(0.5, 0.9),
        0.33,
        rng.uniform(0.5, 0.75),
        paint("wood", "plastic", "plastic"),
        1,
        2,
    )


def shelf_levels(w: float, d: float, h: float, n: int) -> list[tuple[float, float, float, float]]:
    """Return (width, depth, z, clear height) of the n boards of a shelf made by `shelf_unit`."""
    gap = (h - 0.06) / n
    return [(w - 0.1, d - 0.06, 0.06 + gap * i + 0.022, gap - 0.03) for i in range(n)]


def shelf_unit(rng: Rng, m: Material, w: float, d: float, h: float, n: int, back: bool) -> Mesh:
    """Return an open shelf with n boards; `shelf_levels` says where things can stand."""
    gap = (h - 0.06) / n
    parts = [box((0.022, d, h), (s * (w / 2 - 0.011), 0, 0), m) for s in (-1, 1)]
    parts += [
        box((w - 0.044, d, 0.022), (0, 0, 0.06 + gap * i), m)
        for i in range(n + 1)
        if 0.06 + gap * i < h
    ]
    parts.append(box((w, d, 0.022), (0, 0, h - 0.022), m))
    if back:
        parts.append(box((w - 0.02, 0.008, h - 0.06), (0, d / 2 - 0.006, 0.06), m))
    return join(parts)


def _shelves(rng, paint):
    m = paint("wood", "wood", "wood", "plastic", "metal")
    return shelf_unit(
        rng,
        m,
        rng.uniform(0.6, 1.2),
        rng.uniform(0.26, 0.38),
        rng.uniform(0.9, 2.0),
        int(rng.integers(3, 6)),
        rng.random() < 0.7,
    )


def _door(rng, paint):
    w, h = rng.uniform(0.78, 0.95), rng.uniform(1.98, 2.1)
    m = paint("wood", "wood", "plastic", colors="white white brown gray red blue green")
    frame = m if rng.random() < 0.5 else _any(rng, "wood")
    knob = _plain(165, 160, 140, gloss=0.6)
    f = 0.07
    parts = [box((w, 0.045, h), (0, 0.04, 0), m)]
    parts += [box((f, 0.12, h + f), (s * (w + f) / 2, 0.02, 0), frame) for s in (-1, 1)]
    parts.append(box((w, 0.12, f), (0, 0.02, h), frame))
    for z, k in ((0.15, rng.uniform(0.3, 0.4)), (0.58, rng.uniform(0.25, 0.36))):
        if rng.random() < 0.7:
            parts.append(box((w * 0.7, 0.012, h * k), (0, 0.014, h * z), m))
    parts.append(rod((w * 0.4, 0.02, 1.02), (w * 0.4, -0.04, 1.02), 0.012, knob))
    parts.append(rod((w * 0.4, -0.04, 1.02), (w * 0.28, -0.04, 1.02), 0.01, knob))
    return join(parts)


def _window(rng, paint):
    """A framed window; the view behind it is added with the hole in the wall."""
    w, h = rng.uniform(0.8, 1.9), rng.uniform(0.9, 1.5)
    m = paint("wood", "plastic", colors="white white white brown gray")
    f = rng.uniform(0.05, 0.08)
    parts = [box((f, 0.1, h), (s * (w - f) / 2, 0.02, 0), m) for s in (-1, 1)]
    parts += [box((w - 2 * f, 0.1, f), (0, 0.02, z), m) for z in (0, h - f)]
    for i in range(1, int(rng.integers(1, 4))):
        x = -w / 2 + w * i / 3 if rng.random() < 0.5 else 0
        parts.append(box((f * 0.8, 0.06, h - 2 * f), (x, 0.02, f), m))
    if rng.random() < 0.4:
        parts.append(box((w - 2 * f, 0.05, f * 0.6), (0, 0.02, h * rng.uniform(0.4, 0.7)), m))
    parts.append(box((w + 0.1, 0.18, 0.03), (0, -0.03, -0.03), m))
    return join(parts).moved(0, (0, 0, 0.03))


def _centred(mesh: Mesh) -> Mesh:
    c = (mesh.low + mesh.high) / 2
    return mesh.moved(0, (-c[0], -c[1], -mesh.low[2]))


PROCEDURAL: dict[str, Callable[[Rng, _Paint], Mesh]] = {
    "mug": _mug, "cup": _cup, "drinking glass": _glass, "bowl": _bowl, "plate": _plate,
    "bottle": _bottle, "wine bottle": _wine_bottle, "can": _can, "vase": _vase,
    "potted plant": _plant, "small plant": _small_plant, "flowers": _flowers, "cactus": _cactus,
    "book": _books, "magazine": _magazine, "paper": _paper, "box": _box, "cardboard box": _carton,
    "ball": _ball, "keyboard": _keyboard, "computer mouse": _mouse, "monitor": _monitor,
    "television": _television, "laptop": _laptop, "smartphone": _phone, "remote control": _remote,
    "pot": _pot, "frying pan": _pan, "fruit": _fruit, "banana": _banana, "knife": _knife,
    "spoon": _spoon, "cutting board": _cutting_board, "cushion": _cushion, "pillow": _pillow,
    "towel": _towel, "basket": _basket, "trash can": _trash, "desk lamp": _desk_lamp,
    "table lamp": _table_lamp, "floor lamp": _floor_lamp, "pendant lamp": _pendant,
    "ceiling lamp": _ceiling_lamp, "picture": _picture, "picture frame": _picture_frame,
    "mirror": _mirror, "clock": _clock, "curtain": _curtain, "carpet": _rug, "table": _table,
    "coffee table": _coffee_table, "desk": _desk, "stool": _stool, "chair": _chair,
    "office chair": _office_chair, "sofa": _sofa, "armchair": _armchair, "pouf": _pouf,
    "bed": _bed, "cabinet": _cabinet, "chest of drawers": _drawers, "bedside table": _bedside,
    "wardrobe": _wardrobe, "filing cabinet": _filing, "refrigerator": _fridge,
    "kitchen cabinet": _kitchen_cabinet, "wall cabinet": _wall_cabinet, "shelves": _shelves,
    "door": _door, "window": _window,
}  # fmt: skip
