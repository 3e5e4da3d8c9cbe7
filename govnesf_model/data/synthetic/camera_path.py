"""Camera paths through a room: hand-held, robot, close-up.

poses = camera_path(stage, rng, views=16)      # list of 4x4 T_world_camera, OpenCV axes
"""

import numpy as np
from jaxtyping import Float

from govnesf_model.data.synthetic.names import object_classes
from govnesf_model.data.synthetic.render import Stage

Rng = np.random.Generator
Pose = Float[np.ndarray, "4 4"]


def camera_path(stage: Stage, rng: Rng, views: int) -> list[Pose]:
    """Return `views` poses in overlapping segments, each checked to see something useful."""
    poses: list[Pose] = []
    closeup = round(views * rng.uniform(0.25, 0.5)) if stage.room.focus else 0
    wide = views - closeup
    kinds = [_orbit, _walk, _robot]
    weights = [0.5, 0.25, 0.25]
    while wide > 0:
        n = min(wide, max(6, int(rng.integers(6, 12))))
        kind = kinds[rng.choice(3, p=weights)]
        poses += _checked(stage, rng, kind(stage, rng, n))
        wide -= n
    while closeup > 0:
        n = min(closeup, 6)
        poses += _checked(stage, rng, _table_top(stage, rng, n))
        closeup -= n
    tries = 0
    while len(poses) < views and tries < 40:
        poses += _checked(stage, rng, _orbit(stage, rng, 4))
        tries += 1
    if len(poses) < views:
        raise ValueError(f"found {len(poses)} of {views} useful views in this room: it is too full")
    return poses[:views]


def smooth_path(stage: Stage, rng: Rng, views: int) -> list[Pose]:
    """Return one continuous hand-held path around the middle of the room, `views` poses long."""
    room = stage.room
    best: list[Pose] = []
    for _ in range(60):
        start, sweep = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]) * rng.uniform(4.2, 6.0)
        a = start + np.linspace(0, 1, views) * sweep
        rx, ry = room.width * rng.uniform(0.26, 0.36), room.depth * rng.uniform(0.26, 0.36)
        at = np.stack([room.width / 2 + rx * np.cos(a), room.depth / 2 + ry * np.sin(a)], -1)
        z = 1.35 + 0.15 * np.sin(a * 1.7 + start)
        look = np.stack(
            [room.width / 2 - 0.6 * rx * np.cos(a), room.depth / 2 - 0.6 * ry * np.sin(a)], -1
        )
        poses = []
        for i in range(views):
            eye = np.array([*at[i], z[i]])
            target = np.array([*look[i], 0.6 + 0.12 * np.sin(3 * a[i])])
            poses.append(look_at(eye, target, 0.02 * np.sin(2.3 * a[i])))
        good = [p for p in poses if useful(stage, p)]
        if len(good) > len(best):
            best = good
            if len(best) == views:
                break
    if len(best) < views:
        raise ValueError(f"the path is free for {len(best)} of {views} views: try another seed")
    return best


def look_at(eye, target, roll: float = 0.0) -> Pose:
    """Return the pose of a camera at `eye` that looks at `target`, z of the world up."""
    forward = np.asarray(target, float) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    if np.linalg.norm(right) < 1e-3:
        right = np.array([1.0, 0, 0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    T = np.eye(4)
    T[:3, 0], T[:3, 1] = c * right + s * down, c * down - s * right
    T[:3, 2], T[:3, 3] = forward, eye
    return T


def useful(stage: Stage, T_world_camera: Pose, near: float = 0.4) -> bool:
    """Tell whether a view is free of things at the lens and shows more than bare walls."""
    eye = T_world_camera[:3, 3]
    room = stage.room
    if not (0.1 < eye[0] < room.width - 0.1 and 0.1 < eye[1] < room.depth - 0.1):
        return False
    x, y = np.meshgrid(np.linspace(-0.55, 0.55, 16), np.linspace(-0.42, 0.42, 12))
    camera = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    directions = camera @ T_world_camera[:3, :3].T
    origins = np.broadcast_to(eye, directions.shape)
    depth, instance = stage.probe(origins, directions)
    if not np.isfinite(depth).any() or np.quantile(depth, 0.04) < 0.22 or np.median(depth) < near:
        return False
    structure = {"wall", "floor", "ceiling", "skirting board"}
    bare = np.array([True] + [t.name in structure for t in room.things])[instance]
    # Nothing may touch the lens from the sides either, or the camera would be inside a thing.
    around = np.concatenate([np.eye(3), -np.eye(3)])
    clearance, _ = stage.probe(np.broadcast_to(eye, around.shape), around)
    alone = np.bincount(instance).max() / len(instance)
    return bool(bare.mean() < 0.84 and alone < 0.75 and clearance.min() > 0.1)


def _checked(stage: Stage, rng: Rng, poses: list[Pose]) -> list[Pose]:
    out = []
    for T in poses:
        for k in range(5):
            moved = T.copy()
            moved[:3, 3] += rng.normal(0, 0.06 * k, 3) * [1, 1, 0.4]
            if useful(stage, moved, 0.3):
                out.append(moved)
                break
    return out


def _inside(room, at, margin: float = 0.25) -> np.ndarray:
    return np.clip(at, margin, [room.width - margin, room.depth - margin])


def _orbit(stage: Stage, rng: Rng, n: int) -> list[Pose]:
    """Walk around a point in the room and look at it, as one holds a phone."""
    room = stage.room
    size = np.array([room.width, room.depth])
    centre = size * rng.uniform(0.3, 0.7, 2)
    radius = size * rng.uniform(0.25, 0.45, 2)
    height = rng.uniform(1.0, 1.7)
    start, step = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]) * rng.uniform(0.12, 0.35)
    target = np.array([*(centre + rng.normal(0, 0.4, 2)), rng.uniform(0.3, 1.0)])
    poses = []
    for i in range(n):
        a = start + step * i
        at = _inside(room, centre + radius * [np.cos(a), np.sin(a)])
        eye = np.array([*at, height + rng.normal(0, 0.04)])
        look = target + rng.normal(0, 0.15, 3)
        if np.linalg.norm(look[:2] - at) < 0.5:
            look[:2] = 2 * centre - at
        poses.append(look_at(eye, look, rng.normal(0, 0.05)))
    return poses


def _walk(stage: Stage, rng: Rng, n: int) -> list[Pose]:
    """Stand near the middle, drift and look around at walls and what stands along them."""
    room = stage.room
    at = np.array([room.width, room.depth]) * rng.uniform(0.3, 0.7, 2)
    drift = rng.normal(0, 0.12, 2)
    yaw, step = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]) * rng.uniform(0.2, 0.45)
    height, pitch = rng.uniform(1.0, 1.7), rng.uniform(-0.5, 0.3)
    poses = []
    for i in range(n):
        a = yaw + step * i
        eye = np.array([*_inside(room, at + drift * i), height + rng.normal(0, 0.03)])
        p = pitch + rng.normal(0, 0.1)
        forward = np.array([np.cos(a) * np.cos(p), np.sin(a) * np.cos(p), np.sin(p)])
        poses.append(look_at(eye, eye + forward, rng.normal(0, 0.05)))
    return poses


def _robot(stage: Stage, rng: Rng, n: int) -> list[Pose]:
    """Drive a gentle arc, level, low."""
    room = stage.room
    size = np.array([room.width, room.depth])
    at = size * rng.uniform(0.15, 0.85, 2)
    goal = size * rng.uniform(0.3, 0.7, 2)
    heading = np.arctan2(*(goal - at)[::-1]) + rng.normal(0, 0.3)
    height, pitch = rng.uniform(0.3, 1.2), rng.uniform(-0.2, 0.05)
    turn, step = rng.normal(0, 0.12), rng.uniform(0.1, 0.3)
    poses = []
    for i in range(n):
        a = heading + turn * i
        at = _inside(room, at + step * np.array([np.cos(a), np.sin(a)]), 0.35)
        eye = np.array([*at, height])
        forward = np.array([np.cos(a) * np.cos(pitch), np.sin(a) * np.cos(pitch), np.sin(pitch)])
        poses.append(look_at(eye, eye + forward))
        if np.any(at <= 0.36) or np.any(at >= size - 0.36):
            heading += rng.choice([-1, 1]) * 0.5
    return poses


def _table_top(stage: Stage, rng: Rng, n: int) -> list[Pose]:
    """Move around the things on a table or shelf, or around one of them, close by."""
    room = stage.room
    if rng.random() < 0.5:
        small = [t for t in room.things if object_classes()[t.name].place == "top"]
        thing = small[rng.integers(len(small))]
        target = (thing.mesh.low + thing.mesh.high) / 2
        size = float(np.linalg.norm(thing.mesh.size))
    else:
        target, size = room.focus[rng.integers(len(room.focus))]
    middle = np.array([room.width, room.depth]) / 2
    towards = np.arctan2(*(middle - target[:2])[::-1])
    start, step = towards + rng.normal(0, 0.6), rng.choice([-1, 1]) * rng.uniform(0.1, 0.25)
    radius = rng.uniform(0.25, 0.6) + 0.35 * size
    rise = radius * rng.uniform(0.2, 0.8)
    poses = []
    for i in range(n):
        a = start + step * i
        at = _inside(room, target[:2] + radius * np.array([np.cos(a), np.sin(a)]), 0.15)
        eye = np.array([*at, min(target[2] + rise + rng.normal(0, 0.04), room.height - 0.3)])
        roll, shift = rng.normal(0, 0.06), rng.normal(0, 0.06, 3)
        free, _ = stage.probe(eye[None], (target - eye)[None])
        if free[0] > 0.7:  # else something stands between: the target is at 1
            poses.append(look_at(eye, target + shift, roll))
    return poses
