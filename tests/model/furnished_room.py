"""A room with coloured boxes, ray traced, and an encoder that knows things by their colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from box_room import look_at
from jaxtyping import Float
from torch import Tensor

from govnesf_model.cameras import pixel_grid, pixel_rays
from govnesf_model.data.posed_scene import Frame, SceneWriter
from govnesf_model.vlm.base import TextCoverage

ROOM = (np.array([-2.0, -1.5, 0.0]), np.array([2.0, 1.5, 2.4]))


@dataclass(frozen=True)
class Thing:
    """An upright box turned by yaw about z."""

    name: str
    color: tuple[int, int, int]
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0


TABLE = Thing("table", (180, 60, 40), (0.3, 0.2, 0.35), (1.0, 0.6, 0.7), 0.5)
CABINET = Thing("cabinet", (40, 60, 190), (-1.6, -0.6, 0.6), (0.6, 0.9, 1.2))
MUG = Thing("mug", (230, 220, 30), (0.35, 0.25, 0.76), (0.12, 0.12, 0.12))
THINGS = (TABLE, CABINET, MUG)
SURFACES = {"floor": (90, 110, 90), "ceiling": (235, 235, 235), "wall": (150, 160, 200)}
NAMES = (*(thing.name for thing in THINGS), *SURFACES)
COLORS = np.array([*(thing.color for thing in THINGS), *SURFACES.values()])


class ColorEncoder:
    """A dense encoder whose feature is the one-hot nearest colour: its truth is exact.

    Words that are no name are covered by nothing and have a feature of their own.
    """

    name = key = "color"
    dim = len(NAMES) + 1
    stride = 4
    long_side = None
    logit_scale = 20.0
    default_threshold = 0.5
    default_contrast = NAMES

    def encode_images(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        table = torch.from_numpy(COLORS / 255.0).float()
        distance = (rgb.permute(0, 2, 3, 1).unsqueeze(-2) - table).square().sum(-1)
        hot = F.one_hot(distance.argmin(-1), self.dim).float().permute(0, 3, 1, 2)
        pad = (-rgb.shape[-1] % 4, -rgb.shape[-2] % 4)
        hot = F.pad(hot, (0, pad[0], 0, pad[1]), mode="replicate")
        return F.normalize(F.avg_pool2d(hot, 4), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        index = [NAMES.index(text) if text in NAMES else len(NAMES) for text in texts]
        return F.one_hot(torch.tensor(index, dtype=torch.long), self.dim).float()

    def coverage(self, texts: Sequence[str]) -> list[TextCoverage]:
        known = [(text, text in NAMES) for text in texts]
        return [TextCoverage(t, t if k else NAMES[0], 1.0 if k else 0.2, k) for t, k in known]

    def contrast_for(self, texts: Sequence[str], extra: Sequence[str] = ()) -> tuple[str, ...]:
        return tuple(word for word in (*extra, *self.default_contrast) if word not in texts)


def trace(
    K: np.ndarray, T_world_camera: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colours, z-depth in metres and labels (1.. in the order of NAMES) of a view."""
    uv = pixel_grid(height, width)
    origin, direction = pixel_rays(
        uv, torch.from_numpy(K).float(), torch.from_numpy(T_world_camera).float()
    )
    o, d = (
        origin.reshape(-1, 3).numpy().astype(float),
        direction.reshape(-1, 3).numpy().astype(float),
    )
    _, leave, axis = _slabs(o, d, *ROOM)
    upward = np.take_along_axis(d, axis[:, None], 1)[:, 0] > 0
    surface = np.where(axis < 2, NAMES.index("wall"), NAMES.index("floor"))
    label = np.where((axis == 2) & upward, NAMES.index("ceiling"), surface)
    depth = leave
    for number, thing in enumerate(THINGS):
        c, s = math.cos(thing.yaw), math.sin(thing.yaw)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # world <- box
        half = np.array(thing.size) / 2
        enter, exit_, _ = _slabs((o - thing.center) @ turn, d @ turn, -half, half)
        hit = (enter < exit_) & (enter > 1e-3) & (enter < depth)
        depth, label = np.where(hit, enter, depth), np.where(hit, number, label)
    rgb = COLORS[label].astype(np.uint8)
    shape = (height, width)
    return rgb.reshape(*shape, 3), depth.reshape(shape).astype(np.float32), label.reshape(shape) + 1


def room_frames(count: int = 10, width: int = 160, height: int = 120, depth: bool = True):
    """Return frames on a circle above the table that look down at it and at the cabinet."""
    focal = width / 2 / math.tan(math.radians(40))
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    frames = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        eye = torch.tensor([1.3 * math.cos(angle) + 0.2, 1.1 * math.sin(angle), 1.7])
        target = torch.tensor([-0.4, -0.1, 0.6])
        T = look_at(eye, target).double().numpy()
        rgb, z, label = trace(K, T, width, height)
        measured = z if depth else None
        frames.append(
            Frame(f"{index:04d}", index, rgb, K, T, measured, label.astype(np.uint8), float(index))
        )
    return frames


def write_scene(root, frames: list[Frame], target: tuple[int, ...] = ()) -> None:
    """Write frames as a posed folder."""
    with SceneWriter(root, frames[0].K, ".png") as writer:
        for frame in frames:
            writer.add(frame.rgb, frame.T_world_camera, frame.depth, frame.label)
        reference = [index for index in range(len(frames)) if index not in target]
        writer.describe(
            {number + 1: name for number, name in enumerate(NAMES)},
            other=0,
            reference=reference,
            target=list(target),
        )


def _slabs(o, d, lower, upper):
    safe = np.where(np.abs(d) < 1e-12, 1e-12, d)
    one, two = (lower - o) / safe, (upper - o) / safe
    far = np.maximum(one, two)
    return np.minimum(one, two).max(axis=1), far.min(axis=1), far.argmin(axis=1)
