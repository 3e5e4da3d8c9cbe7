"""Scenes as tensors, and the random problems that the field is trained on.

scene = load_scene(open_scene(folder), (320, 240))
task = draw_task(scene, 0.16, rng)              # references, targets, a turned world, a grid
rays = draw_rays(task, 512, rng)                # pixels of the targets and what they show
"""

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .cameras import inside_image, pixel_rays, project, scale_intrinsics, unproject
from .cost_volume import VolumeGrid
from .data.posed_scene import PosedScene
from .image_encoder import ImageEncoder

Item = TypeVar("Item")

UNLABELLED = 0  # label images hold 0 where nothing is known


@dataclass
class SceneTensors:
    """A posed scene in memory, images of one size.

    Attributes:
        name: of the scene.
        rgb: images.
        depth: z-depth in metres, 0 unknown; None if the scene has none.
        label: class indices; None if the scene has none.
        K, T_world_camera: intrinsics and poses.
        maps: cached outputs of a frozen backbone (float16), or None.
        frames: positions of the views in their scene.
    """

    name: str
    rgb: UInt8[Tensor, "v 3 H W"]
    depth: Float[Tensor, "v H W"] | None
    label: UInt8[Tensor, "v H W"] | None
    K: Float[Tensor, "v 3 3"]
    T_world_camera: Float[Tensor, "v 4 4"]
    maps: list[Float[Tensor, "v _ _ _"]] | None = None
    frames: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rgb)

    @property
    def height(self) -> int:
        return self.rgb.shape[2]

    @property
    def width(self) -> int:
        return self.rgb.shape[3]

    def subset(self, index: Sequence[int]) -> "SceneTensors":
        """Return some of the views, in the order given."""
        rows = torch.as_tensor(list(index), dtype=torch.long)
        frames = tuple(self.frames[i] for i in index) if self.frames else ()
        return self._each(lambda tensor: tensor[rows], frames)

    def to(self, device: torch.device | str) -> "SceneTensors":
        """Return the views on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True), self.frames)

    def colors(self) -> Float[Tensor, "v 3 H W"]:
        """Return the images in 0..1."""
        return self.rgb.float() / 255

    def _each(self, change: Callable[[Tensor], Tensor], frames: tuple[int, ...]) -> "SceneTensors":
        return SceneTensors(
            self.name,
            change(self.rgb),
            None if self.depth is None else change(self.depth),
            None if self.label is None else change(self.label),
            change(self.K),
            change(self.T_world_camera),
            None if self.maps is None else [change(level) for level in self.maps],
            frames,
        )


@dataclass
class Task:
    """One training problem.

    Attributes:
        references: the views that the field is built from.
        targets: held-back views that it must render.
        grid: where the volume lies.
    """

    references: SceneTensors
    targets: SceneTensors
    grid: VolumeGrid


@dataclass
class Rays:
    """Pixels of target views.

    Attributes:
        origins, directions: of the rays, unit z-depth per unit of direction.
        color: true colours, 0..1.
        depth: true z-depth, 0 unknown.
        label: true class, 0 unknown.
        in_grid: the true surface point lies in the grid.
        leaves_grid: the surface is known and the ray passes the whole grid before it.
        visible: some reference view sees the surface point unoccluded, or no depth tells.
        view: which target the ray belongs to.
        uv: its pixel there.
    """

    origins: Float[Tensor, "r 3"]
    directions: Float[Tensor, "r 3"]
    color: Float[Tensor, "r 3"]
    depth: Float[Tensor, "r"]
    label: UInt8[Tensor, "r"]
    in_grid: Bool[Tensor, "r"]
    leaves_grid: Bool[Tensor, "r"]
    visible: Bool[Tensor, "r"]
    view: Int[Tensor, "r"]
    uv: Float[Tensor, "r 2"]

    def to(self, device: torch.device | str) -> "Rays":
        """Return the rays on another device."""
        return Rays(*(value.to(device, non_blocking=True) for value in vars(self).values()))


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    step = len(items) / count
    return [items[math.floor(step * (i + 0.5))] for i in range(count)]


def load_scene(
    scene: PosedScene,
    size: tuple[int, int],
    indices: Sequence[int] | None = None,
    encoder: ImageEncoder | None = None,
    jitter: random.Random | None = None,
) -> SceneTensors:
    """Read frames of a scene into memory.

    Args:
        scene: a posed scene.
        size: (width, height) that images are brought to.
        indices: which frames; all by default.
        encoder: caches its backbone's maps when that is frozen.
        jitter: changes exposure and white balance of the scene at random, as a camera would.
    """
    width, height = size
    chosen = range(len(scene)) if indices is None else indices
    gain = np.ones(3, dtype=np.float32)
    gamma = 1.0
    if jitter is not None:
        gain = np.array([jitter.uniform(0.9, 1.1) for _ in range(3)], dtype=np.float32)
        gain *= jitter.uniform(0.75, 1.2)
        gamma = jitter.uniform(0.8, 1.25)
    rgb, depth, label, K, poses = [], [], [], [], []
    for index in chosen:
        frame = scene[index]
        scale = (width / frame.rgb.shape[1], height / frame.rgb.shape[0])
        image = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
        if jitter is not None:
            own = gain * jitter.uniform(0.96, 1.04)
            image = np.clip((image / 255.0) ** gamma * own * 255, 0, 255).astype(np.uint8)
        rgb.append(torch.from_numpy(image).permute(2, 0, 1))
        if frame.depth is not None:
            depth.append(cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST))
        if frame.label is not None:
            label.append(cv2.resize(frame.label, size, interpolation=cv2.INTER_NEAREST))
        K.append(scale_intrinsics(torch.from_numpy(frame.K).float(), *scale))
        poses.append(torch.from_numpy(frame.T_world_camera).float())
    count = len(rgb)
    loaded = SceneTensors(
        scene.name,
        torch.stack(rgb),
        torch.from_numpy(np.stack(depth)) if len(depth) == count else None,
        torch.from_numpy(np.stack(label)) if len(label) == count else None,
        torch.stack(K),
        torch.stack(poses),
        frames=tuple(chosen),
    )
    if encoder is not None and encoder.frozen:
        with torch.no_grad():
            single = [encoder.backbone(image[None].float() / 255) for image in loaded.rgb]
        loaded.maps = [torch.cat(level).half() for level in zip(*single, strict=True)]
    return loaded


def draw_task(
    scene: SceneTensors,
    voxel: float,
    rng: random.Random,
    references: tuple[int, int] = (3, 12),
    targets: int = 2,
    max_cells: int = 40 * 40 * 18,
) -> Task:
    """Draw references and targets, turn the world about its vertical and place the grid anywhere.

    Args:
        scene: the whole scene, at least `targets` + 2 views.
        voxel: edge of a voxel in metres.
        rng: source of chance.
        references: least and most reference views.
        targets: number of held-back views.
        max_cells: bound on the grid, which otherwise covers what the references see.

    Raises:
        ValueError: the scene has too few views.
    """
    count = len(scene)
    if count < targets + 2:
        raise ValueError(f"scene {scene.name} has {count} views: training needs {targets + 2}")
    held = rng.sample(range(count), targets)
    rest = [index for index in range(count) if index not in held]
    wanted = rng.randint(min(references[0], len(rest)), min(references[1], len(rest)))
    if rng.random() < 0.5:  # the stretch of the path around a target, as a robot has it
        rest.sort(key=lambda index: abs(index - held[0]))
        chosen = rest[:wanted]
    else:
        chosen = rng.sample(rest, wanted)
    turned = dataclasses.replace(scene, T_world_camera=_turn(rng) @ scene.T_world_camera)
    refs, goals = turned.subset(chosen), turned.subset(held)
    lower, upper = seen_bounds(refs)
    shift = torch.tensor([rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.1)])
    lower, upper = lower + shift - 0.2, upper + shift + 0.2
    return Task(refs, goals, _bounded_grid(lower, upper, voxel, max_cells, rng))


def draw_rays(task: Task, count: int, rng: random.Random) -> Rays:
    """Draw pixels of the targets at random and look up what they show."""
    parts = []
    per_view = count // len(task.targets)
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    for view in range(len(task.targets)):
        column = torch.randint(0, task.targets.width, (per_view,), generator=generator)
        line = torch.randint(0, task.targets.height, (per_view,), generator=generator)
        parts.append(look_up_rays(task, view, column, line))
    return Rays(*(torch.cat([getattr(p, name) for p in parts]) for name in vars(parts[0])))


def look_up_rays(task: Task, view: int, column: Tensor, line: Tensor) -> Rays:
    """Return the rays through given pixels of a target and what they show."""
    targets = task.targets
    uv = torch.stack([column, line], dim=-1).float()
    K, T_world_camera = targets.K[view], targets.T_world_camera[view]
    origins, directions = pixel_rays(uv, K, T_world_camera)
    color = targets.rgb[view][:, line, column].T.float() / 255
    if targets.depth is None:
        depth = torch.zeros(len(uv))
        visible = torch.ones(len(uv), dtype=torch.bool)
        in_grid, leaves = visible, ~visible
    else:
        depth = targets.depth[view][line, column]
        points = unproject(uv, depth, K, T_world_camera)
        in_grid = task.grid.contains(points) & (depth > 0)
        leaves = (depth > 0) & ~in_grid
        visible = seen_by(task.references, points) & (depth > 0)
    label = torch.zeros(len(uv), dtype=torch.uint8)
    if targets.label is not None:
        label = targets.label[view][line, column]
    number = torch.full((len(uv),), view)
    return Rays(origins, directions, color, depth, label, in_grid, leaves, visible, number, uv)


def draw_occupancy(
    task: Task, count: int, rng: random.Random, band: float = 0.12, clear: float = 0.04
) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, "n"]]:
    """Draw points in the grid that the references' depth shows to be surface or free.

    Args:
        task: its references must have depth.
        count: points to draw; those outside the grid or of unknown kind fall away.
        rng: source of chance.
        band: metres behind a measured surface that are solid unless another view sees through.
        clear: metres before a measured surface that count as neither.

    Returns:
        World points and whether they are solid.

    Raises:
        ValueError: the references have no depth.
    """
    refs = task.references
    if refs.depth is None:
        raise ValueError(f"scene {refs.name} has no depth: occupancy is unknown")
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    view = torch.randint(0, len(refs), (count,), generator=generator)
    line = torch.randint(0, refs.height, (count,), generator=generator)
    column = torch.randint(0, refs.width, (count,), generator=generator)
    depth = refs.depth[view, line, column]
    # A third anywhere on the way, the rest around the surface.
    share = torch.rand(count, generator=generator)
    near = depth - 0.4 + (0.4 + band) * share
    z = torch.where(torch.arange(count) % 3 == 0, depth * share, near)
    K, T = refs.K[view], refs.T_world_camera[view]
    x = (column - K[:, 0, 2]) / K[:, 0, 0] * z
    y = (line - K[:, 1, 2]) / K[:, 1, 1] * z
    points = (T[:, :3, :3] @ torch.stack([x, y, z], dim=-1).unsqueeze(-1)).squeeze(-1)
    points = points + T[:, :3, 3]
    seen_through = _seen_through(refs, points, clear)
    solid = (z > depth) & ~seen_through
    known = (depth > 0) & (z > 0.05) & (solid | seen_through) & task.grid.contains(points)
    return points[known], solid[known]


def _seen_through(
    views: SceneTensors, points: Float[Tensor, "n 3"], clear: float
) -> Bool[Tensor, "n"]:
    """Tell which points some view sees something behind of."""
    uv, z = project(points, views.K, views.T_world_camera)
    inside = inside_image(uv, z, views.width, views.height)
    column = uv[..., 0].round().clamp(0, views.width - 1).long()
    line = uv[..., 1].round().clamp(0, views.height - 1).long()
    measured = views.depth[torch.arange(len(views)).unsqueeze(-1), line, column]
    return (inside & (measured > 0) & (z < measured - clear)).any(dim=0)


def seen_by(
    views: SceneTensors, points: Float[Tensor, "n 3"], tolerance: float = 0.05
) -> Bool[Tensor, "n"]:
    """Tell which surface points at least one view sees, by its depth; all if it has no depth."""
    uv, z = project(points, views.K, views.T_world_camera)
    inside = inside_image(uv, z, views.width, views.height)
    if views.depth is None:
        return inside.any(dim=0)
    column = uv[..., 0].round().clamp(0, views.width - 1).long()
    line = uv[..., 1].round().clamp(0, views.height - 1).long()
    measured = views.depth[torch.arange(len(views)).unsqueeze(-1), line, column]
    return (inside & ((z - measured).abs() < tolerance * measured + 0.02)).any(dim=0)


def seen_bounds(
    views: SceneTensors, reach: float = 4.0
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Return the corners of the box that holds what views see: their depth, or `reach` metres."""
    points = []
    for view in range(len(views)):
        line, column = torch.meshgrid(
            torch.arange(0, views.height, 8), torch.arange(0, views.width, 8), indexing="ij"
        )
        uv = torch.stack([column, line], dim=-1).reshape(-1, 2).float()
        depth = torch.full((len(uv),), reach)
        if views.depth is not None:
            depth = views.depth[view][line, column].reshape(-1)
        at = unproject(uv, depth, views.K[view], views.T_world_camera[view])
        points += [at[depth > 0], views.T_world_camera[view, None, :3, 3]]
    cloud = torch.cat(points)
    quantiles = torch.quantile(cloud, torch.tensor([0.005, 0.995]), dim=0)
    return quantiles[0], quantiles[1]


def _bounded_grid(
    lower: Tensor, upper: Tensor, voxel: float, max_cells: int, rng: random.Random
) -> VolumeGrid:
    size = upper - lower
    cells = float((size / voxel).ceil().prod())
    if cells > max_cells:
        keep = math.sqrt(max_cells / cells)
        for axis in (0, 1):  # cut floor area, never height; where, is chance
            length = float(size[axis]) * keep
            start = float(lower[axis]) + rng.random() * (float(size[axis]) - length)
            lower[axis], upper[axis] = start, start + length
    return VolumeGrid.around(lower, upper, voxel)


def _turn(rng: random.Random) -> Float[Tensor, "4 4"]:
    angle = rng.uniform(0, 2 * math.pi)
    T = torch.eye(4)
    T[0, 0] = T[1, 1] = math.cos(angle)
    T[0, 1], T[1, 0] = -math.sin(angle), math.sin(angle)
    T[0, 3], T[1, 3] = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)
    return T
