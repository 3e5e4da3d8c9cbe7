"""The materials that parametric things are made of, and what these are called."""

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material

Rng = np.random.Generator


class Paint:
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


def any_material(rng: Rng, *kinds: str) -> Material:
    return materials.material(kinds[rng.integers(len(kinds))], rng)


def plain(*srgb, gloss=0.1) -> Material:
    """Return an untextured material of an sRGB colour in 0..255."""
    r, g, b = materials.to_linear(srgb)
    return Material(color=(float(r), float(g), float(b)), gloss=gloss)


def printed(rng) -> Material:
    return Material(
        color=(0.9, 0.9, 0.9), texture=materials.texture("print", int(rng.integers(200))), gloss=0.1
    )
