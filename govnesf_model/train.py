"""Training of the field on posed folders.

    govnesf train small --data rooms/train --val rooms/val --out runs/one --minutes 60

`--data` names posed folders or folders of them; they are looked through again while training goes
on, so that rooms may still be arriving. With a checkpoint in `--out` training goes on from it. The
loss is the paper's (eq. 8), with depth and sharpness terms where the scenes have depth.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from .field import FieldConfig
from .field_validation import validate_folders
from .trainer import TrainConfig, Trainer, find_scenes


def train(
    trainer: Trainer,
    minutes: float | None = None,
    steps: int | None = None,
    val: list[Path] | None = None,
    save_every: float = 240.0,
    validate_every: float = 900.0,
) -> None:
    """Train until the time or the number of steps is used up, earlier runs counted in.

    Args:
        trainer: fresh or resumed.
        minutes, steps: the budget, one of them; the schedule follows it.
        val: posed folders to measure on.
        save_every, validate_every: seconds.

    Raises:
        ValueError: no budget was given.
    """
    if not minutes and not steps:
        raise ValueError("training needs a budget: give minutes or steps")
    saved = validated = started = time.monotonic()
    before = trainer.seconds
    trainer.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}")
    with (trainer.out / "log.jsonl").open("a") as log:
        while True:
            progress = trainer.step / steps if steps else trainer.seconds / (60 * minutes)
            if progress >= 1:
                break
            values = trainer.train_step(progress)
            now = time.monotonic()
            trainer.seconds = before + now - started
            if trainer.step % 10 == 0:
                bar.n = progress
                bar.set_postfix_str(
                    f"step {trainer.step} loss {values['loss']:.3f} "
                    f"scenes {len(trainer.source.paths)}"
                )
                record = {"step": trainer.step, "seconds": round(trainer.seconds, 1), **values}
                log.write(json.dumps(record) + "\n")
                log.flush()
            if now - saved > save_every:
                trainer.save()
                saved = now
            if val and now - validated > validate_every:
                log.write(json.dumps(_validate(trainer, val, scenes=4)) + "\n")
                validated = time.monotonic()
        bar.close()
        trainer.save()
        if val:
            log.write(json.dumps(_validate(trainer, val, scenes=8)) + "\n")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `train`."""
    parser = subparsers.add_parser("train", help="train a field on posed folders")
    parser.add_argument("config", choices=["small", "paper"], help="size of the field")
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="scenes to train on")
    parser.add_argument("--val", nargs="*", type=Path, default=[], help="scenes to measure on")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--minutes", type=float, help="budget in minutes")
    parser.add_argument("--steps", type=int, help="budget in steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads; 0 leaves torch's choice"
    )
    for item in dataclasses.fields(TrainConfig):
        if isinstance(item.default, (int, float)):
            flag = "--" + item.name.replace("_", "-")
            parser.add_argument(flag, type=type(item.default), default=None, help="see TrainConfig")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    small = arguments.config == "small"
    config = TrainConfig() if small else TrainConfig.paper()
    names = [item.name for item in dataclasses.fields(TrainConfig)]
    given = {n: getattr(arguments, n, None) for n in names}
    config = dataclasses.replace(config, **{n: v for n, v in given.items() if v is not None})
    field_config = FieldConfig.small() if small else FieldConfig.paper()
    trainer = Trainer(field_config, config, arguments.data, arguments.out, arguments.seed)
    if trainer.resume():
        print(f"resumed {trainer.state_path} at step {trainer.step}")
    val = find_scenes(arguments.val) if arguments.val else None
    train(trainer, arguments.minutes, arguments.steps, val)
    return 0


def _validate(trainer: Trainer, val: list[Path], scenes: int) -> dict[str, object]:
    results, sheet = validate_folders(
        trainer.averaged(), val[:scenes], targets=1, shrink=2, progress=False
    )
    path = trainer.out / f"step_{trainer.step:06d}.png"
    cv2.imwrite(str(path), np.ascontiguousarray(sheet[..., ::-1]))
    return {"step": trainer.step, "validation": results["mean"]}


def main() -> int:
    """Run `python -m govnesf_model.train` with the arguments of `govnesf train`."""
    parser = argparse.ArgumentParser(prog="govnesf_model.train")
    subparsers = parser.add_subparsers(dest="command", required=True)
    add_parser(subparsers)
    arguments = parser.parse_args(["train", *sys.argv[1:]])
    return arguments.run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
