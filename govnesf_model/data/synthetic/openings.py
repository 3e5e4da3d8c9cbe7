"""Doors and windows, with the holes they need and what is seen through them."""

from dataclasses import replace

import numpy as np

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.mesh import Material, join
from govnesf_model.data.synthetic.plan import Plan
from govnesf_model.data.synthetic.room import floor_rect, overlap
from govnesf_model.data.synthetic.shapes import quad


def add_openings(plan: Plan) -> None:
    """Add one or two doors and up to three windows, where they fit."""
    rng = plan.rng
    wanted = ["door"] + ["door"] * int(rng.random() < 0.25) + ["window"] * int(rng.integers(0, 4))
    for name in wanted:
        thing = plan.draw(name)
        if thing is None:
            continue
        for _ in range(12):
            i = int(rng.integers(4))
            length, yaw = plan.wall(i)
            w, h = float(thing.mesh.size[0]), float(thing.mesh.size[2])
            z = float(thing.mesh.low[2])
            if name == "window" and z < 0.02 and h < 1.7:
                z = rng.uniform(0.7, 1.0)
            if w > length - 0.6 or z + h > plan.room.height - 0.1:
                break
            s = rng.uniform(w / 2 + 0.25, length - w / 2 - 0.25)
            span = (s - w / 2 - 0.05, s + w / 2 + 0.05, z - 0.1, z + h + 0.1)
            if any(overlap(span, other) for other in plan.spans[i]):
                continue
            plan.spans[i].append(span)
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
            plan.holes[i].append(hole)
            x0, x1, back = -w / 2 + inset, w / 2 - inset, depth - out + 0.03
            view = _outside(plan, name)
            z0, z1 = hole[2], hole[3]
            corners = [[x0, back, z0], [x1, back, z0], [x1, back, z1], [x0, back, z1]]
            gray = Material(color=(0.5, 0.5, 0.5))
            sides = [
                quad([[x, 0, z0], [x, back, z0], [x, back, z1], [x, 0, z1]], gray) for x in (x0, x1)
            ] + [
                quad([[x0, 0, y], [x1, 0, y], [x1, back, y], [x0, back, y]], gray) for y in (z0, z1)
            ]
            mesh = join([mesh, quad(corners, view, [[0, 1], [1, 1], [1, 0], [0, 0]]), *sides])
            at = plan.at_wall(i, s, 0.0)
            plan.room.things.append(replace(thing, mesh=mesh.moved(yaw, (*at, 0)), yaw=yaw))
            if z < 0.3:  # keep the way free
                c = plan.at_wall(i, s, 0.35)
                plan.rects.append(floor_rect(c, (w, 0.7), yaw))
            break


def _outside(plan: Plan, name: str) -> Material:
    rng = plan.rng
    if name == "door":
        return Material(color=(0.35, 0.33, 0.3))
    image = materials.texture("print", 1000 + int(rng.integers(40))).astype(np.float32)
    y = np.linspace(0, 1, image.shape[0])[:, None, None]
    sky = np.array([190, 215, 240, 255]) * (1 - 0.15 * y)
    keep = np.clip((y - rng.uniform(0.4, 0.7)) * 6, 0, 0.7)
    image = (image * keep + sky * (1 - keep)).astype(np.uint8)
    image[..., 3] = 255
    return Material(color=(1.0, 1.0, 1.0), texture=image, emission=float(rng.uniform(0.8, 2.2)))
