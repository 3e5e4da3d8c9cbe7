"""Views along a line, and the flat surfaces that they believe in."""

import torch

from govnesf_model.blending import Views
from govnesf_model.stereo import Surface


def in_a_row(*places: float, surface: Surface | None = None) -> Views:
    """Return views at places along z that all look along +z."""
    count = len(places)
    K = torch.tensor([[30.0, 0, 31.5], [0, 30.0, 23.5], [0, 0, 1]]).repeat(count, 1, 1)
    T = torch.eye(4).repeat(count, 1, 1)
    T[:, 2, 3] = torch.tensor(places)
    rgb, query = torch.zeros(count, 3, 48, 64), torch.zeros(count, 2, 12, 16)
    return Views(rgb, query, K, T, surface=surface)


def walls_at(*depths: float, spread: float = 0.01) -> Surface:
    depth = torch.tensor(depths).view(-1, 1, 1).expand(-1, 12, 16).clone()
    return Surface(depth, torch.where(depth > 0, spread, 0.0))
