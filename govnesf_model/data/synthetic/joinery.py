"""Parts that several pieces of furniture share."""

from govnesf_model.data.synthetic.mesh import Material, join
from govnesf_model.data.synthetic.paint import any_material
from govnesf_model.data.synthetic.shapes import box, rod


def four_legs(w, d, h, t, m, splay=0.0):
    """Return four legs of thickness t under a w x d top at height h; thin or splayed ones round."""
    if splay or t < 0.035:
        x, y, out = w / 2 - t, d / 2 - t, 1 + splay
        return [
            rod((sx * x * out, sy * y * out, 0), (sx * x, sy * y, h), t / 2, m)
            for sx in (-1, 1)
            for sy in (-1, 1)
        ]
    x, y = w / 2 - t / 2 - 0.01, d / 2 - t / 2 - 0.01
    return [box((t, t, h), (sx * x, sy * y, 0), m) for sx in (-1, 1) for sy in (-1, 1)]


def fronted(rng, w, d, h, m, rows, columns, knobs=None):
    """A box whose front is divided into doors or drawers with handles."""
    knob = knobs or any_material(rng, "metal", "wood", "plastic")
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
