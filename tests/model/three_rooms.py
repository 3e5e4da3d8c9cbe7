"""Three furnished-alike rooms in a row, joined by corridors, and a robot that drives through them.

Depth is analytic: free space is a union of boxes, and a ray goes on as long as one of them holds
it. Rooms repeat every `PITCH` metres and all have a corridor on either side, so that what the first
and the last of them cost can be compared.
"""

import math

import numpy as np
import torch
from box_room import look_at

from govnesf_model.cameras import pixel_grid, pixel_rays
from govnesf_model.data.posed_scene import Frame

PITCH = 7.68  # from room to room: six tiles of 8 voxels of 16 cm
ROOMS = 3
_ROOM = ((0.0, -2.0, 0.0), (4.6, 2.0, 2.4))
_CORRIDOR = ((4.5, -0.6, 0.0), (PITCH + 0.1, 0.6, 2.1))
FREE = np.array(
    [_ROOM + np.array((PITCH * room, 0, 0)) for room in range(ROOMS)]
    + [_CORRIDOR + np.array((PITCH * room, 0, 0)) for room in range(-1, ROOMS)]
)  # [boxes, corner, 3]
CENTRES = np.array([(2.3 + PITCH * room, 0.0, 1.2) for room in range(ROOMS)])
HEIGHT_OF_CAMERA = 1.2


def trace(
    K: np.ndarray, T_world_camera: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return colours and z-depth in metres of a view from free space."""
    origin, direction = pixel_rays(
        pixel_grid(height, width),
        torch.from_numpy(K).float(),
        torch.from_numpy(T_world_camera).float(),
    )
    o = origin.reshape(-1, 3).numpy().astype(float)
    d = direction.reshape(-1, 3).numpy().astype(float)
    d = np.where(np.abs(d) < 1e-12, 1e-12, d)
    depth = np.zeros(len(d))
    for _ in range(len(FREE)):
        at = (o + (depth[:, None] + 1e-6) * d)[:, None]
        holds = ((at > FREE[:, 0]) & (at < FREE[:, 1])).all(axis=2)  # [rays, boxes]
        wall = np.where(d[:, None] > 0, FREE[:, 1], FREE[:, 0])
        leave = ((wall - o[:, None]) / d[:, None]).min(axis=2)
        depth = np.maximum(depth, np.where(holds, leave, 0).max(axis=1))
    points = o + depth[:, None] * d
    checks = (np.floor(points * 3 + 1e-6).sum(axis=1) % 2)[:, None]
    shade = 90 + 60 * np.abs(np.sin(points * (1.3, 1.7, 2.1)))
    rgb = (shade + 40 * checks).clip(0, 255).astype(np.uint8)
    return rgb.reshape(height, width, 3), depth.reshape(height, width).astype(np.float32)


def tour(room: int) -> list[np.ndarray]:
    """Return poses of one tour of a room that ends where it began."""
    x, y = CENTRES[room][:2]
    return [
        _pose(x + 0.9 * math.cos(a), y + 0.7 * math.sin(a), a + math.pi / 2 + 0.4)
        for a in np.arange(12) * math.pi / 6
    ]


def passage(start: int, end: int, step: float = 0.7) -> list[np.ndarray]:
    """Return poses of a drive from the centre of one room to that of another."""
    heading = 0.0 if end > start else math.pi
    xs = np.arange(0.0, abs(end - start) * PITCH, step)
    return [_pose(CENTRES[start][0] + math.copysign(x, end - start), 0.0, heading) for x in xs]


def drive() -> list[np.ndarray]:
    """Return the poses of a robot that sees all rooms, drives back and sees all of them again.

    The last 12 are a tour of the last room; before them 2 passages and 24 poses of the other rooms.
    """
    once = [*tour(0), *passage(0, 1), *tour(1), *passage(1, 2), *tour(2)]
    return [*once, *passage(2, 0), *once]


def frame(index: int, T_world_camera: np.ndarray, width: int = 96, height: int = 72) -> Frame:
    """Return what a camera sees from a pose, with depth, one second after the other."""
    focal = width / 2 / math.tan(math.radians(40))
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    rgb, depth = trace(K, T_world_camera, width, height)
    return Frame(f"{index:04d}", index, rgb, K, T_world_camera, depth, None, float(index))


def _pose(x: float, y: float, heading: float) -> np.ndarray:
    eye = torch.tensor([float(x), float(y), HEIGHT_OF_CAMERA], dtype=torch.float32)
    ahead = torch.tensor([math.cos(heading), math.sin(heading), -0.15])
    return look_at(eye, eye + ahead).double().numpy()
