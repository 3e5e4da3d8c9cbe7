"""The box room with a fine pattern on its walls, seen by cameras that stand close together."""

import math

import torch
from box_room import LOWER, UPPER, look_at, trace_rays

from govnesf_model.blending import Views
from govnesf_model.cameras import pixel_grid, pixel_rays
from govnesf_model.evidence import measured_surface

WIDTH, HEIGHT = 160, 120


def textured_views(count: int = 8) -> Views:
    """Return views with exact depth of smooth waves of several lengths on all walls."""
    focal = WIDTH / 2 / math.tan(math.radians(35))
    K = torch.tensor([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1.0]])
    middle = (LOWER + UPPER) / 2
    colors, depths, poses = [], [], []
    for index in range(count):
        angle = 0.9 * index / count
        eye = middle + torch.tensor([-1.2 + 0.9 * math.sin(2 * angle), 0.7 * angle - 0.3, 0.1])
        target = torch.tensor([4.0, 0.8 + 1.2 * angle, 1.0])
        pose = look_at(eye, target)
        origins, directions = pixel_rays(pixel_grid(HEIGHT, WIDTH), K, pose)
        depth = trace_rays(origins, directions)[1]
        at = origins + directions * depth.unsqueeze(-1)
        waves = torch.stack(
            [
                torch.sin(9 * at + 2 * at.roll(1, dims=-1)).sum(dim=-1),
                torch.sin(23 * at.roll(1, dims=-1) - 5 * at).sum(dim=-1),
                torch.cos(13 * at + 7 * at.roll(2, dims=-1)).sum(dim=-1),
            ]
        )
        colors.append(0.45 + 0.06 * waves + 0.03 * waves.roll(1, dims=0))
        depths.append(depth)
        poses.append(pose)
    depth = torch.stack(depths)
    query = torch.zeros(count, 4, HEIGHT // 4, WIDTH // 4)
    return Views(
        torch.stack(colors),
        query,
        K.repeat(count, 1, 1),
        torch.stack(poses),
        depth,
        surface=measured_surface(depth),
    )
