"""Things to eat, drink and cook with."""

from itertools import pairwise

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, join
from govnesf_model.data.synthetic.paint import any_material, plain, printed
from govnesf_model.data.synthetic.shapes import box, centred, cylinder, ellipsoid, rod, turned


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
    parts = [body, *(rod(a, b, 0.005, m, 6) for a, b in pairwise(path))]
    if rng.random() < 0.4:
        parts.append(cylinder(top - 0.005, 0.001, plain(70, 40, 20), (0, 0, h * 0.8)))
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
    cap = cylinder(n * 1.15, h * 0.07, any_material(rng, "plastic"), (0, 0, h * 0.94))
    label = turned([(r + 0.0008, h * 0.15), (r + 0.0008, h * 0.45)], printed(rng))
    return join([body, cap, label] if rng.random() < 0.6 else [body, cap])


def _wine_bottle(rng, paint):
    paint.word = "glass"
    tint = [(25, 55, 30), (40, 25, 15), (20, 20, 20)][rng.integers(3)]
    m = plain(*tint, gloss=0.5)
    r, h = rng.uniform(0.034, 0.042), rng.uniform(0.28, 0.33)
    p = [(0, 0), (r, 0), (r, h * 0.58), (r * 0.85, h * 0.66), (0.014, h * 0.75), (0.014, h), (0, h)]
    label = turned([(r + 0.001, h * 0.18), (r + 0.001, h * 0.45)], plain(225, 215, 190))
    foil = cylinder(0.0155, h * 0.14, any_material(rng, "plastic"), (0, 0, h * 0.87))
    return join([turned(p, m), label, foil])


def _can(rng, paint):
    r, h = rng.uniform(0.028, 0.042), rng.uniform(0.09, 0.13)
    steel = plain(170, 170, 175, gloss=0.5)
    side = paint("plastic")
    body = turned([(r, 0.004), (r, h - 0.004)], side)
    return join(
        [
            body,
            turned([(0, 0), (r, 0), (r, 0.004)], steel),
            turned([(r, h - 0.004), (r * 0.9, h), (0, h - 0.004)], steel),
        ]
    )


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
    return centred(join([body, box((0.03, 0.19, 0.015), (0, r + 0.09, 0.035), plain(35, 33, 32))]))


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
    return centred(join(parts))


def _banana(rng, paint):
    paint.color = "yellow"
    m = Material(color=materials.named_color("yellow", rng), gloss=0.1)
    parts = []
    for k in range(int(rng.integers(1, 4))):
        t = np.linspace(-0.8, 0.8, 7)
        path = np.stack([0.11 * np.sin(t), 0.03 * k + 0.09 * np.cos(t), np.full(7, 0.018)], -1)
        parts += [
            rod(a, b, 0.017 - 0.006 * abs(i - 2.5) / 2.5, m, 8)
            for i, (a, b) in enumerate(pairwise(path))
        ]
    return centred(join(parts))


def _knife(rng, paint):
    steel = plain(175, 175, 180, gloss=0.6)
    handle = any_material(rng, "plastic", "wood")
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


TABLEWARE = {
    "mug": _mug,
    "cup": _cup,
    "drinking glass": _glass,
    "bowl": _bowl,
    "plate": _plate,
    "bottle": _bottle,
    "wine bottle": _wine_bottle,
    "can": _can,
    "pot": _pot,
    "frying pan": _pan,
    "fruit": _fruit,
    "banana": _banana,
    "knife": _knife,
    "spoon": _spoon,
    "cutting board": _cutting_board,
}
