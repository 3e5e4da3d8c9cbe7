"""The problems that a field is trained on, each drawn from the seed and its number alone.

    store = SceneStore(find_scenes([Path("rooms")]), config.sampling, seed=0)
    problem = ProblemSource(store, config)[17]       # the same whenever and wherever it is drawn

Nothing is remembered from one problem to the next, so a run that is killed and resumed, or shared
out to several processes, meets the same problems as one that runs through.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from .cameras import sample_map
from .cost_volume import FEATURE_STRIDE, VolumeGrid
from .data.posed_scene import PosedScene, open_scene
from .field import GovNesf
from .image_encoder import ImageEncoder
from .ov_features import OvCache
from .scene_tensors import SceneTensors, load_scene, spread
from .standin_features import corrupted_maps, random_palette
from .stereo_pairs import StereoPairs, draw_stereo
from .surfaces import stereo_surfaces
from .train_config import SamplingConfig, TrainingConfig
from .train_data import Rays, Task, draw_occupancy, draw_rays, draw_task
from .unsteady_camera import UnsteadyCamera


@dataclass
class Problem:
    """What one step needs: views to build the field from, and what it should show.

    Attributes:
        number: of the problem in the run.
        seed: of what chance decides while rendering.
        references: the views that the field is built from.
        grid: where the volume lies.
        rays: pixels of held-back views and what they show.
        ov: open-vocabulary maps of the references, channel-last; None without any.
        ov_stride: their stride in image pixels.
        ray_ov: the feature that each ray should show.
        ray_ov_known: which rays have one; None for all.
        points, solid: places known to be solid or free; None without depth.
        stereo: references to match against each other; None where that is not trained.
        measured: whether the field may know the references' depth, as from a depth camera.
    """

    number: int
    seed: int
    references: SceneTensors
    grid: VolumeGrid
    rays: Rays
    ov: Float[Tensor, "v hs ws d"] | None = None
    ov_stride: int = FEATURE_STRIDE
    ray_ov: Float[Tensor, "r d"] | None = None
    ray_ov_known: Bool[Tensor, "r"] | None = None
    points: Float[Tensor, "n 3"] | None = None
    solid: Bool[Tensor, "n"] | None = None
    stereo: StereoPairs | None = None
    measured: bool = False

    def to(self, device: torch.device | str) -> "Problem":
        """Return the problem on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        grid = VolumeGrid(self.grid.origin.to(device), self.grid.voxel, self.grid.shape)
        return Problem(
            self.number,
            self.seed,
            self.references.to(device),
            grid,
            self.rays.to(device),
            move(self.ov),
            self.ov_stride,
            move(self.ray_ov),
            move(self.ray_ov_known),
            move(self.points),
            move(self.solid),
            None if self.stereo is None else self.stereo.to(device),
            self.measured,
        )

    def generator(self, device: torch.device | str) -> torch.Generator:
        """Return the source of chance for rendering this problem."""
        return torch.Generator(device).manual_seed(self.seed)


class SceneStore:
    """Scenes as tensors, read when they are first asked for and kept while there is room."""

    def __init__(
        self,
        paths: Sequence[Path],
        config: SamplingConfig,
        seed: int,
        encoder: ImageEncoder | None = None,
        ov: OvCache | None = None,
        stereo: GovNesf | None = None,
    ) -> None:
        """Name the scenes.

        Args:
            paths: posed folders.
            config: image size, views per scene, memory.
            seed: of colour changes.
            encoder: its frozen backbone is run once per scene; None to run it in every step.
            ov: features of a vision-language model; None for stand-ins.
            stereo: its frozen stereo network is run once per scene; None to run it in every step.
        """
        self.stereo = stereo
        self.paths = list(paths)
        self.config = config
        self.seed = seed
        self.encoder = encoder
        self.ov = ov
        self._opened: dict[int, PosedScene] = {}
        self._loaded: dict[int, SceneTensors] = {}
        self._dropping = random.Random(seed)
        self._limit = max(1, config.scenes_in_memory // max(1, config.workers))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> SceneTensors:
        """Return a scene; it looks the same whenever it is read again."""
        if number not in self._loaded:
            if len(self._loaded) >= self._limit:
                del self._loaded[self._dropping.choice(list(self._loaded))]
            path = self.paths[number]
            scene = self.opened(number)
            indices = spread(range(len(scene)), self.config.views_per_scene)
            look = random.Random(f"{self.seed} {path.name}") if self.config.jitter else None
            hand = random.Random(f"{self.seed} {path.name} camera")
            camera = None
            if hand.random() < self.config.unsteady:
                camera = UnsteadyCamera.draw(len(indices), hand)
            loaded = load_scene(scene, self.config.size, indices, self.encoder, look, camera)
            if self.stereo is not None:
                loaded.surface = stereo_surfaces(
                    self.stereo, loaded.colors(), loaded.maps, loaded.K, loaded.T_world_camera
                )
            self._loaded[number] = loaded
        return self._loaded[number]

    def opened(self, number: int) -> PosedScene:
        """Return a scene whose images are still on disk."""
        if number not in self._opened:
            self._opened[number] = open_scene(self.paths[number])
        return self._opened[number]

    def ov_maps(self, number: int, views: SceneTensors) -> Float[Tensor, "v hs ws d"]:
        """Return the vision-language model's maps of some views of a scene, float16."""
        scene = self.opened(number)
        return torch.stack([self.ov.features(scene, frame) for frame in views.frames])


class ProblemSource(Dataset):
    """Problems by number."""

    def __init__(self, store: SceneStore, config: TrainingConfig) -> None:
        self.store = store
        self.config = config

    def __getitem__(self, number: int) -> Problem:
        """Draw a problem; every scene comes once before any comes again."""
        config, seed = self.config.sampling, self.config.run.seed
        turn, place = divmod(number, len(self.store))
        order = random.Random(f"{seed} order {turn}").sample(
            range(len(self.store)), len(self.store)
        )
        scene = order[place]
        rng = random.Random(f"{seed} problem {number}")
        task = draw_task(
            self.store[scene],
            self.config.field.voxel_size,
            rng,
            config.references,
            config.targets,
            config.max_cells,
            config.stretches,
        )
        rays = draw_rays(task, config.rays, rng)
        problem = Problem(number, rng.getrandbits(48), task.references, task.grid, rays)
        if self.store.ov is not None:
            self._show_ov(problem, task, scene)
        elif _has_labels(task) and self.config.loss.renders:
            _show_standins(problem, config.ov_dim, rng)
        if task.references.depth is not None and self.config.loss.occupancy:
            problem.points, problem.solid = draw_occupancy(task, config.occupancy_points, rng)
        problem.measured = task.references.depth is not None and rng.random() < config.measured
        if self.config.loss.stereo:
            problem.stereo = draw_stereo(
                task.references, config.stereo_views, config.pose_noise, rng
            )
        return problem

    def _show_ov(self, problem: Problem, task: Task, scene: int) -> None:
        stride = self.store.ov.stride
        problem.ov, problem.ov_stride = self.store.ov_maps(scene, task.references), stride
        targets = self.store.ov_maps(scene, task.targets).permute(0, 3, 1, 2)  # [m, d, hs, ws]
        pixels = problem.rays.uv.view(len(targets), -1, 2)  # rays are in the order of targets
        shown = sample_map(targets.float(), pixels, stride)
        problem.ray_ov = F.normalize(shown.flatten(0, 1), dim=-1)


class ProblemSampler(Sampler[int]):
    """The numbers of one process's problems, from where the run stands to its end."""

    def __init__(self, total: int | None, done: int = 0, rank: int = 0, world: int = 1) -> None:
        """Share problems out.

        Args:
            total: problems of this process in the whole run; None for no end.
            done: how many of them are done.
            rank, world: this process and the number of processes.
        """
        self.total = total
        self.done = done
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[int]:
        turn = self.done
        while self.total is None or turn < self.total:
            yield turn * self.world + self.rank
            turn += 1

    def __len__(self) -> int:
        """Return the length of the whole run: what is done counts as batches of it."""
        if self.total is None:
            raise TypeError("a run that is bounded by time has no length")
        return self.total


def _has_labels(task: Task) -> bool:
    return task.references.label is not None and task.references.depth is not None


def _show_standins(problem: Problem, dim: int, rng: random.Random) -> None:
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    palette = random_palette(dim, generator)
    problem.ov = corrupted_maps(problem.references, palette, generator)
    problem.ray_ov = palette[problem.rays.label.long()]
    problem.ray_ov_known = problem.rays.label > 0
