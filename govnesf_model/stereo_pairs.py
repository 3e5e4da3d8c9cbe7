"""Which references of a training problem are matched against which.

pairs = draw_stereo(references, count=2, pose_noise=(0.005, 0.15), rng=random.Random(0))
"""

import math
import random
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .scene_tensors import SceneTensors
from .stereo import choose_sources

SOURCES = (0, 1, 1, 2, 2, 3, 3, 3, 3)  # how many a view has, drawn from these


@dataclass
class StereoPairs:
    """Views to match.

    Attributes:
        views: positions in the references of the views that take part.
        pairs: per result, the view and its sources, as positions in `views`.
        T_world_camera: poses of `views`, as inexact as a robot's.
    """

    views: list[int]
    pairs: list[tuple[int, list[int]]]
    T_world_camera: Float[Tensor, "v 4 4"]

    def to(self, device: torch.device | str) -> "StereoPairs":
        """Return the pairs on another device."""
        return StereoPairs(self.views, self.pairs, self.T_world_camera.to(device))


def draw_stereo(
    references: SceneTensors, count: int, pose_noise: tuple[float, float], rng: random.Random
) -> StereoPairs:
    """Draw views and sources for them; now and then there are none.

    Args:
        references: views with poses.
        count: of results.
        pose_noise: standard deviations, metres and degrees.
        rng: source of chance.
    """
    chosen = rng.sample(range(len(references)), min(count, len(references)))
    near = {}
    for view in chosen:
        sources = choose_sources(
            references.T_world_camera,
            references.K,
            references.width,
            references.height,
            view,
            count=5,
        )
        near[view] = rng.sample(sources, min(rng.choice(SOURCES), len(sources)))
    views = sorted({*near, *(source for sources in near.values() for source in sources)})
    place = {view: number for number, view in enumerate(views)}
    pairs = [(place[view], [place[s] for s in sources]) for view, sources in near.items()]
    poses = references.T_world_camera[views].clone()
    strength = rng.random()  # some robots know better where they are
    for pose in poses:
        pose[:3, 3] += torch.tensor([rng.gauss(0, strength * pose_noise[0]) for _ in range(3)])
        turn = [rng.gauss(0, strength * math.radians(pose_noise[1])) for _ in range(3)]
        pose[:3, :3] = pose[:3, :3] @ _rotation(turn)
    return StereoPairs(views, pairs, poses)


def _rotation(turn: list[float]) -> Float[Tensor, "3 3"]:
    x, y, z = turn
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
