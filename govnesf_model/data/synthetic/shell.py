"""Floor, ceiling, walls around their openings, skirting boards; and the lights."""

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, Mesh, join
from govnesf_model.data.synthetic.plan import Plan
from govnesf_model.data.synthetic.recolor import mean_albedo
from govnesf_model.data.synthetic.room import Light, Thing, triple
from govnesf_model.data.synthetic.shapes import box, quad

# sRGB of wall paints and how often each is met.
WALL_TONES = {
    (225, 222, 215): 0.2, (235, 230, 215): 0.2, (200, 205, 200): 0.1, (190, 205, 220): 0.1,
    (225, 205, 175): 0.1, (205, 215, 190): 0.08, (230, 200, 195): 0.08, (150, 160, 170): 0.06,
    (120, 60, 55): 0.04, (70, 90, 110): 0.04,
}  # fmt: skip


def build_shell(plan: Plan) -> None:
    """Add floor, ceiling, walls and skirting boards around what stands in the room."""
    rng, room = plan.rng, plan.room
    w, d, h = room.width, room.depth, room.height
    floor_kind = {"kitchen": ["tiles", "planks"], "bathroom": ["tiles", "marble"]}.get(
        room.theme, ["planks", "parquet", "carpet", "tiles", "concrete", "planks"]
    )
    floor = plan.material(floor_kind[rng.integers(len(floor_kind))], _floor_color(plan, floor_kind))
    _surface(plan, "floor", [[0, 0, 0], [w, 0, 0], [w, d, 0], [0, d, 0]], floor)
    white = materials.to_linear(np.clip(rng.normal(228, 10, 3), 150, 245))
    _surface(
        plan,
        "ceiling",
        [[0, 0, h], [0, d, h], [w, d, h], [w, 0, h]],
        materials.material("plaster", rng, white),
    )
    kind = ["plaster", "plaster", "plaster", "brick", "concrete", "stripes", "planks"][
        rng.integers(7)
    ]
    if room.theme in ("bathroom", "kitchen") and rng.random() < 0.5:
        kind = "tiles"
    tone = np.array(list(WALL_TONES)[rng.choice(len(WALL_TONES), p=list(WALL_TONES.values()))])
    color = materials.to_linear(np.clip(tone + rng.normal(0, 8, 3), 20, 245))
    wall = plan.material(kind, color)
    accent = rng.integers(4) if rng.random() < 0.3 else -1
    skirt = materials.material(
        ["paint", "wood"][rng.integers(2)],
        rng,
        materials.to_linear([225, 222, 215]) if rng.random() < 0.6 else None,
    )
    high = rng.uniform(0.05, 0.12)
    for i in range(4):
        m = plan.material("plaster") if i == accent else wall
        length, yaw = plan.wall(i)
        pieces, skirts = [], []
        for s0, s1, z0, z1 in _pieces(length, h, plan.holes[i]):
            pieces.append(_panel(s0, s1, z0, z1, m))
            if z0 == 0:
                skirts.append(
                    box((s1 - s0, 0.012, min(high, z1)), ((s0 + s1) / 2, -0.006, 0), skirt)
                )
        at = plan.at_wall(i, 0.0, 0.0)
        _structure(plan, "wall", join(pieces).moved(yaw, (*at, 0)), m, yaw)
        if skirts and rng.random() < 0.85:
            _structure(plan, "skirting board", join(skirts).moved(yaw, (*at, 0)), skirt, yaw)


def add_lights(plan: Plan) -> None:
    """Light the room by one or two lamps, daylight from its windows, and lit floor lamps."""
    rng, room = plan.rng, plan.room
    w, d, h = room.width, room.depth, room.height
    warm = np.array([1.0, rng.uniform(0.78, 1.0), rng.uniform(0.55, 1.0)])
    for _ in range(int(rng.integers(1, 3))):
        at = (rng.uniform(0.2, 0.8) * w, rng.uniform(0.2, 0.8) * d, h - rng.uniform(0.06, 0.35))
        room.lights.append(Light(at, triple(warm * rng.uniform(0.6, 2.0)), rng.uniform(0.05, 0.25)))
    for thing in room.things:
        c = (thing.mesh.low + thing.mesh.high) / 2
        if thing.name == "window" and rng.random() < 0.8 and len(room.lights) < 4:
            into = np.array([np.sin(thing.yaw), -np.cos(thing.yaw), 0])
            at = c + into * 0.25
            day = np.array([0.85, 0.95, 1.0]) * rng.uniform(0.8, 3.5)
            room.lights.append(Light(triple(at), triple(day), 0.4, triple(into)))
        elif (
            thing.name in ("floor lamp", "table lamp")
            and rng.random() < 0.5
            and len(room.lights) < 4
        ):
            at = (c[0], c[1], thing.mesh.high[2] + 0.05)
            room.lights.append(Light(triple(at), (0.35, 0.28, 0.18), 0.05))
    tint = np.array([rng.uniform(0.9, 1.05), 1.0, rng.uniform(0.9, 1.1)])
    room.ambient = triple(tint * rng.uniform(0.15, 0.45))


def _floor_color(plan: Plan, kinds) -> np.ndarray | None:
    rng = plan.rng
    if rng.random() < 0.5 and "planks" in kinds:
        base = np.array(materials.WOODS[rng.integers(len(materials.WOODS))])
        return materials.to_linear(base * rng.uniform(0.8, 1.15))
    return materials.to_linear(np.clip(rng.uniform(70, 210) + rng.normal(0, 12, 3), 30, 235))


def _surface(plan: Plan, name, corners, m) -> None:
    _structure(plan, name, quad(corners, m, np.array(corners)[:, :2] / (m.scale or 1.0)), m)


def _structure(plan: Plan, name, mesh, m, yaw=0.0) -> None:
    color = materials.color_name(mean_albedo(mesh))
    plan.room.things.append(
        Thing(name, mesh, f"proc:{name}", "Apache-2.0", "this project", color, m.word, yaw)
    )


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
