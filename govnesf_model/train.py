"""Training of the field on posed folders.

    govnesf train small --data rooms/train --val rooms/val --out runs/one
    govnesf train paper --data scannet/train --val scannet/val --out runs/two --vlm lseg:w.pth
    govnesf train mine.yaml --set sampling.rays=256 --set loss.distortion=0.02 --steps 4000 ...

`--data` names posed folders or folders of them. With a checkpoint in `--out` the run goes on from
it, to the same losses as if it had never stopped. Settings are explained in `train_config.py`.
"""

import argparse
import dataclasses
import logging
import signal
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import yaml

from . import torchvision_guard  # noqa: F401
from .data.posed_scene import open_scene
from .data.readers import find_scenes
from .ov_features import OvCache
from .scene_tensors import load_scene, spread
from .train_config import TrainingConfig, from_dict, load_config, preset_names
from .train_module import FieldAverage, FieldData, FieldTraining, SaveState

from lightning.pytorch import Trainer, callbacks  # isort: skip  # after the guard
from lightning.pytorch.loggers import CSVLogger, Logger  # isort: skip
from lightning.pytorch.utilities.rank_zero import rank_zero_only  # isort: skip


COUNTED_SCENES = 200  # opening a scene takes up to a second where its poses are single files


@dataclasses.dataclass(frozen=True)
class Machines:
    """What a run computes on; the words are Lightning's."""

    accelerator: str = "auto"
    """cpu, gpu, mps, or auto."""
    devices: str = "1"
    """A number, a list such as 0,2, or auto for all."""
    nodes: int = 1
    """Machines; each starts the same command, told apart by its environment."""
    strategy: str = "auto"
    """auto, ddp, ddp_spawn, ...; auto is ddp for several processes."""


def train(
    config: TrainingConfig,
    data: list[Path],
    out: Path,
    val: list[Path] | None = None,
    vlm: str | None = None,
    machines: Machines = Machines(),
    extra: list[callbacks.Callback] | None = None,
) -> Trainer:
    """Train until the run's end, from where it stands in `out`.

    Args:
        config: of the run.
        data, val: posed folders, or folders of them, to train and to validate on.
        out: folder for checkpoint, field, log and pictures.
        vlm: take features of this vision-language model instead of stand-ins.
        machines: what to compute on.
        extra: more of Lightning's callbacks.

    Raises:
        ValueError: `out` holds a run of another field, or the scenes do not suit the run.
    """
    _quiet_lightning()
    scenes = find_scenes(data)
    val_scenes = find_scenes(val) if val else []
    state = out / "last.ckpt"
    resumed = state.is_file()
    _remember_config(config, out, resumed)
    module = FieldTraining(config, out)
    if not resumed:
        first = open_scene(scenes[0])
        picked = spread(range(len(first)), 16)
        module.prepare(load_scene(first, config.sampling.size, picked).colors())
    ov = OvCache(vlm, config.sampling.size, _vlm_device(machines)) if vlm else None
    module.notes |= {"features": ov.key if ov else "stand-ins", "scenes": str(len(scenes))}
    average = FieldAverage(config.optimizer.average)
    own = [
        average,
        SaveState(state, config.run.save_every, average),
        callbacks.TQDMProgressBar(),
    ]
    if config.run.minutes:
        own.append(callbacks.Timer(timedelta(minutes=config.run.minutes)))
    trainer = Trainer(
        accelerator=machines.accelerator,
        devices=_devices(machines.devices),
        num_nodes=machines.nodes,
        strategy=_strategy(machines),
        max_steps=-1 if config.run.minutes else config.run.steps,
        max_epochs=-1,
        accumulate_grad_batches=config.optimizer.accumulate,
        use_distributed_sampler=False,  # problems are shared out by number
        check_val_every_n_epoch=None,
        val_check_interval=config.run.validate_every * config.optimizer.accumulate,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if val_scenes else 0,
        log_every_n_steps=config.run.log_every,
        logger=_loggers(out, config.run.log_every),
        callbacks=[*own, *(extra or [])],
        default_root_dir=out,
        enable_model_summary=False,
        gradient_clip_val=config.optimizer.clip,
    )
    if config.run.minutes and trainer.world_size > 1:
        raise ValueError(
            "a run of several processes is bounded by run.steps: their clocks differ, and with "
            "them their learning rates"
        )
    # Elsewhere running the frozen backbone again is cheaper than carrying its maps there.
    frozen = config.field.freeze_backbone and trainer.strategy.root_device.type == "cpu"
    field_data = FieldData(config, scenes, val_scenes, ov, module if frozen else None)
    _announce(trainer, module, field_data, resumed)
    # The checkpoint is this program's own; it holds more than tensors.
    trainer.fit(
        module, datamodule=field_data, ckpt_path=state if resumed else None, weights_only=False
    )
    return trainer


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `train`."""
    parser = subparsers.add_parser("train", help="train a field on posed folders")
    parser.add_argument("config", help=f"{', '.join(preset_names())}, or a YAML file")
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="scenes to train on")
    parser.add_argument("--val", nargs="*", type=Path, default=[], help="scenes to measure on")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything written")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.SETTING=VALUE",
        help="change a setting, such as loss.depth=0; may be given again",
    )
    parser.add_argument("--steps", type=int, help="short for --set run.steps=N")
    parser.add_argument("--minutes", type=float, help="short for --set run.minutes=M")
    parser.add_argument("--seed", type=int, help="short for --set run.seed=N")
    parser.add_argument("--vlm", help="features of this encoder instead of stand-ins")
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu, mps or auto")
    parser.add_argument("--devices", default="1", help="how many, which (0,2), or auto for all")
    parser.add_argument("--nodes", type=int, default=1, help="machines that start this command")
    parser.add_argument("--strategy", default="auto", help="ddp, ... of Lightning; auto chooses")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    short = {"steps": arguments.steps, "minutes": arguments.minutes, "seed": arguments.seed}
    overrides = [f"run.{name}={value}" for name, value in short.items() if value is not None]
    config = load_config(arguments.config, [*arguments.overrides, *overrides])
    machines = Machines(
        arguments.accelerator, arguments.devices, arguments.nodes, arguments.strategy
    )
    try:
        trainer = train(
            config, arguments.data, arguments.out, arguments.val, arguments.vlm, machines
        )
    except SystemExit:  # how Lightning ends a run that was interrupted with Ctrl-C
        _say(
            f"\nhalted: the same command goes on from {arguments.out / 'last.ckpt'}, if it is there"
        )
        return 128 + signal.SIGINT
    _say(f"{trainer.global_step} steps done: {arguments.out / 'field.safetensors'}")
    return 0


def _remember_config(config: TrainingConfig, out: Path, resumed: bool) -> None:
    """Write the run's settings beside its checkpoint; a resumed run must be of the same field."""
    path = out / "config.yaml"
    if resumed and path.is_file():
        before = from_dict(yaml.safe_load(path.read_text()), str(path))
        if before.field != config.field:
            raise ValueError(
                f"{out} holds a run of another field configuration: choose another --out, or the "
                f"configuration it was started with ({path})"
            )
        old, new = before.to_dict(), config.to_dict()
        changed = [
            f"{section}.{key} was {old[section][key]}, is {value}"
            for section, values in new.items()
            for key, value in values.items()
            if value != old[section][key]
        ]
        if changed:
            _say(f"settings differ from before: {'; '.join(changed)}")
    _write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False))


@rank_zero_only
def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@rank_zero_only
def _say(text: str) -> None:
    print(text, flush=True)


def _announce(trainer: Trainer, module: FieldTraining, data: FieldData, resumed: bool) -> None:
    config, paths = module.config, data.store.paths
    most = config.sampling.views_per_scene
    views = f"at most {most} views of each"
    if len(paths) <= COUNTED_SCENES:
        views = f"{sum(min(len(open_scene(path)), most) for path in paths)} views"
    weights = sum(p.numel() for p in module.parameters())
    learned = sum(p.numel() for p in module.parameters() if p.requires_grad)
    features = data.ov.key if data.ov else "stand-ins from labels"
    run = config.run
    length = f"{run.minutes:g} minutes" if run.minutes else f"{run.steps} steps"
    names = " and ".join(type(logger).__name__.removesuffix("Logger") for logger in trainer.loggers)
    _say(
        f"scenes      {len(paths)} to train on, {views}; {len(data.val)} to validate on\n"
        f"features    {features}\n"
        f"field       {learned:,} of {weights:,} weights learn\n"
        f"device      {trainer.world_size} x {trainer.strategy.root_device.type}, "
        f"{torch.get_num_threads()} CPU threads\n"
        f"length      {length}{f', resumed from {module.out}' if resumed else ''}\n"
        f"log         {module.out} ({names}), field.safetensors and last.ckpt every "
        f"{config.run.save_every} steps"
    )
    if len(trainer.loggers) == 1:
        _say("TensorBoard is not installed (pip install tensorboard): the log is CSV alone")


def _loggers(out: Path, log_every: int) -> list[Logger]:
    """Return a CSV log, and one for TensorBoard where that is installed."""
    loggers: list[Logger] = [CSVLogger(out, "csv", flush_logs_every_n_steps=log_every)]
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return loggers
    from lightning.pytorch.loggers import TensorBoardLogger

    return [*loggers, TensorBoardLogger(out, "tensorboard", version="")]


def _devices(text: str) -> str | int | list[int]:
    if text == "auto":
        return text
    try:
        return [int(part) for part in text.split(",") if part] if "," in text else int(text)
    except ValueError:
        raise ValueError(
            f"--devices is {text!r}: give a number, a list such as 0,2, or auto"
        ) from None


def _strategy(machines: Machines) -> str:
    several = machines.nodes > 1 or machines.devices != "1"
    if machines.devices == "auto":
        gpus = torch.cuda.device_count() if machines.accelerator != "cpu" else 0
        several = machines.nodes > 1 or gpus > 1
    if machines.strategy == "ddp" or (machines.strategy == "auto" and several):
        # Which weights a step reaches depends on what its scene has: labels, depth, visible views.
        return "ddp_find_unused_parameters_true"
    return machines.strategy


def _vlm_device(machines: Machines) -> str:
    return "cpu" if machines.accelerator == "cpu" else "auto"


def _quiet_lightning() -> None:
    """Keep Lightning from saying what `_announce` says, and from warning of what is meant."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Problems follow from the step: nothing of the loader's is lost with it.
    warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended.*")
    # Drawing in the training process is the preset's choice.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A frozen backbone stays in eval mode.
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")


def main() -> int:
    """Run `python -m govnesf_model.train` with the arguments of `govnesf train`."""
    parser = argparse.ArgumentParser(prog="govnesf_model.train")
    subparsers = parser.add_subparsers(dest="command", required=True)
    add_parser(subparsers)
    arguments = parser.parse_args(["train", *sys.argv[1:]])
    return arguments.run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
