"""Stand furniture along the walls and in the middle, and chairs at tables."""

from dataclasses import replace

import numpy as np

from govnesf_model.data.synthetic.hangings import hang
from govnesf_model.data.synthetic.mesh import Mesh
from govnesf_model.data.synthetic.plan import Plan
from govnesf_model.data.synthetic.room import Thing, bounds, floor_rect, overlap, turned_size


def add(
    plan: Plan, name: str, place: str, color: str | None = None, asset: str | None = None
) -> bool:
    """Put a thing of a class where its place says; returns whether there was room for it."""
    thing = plan.draw(name, color, asset)
    if thing is None or place in ("top", "structure", "door", "window"):
        return False
    if place == "hang":
        return hang(plan, thing)
    if place == "ceiling":
        return False
    if place in ("wall", "kitchen"):
        return _against_wall(plan, thing)
    return _on_floor(plan, thing, place)


def add_seats(plan: Plan) -> None:
    """Draw chairs up to tables and desks."""
    rng = plan.rng
    for table in list(plan.room.things):
        if table.name not in ("table", "glass table", "desk"):
            continue
        chair = plan.draw(
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
            rect = floor_rect(centre, chair.mesh.size[:2], yaw)
            others = [r for r in plan.rects if not _same(r, bounds(table.mesh))]
            inside = (
                rect[0] > 0.02
                and rect[2] > 0.02
                and rect[1] < plan.room.width - 0.02
                and rect[3] < plan.room.depth - 0.02
            )
            if not inside or any(overlap(rect, o, 0.02) for o in others):
                continue
            plan.rects.append(rect)
            mid = (chair.mesh.low + chair.mesh.high) / 2
            mesh = chair.mesh.moved(0, (-mid[0], -mid[1], -chair.mesh.low[2]))
            mesh = mesh.moved(yaw, (*centre, 0))
            # A chair with arms cannot go under the top: leave it out where the two would meet.
            if (
                chair.mesh.high[2] > 0
                and overlap(rect, bounds(table.mesh))
                and _tall_front(chair.mesh, table.mesh.high[2])
            ):
                plan.rects.pop()
                continue
            plan.room.things.append(replace(chair, mesh=mesh, yaw=float(yaw)))


def _against_wall(plan: Plan, thing: Thing, tries: int = 25) -> bool:
    rng = plan.rng
    w, d, h = (float(x) for x in thing.mesh.size)
    z = float(thing.mesh.low[2])
    if z + h > plan.room.height - 0.02:
        return False
    for _ in range(tries):
        i = int(rng.integers(4))
        length, yaw = plan.wall(i)
        if w > length - 0.1:
            continue
        s = rng.uniform(w / 2 + 0.03, length - w / 2 - 0.03)
        span = (s - w / 2, s + w / 2, z, z + h)
        if any(overlap(span, o) for o in plan.spans[i]):
            continue
        gap = 0.02 + (rng.uniform(0, 0.08) if rng.random() < 0.3 else 0)
        centre = plan.at_wall(i, s, gap + d / 2)
        if _stand(plan, thing, centre, yaw, i, span):
            return True
    return False


def _on_floor(plan: Plan, thing: Thing, place: str) -> bool:
    rng, room = plan.rng, plan.room
    for _ in range(25):
        yaw = float(rng.choice([0, 0.5, 1, 1.5]) * np.pi)
        if place in ("seat", "free", "floor") and rng.random() < 0.6:
            yaw += rng.normal(0, 0.35)
        w, d, _ = thing.mesh.size
        half = (
            np.abs(np.cos(yaw)) * np.array([w, d]) / 2 + np.abs(np.sin(yaw)) * np.array([d, w]) / 2
        )
        span = np.array([room.width, room.depth]) - 2 * half - 0.06
        if (span <= 0).any():
            continue
        centre = half + 0.03 + span * rng.beta(0.8, 0.8, 2)
        if place in ("table", "free"):
            centre = half + 0.03 + span * rng.beta(2, 2, 2)
        if _stand(plan, thing, centre, yaw, None, None, rug=place == "rug"):
            return True
    return False


def _stand(plan: Plan, thing, centre, yaw, wall, span, rug=False) -> bool:
    rect = floor_rect(centre, thing.mesh.size[:2], yaw)
    if not rug:
        if any(overlap(rect, o, 0.02) for o in plan.rects):
            return False
        if thing.mesh.high[2] > plan.room.height - 0.02:
            return False
        plan.rects.append(rect)
    elif any(t.name == "carpet" and overlap(rect, bounds(t.mesh)) for t in plan.room.things):
        return False
    if wall is not None:
        plan.spans[wall].append(span)
    mid = (thing.mesh.low + thing.mesh.high) / 2
    mesh = thing.mesh.moved(0, (-mid[0], -mid[1], 0))
    if mesh.low[2] > 0.001 and plan.place_of(thing.name) not in ("wall",):
        mesh = mesh.moved(0, (0, 0, -float(mesh.low[2])))
    mesh = mesh.moved(yaw, (*centre, 0))
    plan.room.things.append(replace(thing, mesh=mesh, yaw=float(yaw)))
    return True


def _tall_front(chair: Mesh, table_top) -> bool:
    """Whether the front half of a chair rises above the underside of a table top."""
    points = chair.points.reshape(-1, 3)
    front = points[:, 1] < (chair.low[1] + chair.high[1]) / 2
    return bool(points[front, 2].max() > table_top - 0.08) if front.any() else False


def _local_size(thing: Thing) -> np.ndarray:
    return np.abs(turned_size(thing.mesh.size[:2], thing.yaw))


def _same(a, b) -> bool:
    return bool(max(abs(x - y) for x, y in zip(a, b, strict=True)) < 0.02)
