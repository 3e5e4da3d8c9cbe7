"""Hang things on walls and lamps from the ceiling."""

from dataclasses import replace

from govnesf_model.data.synthetic.names import object_classes
from govnesf_model.data.synthetic.plan import Plan
from govnesf_model.data.synthetic.room import Thing, bounds, floor_rect, overlap, shuffled

HANG_HEIGHT = {  # metres of the lower edge, where the catalogue says nothing
    "light switch": 1.1, "power socket": 0.25, "clock": 1.8, "mirror": 1.0, "picture": 1.25,
    "curtain": 0.05, "wall cabinet": 1.45, "flower box": 1.2,
}  # fmt: skip


def add_hangings(plan: Plan) -> None:
    """Hang pictures, clocks, cupboards and the like."""
    rng = plan.rng
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
    chosen += shuffled(rng, pool)[: int(rng.integers(2, 6))]
    for name in chosen:
        thing = plan.draw(name)
        if thing is not None:
            hang(plan, thing)


def hang(plan: Plan, thing: Thing) -> bool:
    """Hang a thing on a free stretch of wall; returns whether there was one."""
    rng = plan.rng
    w, d, h = (float(x) for x in thing.mesh.size)
    for _ in range(20):
        i = int(rng.integers(4))
        length, yaw = plan.wall(i)
        if w > length - 0.2:
            continue
        z = float(thing.mesh.low[2])
        if z < 0.02 and thing.name != "curtain":
            z = HANG_HEIGHT.get(thing.name, rng.uniform(1.0, 1.5)) + rng.uniform(-0.1, 0.15)
        z = min(z, plan.room.height - h - 0.05)
        s = rng.uniform(w / 2 + 0.05, length - w / 2 - 0.05)
        span = (s - w / 2, s + w / 2, z, z + h)
        if z < 0 or any(overlap(span, o, 0.02) for o in plan.spans[i]):
            continue
        centre = plan.at_wall(i, s, d / 2 + 0.004)
        rect = floor_rect(centre, (w, d), yaw)
        if any(
            overlap(rect, bounds(t.mesh)) and t.mesh.high[2] > z and t.mesh.low[2] < z + h
            for t in plan.room.things
            if t.name not in ("door", "window", "carpet")
        ):
            continue
        plan.spans[i].append(span)
        if z < 1.8 and d > 0.15:
            plan.rects.append(rect)
        mid = (thing.mesh.low + thing.mesh.high) / 2
        mesh = thing.mesh.moved(0, (-mid[0], -mid[1], z - float(thing.mesh.low[2])))
        plan.room.things.append(replace(thing, mesh=mesh.moved(yaw, (*centre, 0)), yaw=yaw))
        return True
    return False


def add_ceiling_lamps(plan: Plan) -> None:
    """Hang up to two lamps or fans from the ceiling."""
    rng, room = plan.rng, plan.room
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        name = ["pendant lamp", "ceiling lamp", "chandelier", "ceiling fan"][
            rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])
        ]
        thing = plan.draw(name)
        if thing is None or thing.mesh.size[2] > 1.2:
            continue
        at = (rng.uniform(0.3, 0.7) * room.width, rng.uniform(0.3, 0.7) * room.depth)
        mid = (thing.mesh.low + thing.mesh.high) / 2
        shift = (at[0] - mid[0], at[1] - mid[1], room.height - float(thing.mesh.high[2]))
        room.things.append(replace(thing, mesh=thing.mesh.moved(0, shift)))
