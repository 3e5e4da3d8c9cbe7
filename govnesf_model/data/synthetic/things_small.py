"""Small things of desks and shelves: books, boxes, electronics."""

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, join
from govnesf_model.data.synthetic.paint import Paint, any_material, plain, printed
from govnesf_model.data.synthetic.shapes import box, centred, ellipsoid, quad, turned


def _books(rng, paint):
    """A pile or a row of books counts as books."""
    n = int(rng.integers(1, 6))
    parts, z, x = [], 0.0, 0.0
    row = rng.random() < 0.4
    for _ in range(n):
        one = _book(rng, paint if n == 1 else Paint(rng, None))
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
    return centred(join(parts))


def _book(rng, paint):
    w, d, h = rng.uniform(0.12, 0.22), rng.uniform(0.17, 0.3), rng.uniform(0.012, 0.05)
    cover = paint("leather", "plastic")
    paint.word = None
    pages = plain(235, 228, 205)
    parts = [
        box((w - 0.006, d - 0.008, h - 0.004), (0.002, 0, 0.002), pages),
        box((w, d, 0.003), (0, 0, 0), cover),
        box((w, d, 0.003), (0, 0, h - 0.003), cover),
        box((0.003, d, h), (-w / 2, 0, 0), cover),
    ]
    if rng.random() < 0.5:
        a, b, z = w * rng.uniform(0.25, 0.45), d * rng.uniform(0.15, 0.45), h + 0.0006
        parts.append(quad([[-a, -b, z], [a, -b, z], [a, b, z], [-a, b, z]], printed(rng)))
    return join(parts)


def _magazine(rng, paint):
    w, d = rng.uniform(0.18, 0.23), rng.uniform(0.25, 0.31)
    parts = [box((w, d, 0.005), (0, 0, 0), plain(225, 225, 220))]
    z = 0.0058
    parts.append(
        quad(
            [[-w / 2, -d / 2, z], [w / 2, -d / 2, z], [w / 2, d / 2, z], [-w / 2, d / 2, z]],
            printed(rng),
        )
    )
    return join(parts)


def _paper(rng, paint):
    paint.color, parts = "white", []
    for i in range(int(rng.integers(1, 4))):
        parts.append(
            box((0.21, 0.297, 0.001), (0, 0, 0), plain(240, 240, 238)).moved(
                rng.normal(0, 0.3), (rng.normal(0, 0.03), rng.normal(0, 0.03), 0.001 * i)
            )
        )
        for k in range(8):
            y = 0.11 - 0.03 * k
            line = box((0.15, 0.006, 0.0003), (0, y, 0.0011 + 0.001 * i), plain(120, 120, 125))
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
        parts.append(quad([[-a, y, b], [a, y, b], [a, y, c], [-a, y, c]], printed(rng)))
    elif kind < 0.7:
        parts.append(box((w * 1.03, d * 1.03, h * 0.2), (0, 0, h * 0.85), m))
    return join(parts)


def _carton(rng, paint):
    w, d, h = rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.45), rng.uniform(0.18, 0.45)
    paint.color, paint.word = "brown", "cardboard"
    tan = np.array((176, 134, 92)) * rng.uniform(0.85, 1.1)
    parts = [box((w, d, h), (0, 0, 0), plain(*tan, gloss=0.02))]
    parts.append(
        box((w + 0.002, 0.05, h + 0.002), (0, 0, -0.0005), plain(*(tan * 1.12), gloss=0.2))
    )
    return join(parts)


def _ball(rng, paint):
    r = rng.uniform(0.04, 0.24)
    return ellipsoid((r, r, r), paint("plastic", "leather"), n=14)


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


def _keyboard(rng, paint):
    m = paint("plastic", colors="black white gray")
    key = plain(50, 50, 52) if paint.color != "black" else plain(75, 75, 78)
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
        box((w * 0.85, d * 0.45, 0.001), (0, d * 0.1, 0.0165), plain(35, 35, 38)),
    ]
    lid = join(_panel(rng, w, d, 0.008, 0, m, _screen_picture(rng)))
    a = rng.uniform(0.1, 0.5)
    R = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    parts.append(lid.transformed(R, np.array([0, d / 2, 0.012])))
    return join(parts)


def _phone(rng, paint):
    m = paint("plastic", colors="black black white red blue gray")
    parts = [box((0.072, 0.148, 0.008), (0, 0, 0), m)]
    return join([*parts, box((0.066, 0.136, 0.0006), (0, 0, 0.0082), plain(20, 22, 26, gloss=0.6))])


def _remote(rng, paint):
    parts = [box((0.045, 0.17, 0.018), (0, 0, 0), paint("plastic", colors="black gray white"))]
    for i in range(6):
        for j in range(3):
            parts.append(
                box(
                    (0.008, 0.008, 0.003),
                    (-0.013 + 0.013 * j, -0.06 + 0.02 * i, 0.018),
                    any_material(rng, "plastic"),
                )
            )
    return join(parts)


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


def _screen_picture(rng) -> Material:
    if rng.random() < 0.5:
        return plain(18, 20, 24, gloss=0.5)
    return Material(
        color=(0.9, 0.9, 0.9),
        texture=materials.texture("print", int(rng.integers(200))),
        emission=0.7,
    )


SMALL = {
    "book": _books,
    "magazine": _magazine,
    "paper": _paper,
    "box": _box,
    "cardboard box": _carton,
    "ball": _ball,
    "basket": _basket,
    "trash can": _trash,
    "keyboard": _keyboard,
    "computer mouse": _mouse,
    "monitor": _monitor,
    "television": _television,
    "laptop": _laptop,
    "smartphone": _phone,
    "remote control": _remote,
}
