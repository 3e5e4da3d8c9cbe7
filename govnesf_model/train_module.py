"""The training run as Lightning sees it: steps, schedule, averaged weights, data, state on disk.

    module = FieldTraining(config)
    data = FieldData(config, train_scenes, val_scenes, vlm="embedded")
    trainer.fit(module, datamodule=data)             # train.py makes the trainer

Which problem a step gets follows from its number, so `global_step` is all that a resumed run needs
to know about data and sampling.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from . import torchvision_guard  # noqa: F401
from .checkpoint import load_field, save_field
from .data.posed_scene import open_scene
from .field import GovNesf
from .field_validation import chosen_views, validate_folder
from .image_encoder import load_imagenet_backbone, standardise_volume_maps
from .ov_features import OvCache
from .scene_tensors import spread
from .train_config import OptimizerConfig, TrainingConfig
from .train_loss import compute_loss
from .train_problems import Problem, ProblemSampler, ProblemSource, SceneStore

from lightning.pytorch import LightningDataModule, LightningModule, Trainer  # isort: skip
from lightning.pytorch.callbacks import Checkpoint, Timer, WeightAveraging  # isort: skip


class FieldTraining(LightningModule):
    """A field in training."""

    def __init__(self, config: TrainingConfig, out: Path) -> None:
        """Build the field from the seed; `prepare` gives it its first weights.

        Args:
            config: of the run.
            out: folder for pictures and the exported field.
        """
        super().__init__()
        torch.manual_seed(config.run.seed)
        self.config = config
        self.out = out
        self.field = GovNesf(config.field)
        self.notes: dict[str, str] = {}
        self._taken: frozenset[str] = frozenset()  # tensors of another field

    def prepare(self, first: Float[Tensor, "v 3 H W"]) -> None:
        """Load pretrained weights and fit the scale of the maps to images; not for resumed runs."""
        if self.config.optimizer.pretrained:
            self.notes["backbone"] = self._pretrained_backbone()
        if self.config.optimizer.start:
            self.notes["start"] = self._started_from(self.config.optimizer.start)
        elif "stereo" in self.config.optimizer.frozen:
            raise ValueError(
                "optimizer.frozen keeps the stereo network as it is, and nothing is loaded into "
                "it: train it first (govnesf train stereo ...) and name its field with "
                "--set optimizer.start=FILE, or set optimizer.frozen=[] and loss.stereo=1"
            )
        if "encoder.to_volume.weight" in self._taken:
            return  # the 3D network learned from maps as they are
        self.field.eval()
        standardise_volume_maps(self.field.encoder, first)
        self.field.train()

    def progress(self) -> float:
        """Return the finished share of the run, 0..1."""
        run = self.config.run
        if not run.minutes:
            return min(1.0, self.global_step / run.steps)
        timers = [part for part in self.trainer.callbacks if isinstance(part, Timer)]
        return min(1.0, timers[0].time_elapsed() / (60 * run.minutes))

    def training_step(self, problem: Problem, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one problem."""
        progress = self.progress()
        loss, parts = compute_loss(
            self.field, problem, self.config.loss, progress, self._uses_bf16()
        )
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=1)
        self.log("train/loss", loss.detach(), batch_size=1)
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, batch_size=1)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/rate", rate, batch_size=1)
        if self.config.run.minutes:
            self.log("done", progress, prog_bar=True, logger=False, batch_size=1)
        return loss

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW and its schedule, which follows the run's progress."""
        config = self.config.optimizer
        self._freeze()
        weights = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(config, step, self.progress())
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "rate"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Bound the gradient, and leave the weights alone where it is not finite."""
        weights = [p for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(weights, self.config.optimizer.clip)
        self.log("train/gradient", norm, batch_size=1)
        if not bool(torch.isfinite(norm)):
            optimizer.zero_grad(set_to_none=True)  # AdamW passes over weights without a gradient

    def validation_step(self, folder: Path, batch_idx: int) -> None:
        """Measure a scene with the averaged weights and draw what it renders."""
        run, size = self.config.run, self.config.sampling.size
        metrics, picture = validate_folder(
            self.field,
            folder,
            targets=run.validation_targets,
            size=size,
            views=self.config.sampling.views_per_scene,
            cache=self.trainer.datamodule.ov,
        )
        numbers = {f"val/{name}": float(value) for name, value in metrics.items()}
        self.log_dict(numbers, on_epoch=True, sync_dist=True, batch_size=1)
        path = self.out / "images" / f"step_{self.global_step:06d}_{folder.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
        for logger in self.loggers:
            if hasattr(logger.experiment, "add_image"):
                logger.experiment.add_image(
                    folder.name, picture, self.global_step, dataformats="HWC"
                )

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Keep the notes that go into the exported field."""
        checkpoint["notes"] = self.notes

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Take the notes of the run up again."""
        self.notes = {**checkpoint.get("notes", {}), **self.notes}

    def _pretrained_backbone(self) -> str:
        try:
            return load_imagenet_backbone(self.field.encoder, self.config.field)
        except FileNotFoundError as error:
            if self.config.field.encoder != "resnet34":
                raise
            reason: Exception = error
        except Exception as error:  # what a failed download raises depends on the library below
            reason = error
        raise ValueError(
            f"the ImageNet weights of {self.config.field.encoder}, which timm downloads once, are "
            "not to be had: connect to the network, fill the cache of Hugging Face from another "
            f"machine, or start without them (--set optimizer.pretrained=false) [{reason}]"
        )

    def _started_from(self, path: str) -> str:
        """Take over what fits from another field."""
        other, own = load_field(path).state_dict(), self.field.state_dict()
        taken = {k: v for k, v in other.items() if k in own and own[k].shape == v.shape}
        self.field.load_state_dict(taken, strict=False)
        self._taken = frozenset(taken)
        return f"{len(taken)} of {len(own)} tensors of {Path(path).name}"

    def _freeze(self) -> None:
        for name in self.config.optimizer.frozen:
            part = getattr(self.field, name, None)
            if not isinstance(part, torch.nn.Module):
                parts = ", ".join(key for key, _ in self.field.named_children())
                raise ValueError(
                    f"optimizer.frozen names {name!r}, which this field does not have: it has "
                    f"{parts}"
                )
            part.requires_grad_(False)

    def _uses_bf16(self) -> bool:
        wanted = self.config.optimizer.precision
        if wanted == "auto":
            return self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return wanted == "bf16"


class FieldData(LightningDataModule):
    """Problems to train on and scenes to validate on."""

    def __init__(
        self,
        config: TrainingConfig,
        train: Sequence[Path],
        val: Sequence[Path] = (),
        ov: OvCache | None = None,
        module: FieldTraining | None = None,
    ) -> None:
        """Name the scenes.

        Args:
            config: of the run.
            train, val: posed folders.
            ov: features of a vision-language model; None for stand-ins.
            module: its frozen backbone is run once per scene; None to run it in every step.
        """
        super().__init__()
        self.config = config
        self.ov = ov
        encoder = stereo = None
        if module is not None:
            encoder = module.field.encoder
            frozen = module.field.stereo is not None and "stereo" in config.optimizer.frozen
            stereo = module.field if frozen and config.loss.renders else None
        self.store = SceneStore(train, config.sampling, config.run.seed, encoder, ov, stereo)
        self.val = spread(list(val), config.run.validation_scenes)

    def prepare_data(self) -> None:
        """Compute the vision-language model's features that are missing, in one process a node."""
        if self.ov is None:
            return
        for number in range(len(self.store)):
            scene = self.store.opened(number)
            views = spread(range(len(scene)), self.config.sampling.views_per_scene)
            self.ov.fill(scene, views, progress=True)
        for path in self.val:
            scene = open_scene(path)
            views = chosen_views(
                scene, self.config.run.validation_targets, self.config.sampling.views_per_scene
            )
            self.ov.fill(scene, [*views[0], *views[1]], progress=True)

    def train_dataloader(self) -> DataLoader:
        """Return this process's problems, those before the trainer's step left out."""
        if self.ov is not None:
            self.ov.release()
        run, accumulate = self.config.run, self.config.optimizer.accumulate
        total = None if run.minutes else run.steps * accumulate
        sampler = ProblemSampler(
            total,
            self.trainer.global_step * accumulate,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        return DataLoader(
            ProblemSource(self.store, self.config),
            batch_size=None,
            sampler=sampler,
            num_workers=self.config.sampling.workers,
            collate_fn=_unchanged,
        )

    def val_dataloader(self) -> DataLoader:
        """Return this process's share of the validation scenes."""
        scenes = _Scenes(self.val)
        shared = self.trainer.world_size > 1
        sampler = DistributedSampler(scenes, shuffle=False) if shared else None
        return DataLoader(scenes, batch_size=None, sampler=sampler, collate_fn=_unchanged)


class FieldAverage(WeightAveraging):
    """Keeps a running average of the weights, validates and exports that."""

    def __init__(self, decay: float) -> None:
        """Average over the last 1 / (1 - decay) steps, over fewer at first."""
        super().__init__(use_buffers=False, multi_avg_fn=averager(decay))

    def export(self, module: FieldTraining, step: int) -> None:
        """Write the averaged field where `load_field` finds it."""
        averaged = self._average_model.module.field
        save_field(averaged, module.out / "field.safetensors", {**module.notes, "steps": str(step)})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the trained weights as they are: the export has the average."""


class SaveState(Checkpoint):
    """Writes the whole state of the run and the field, each in one step, so that a kill harms none.

    Lightning's own writer replaces files across file systems, which a kill can leave half done.
    """

    def __init__(self, path: Path, every: int, average: FieldAverage) -> None:
        self.path = path
        self.every = every
        self.average = average
        self._saved = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember where a resumed run stands."""
        self._saved = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save when it is time, or when the run ends."""
        step = trainer.global_step
        due = step % self.every == 0 or step >= trainer.max_steps > 0 or trainer.should_stop
        if step == self._saved or not due:
            return
        self._saved = step
        temporary = self.path.with_name("writing.ckpt")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(self.path)
            self.average.export(pl_module, step)


class _Scenes(Dataset):
    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = list(folders)

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, number: int) -> Path:
        return self.folders[number]


def rate_factor(config: OptimizerConfig, step: int, progress: float) -> float:
    """Return the share of the peak rate at a step: linear warm-up, then half a cosine."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    fade = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return warm * (config.final + (1 - config.final) * fade)


def averager(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return the rule of a running average that soon forgets the untrained weights."""

    @torch.no_grad()
    def average(means: Sequence[Tensor], currents: Sequence[Tensor], count: Tensor | int) -> None:
        taken = int(count)
        share = 1 - min(decay, (1 + taken) / (10 + taken))
        for mean, current in zip(means, currents, strict=True):
            mean.lerp_(current, share)

    return average


def _unchanged(item: object) -> object:
    return item
