"""One training run of the field: its configuration, its scenes, its loss and its state.

    trainer = Trainer(FieldConfig.small(), TrainConfig(), [Path("rooms")], Path("run"), seed=0)
    trainer.resume()
    trainer.train_step(progress=0.1)
    trainer.save()

`train.py` runs it within a budget; the loss (`compute_loss`) and the data (`train_data.py`) know
nothing of the loop.
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from . import losses
from .blending import Views
from .checkpoint import save_field
from .cost_volume import REFERENCE_FOCAL, batch_features
from .data.posed_scene import SceneError, open_scene
from .field import FieldConfig, GovNesf
from .image_encoder import load_imagenet_backbone, standardise_volume_maps
from .rendering import render_rays
from .standin_features import corrupted_maps, random_palette
from .train_data import (
    Rays,
    SceneTensors,
    Task,
    draw_occupancy,
    draw_rays,
    draw_task,
    load_scene,
)

SIZE = (320, 240)


@dataclass(frozen=True)
class TrainConfig:
    """How a field is trained."""

    rays: int = 512
    """Rays per step."""
    targets: int = 2
    """Held-back views per step that the rays are drawn from."""
    references: tuple[int, int] = (3, 10)
    """Least and most reference views per step."""
    learning_rate: float = 1.5e-3
    """Peak of the cosine schedule."""
    warmup: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    clip: float = 1.0
    """Largest gradient norm."""
    average: float = 0.99
    """Decay of the running average of the weights, which is what is saved."""
    color_weight: float = 2.0
    """Weight of L_color."""
    ov_weight: float = 0.5
    """alpha, the weight of L_ov relative to L_color's."""
    ov_dim: int = 32
    """Width of the stand-in features."""
    depth_weight: float = 0.2
    """Weight of the absolute depth error; 0 trains without depth, as the paper does."""
    surface_weight: float = 0.1
    """Weight of the loss that gathers density at the measured surface."""
    surface_width: tuple[float, float] = (0.2, 0.08)
    """Half width of the surface band in metres, at the start and at the end."""
    occupancy_weight: float = 1.0
    """Weight of the cross entropy of density at points that depth shows to be solid or free."""
    occupancy_points: int = 12288
    """Points drawn for it per step."""
    guess_weight: float = 0.2
    """Weight of the likelihood of the depth that the encoder guesses from single images."""
    free_weight: float = 0.1
    """Weight of the opacity of rays that leave the grid."""
    distortion_weight: float = 0.01
    """Weight of the spread of the weights along a ray."""

    @classmethod
    def paper(cls) -> "TrainConfig":
        """Return the publication's numbers: no depth, 30 references, 3 targets, 2048 rays."""
        return cls(
            rays=2048,
            targets=3,
            references=(30, 30),
            depth_weight=0.0,
            surface_weight=0.0,
            occupancy_weight=0.0,
            guess_weight=0.0,
            free_weight=0.0,
            distortion_weight=0.0,
        )


class SceneSource:
    """Hands out scenes in random order, keeps them in memory, notices new folders."""

    def __init__(self, folders: list[Path], field: GovNesf, seed: int, limit: int = 400) -> None:
        """Look for scenes.

        Args:
            folders: posed folders, or folders that hold posed folders.
            field: its frozen backbone is run once per scene.
            seed: of order and colour changes.
            limit: scenes kept in memory, about 20 MB each.
        """
        self.folders = folders
        self.encoder = field.encoder
        self.rng = random.Random(seed)
        self.seed = seed
        self.limit = limit
        self.paths: list[Path] = []
        self.loaded: dict[Path, SceneTensors] = {}
        self.queue: list[Path] = []
        self.rescan()

    def rescan(self) -> int:
        """Look through the folders again and return the number of scenes."""
        self.paths = find_scenes(self.folders)
        return len(self.paths)

    def next(self) -> SceneTensors:
        """Return the next scene; every scene comes once before any comes again."""
        if not self.queue:
            self.rescan()
            self.queue = self.rng.sample(self.paths, len(self.paths))
        path = self.queue.pop()
        if path not in self.loaded:
            if len(self.loaded) >= self.limit:
                del self.loaded[self.rng.choice(list(self.loaded))]
            scene = open_scene(path)
            # A scene looks the same whenever it is read again, also after a restart.
            look = random.Random(f"{self.seed} {path.name}")
            self.loaded[path] = load_scene(scene, SIZE, None, self.encoder, look)
        return self.loaded[path]


def find_scenes(folders: list[Path]) -> list[Path]:
    """Return posed folders among and directly inside the given ones.

    Raises:
        SceneError: there is none.
    """
    found = []
    for folder in folders:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        candidates = [folder] if (folder / "rgb").is_dir() else inside
        # A folder whose name starts with a dot is still being written.
        visible = [path for path in candidates if not path.name.startswith(".")]
        found += [path for path in visible if (path / "intrinsics.txt").is_file()]
    if not found:
        names = ", ".join(str(folder) for folder in folders)
        raise SceneError(f"no posed scene (intrinsics.txt, rgb/, pose/) in {names}")
    return found


def compute_loss(
    field: GovNesf,
    task: Task,
    rays: Rays,
    config: TrainConfig,
    progress: float,
    generator: torch.Generator,
    rng: random.Random,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Build the field from the references, render the rays and return the loss and its parts."""
    refs = task.references
    colors = refs.colors()
    if refs.maps is None:
        maps = field.encode_images(colors)
    else:
        maps = field.encoder.decode(colors, [level.float() for level in refs.maps])
    statistics = batch_features(
        task.grid,
        maps.volume,
        refs.K,
        refs.T_world_camera,
        refs.width,
        refs.height,
        lift=field.config.lift_depth,
    )
    volume = field.volume_from(task.grid, statistics)
    palette = random_palette(config.ov_dim, generator)
    has_ov = refs.label is not None and refs.depth is not None
    ov = corrupted_maps(refs, palette, generator) if has_ov else None
    views = Views(colors, maps.query, refs.K, refs.T_world_camera, refs.depth, ov)
    result = render_rays(
        field, views, volume, rays.origins, rays.directions, want_ov=has_ov, generator=generator
    )
    known = refs.depth is not None
    usable = rays.in_grid & rays.visible
    parts = {"color": losses.color_loss(result.color, rays.color, usable)}
    total = config.color_weight * parts["color"]
    if result.ov is not None:
        meant = usable & (rays.label > 0)
        parts["ov"] = losses.ov_loss(result.ov, palette[rays.label.long()], meant)
        total = total + config.color_weight * config.ov_weight * parts["ov"]
    if known and config.depth_weight:
        parts["depth"] = losses.depth_loss(result.depth, rays.depth, rays.in_grid)
        total = total + config.depth_weight * parts["depth"]
    if known and config.surface_weight:
        first, last = config.surface_width
        width = first + (last - first) * progress
        parts["surface"] = losses.surface_loss(
            result.weights, result.t, rays.depth, width, rays.in_grid
        )
        total = total + config.surface_weight * parts["surface"]
    if known and config.occupancy_weight:
        points, solid = draw_occupancy(task, config.occupancy_points, rng)
        parts["occupancy"] = losses.occupancy_loss(field.density(points, volume), solid)
        total = total + config.occupancy_weight * parts["occupancy"]
    if known and config.guess_weight and field.config.lift_depth:
        # Feature cell i is centred on pixel 4 i + 1.5.
        scale = refs.K[:, 0, 0] / (refs.width * REFERENCE_FOCAL)
        depth = refs.depth[:, 1::4, 1::4] / scale.view(-1, 1, 1)
        parts["guess"] = losses.guess_loss(maps.volume[:, -2:], depth)
        total = total + config.guess_weight * parts["guess"]
    if known and config.free_weight:
        parts["free"] = losses.free_space_loss(result.weights, rays.leaves_grid)
        total = total + config.free_weight * parts["free"]
    if config.distortion_weight:
        parts["distortion"] = losses.distortion_loss(result.weights, result.t, result.delta)
        total = total + config.distortion_weight * parts["distortion"]
    return total, {key: float(value.detach()) for key, value in parts.items()}


class Trainer:
    """The state of a training run and its steps."""

    def __init__(
        self, field_config: FieldConfig, config: TrainConfig, data: list[Path], out: Path, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.config = config
        self.out = out
        self.field = GovNesf(field_config)
        self.notes = {"backbone": load_imagenet_backbone(self.field.encoder, field_config)}
        self.source = SceneSource(data, self.field, seed)
        standardise_volume_maps(self.field.encoder, self.source.next().colors())
        self.average = AveragedModel(self.field, avg_fn=self._averaged, use_buffers=False)
        weights = [p for p in self.field.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.rng = random.Random(seed + 1)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self.seconds = 0.0

    @property
    def state_path(self) -> Path:
        return self.out / "train_state.pt"

    def train_step(self, progress: float) -> dict[str, float]:
        """Do one optimisation step; `progress` is the finished share of the run, 0..1."""
        config = self.config
        task = draw_task(
            self.source.next(),
            self.field.config.voxel_size,
            self.rng,
            config.references,
            config.targets,
        )
        rays = draw_rays(task, config.rays, self.rng)
        rate = learning_rate(config, self.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.field.train()
        loss, parts = compute_loss(
            self.field, task, rays, config, progress, self.generator, self.rng
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.field.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update_parameters(self.field)
        self.step += 1
        return {"loss": float(loss.detach()), **parts, "lr": rate, "norm": float(norm)}

    def averaged(self) -> GovNesf:
        """Return the field with averaged weights, in eval mode."""
        return self.average.module.eval()

    def _averaged(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # A short memory at first: else the untrained weights would stay in the average for long.
        decay = min(self.config.average, (1 + int(count)) / (10 + int(count)))
        return average + (current - average) * (1 - decay)

    def save(self) -> None:
        """Write the run's state and the field, each in one step."""
        self.out.mkdir(parents=True, exist_ok=True)
        state = {
            "field": self.field.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": self.field.config.to_json(),
            "rng": self.rng.getstate(),
            "source": self.source.rng.getstate(),
            "queue": [str(path) for path in self.source.queue],
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        temporary = self.state_path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.state_path)
        notes = {**self.notes, "steps": str(self.step), "seconds": f"{self.seconds:.0f}"}
        save_field(self.averaged(), self.out / "field.safetensors", notes)

    def resume(self) -> bool:
        """Go on from the state in the output folder, if there is one.

        Raises:
            ValueError: the state belongs to a field of another configuration.
        """
        if not self.state_path.exists():
            return False
        state = torch.load(self.state_path, map_location="cpu", weights_only=False)
        if state["config"] != self.field.config.to_json():
            raise ValueError(
                f"{self.state_path} was written for another field configuration: "
                "choose another --out, or the configuration it was started with"
            )
        self.field.load_state_dict(state["field"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.setstate(state["rng"])
        self.source.rng.setstate(state["source"])
        self.source.queue = [Path(path) for path in state.get("queue", [])]
        self.generator.set_state(state["generator"])
        self.step, self.seconds = state["step"], state["seconds"]
        return True


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / config.warmup)
    fade = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return config.learning_rate * warm * fade
