"""What makes a room a home: plants, lamps, pictures, textiles."""

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, join
from govnesf_model.data.synthetic.paint import Paint, any_material, plain, printed
from govnesf_model.data.synthetic.shapes import box, cylinder, ellipsoid, flat, quad, rod, turned


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


def _plant(rng, paint, scale=1.0):
    pot = any_material(rng, "ceramic", "plastic", "wicker", "concrete")
    paint.color, paint.word = "green", None
    r, h = scale * rng.uniform(0.12, 0.2), scale * rng.uniform(0.2, 0.35)
    green = plain(*(np.array((55, 105, 45)) * rng.uniform(0.6, 1.3) + rng.normal(0, 8, 3)))
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
        trunk = top + np.array([0, 0, height])
        parts.append(rod(top, trunk, 0.012 * scale + 0.004, plain(95, 70, 45)))
        for z in np.linspace(0.35, 1, 4):
            parts.append(
                _leaves(
                    rng,
                    int(rng.integers(10, 22)),
                    top + np.array([0, 0, height * z]),
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
    vase = _vase(rng, Paint(rng, None))
    top = np.array([0, 0, vase.size[2] * 0.9])
    green = plain(60, 110, 50)
    petals = paint("plastic", colors="red yellow pink purple white orange")
    paint.word = None
    parts = [vase]
    for _ in range(int(rng.integers(6, 14))):
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.12)
        end = top + np.array([r * np.cos(a), r * np.sin(a), rng.uniform(0.1, 0.22)])
        parts.append(rod(top, end, 0.003, green, 5))
        s = rng.uniform(0.03, 0.06)
        parts.append(ellipsoid((s, s, s * 0.7), petals, n=5).moved(0, tuple(end - [0, 0, s * 0.3])))
    parts.append(_leaves(rng, 10, top, 0.12, 0.14, 0.012, green))
    return join(parts)


def _cactus(rng, paint):
    paint.color = "green"
    green = plain(70, 115, 60)
    parts = _pot_of_soil(rng, any_material(rng, "ceramic", "plastic"), 0.05, 0.07)
    h = rng.uniform(0.08, 0.2)
    parts.append(ellipsoid((0.06, 0.06, h), green, 2.6, 8).moved(0, (0, 0, 0.055)))
    if rng.random() < 0.6:
        parts.append(
            ellipsoid((0.03, 0.03, h * 0.5), green, 2.6, 6).moved(0, (0.04, 0, 0.05 + h * 0.35))
        )
    return join(parts)


def _pot_of_soil(rng, m, r, h):
    soil = plain(60, 42, 30)
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
    foot = any_material(rng, "ceramic", "metal", "wood")
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
            rod((0, 0, r), (0, 0, r + drop), 0.006, plain(30, 30, 30)),
        ]
    )


def _ceiling_lamp(rng, paint):
    glow = Material(color=(1.0, 0.97, 0.9), emission=2.0)
    r = rng.uniform(0.15, 0.28)
    return turned([(0, 0), (r * 0.7, 0.015), (r, 0.07), (r, 0.09)], glow, 24)


def _picture(rng, paint):
    w, h = rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.8)
    frame = any_material(rng, "wood", "plastic", "metal")
    e = rng.uniform(0.01, 0.05)
    y = -0.0165
    print_ = quad(
        [[-w / 2 + e, y, e], [w / 2 - e, y, e], [w / 2 - e, y, h - e], [-w / 2 + e, y, h - e]],
        printed(rng),
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
            box((w, 0.03, h), (0, 0, 0), any_material(rng, "wood", "metal")),
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
        cylinder(r * 0.9, 0.004, plain(240, 240, 235), (0, 0, 0.03)),
    )
    parts = [rim, face]
    for k in range(12):
        a = k * np.pi / 6
        parts.append(
            box((0.008, r * 0.12, 0.002), (0, 0, 0), plain(30, 30, 30))
            .moved(0, (0, r * 0.78, 0.034))
            .moved(a)
        )
    for length, a in ((0.5, rng.uniform(0, 6.28)), (0.75, rng.uniform(0, 6.28))):
        parts.append(
            box((0.01, r * length, 0.002), (0, r * length / 2, 0.036), plain(20, 20, 20)).moved(a)
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
    rail = rod(
        (-w / 2 - 0.05, 0, h), (w / 2 + 0.05, 0, h), 0.014, any_material(rng, "metal", "wood")
    )
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
        return join([box((w, d, 0.01), (0, 0, 0), any_material(rng, "carpet")), top])
    if rng.random() < 0.3:
        return cylinder(d / 2, 0.012, paint("carpet"))
    return box((w, d, 0.012), (0, 0, 0), paint("carpet", "stripes", "checks"))


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


DECOR = {
    "vase": _vase,
    "potted plant": _plant,
    "small plant": _small_plant,
    "flowers": _flowers,
    "cactus": _cactus,
    "desk lamp": _desk_lamp,
    "table lamp": _table_lamp,
    "floor lamp": _floor_lamp,
    "pendant lamp": _pendant,
    "ceiling lamp": _ceiling_lamp,
    "picture": _picture,
    "picture frame": _picture_frame,
    "mirror": _mirror,
    "clock": _clock,
    "curtain": _curtain,
    "carpet": _rug,
    "cushion": _cushion,
    "pillow": _pillow,
    "towel": _towel,
}
