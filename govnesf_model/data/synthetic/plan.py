"""A room while it is being furnished: what is free, and which assets may be drawn."""

from dataclasses import replace

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.assets import Catalogues
from govnesf_model.data.synthetic.mesh import Material
from govnesf_model.data.synthetic.names import models_of, object_classes
from govnesf_model.data.synthetic.photos import Photos
from govnesf_model.data.synthetic.recolor import clad, main_word, mean_albedo, tinted
from govnesf_model.data.synthetic.room import Rect, Room, Thing, number
from govnesf_model.data.synthetic.things import PROCEDURAL, make

PHOTO_SHARE = 0.5  # of the surfaces that a photograph could show

TINTABLE = {
    "sofa", "armchair", "chair", "cabinet", "wardrobe", "bookcase", "shelves", "desk", "table",
    "stool", "office chair", "bed", "bedside table", "bench", "coffee table", "pouf", "vase",
    "mug", "cup", "bowl", "bottle", "teapot", "refrigerator", "kitchen cabinet", "wall cabinet",
    "towel", "suitcase", "handbag", "cap", "hat", "helmet", "trash can", "recycling bin", "crate",
    "filing cabinet", "locker", "piano", "electric guitar", "bicycle", "stroller", "skateboard",
    "umbrella", "jacket", "dress", "curtain", "carpet", "basket", "toaster", "jar", "door",
}  # fmt: skip


class Plan:
    """A room in the making.

    Attributes:
        rng: where all choices come from.
        split: whose assets may be used.
        rects: occupied floor.
        spans: occupied stretches (from, to, low, high) of each of the four walls.
        holes: openings in each of the four walls.
    """

    def __init__(
        self, seed: int, split: str, library: Catalogues | None, photos: Photos | None = None
    ):
        self.rng = np.random.default_rng([seed, number(split)])
        self.split, self.library, self.photos = split, library, photos
        self.rects: list[Rect] = []
        self.spans: list[list[Rect]] = [[], [], [], []]
        self.holes: list[list[Rect]] = [[], [], [], []]
        self.room: Room

    def wall(self, i: int) -> tuple[float, float]:
        """Length of a wall and the yaw of what stands with its back to it."""
        return (self.room.width, self.room.depth)[i % 2], (0.0, np.pi / 2, np.pi, -np.pi / 2)[i]

    def at_wall(self, i: int, s: float, gap: float) -> np.ndarray:
        """The point at s along wall i, `gap` metres in front of it."""
        w, d = self.room.width, self.room.depth
        return np.array([(s, d - gap), (gap, s), (w - s, gap), (w - gap, d - s)][i])

    def draw(self, name: str, color: str | None = None, asset: str | None = None) -> Thing | None:
        """Return a thing of a class in its own frame, or None where the split has none."""
        rng = self.rng
        models = models_of(name, self.split) if self.library else []
        if asset:
            models = [asset]
        parametric = name in PROCEDURAL and not asset
        if models and (not parametric or rng.random() < 0.62):
            model = self.library.load(models[rng.integers(len(models))])
            if model is None:
                return None
            mesh, word = model.mesh, main_word(model.mesh)
            wanted = color
            if not wanted and name in TINTABLE and rng.random() < 0.3:
                wanted = list(materials.COLORS)[rng.integers(len(materials.COLORS))]
            if wanted:
                mesh = tinted(mesh, materials.named_color(wanted, rng))
            elif name in TINTABLE and rng.random() < 0.2:
                kind = ["wood", "wood", "fabric", "leather", "metal"][rng.integers(5)]
                if name in ("sofa", "armchair", "bed", "pouf") and kind in ("wood", "metal"):
                    kind = "fabric"
                if kind in ("fabric", "leather") and name not in (
                    "sofa",
                    "armchair",
                    "chair",
                    "pouf",
                ):
                    kind = "wood"
                made = self.material(kind)
                mesh, word = clad(mesh, made), made.word
            found = wanted or materials.color_name(mean_albedo(mesh))
            thing = Thing(name, mesh, model.asset, model.license, model.creator, found, word)
            if model.elevation > 0:
                thing = replace(thing, mesh=mesh.moved(0, (0, 0, model.elevation)))
            return thing
        if not parametric:
            return None
        k = int(rng.integers(400 if self.split == "train" else 60))
        shape_rng = np.random.default_rng([number(name), number(self.split), k])
        shape = make(name, shape_rng, color)
        asset = f"proc:{name}:{self.split}{k}"
        return Thing(
            name, shape.mesh, asset, "Apache-2.0", "this project", shape.color, shape.material
        )

    def material(self, kind: str, color=None) -> Material:
        """Return a material of a kind: a photograph now and then, where there are any."""
        if self.photos and self.rng.random() < PHOTO_SHARE:
            photo = self.photos.draw(kind, self.rng)
            if photo:
                return photo
        return materials.material(kind, self.rng, color)

    def place_of(self, name: str) -> str:
        """Where things of a class go, as the table of names says."""
        return object_classes()[name].place
