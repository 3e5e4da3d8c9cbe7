"""A room with analytic depth for tests: an axis-aligned box with painted walls."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from govnesf_model.cameras import Camera, pixel_grid, pixel_rays
from govnesf_model.data.posed_scene import SceneWriter

LOWER = torch.tensor([0.0, 0.0, 0.0])
UPPER = torch.tensor([4.0, 3.0, 2.4])


def look_at(eye: Float[Tensor, "3"], target: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """Return T_world_camera of an upright camera (OpenCV axes) at `eye` looking at `target`."""
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]))
    right = torch.nn.functional.normalize(right, dim=0)
    down = torch.linalg.cross(forward, right)
    T = torch.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2], T[:3, 3] = right, down, forward, eye
    return T


def room_cameras(count: int, width: int = 64, height: int = 48) -> list[Camera]:
    """Return cameras on a circle in the room that look across it, 80 degrees wide."""
    focal = width / 2 / math.tan(math.radians(40))
    K = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])
    middle = (LOWER + UPPER) / 2
    cameras = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        offset = torch.tensor([math.cos(angle), math.sin(angle), 0.0])
        eye = middle + offset * torch.tensor([1.2, 0.9, 0.0])
        target = middle - offset * torch.tensor([2.0, 1.5, 0.0]) - torch.tensor([0.0, 0.0, 0.4])
        cameras.append(Camera(K, look_at(eye, target), width, height))
    return cameras


def trace(camera: Camera) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"], np.ndarray]:
    """Return colours (0..1), z-depth (metres) and labels (1..6, the wall) of a camera."""
    uv = pixel_grid(camera.height, camera.width)
    return trace_rays(*pixel_rays(uv, camera.K, camera.T_world_camera))


def trace_rays(
    origins: Float[Tensor, "h w 3"], directions: Float[Tensor, "h w 3"]
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"], np.ndarray]:
    """Return what rays from inside the room meet; depth in lengths of `directions`."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    wall = torch.where(safe > 0, UPPER, LOWER)
    distance = (wall - origins) / safe
    depth, axis = distance.min(dim=-1)
    points = origins + directions * depth.unsqueeze(-1)
    side = (safe.gather(-1, axis.unsqueeze(-1)).squeeze(-1) > 0).long()
    label = 1 + 2 * axis + side
    checks = (torch.floor(points * 2.5 + 1e-4).sum(dim=-1) % 2).unsqueeze(-1)
    base = torch.stack([(label * 37 % 11) / 11, (label * 53 % 7) / 7, (label * 29 % 5) / 5], dim=-1)
    return (0.3 + 0.5 * base + 0.15 * checks).clamp(0, 1), depth, label.byte().numpy()


def write_room(folder, count: int = 6, width: int = 64, height: int = 48) -> None:
    """Write the room as a posed folder with depth and labels."""
    cameras = room_cameras(count, width, height)
    with SceneWriter(folder, cameras[0].K.double().numpy()) as writer:
        for camera in cameras:
            rgb, depth, label = trace(camera)
            pixels = (rgb.numpy() * 255).round().astype(np.uint8)
            writer.add(pixels, camera.T_world_camera.double().numpy(), depth.numpy(), label)
        writer.describe(classes={n: f"wall {n}" for n in range(1, 7)}, source="box room")
