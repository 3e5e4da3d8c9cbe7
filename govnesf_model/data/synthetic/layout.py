"""Furnish a room: walls with doors and windows, furniture, things on it, lights.

    room = build_room(seed=3, split="train", library=Catalogues.find())

The room spans [0, width] x [0, depth] x [0, height] with its floor at z = 0. Furniture faces away
from its wall. Everything is drawn from one generator, so that a seed is a room.
"""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import open3d as o3d

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.assets import Catalogues
from govnesf_model.data.synthetic.mesh import Material, Mesh, join
from govnesf_model.data.synthetic.names import models_of, object_classes
from govnesf_model.data.synthetic.shapes import box, quad
from govnesf_model.data.synthetic.things import PROCEDURAL, make

Rng = np.random.Generator

THEMES = {
    "living": "sofa sofa armchair coffee_table television shelves bookcase cabinet floor_lamp "
    "potted_plant table chair pouf fireplace piano aquarium radiator trash_can",
    "bedroom": "bed bedside_table wardrobe chest_of_drawers dressing_table armchair desk "
    "office_chair potted_plant clothes_basket crib radiator floor_lamp cabinet shoes",
    "office": "desk desk office_chair bookcase shelves filing_cabinet cabinet whiteboard table "
    "trash_can water_cooler potted_plant locker printer radiator",
    "kitchen": "table chair kitchen_cabinet kitchen_cabinet kitchen_sink refrigerator oven "
    "wall_cabinet range_hood stool trash_can shelves chest_freezer washing_machine radiator",
    "bathroom": "bathtub toilet bidet washbasin bathroom_vanity shower washing_machine "
    "clothes_basket towel_rack radiator toilet_brush trash_can shelves cabinet stool",
    "mixed": "table chair cabinet shelves desk sofa bed armchair stool coffee_table potted_plant "
    "cardboard_box bicycle bench crate step_ladder",
}
SURFACES = {
    "table", "coffee table", "desk", "glass table", "cabinet", "chest of drawers", "bookcase",
    "shelves", "bedside table", "kitchen cabinet", "dressing table", "filing cabinet",
    "kitchen sink", "changing table", "bench", "bathroom vanity", "chest freezer",
    "washing machine", "radiator", "stool", "trunk", "refrigerator", "piano", "dryer", "oven",
}  # fmt: skip
SOFT = {"sofa", "bed", "armchair", "air mattress"}
SHELVED = {"shelves", "bookcase"}
SOFT_THINGS = ("cushion", "cushion", "pillow", "teddy bear", "book", "magazine", "jacket", "dress",
               "trousers", "handbag", "hat", "towel", "cat", "tablet", "folded clothes")  # fmt: skip
HANG_HEIGHT = {"light switch": 1.1, "power socket": 0.25, "clock": 1.8, "mirror": 1.0,
               "picture": 1.25, "curtain": 0.05, "wall cabinet": 1.45, "flower box": 1.2}  # fmt: skip
TINTABLE = {
    "sofa", "armchair", "chair", "cabinet", "wardrobe", "bookcase", "shelves", "desk", "table",
    "stool", "office chair", "bed", "bedside table", "bench", "coffee table", "pouf", "vase",
    "mug", "cup", "bowl", "bottle", "teapot", "refrigerator", "kitchen cabinet", "wall cabinet",
    "towel", "suitcase", "handbag", "cap", "hat", "helmet", "trash can", "recycling bin", "crate",
    "filing cabinet", "locker", "piano", "electric guitar", "bicycle", "stroller", "skateboard",
    "umbrella", "jacket", "dress", "curtain", "carpet", "basket", "toaster", "jar", "door",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Thing:
    """One instance of a room, in world coordinates."""

    name: str
    mesh: Mesh
    asset: str
    license: str
    creator: str
    color: str | None
    material: str | None
    yaw: float = 0.0


@dataclass(frozen=True)
class Light:
    """A small sphere that shines.

    Attributes:
        position: world, metres.
        power: radiant intensity, linear RGB.
        radius: metres; softens its shadows.
        axis: direction of the light, None where it shines everywhere.
    """

    position: tuple[float, float, float]
    power: tuple[float, float, float]
    radius: float
    axis: tuple[float, float, float] | None = None


@dataclass(eq=False)
class Room:
    """A furnished room."""

    width: float
    depth: float
    height: float
    theme: str
    things: list[Thing] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: tuple[float, float, float] = (0.3, 0.3, 0.3)
    focus: list[tuple[np.ndarray, float]] = field(default_factory=list)


def build_room(
    seed: int,
    split: str,
    library: Catalogues | None,
    wishes: tuple[tuple[str, str | None, str | None], ...] = (),
    size: tuple[float, float, float] | None = None,
    theme: str | None = None,
) -> Room:
    """Return the room of a seed.

    Args:
        seed: every choice follows from it, the split and the library.
        split: whose assets may be used: train, val, test or demo.
        library: the catalogues, or None for parametric things alone.
        wishes: (class, colour, asset) that have to be there, colour and asset may be None; placed
            first.
        size: width, depth, height in metres; drawn where None.
        theme: a key of THEMES; drawn where None.
    """
    return _Builder(seed, split, library, size, theme).build(wishes)


class _Builder:
    def __init__(self, seed, split, library, size, theme):
        self.rng = np.random.default_rng([seed, _number(split)])
        rng = self.rng
        self.split, self.library = split, library
        size = size or (rng.uniform(3, 7), rng.uniform(3, 6), rng.uniform(2.4, 3.0))
        names = list(THEMES)
        theme = theme or names[rng.choice(len(names), p=[0.24, 0.18, 0.18, 0.18, 0.07, 0.15])]
        self.room = Room(*size, theme=theme)
        self.rects: list[tuple[float, float, float, float]] = []  # occupied floor
        self.spans: list[list[tuple[float, float, float, float]]] = [[], [], [], []]
        self.holes: list[list[tuple[float, float, float, float]]] = [[], [], [], []]

    def build(self, wishes) -> Room:
        rng, room = self.rng, self.room
        self._openings()
        for name, color, asset in wishes:
            place = self._place_of(name)
            if place != "top":
                for _ in range(6):
                    if self._add(name, place, color, asset):
                        break
        themed = [n.replace("_", " ") for n in THEMES[room.theme].split()]
        area = room.width * room.depth
        for name in _shuffled(rng, themed)[: int(rng.integers(5, 9) + area / 5)]:
            self._add(name, self._place_of(name))
        others = [
            c.name
            for c in object_classes().values()
            if c.place in ("wall", "free", "floor", "seat", "table")
        ]
        for name in _shuffled(rng, others)[: int(rng.integers(4, 9))]:
            self._add(name, self._place_of(name))
        self._seats()
        for name in ["carpet"] * int(rng.choice([0, 1, 1, 2])):
            self._add(name, "rug")
        self._hangings()
        self._ceiling()
        self._tops([(n, c, a) for n, c, a in wishes if self._place_of(n) == "top"])
        self._shell()
        self._lights()
        return room

    # what a thing is

    def _place_of(self, name: str) -> str:
        return object_classes()[name].place

    def _draw(self, name: str, color: str | None = None, asset: str | None = None) -> Thing | None:
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
            mesh, word = model.mesh, _main_word(model.mesh)
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
                made = materials.material(kind, rng)
                mesh, word = clad(mesh, made), made.word
            found = wanted or materials.color_name(mean_albedo(mesh))
            thing = Thing(name, mesh, model.asset, model.license, model.creator, found, word)
            if model.elevation > 0:
                thing = replace(thing, mesh=mesh.moved(0, (0, 0, model.elevation)))
            return thing
        if not parametric:
            return None
        k = int(rng.integers(400 if self.split == "train" else 60))
        shape_rng = np.random.default_rng([_number(name), _number(self.split), k])
        shape = make(name, shape_rng, color)
        asset = f"proc:{name}:{self.split}{k}"
        return Thing(
            name, shape.mesh, asset, "Apache-2.0", "this project", shape.color, shape.material
        )

    # walls

    def _wall(self, i: int) -> tuple[float, float]:
        """Length of a wall and the yaw of what stands with its back to it."""
        return (self.room.width, self.room.depth)[i % 2], (0.0, np.pi / 2, np.pi, -np.pi / 2)[i]

    def _at_wall(self, i: int, s: float, gap: float) -> np.ndarray:
        """The point at s along wall i, `gap` metres in front of it."""
        w, d = self.room.width, self.room.depth
        return np.array([(s, d - gap), (gap, s), (w - s, gap), (w - gap, d - s)][i])

    def _openings(self) -> None:
        rng = self.rng
        plan = ["door"] + ["door"] * int(rng.random() < 0.25) + ["window"] * int(rng.integers(0, 4))
        for name in plan:
            thing = self._draw(name)
            if thing is None:
                continue
            for _ in range(12):
                i = int(rng.integers(4))
                length, yaw = self._wall(i)
                w, h = float(thing.mesh.size[0]), float(thing.mesh.size[2])
                z = float(thing.mesh.low[2])
                if name == "window" and z < 0.02 and h < 1.7:
                    z = rng.uniform(0.7, 1.0)
                if w > length - 0.6 or z + h > self.room.height - 0.1:
                    break
                s = rng.uniform(w / 2 + 0.25, length - w / 2 - 0.25)
                span = (s - w / 2 - 0.05, s + w / 2 + 0.05, z - 0.1, z + h + 0.1)
                if any(_overlap(span, other) for other in self.spans[i]):
                    continue
                self.spans[i].append(span)
                mesh = thing.mesh.moved(0, (0, 0, z - float(thing.mesh.low[2])))
                # A third of the frame stands out of the wall; a hole is cut for the rest.
                depth = float(mesh.size[1])
                out = min(0.05, depth / 3)
                mesh = mesh.moved(0, (-(mesh.low[0] + mesh.high[0]) / 2, -out - mesh.low[1], 0))
                inset = 0.012
                hole = (
                    s - w / 2 + inset,
                    s + w / 2 - inset,
                    z + (0 if z < 0.02 else inset),
                    z + h - inset,
                )
                self.holes[i].append(hole)
                x0, x1, back = -w / 2 + inset, w / 2 - inset, depth - out + 0.03
                view = self._outside(name)
                z0, z1 = hole[2], hole[3]
                corners = [[x0, back, z0], [x1, back, z0], [x1, back, z1], [x0, back, z1]]
                sides = [
                    quad([[x, 0, z0], [x, back, z0], [x, back, z1], [x, 0, z1]], Material(color=(0.5, 0.5, 0.5)))
                    for x in (x0, x1)
                ] + [
                    quad([[x0, 0, zz], [x1, 0, zz], [x1, back, zz], [x0, back, zz]], Material(color=(0.5, 0.5, 0.5)))
                    for zz in (z0, z1)
                ]  # fmt: skip
                mesh = join([mesh, quad(corners, view, [[0, 1], [1, 1], [1, 0], [0, 0]]), *sides])
                at = self._at_wall(i, s, 0.0)
                self.room.things.append(replace(thing, mesh=mesh.moved(yaw, (*at, 0)), yaw=yaw))
                if z < 0.3:  # keep the way free
                    c = self._at_wall(i, s, 0.35)
                    self.rects.append(_rect(c, (w, 0.7), yaw))
                break

    def _outside(self, name: str) -> Material:
        rng = self.rng
        if name == "door":
            return Material(color=(0.35, 0.33, 0.3))
        image = materials.texture("print", 1000 + int(rng.integers(40))).astype(np.float32)
        y = np.linspace(0, 1, image.shape[0])[:, None, None]
        sky = np.array([190, 215, 240, 255]) * (1 - 0.15 * y)
        keep = np.clip((y - rng.uniform(0.4, 0.7)) * 6, 0, 0.7)
        image = (image * keep + sky * (1 - keep)).astype(np.uint8)
        image[..., 3] = 255
        return Material(color=(1.0, 1.0, 1.0), texture=image, emission=float(rng.uniform(0.8, 2.2)))

    # furniture

    def _add(
        self, name: str, place: str, color: str | None = None, asset: str | None = None
    ) -> bool:
        thing = self._draw(name, color, asset)
        if thing is None or place in ("top", "structure", "door", "window"):
            return False
        if place == "hang":
            return self._hang(thing)
        if place == "ceiling":
            return False
        if place in ("wall", "kitchen"):
            return self._against_wall(thing)
        return self._on_floor(thing, place)

    def _against_wall(self, thing: Thing, tries: int = 25) -> bool:
        rng = self.rng
        w, d, h = (float(x) for x in thing.mesh.size)
        z = float(thing.mesh.low[2])
        if z + h > self.room.height - 0.02:
            return False
        for _ in range(tries):
            i = int(rng.integers(4))
            length, yaw = self._wall(i)
            if w > length - 0.1:
                continue
            s = rng.uniform(w / 2 + 0.03, length - w / 2 - 0.03)
            span = (s - w / 2, s + w / 2, z, z + h)
            if any(_overlap(span, o) for o in self.spans[i]):
                continue
            gap = 0.02 + (rng.uniform(0, 0.08) if rng.random() < 0.3 else 0)
            centre = self._at_wall(i, s, gap + d / 2)
            if self._stand(thing, centre, yaw, i, span):
                return True
        return False

    def _on_floor(self, thing: Thing, place: str) -> bool:
        rng, room = self.rng, self.room
        for _ in range(25):
            yaw = float(rng.choice([0, 0.5, 1, 1.5]) * np.pi)
            if place in ("seat", "free", "floor") and rng.random() < 0.6:
                yaw += rng.normal(0, 0.35)
            w, d, _ = thing.mesh.size
            half = (
                np.abs(np.cos(yaw)) * np.array([w, d]) / 2
                + np.abs(np.sin(yaw)) * np.array([d, w]) / 2
            )
            span = np.array([room.width, room.depth]) - 2 * half - 0.06
            if (span <= 0).any():
                continue
            centre = half + 0.03 + span * rng.beta(0.8, 0.8, 2)
            if place in ("table", "free"):
                centre = half + 0.03 + span * rng.beta(2, 2, 2)
            if self._stand(thing, centre, yaw, None, None, rug=place == "rug"):
                return True
        return False

    def _stand(self, thing, centre, yaw, wall, span, rug=False) -> bool:
        rect = _rect(centre, thing.mesh.size[:2], yaw)
        if not rug:
            if any(_overlap(rect, o, 0.02) for o in self.rects):
                return False
            if thing.mesh.high[2] > self.room.height - 0.02:
                return False
            self.rects.append(rect)
        elif any(t.name == "carpet" and _overlap(rect, _bounds(t.mesh)) for t in self.room.things):
            return False
        if wall is not None:
            self.spans[wall].append(span)
        mid = (thing.mesh.low + thing.mesh.high) / 2
        mesh = thing.mesh.moved(0, (-mid[0], -mid[1], 0))
        if mesh.low[2] > 0.001 and self._place_of(thing.name) not in ("wall",):
            mesh = mesh.moved(0, (0, 0, -float(mesh.low[2])))
        mesh = mesh.moved(yaw, (*centre, 0))
        self.room.things.append(replace(thing, mesh=mesh, yaw=float(yaw)))
        return True

    def _seats(self) -> None:
        """Draw chairs up to tables and desks."""
        rng = self.rng
        for table in list(self.room.things):
            if table.name not in ("table", "glass table", "desk"):
                continue
            chair = self._draw(
                "office chair" if table.name == "desk" and rng.random() < 0.6 else "chair"
            )
            if chair is None:
                continue
            size = _local_size(table)
            sides = [(0, -1)] if table.name == "desk" else [(0, -1), (0, 1), (1, 0), (-1, 0)]
            for sx, sy in sides:
                if rng.random() < 0.25:
                    continue
                push = rng.uniform(-0.05, 0.3)
                local = np.array([sx * (size[0] / 2 + push), sy * (size[1] / 2 + push)])
                c, s = np.cos(table.yaw), np.sin(table.yaw)
                low, high = table.mesh.low[:2], table.mesh.high[:2]
                centre = (low + high) / 2 + np.array(
                    [c * local[0] - s * local[1], s * local[0] + c * local[1]]
                )
                facing = table.yaw + np.arctan2(-sx, sy)
                yaw = facing + rng.normal(0, 0.2)
                rect = _rect(centre, chair.mesh.size[:2], yaw)
                others = [r for r in self.rects if not _same(r, _bounds(table.mesh))]
                inside = (
                    rect[0] > 0.02
                    and rect[2] > 0.02
                    and rect[1] < self.room.width - 0.02
                    and rect[3] < self.room.depth - 0.02
                )
                if not inside or any(_overlap(rect, o, 0.02) for o in others):
                    continue
                self.rects.append(rect)
                mid = (chair.mesh.low + chair.mesh.high) / 2
                mesh = chair.mesh.moved(0, (-mid[0], -mid[1], -chair.mesh.low[2]))
                mesh = mesh.moved(yaw, (*centre, 0))
                # A chair with arms cannot go under the top: leave it out where the two would meet.
                if (
                    chair.mesh.high[2] > 0
                    and _overlap(rect, _bounds(table.mesh))
                    and _tall_front(chair.mesh, table.mesh.high[2])
                ):
                    self.rects.pop()
                    continue
                self.room.things.append(replace(chair, mesh=mesh, yaw=float(yaw)))

    # walls and ceiling

    def _hangings(self) -> None:
        rng = self.rng
        pool = [c.name for c in object_classes().values() if c.place == "hang"]
        common = [
            "picture",
            "picture",
            "picture",
            "clock",
            "mirror",
            "curtain",
            "wall cabinet",
            "wall lamp",
        ]
        chosen = [common[k] for k in rng.integers(len(common), size=int(rng.integers(2, 6)))]
        chosen += _shuffled(rng, pool)[: int(rng.integers(2, 6))]
        for name in chosen:
            thing = self._draw(name)
            if thing is not None:
                self._hang(thing)

    def _hang(self, thing: Thing) -> bool:
        rng = self.rng
        w, d, h = (float(x) for x in thing.mesh.size)
        for _ in range(20):
            i = int(rng.integers(4))
            length, yaw = self._wall(i)
            if w > length - 0.2:
                continue
            z = float(thing.mesh.low[2])
            if z < 0.02 and thing.name != "curtain":
                z = HANG_HEIGHT.get(thing.name, rng.uniform(1.0, 1.5)) + rng.uniform(-0.1, 0.15)
            z = min(z, self.room.height - h - 0.05)
            s = rng.uniform(w / 2 + 0.05, length - w / 2 - 0.05)
            span = (s - w / 2, s + w / 2, z, z + h)
            if z < 0 or any(_overlap(span, o, 0.02) for o in self.spans[i]):
                continue
            centre = self._at_wall(i, s, d / 2 + 0.004)
            rect = _rect(centre, (w, d), yaw)
            if any(_overlap(rect, _bounds(t.mesh)) and t.mesh.high[2] > z and t.mesh.low[2] < z + h
                   for t in self.room.things if t.name not in ("door", "window", "carpet")):  # fmt: skip
                continue
            self.spans[i].append(span)
            if z < 1.8 and d > 0.15:
                self.rects.append(rect)
            mid = (thing.mesh.low + thing.mesh.high) / 2
            mesh = thing.mesh.moved(0, (-mid[0], -mid[1], z - float(thing.mesh.low[2])))
            self.room.things.append(replace(thing, mesh=mesh.moved(yaw, (*centre, 0)), yaw=yaw))
            return True
        return False

    def _ceiling(self) -> None:
        rng, room = self.rng, self.room
        for _ in range(int(rng.choice([0, 1, 1, 2]))):
            name = ["pendant lamp", "ceiling lamp", "chandelier", "ceiling fan"][
                rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])
            ]
            thing = self._draw(name)
            if thing is None or thing.mesh.size[2] > 1.2:
                continue
            at = (rng.uniform(0.3, 0.7) * room.width, rng.uniform(0.3, 0.7) * room.depth)
            mid = (thing.mesh.low + thing.mesh.high) / 2
            shift = (at[0] - mid[0], at[1] - mid[1], room.height - float(thing.mesh.high[2]))
            room.things.append(replace(thing, mesh=thing.mesh.moved(0, shift)))

    # small things

    def _tops(self, wishes) -> None:
        rng, room = self.rng, self.room
        pool = [c.name for c in object_classes().values() if c.place == "top"]
        made = [n for n in pool if n in PROCEDURAL]
        wishes = list(wishes)
        furniture = [t for t in room.things if t.name in SURFACES]
        furniture.sort(
            key=lambda t: t.name not in ("table", "desk", "coffee table", "kitchen cabinet")
        )
        for thing in furniture:
            spots = _Spots(thing, shelved=thing.name in SHELVED)
            n = int(np.clip(rng.poisson(3 + 8 * spots.area), 2, 22))
            if thing.name in SHELVED:
                n = int(rng.integers(5, 20))
            if thing.name in ("stool", "bench", "refrigerator", "radiator", "piano"):
                n = int(rng.integers(0, 3))
            placed = []
            for _ in range(n):
                if wishes and spots.area > 0.25:
                    small = self._draw(*wishes[0])
                    forced = True
                else:
                    source = made if rng.random() < 0.45 else pool
                    small, forced = self._draw(source[rng.integers(len(source))]), False
                if small is None:
                    continue
                done = self._put(small, spots, placed)
                if forced and done:
                    wishes.pop(0)
            if placed:
                middle = np.mean([(t.mesh.low + t.mesh.high) / 2 for t in placed], axis=0)
                room.focus.append((middle, float(np.linalg.norm(thing.mesh.size[:2]))))
        for thing in [t for t in room.things if t.name in SOFT]:
            spots, placed = _Spots(thing, tolerance=0.07), []
            for _ in range(int(rng.integers(0, 4))):
                small = self._draw(SOFT_THINGS[rng.integers(len(SOFT_THINGS))])
                if small is not None:
                    self._put(small, spots, placed)

    def _put(self, small: Thing, spots: "_Spots", placed: list[Thing]) -> bool:
        rng = self.rng
        for _ in range(30):
            yaw = rng.normal(0, 0.5) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
            yaw += spots.yaw
            size = small.mesh.size
            at = spots.find(rng, np.abs(_turned(size[:2], yaw)), float(size[2]))
            if at is None:
                continue
            rect = _rect(at[:2], size[:2], yaw)
            clash = any(
                _overlap(rect, _bounds(p.mesh), 0.004)
                and p.mesh.low[2] < at[2] + size[2] and p.mesh.high[2] > at[2]
                for p in [*placed, *self.room.things] if p.name != "carpet" and p is not spots.thing
            )  # fmt: skip
            if clash or at[2] + size[2] > self.room.height - 0.05:
                continue
            mid = (small.mesh.low + small.mesh.high) / 2
            mesh = small.mesh.moved(0, (-mid[0], -mid[1], -small.mesh.low[2])).moved(yaw, tuple(at))
            thing = replace(small, mesh=mesh, yaw=float(yaw))
            placed.append(thing)
            self.room.things.append(thing)
            return True
        return False

    # shell and lights

    def _shell(self) -> None:
        rng, room = self.rng, self.room
        w, d, h = room.width, room.depth, room.height
        floor_kind = {"kitchen": ["tiles", "planks"], "bathroom": ["tiles", "marble"]}.get(
            room.theme, ["planks", "parquet", "carpet", "tiles", "concrete", "planks"]
        )
        floor = materials.material(
            floor_kind[rng.integers(len(floor_kind))], rng, self._floor_color(floor_kind)
        )
        self._surface("floor", [[0, 0, 0], [w, 0, 0], [w, d, 0], [0, d, 0]], floor)
        white = materials.to_linear(np.clip(rng.normal(228, 10, 3), 150, 245))
        self._surface(
            "ceiling",
            [[0, 0, h], [0, d, h], [w, d, h], [w, 0, h]],
            materials.material("plaster", rng, white),
        )
        kind = ["plaster", "plaster", "plaster", "brick", "concrete", "stripes", "planks"][
            rng.integers(7)
        ]
        if room.theme in ("bathroom", "kitchen") and rng.random() < 0.5:
            kind = "tiles"
        base = np.array([[225, 222, 215], [235, 230, 215], [200, 205, 200], [190, 205, 220], [225, 205, 175], [205, 215, 190],
                         [230, 200, 195], [150, 160, 170], [120, 60, 55], [70, 90, 110]])  # fmt: skip
        wall = materials.material(
            kind,
            rng,
            materials.to_linear(
                np.clip(
                    base[rng.choice(10, p=[0.2, 0.2, 0.1, 0.1, 0.1, 0.08, 0.08, 0.06, 0.04, 0.04])]
                    + rng.normal(0, 8, 3),
                    20,
                    245,
                )
            ),
        )
        accent = rng.integers(4) if rng.random() < 0.3 else -1
        skirt = materials.material(
            ["paint", "wood"][rng.integers(2)],
            rng,
            materials.to_linear([225, 222, 215]) if rng.random() < 0.6 else None,
        )
        high = rng.uniform(0.05, 0.12)
        for i in range(4):
            m = materials.material("plaster", rng) if i == accent else wall
            length, yaw = self._wall(i)
            pieces, skirts = [], []
            for s0, s1, z0, z1 in _pieces(length, h, self.holes[i]):
                pieces.append(_panel(s0, s1, z0, z1, m))
                if z0 == 0:
                    skirts.append(
                        box((s1 - s0, 0.012, min(high, z1)), ((s0 + s1) / 2, -0.006, 0), skirt)
                    )
            at = self._at_wall(i, 0.0, 0.0)
            self._structure("wall", join(pieces).moved(yaw, (*at, 0)), m, yaw)
            if skirts and rng.random() < 0.85:
                self._structure("skirting board", join(skirts).moved(yaw, (*at, 0)), skirt, yaw)

    def _floor_color(self, kinds) -> np.ndarray | None:
        rng = self.rng
        if rng.random() < 0.5 and "planks" in kinds:
            base = np.array(materials.WOODS[rng.integers(len(materials.WOODS))])
            return materials.to_linear(base * rng.uniform(0.8, 1.15))
        return materials.to_linear(np.clip(rng.uniform(70, 210) + rng.normal(0, 12, 3), 30, 235))

    def _surface(self, name, corners, m) -> None:
        self._structure(name, quad(corners, m, np.array(corners)[:, :2] / (m.scale or 1.0)), m)

    def _structure(self, name, mesh, m, yaw=0.0) -> None:
        color = materials.color_name(mean_albedo(mesh))
        self.room.things.append(
            Thing(name, mesh, f"proc:{name}", "Apache-2.0", "this project", color, m.word, yaw)
        )

    def _lights(self) -> None:
        rng, room = self.rng, self.room
        w, d, h = room.width, room.depth, room.height
        warm = np.array([1.0, rng.uniform(0.78, 1.0), rng.uniform(0.55, 1.0)])
        for _ in range(int(rng.integers(1, 3))):
            at = (rng.uniform(0.2, 0.8) * w, rng.uniform(0.2, 0.8) * d, h - rng.uniform(0.06, 0.35))
            room.lights.append(
                Light(at, _triple(warm * rng.uniform(0.6, 2.0)), rng.uniform(0.05, 0.25))
            )
        for thing in room.things:
            c = (thing.mesh.low + thing.mesh.high) / 2
            if thing.name == "window" and rng.random() < 0.8 and len(room.lights) < 4:
                into = np.array([np.sin(thing.yaw), -np.cos(thing.yaw), 0])
                at = c + into * 0.25
                day = np.array([0.85, 0.95, 1.0]) * rng.uniform(0.8, 3.5)
                room.lights.append(Light(_triple(at), _triple(day), 0.4, _triple(into)))
            elif (
                thing.name in ("floor lamp", "table lamp")
                and rng.random() < 0.5
                and len(room.lights) < 4
            ):
                at = (c[0], c[1], thing.mesh.high[2] + 0.05)
                room.lights.append(Light(_triple(at), (0.35, 0.28, 0.18), 0.05))
        tint = np.array([rng.uniform(0.9, 1.05), 1.0, rng.uniform(0.9, 1.1)])
        room.ambient = _triple(tint * rng.uniform(0.15, 0.45))


def tinted(mesh: Mesh, color: tuple[float, float, float]) -> Mesh:
    """Return the mesh in shades of one colour: light and dark parts stay, hues go."""
    means = [_material_albedo(m).mean() for m in mesh.materials]
    weights = np.bincount(mesh.material, _areas(mesh), len(mesh.materials))
    average = max(float(np.average(means, weights=np.maximum(weights, 1e-9))), 1e-3)
    out = []
    for m, mean in zip(mesh.materials, means, strict=True):
        level = float(np.clip(mean / average, 0.35, 1.6))
        texture = m.texture
        if texture is not None:
            gray = texture[..., :3].mean(-1, keepdims=True)
            gray = np.clip(gray / max(gray.mean(), 1.0), 0.5, 1.5) * 170
            texture = np.concatenate([gray.repeat(3, -1).astype(np.uint8), texture[..., 3:]], -1)
        gain = level / float(np.mean((170 / 255) ** 2.2)) if texture is not None else level
        out.append(replace(m, color=tuple(min(c * gain, 2.5) for c in color), texture=texture))
    return replace(mesh, materials=out)


def clad(mesh: Mesh, material: Material) -> Mesh:
    """Return the mesh in another material, holes and glass kept, textures by projection."""
    from govnesf_model.data.synthetic.mesh import box_projection

    out = [m if m.opacity < 0.9 or _has_holes(m) else material for m in mesh.materials]
    changed = np.array([o is material for o in out])[mesh.material]
    uv = mesh.uv.copy()
    uv[changed] = box_projection(mesh.points[changed], material.scale or 1.0)
    return replace(mesh, uv=uv, materials=out)


def mean_albedo(mesh: Mesh) -> np.ndarray:
    """Return the mean linear albedo over the surface."""
    table = np.array([_material_albedo(m) for m in mesh.materials])
    return np.average(table[mesh.material], axis=0, weights=_areas(mesh) + 1e-12)


class _Spots:
    """Where things can stand on a piece of furniture: horizontal patches seen from above."""

    CELL = 0.04

    def __init__(self, thing: Thing, shelved: bool = False, tolerance: float = 0.012):
        self.thing, self.tolerance = thing, tolerance
        self.yaw = thing.yaw
        mesh = thing.mesh
        low, high = mesh.low, mesh.high
        nx, ny = np.maximum(np.ceil((high - low)[:2] / self.CELL).astype(int), 1)
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        points = np.ascontiguousarray(mesh.points.reshape(-1, 3), np.float32)
        scene.add_triangles(points, np.arange(len(points), dtype=np.uint32).reshape(-1, 3))
        x = low[0] + (np.arange(nx) + 0.5) * self.CELL
        y = low[1] + (np.arange(ny) + 0.5) * self.CELL
        gx, gy = np.meshgrid(x, y, indexing="ij")
        self.low = low
        top = np.full((nx, ny), high[2] + 0.05, np.float32)
        self.layers: list[tuple[np.ndarray, np.ndarray]] = []  # height, clearance above
        ceiling = np.full((nx, ny), 10.0, np.float32)
        for _ in range(8 if shelved else 1):
            rays = np.stack([gx, gy, top, 0 * gx, 0 * gx, 0 * gx - 1], -1).astype(np.float32)
            hit = scene.cast_rays(rays, nthreads=1)["t_hit"].numpy()
            height = np.where(np.isfinite(hit), top - hit, -1.0)
            if (height > 0.02).sum() < 4:
                break
            self.layers.append((height, ceiling - height))
            top = np.where(height > 0, height - 0.035, 0.0).astype(np.float32)
            ceiling = np.where(height > 0, height - 0.03, ceiling)
        self.area = float((self.layers[0][0] > 0.2).sum() * self.CELL**2) if self.layers else 0.0

    def find(self, rng: Rng, footprint: np.ndarray, height: float) -> np.ndarray | None:
        """Return a random place (x, y, z) for a thing of a size, or None."""
        if not self.layers:
            return None
        level, clear = self.layers[rng.integers(len(self.layers))]
        nx, ny = level.shape
        kx, ky = (max(1, int(np.ceil(f / self.CELL - 0.3))) for f in footprint)
        if kx > nx or ky > ny:
            return None
        i, j = int(rng.integers(nx - kx + 1)), int(rng.integers(ny - ky + 1))
        patch = level[i : i + kx, j : j + ky]
        high = float(patch.max())
        if high < 0.15 or high - float(patch.min()) > self.tolerance:
            return None
        if float(clear[i : i + kx, j : j + ky].min()) < height + 0.01:
            return None
        x = self.low[0] + (i + kx / 2) * self.CELL
        y = self.low[1] + (j + ky / 2) * self.CELL
        sink = 0.3 * (high - float(patch.min()))
        return np.array([x, y, high - sink + 0.0008])


def _areas(mesh: Mesh) -> np.ndarray:
    p = mesh.points
    return np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=-1) / 2


def _material_albedo(m: Material) -> np.ndarray:
    color = np.asarray(m.color, float)
    if m.texture is None:
        return color
    solid = m.texture[..., 3] > 127
    pixels = m.texture[..., :3][solid] if solid.any() else m.texture[..., :3].reshape(-1, 3)
    return color * materials.to_linear(pixels).mean(0)


def _has_holes(m: Material) -> bool:
    return m.texture is not None and bool((m.texture[..., 3] < 128).mean() > 0.02)


def _main_word(mesh: Mesh) -> str | None:
    areas, total = {}, 0.0
    for k, area in enumerate(np.bincount(mesh.material, _areas(mesh), len(mesh.materials))):
        word = mesh.materials[k].word
        areas[word] = areas.get(word, 0.0) + area
        total += area
    word = max(areas, key=areas.get)
    return word if areas[word] > 0.6 * total else None


def _panel(s0, s1, z0, z1, m: Material) -> Mesh:
    corners = [[s0, 0, z0], [s1, 0, z0], [s1, 0, z1], [s0, 0, z1]]
    scale = m.scale or 1.0
    return quad(corners, m, np.array([[s0, -z0], [s1, -z0], [s1, -z1], [s0, -z1]]) / scale)


def _pieces(length: float, height: float, holes) -> list[tuple[float, float, float, float]]:
    """Split a wall around its holes into rectangles (s0, s1, z0, z1)."""
    out, s = [], 0.0
    for a, b, z0, z1 in sorted(holes):
        out.append((s, a, 0.0, height))
        if z0 > 0:
            out.append((a, b, 0.0, z0))
        out.append((a, b, z1, height))
        s = b
    return [*out, (s, length, 0.0, height)]


def _tall_front(chair: Mesh, table_top) -> bool:
    """Whether the front half of a chair rises above the underside of a table top."""
    points = chair.points.reshape(-1, 3)
    front = points[:, 1] < (chair.low[1] + chair.high[1]) / 2
    return bool(points[front, 2].max() > table_top - 0.08) if front.any() else False


def _local_size(thing: Thing) -> np.ndarray:
    return np.abs(_turned(thing.mesh.size[:2], thing.yaw))


def _turned(size, yaw: float) -> np.ndarray:
    c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
    return np.array([c * size[0] + s * size[1], s * size[0] + c * size[1]])


def _rect(centre, size, yaw: float) -> tuple[float, float, float, float]:
    half = _turned(size, yaw) / 2
    return (centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1])


def _bounds(mesh: Mesh) -> tuple[float, float, float, float]:
    low, high = mesh.low, mesh.high
    return (float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def _overlap(a, b, margin=0.0) -> bool:
    return bool(
        a[0] < b[1] + margin
        and b[0] < a[1] + margin
        and a[2] < b[3] + margin
        and b[2] < a[3] + margin
    )


def _same(a, b) -> bool:
    return bool(max(abs(x - y) for x, y in zip(a, b, strict=True)) < 0.02)


def _triple(values) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _shuffled(rng: Rng, items: list[str]) -> list[str]:
    return [items[k] for k in rng.permutation(len(items))]


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
