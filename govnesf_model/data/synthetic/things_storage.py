"""Cabinets, shelves, doors and windows."""

from govnesf_model.data.synthetic.joinery import four_legs, fronted
from govnesf_model.data.synthetic.mesh import join
from govnesf_model.data.synthetic.paint import any_material, plain
from govnesf_model.data.synthetic.shapes import box, rod


def _cabinet(rng, paint):
    m = paint("wood", "wood", "plastic", "plastic", "metal")
    w, d, h = rng.uniform(0.6, 1.4), rng.uniform(0.35, 0.5), rng.uniform(0.6, 1.3)
    leg = rng.choice([0, 0.1, 0.15])
    body = fronted(rng, w, d, h, m, int(rng.choice([1, 1, 2])), max(1, round(w / 0.45))).moved(
        0, (0, 0, leg)
    )
    return join(
        [body, *four_legs(w, d, leg + 0.01, 0.04, any_material(rng, "wood", "metal"))]
        if leg
        else [body]
    )


def _drawers(rng, paint):
    w, d, h = rng.uniform(0.5, 1.1), rng.uniform(0.4, 0.5), rng.uniform(0.6, 1.1)
    return fronted(
        rng,
        w,
        d,
        h,
        paint("wood", "wood", "plastic"),
        int(rng.integers(3, 6)),
        int(rng.choice([1, 1, 2])),
    )


def _bedside(rng, paint):
    return fronted(
        rng,
        rng.uniform(0.38, 0.5),
        0.4,
        rng.uniform(0.4, 0.6),
        paint("wood", "wood", "plastic"),
        2,
        1,
    )


def _wardrobe(rng, paint):
    return fronted(
        rng,
        rng.uniform(0.9, 1.8),
        0.6,
        rng.uniform(1.85, 2.2),
        paint("wood", "wood", "plastic"),
        1,
        int(rng.integers(2, 4)),
    )


def _filing(rng, paint):
    return fronted(
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
    return fronted(
        rng,
        rng.uniform(0.55, 0.7),
        0.62,
        rng.uniform(1.4, 1.9),
        m,
        2,
        1,
        plain(120, 120, 125, gloss=0.5),
    )


def _kitchen_cabinet(rng, paint):
    body = fronted(
        rng, 0.6, 0.58, 0.86, paint("wood", "plastic", "plastic"), int(rng.choice([1, 1, 3])), 1
    )
    return join(
        [
            body,
            box(
                (0.6, 0.62, 0.035),
                (0, -0.01, 0.86),
                any_material(rng, "marble", "wood", "concrete"),
            ),
        ]
    )


def _wall_cabinet(rng, paint):
    return fronted(
        rng,
        rng.uniform(0.5, 0.9),
        0.33,
        rng.uniform(0.5, 0.75),
        paint("wood", "plastic", "plastic"),
        1,
        2,
    )


def _shelves(rng, paint):
    m = paint("wood", "wood", "wood", "plastic", "metal")
    return _shelf_unit(
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
    frame = m if rng.random() < 0.5 else any_material(rng, "wood")
    knob = plain(165, 160, 140, gloss=0.6)
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


def _shelf_unit(m, w, d, h, n, back):
    """Return an open shelf with n boards."""
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


STORAGE = {
    "cabinet": _cabinet,
    "chest of drawers": _drawers,
    "bedside table": _bedside,
    "wardrobe": _wardrobe,
    "filing cabinet": _filing,
    "refrigerator": _fridge,
    "kitchen cabinet": _kitchen_cabinet,
    "wall cabinet": _wall_cabinet,
    "shelves": _shelves,
    "door": _door,
    "window": _window,
}
