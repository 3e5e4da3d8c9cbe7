"""Tables, seats and beds."""

import numpy as np

from govnesf_model.data.synthetic.joinery import four_legs, fronted
from govnesf_model.data.synthetic.mesh import join
from govnesf_model.data.synthetic.paint import any_material, plain
from govnesf_model.data.synthetic.shapes import box, cylinder, ellipsoid, rod


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
    parts.append(fronted(rng, c, d * 0.9, h - 0.03, m, 3, 1).moved(0, (w / 2 - c / 2 - 0.01, 0, 0)))
    return join(parts)


def _stool(rng, paint):
    m = paint("wood", "plastic", "leather", "fabric")
    h, r = rng.uniform(0.42, 0.8), rng.uniform(0.15, 0.2)
    seat = (
        cylinder(r, 0.04, m, (0, 0, h - 0.04))
        if rng.random() < 0.6
        else box((2 * r, 2 * r, 0.05), (0, 0, h - 0.05), m)
    )
    legs = any_material(rng, "wood", "metal")
    return join([seat, *four_legs(1.7 * r, 1.7 * r, h - 0.04, 0.03, legs, 0.15)])


def _chair(rng, paint):
    m = paint("wood", "wood", "plastic", "fabric", "leather")
    legs = m if m.word == "wooden" or rng.random() < 0.4 else any_material(rng, "wood", "metal")
    w, d, h = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.48), rng.uniform(0.42, 0.48)
    back, t = rng.uniform(0.35, 0.55), rng.uniform(0.02, 0.045)
    parts = [
        box((w, d, max(t, 0.03)), (0, 0, h - t), m),
        *four_legs(w, d, h - t, rng.uniform(0.025, 0.045), legs, rng.choice([0, 0, 0.1])),
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
    dark = plain(40, 40, 42)
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


def _sofa(rng, paint):
    return _upholstered(rng, paint, rng.uniform(1.4, 2.3))


def _armchair(rng, paint):
    return _upholstered(rng, paint, rng.uniform(0.75, 1.0))


def _pouf(rng, paint):
    s, h = rng.uniform(0.4, 0.7), rng.uniform(0.35, 0.45)
    return ellipsoid((s, s, h), paint("fabric", "leather", "checks"), rng.choice([2.5, 5, 9]), 14)


def _bed(rng, paint):
    w, d = rng.uniform(0.9, 1.8), rng.uniform(1.95, 2.1)
    frame = any_material(rng, "wood", "wood", "metal", "fabric")
    cover = paint("fabric", "stripes", "checks")
    h = rng.uniform(0.4, 0.55)
    sheet = plain(230, 230, 228)
    parts = [
        box((w, d, 0.1), (0, 0, h - 0.28), frame),
        box((w + 0.04, 0.06, rng.uniform(0.8, 1.1)), (0, d / 2, 0), frame),
    ]
    parts += four_legs(w, d, h - 0.28, 0.07, frame)
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


def _table_like(rng, paint, w, d, h):
    m = paint("wood", "wood", "wood", "plastic", "metal", "marble")
    legs = m if rng.random() < 0.6 else any_material(rng, "metal", "wood", "plastic")
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
        *four_legs(w, d, h - t, rng.uniform(0.025, 0.07), legs, rng.choice([0, 0, 0.08])),
    ]
    if rng.random() < 0.5:
        parts.append(box((w * 0.9, d * 0.88, 0.07), (0, 0, h - t - 0.07), legs))
    return join(parts)


def _upholstered(rng, paint, w):
    m = paint("fabric", "fabric", "leather", "checks", "stripes")
    d, h = rng.uniform(0.75, 0.95), rng.uniform(0.38, 0.45)
    arm, back = rng.uniform(0.12, 0.24), rng.uniform(0.7, 0.9)
    p = rng.uniform(5, 12)
    seat_z = rng.uniform(0.06, 0.14)
    foot = any_material(rng, "wood", "metal")
    parts = [
        ellipsoid((w, d, h - 0.12 - seat_z), m, 14, 10).moved(0, (0, 0, seat_z)),
        *four_legs(w * 0.95, d * 0.9, seat_z + 0.03, 0.05, foot),
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


SEATS = {
    "table": _table,
    "coffee table": _coffee_table,
    "desk": _desk,
    "stool": _stool,
    "chair": _chair,
    "office chair": _office_chair,
    "sofa": _sofa,
    "armchair": _armchair,
    "pouf": _pouf,
    "bed": _bed,
}
