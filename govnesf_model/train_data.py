"""The random problems that the field is trained on, drawn from scenes in memory.

scene = load_scene(open_scene(folder), (320, 240))      # scene_tensors.py
task = draw_task(scene, 0.16, rng)              # references, targets, a turned world, a grid
rays = draw_rays(task, 512, rng)                # pixels of the targets and what they show
"""

import dataclasses
import math
import random
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .cameras import inside_image, pixel_rays, project, unproject
from .cost_volume import VolumeGrid
from .evidence import look_up
from .scene_tensors import SceneTensors
from .stereo import DOUBTFUL, Surface

UNLABELLED = 0  # label images hold 0 where nothing is known


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


def draw_task(
    scene: SceneTensors,
    voxel: float,
    rng: random.Random,
    references: tuple[int, int] = (3, 12),
    targets: int = 2,
    max_cells: int = 40 * 40 * 18,
    stretches: float = 0.5,
) -> Task:
    """Draw references and targets, turn the world about its vertical and place the grid anywhere.

    Args:
        scene: the whole scene, at least `targets` + 2 views.
        voxel: edge of a voxel in metres.
        rng: source of chance.
        references: least and most reference views.
        targets: number of held-back views.
        max_cells: bound on the grid, which otherwise covers what the references see.
        stretches: how often the references are the stretch of the path around a target.

    Raises:
        ValueError: the scene has too few views.
    """
    count = len(scene)
    if count < targets + 2:
        raise ValueError(f"scene {scene.name} has {count} views: training needs {targets + 2}")
    held = rng.sample(range(count), targets)
    rest = [index for index in range(count) if index not in held]
    wanted = rng.randint(min(references[0], len(rest)), min(references[1], len(rest)))
    if rng.random() < stretches:
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
    shown = targets.rgb if targets.shown is None else targets.shown
    color = shown[view][:, line, column].T.float() / 255
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
    views: SceneTensors,
    surface: Surface | None = None,
    reach: float = 4.0,
    doubtful: float = DOUBTFUL,
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Return the corners of the box that holds what views see.

    Args:
        views: with depth, or at least poses.
        surface: what they believe to see; by default their depth decides.
        reach: metres of each ray that are taken where neither is known.
        doubtful: relative spread above which a surface does not say how far to look.
    """
    points = []
    if surface is None and views.depth is not None:
        surface = Surface(views.depth, torch.zeros_like(views.depth))
    for view in range(len(views)):
        line, column = torch.meshgrid(
            torch.arange(0, views.height, 8), torch.arange(0, views.width, 8), indexing="ij"
        )
        uv = torch.stack([column, line], dim=-1).reshape(-1, 2).float()
        uv = uv.to(views.K.device)
        depth = torch.full((len(uv),), reach, device=uv.device)
        if surface is not None:
            known, spread = look_up(surface, view, uv, views.width)
            depth = torch.where(spread < doubtful, known, 0.0)
        at = unproject(uv, depth, views.K[view], views.T_world_camera[view])
        points += [at[depth > 0], views.T_world_camera[view, None, :3, 3]]
    cloud = torch.cat(points)
    quantiles = torch.quantile(cloud, cloud.new_tensor([0.005, 0.995]), dim=0)
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
