"""What a furnished room is: things with meshes, lights, and rectangles on its floor."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from govnesf_model.data.synthetic.mesh import Mesh

Rng = np.random.Generator
Rect = tuple[float, float, float, float]  # x from, x to, y from, y to


@dataclass(frozen=True, eq=False)
class Thing:
    """One instance of a room, in world coordinates."""

    name: str
    mesh: Mesh
    asset: str
    license: str
    creator: str
    color: str | None
    material: str | None
    yaw: float = 0.0


@dataclass(frozen=True)
class Light:
    """A small sphere that shines.

    Attributes:
        position: world, metres.
        power: radiant intensity, linear RGB.
        radius: metres; softens its shadows.
        axis: direction of the light, None where it shines everywhere.
    """

    position: tuple[float, float, float]
    power: tuple[float, float, float]
    radius: float
    axis: tuple[float, float, float] | None = None


@dataclass(eq=False)
class Room:
    """A furnished room."""

    width: float
    depth: float
    height: float
    theme: str
    things: list[Thing] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: tuple[float, float, float] = (0.3, 0.3, 0.3)
    focus: list[tuple[np.ndarray, float]] = field(default_factory=list)


def turned_size(size, yaw: float) -> np.ndarray:
    c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
    return np.array([c * size[0] + s * size[1], s * size[0] + c * size[1]])


def floor_rect(centre, size, yaw: float) -> tuple[float, float, float, float]:
    half = turned_size(size, yaw) / 2
    return (centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1])


def bounds(mesh: Mesh) -> tuple[float, float, float, float]:
    low, high = mesh.low, mesh.high
    return (float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def overlap(a, b, margin=0.0) -> bool:
    return bool(
        a[0] < b[1] + margin
        and b[0] < a[1] + margin
        and a[2] < b[3] + margin
        and b[2] < a[3] + margin
    )


def triple(values) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def shuffled(rng: Rng, items: list[str]) -> list[str]:
    return [items[k] for k in rng.permutation(len(items))]


def number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
