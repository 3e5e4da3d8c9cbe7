"""Set small things on tables, desks, shelves, beds and sofas."""

from dataclasses import replace

import numpy as np

from govnesf_model.data.synthetic.names import object_classes
from govnesf_model.data.synthetic.plan import Plan
from govnesf_model.data.synthetic.room import Thing, bounds, floor_rect, overlap, turned_size
from govnesf_model.data.synthetic.spots import Spots
from govnesf_model.data.synthetic.things import PROCEDURAL

SURFACES = {
    "table", "coffee table", "desk", "glass table", "cabinet", "chest of drawers", "bookcase",
    "shelves", "bedside table", "kitchen cabinet", "dressing table", "filing cabinet",
    "kitchen sink", "changing table", "bench", "bathroom vanity", "chest freezer",
    "washing machine", "radiator", "stool", "trunk", "refrigerator", "piano", "dryer", "oven",
}  # fmt: skip

SOFT = {"sofa", "bed", "armchair", "air mattress"}

SHELVED = {"shelves", "bookcase"}

SOFT_THINGS = (
    "cushion", "cushion", "pillow", "teddy bear", "book", "magazine", "jacket", "dress",
    "trousers", "handbag", "hat", "towel", "cat", "tablet", "folded clothes",
)  # fmt: skip


def fill_surfaces(plan: Plan, wishes: list[tuple[str, str | None, str | None]]) -> None:
    """Set things on what can carry them, and remember the fuller tops as places to look at.

    Args:
        plan: the room.
        wishes: (class, colour, asset) that come before the drawn ones.
    """
    rng, room = plan.rng, plan.room
    pool = [c.name for c in object_classes().values() if c.place == "top"]
    made = [n for n in pool if n in PROCEDURAL]
    wishes = list(wishes)
    furniture = [t for t in room.things if t.name in SURFACES]
    furniture.sort(key=lambda t: t.name not in ("table", "desk", "coffee table", "kitchen cabinet"))
    for thing in furniture:
        spots = Spots(thing, shelved=thing.name in SHELVED)
        n = int(np.clip(rng.poisson(3 + 8 * spots.area), 2, 22))
        if thing.name in SHELVED:
            n = int(rng.integers(5, 20))
        if thing.name in ("stool", "bench", "refrigerator", "radiator", "piano"):
            n = int(rng.integers(0, 3))
        placed = []
        for _ in range(n):
            if wishes and spots.area > 0.25:
                small = plan.draw(*wishes[0])
                forced = True
            else:
                source = made if rng.random() < 0.45 else pool
                if thing.name in SHELVED and rng.random() < 0.4:
                    source = ["book"]
                small, forced = plan.draw(source[rng.integers(len(source))]), False
            if small is None:
                continue
            done = _put(plan, small, spots, placed)
            if forced and done:
                wishes.pop(0)
        if placed:
            middle = np.mean([(t.mesh.low + t.mesh.high) / 2 for t in placed], axis=0)
            room.focus.append((middle, float(np.linalg.norm(thing.mesh.size[:2]))))
    for thing in [t for t in room.things if t.name in SOFT]:
        spots, placed = Spots(thing, tolerance=0.07), []
        for _ in range(int(rng.integers(0, 4))):
            small = plan.draw(SOFT_THINGS[rng.integers(len(SOFT_THINGS))])
            if small is not None:
                _put(plan, small, spots, placed)


def _put(plan: Plan, small: Thing, spots: Spots, placed: list[Thing]) -> bool:
    rng = plan.rng
    for _ in range(30):
        yaw = rng.normal(0, 0.5) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
        yaw += spots.yaw
        size = small.mesh.size
        at = spots.find(rng, np.abs(turned_size(size[:2], yaw)), float(size[2]))
        if at is None:
            continue
        rect = floor_rect(at[:2], size[:2], yaw)
        clash = any(
            overlap(rect, bounds(p.mesh), 0.004)
            and p.mesh.low[2] < at[2] + size[2] and p.mesh.high[2] > at[2]
            for p in [*placed, *plan.room.things] if p.name != "carpet" and p is not spots.thing
        )  # fmt: skip
        if clash or at[2] + size[2] > plan.room.height - 0.05:
            continue
        mid = (small.mesh.low + small.mesh.high) / 2
        mesh = small.mesh.moved(0, (-mid[0], -mid[1], -small.mesh.low[2])).moved(yaw, tuple(at))
        thing = replace(small, mesh=mesh, yaw=float(yaw))
        placed.append(thing)
        plan.room.things.append(thing)
        return True
    return False
