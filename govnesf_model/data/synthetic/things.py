"""Parametric things: what the catalogues lack, and every class in many more shapes.

    shape = make("mug", np.random.default_rng(0))   # a Shape: mesh, colour word, material word

A maker takes a generator and a `Paint` that chooses the main material and remembers its name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from govnesf_model.data.synthetic.mesh import Mesh
from govnesf_model.data.synthetic.paint import Paint
from govnesf_model.data.synthetic.things_decor import DECOR
from govnesf_model.data.synthetic.things_seats import SEATS
from govnesf_model.data.synthetic.things_small import SMALL
from govnesf_model.data.synthetic.things_storage import STORAGE
from govnesf_model.data.synthetic.things_tableware import TABLEWARE

Rng = np.random.Generator

PROCEDURAL: dict[str, Callable[[Rng, Paint], Mesh]] = {
    **TABLEWARE,
    **SMALL,
    **DECOR,
    **SEATS,
    **STORAGE,
}


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
    paint = Paint(rng, color)
    mesh = PROCEDURAL[name](rng, paint)
    return Shape(mesh, paint.color, paint.word)
