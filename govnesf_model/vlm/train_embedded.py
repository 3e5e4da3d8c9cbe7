"""Trains the embedded encoder on labelled rooms: `govnesf vlm train embedded`.

    govnesf vlm train embedded --data rooms/train --val rooms/val --out run --minutes 70 [--resume]

The stem and the first stages of the backbone stay as ImageNet left them. The loss is a cross
entropy over texts, softened by the likeness of the texts (train_embedded_texts.py). A step depends
only on the seed, its number and the rooms there are, so that a resumed run continues as if it had
never stopped. `out` gets log.jsonl, last.pt (to resume from) and model.safetensors (to use).
"""

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from govnesf_model.vlm import train_embedded_cli
from govnesf_model.vlm.embedded import EmbeddedEncoder, EmbeddedSettings, save_embedded
from govnesf_model.vlm.embedded_network import FROZEN_STAGES, EmbeddedConfig, EmbeddedNetwork
from govnesf_model.vlm.imagenet import imagenet_weights
from govnesf_model.vlm.imagenet_anchor import anchor_of
from govnesf_model.vlm.measure import evaluate
from govnesf_model.vlm.text import MiniLM
from govnesf_model.vlm.train_embedded_batches import Batch, BatchMaker
from govnesf_model.vlm.train_embedded_rooms import RoomSet
from govnesf_model.vlm.train_embedded_texts import NOTHING, TextBank

ANCHORS = (0.0, 0.15, 0.3, 0.5)  # weights of the ImageNet classifier to choose from
STRUCTURE = ("wall", "floor", "ceiling", "door", "window")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        minutes: wall-clock length of the run; the learning rate falls to zero over it.
        steps: length in steps instead, when positive.
        batch: crops a step.
        width, height: pixels of a crop, multiples of 32.
        cells: cells of a crop that count, rare names preferred.
        rate: learning rate of the decoder.
        backbone_rate: learning rate of the backbone's trained stages.
        weight_decay: of AdamW.
        warmup: steps until the full learning rate.
        softness: scale of the texts' cosines in the soft target.
        average: decay of the running average of the weights, which is what is kept.
        contrast: number of default contrast words.
        focus: share of crops that are made around a name drawn beforehand, rare ones preferred.
        workers: threads that make batches; 0 makes them in between.
        keep: weight of the loss that keeps the backbone's last map near to what ImageNet taught, so
            that the ImageNet classes can still be read from it, on photographs above all.
        kept: crops a step that this loss looks at.
        save_minutes: between checkpoints to resume from.
        evaluate_minutes: between validations, each of which writes model.safetensors.
        validation_frames: images a validation looks at.
        rescan_steps: between looks for new rooms.
        seed: of everything random.
        imagenet: False starts from random weights, for tests.
    """

    minutes: float = 70.0
    steps: int = 0
    batch: int = 6
    width: int = 256
    height: int = 192
    cells: int = 320
    rate: float = 1.5e-3
    backbone_rate: float = 3e-4
    weight_decay: float = 1e-2
    warmup: int = 200
    softness: float = 16.0
    average: float = 0.998
    contrast: int = 64
    focus: float = 0.5
    workers: int = 1
    keep: float = 0.5
    kept: int = 2
    save_minutes: float = 3.0
    evaluate_minutes: float = 10.0
    validation_frames: int = 256
    rescan_steps: int = 250
    seed: int = 0
    imagenet: bool = True


class Trainer:
    """One training run in a folder."""

    def __init__(
        self,
        data: list[Path],
        val: list[Path],
        out: Path,
        config: TrainConfig,
        cache: Path | None = None,
    ) -> None:
        self.config = config
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        cache = cache or out / "rooms"
        self.rooms = RoomSet(data, cache)
        self.val = RoomSet(val, cache)
        if not self.rooms.rooms:
            raise FileNotFoundError(
                f"no labelled rooms under {', '.join(map(str, data))}: generate some first"
            )
        torch.manual_seed(config.seed)
        weights = imagenet_weights() if config.imagenet else None
        self.network = EmbeddedNetwork(EmbeddedConfig(), weights)
        self.teacher = copy.deepcopy(self.network.backbone.blocks[FROZEN_STAGES:])
        self.teacher.requires_grad_(False)
        trained = self.network.freeze_early_stages()
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(config.softness)))
        backbone = {id(p) for p in self.network.backbone.parameters()}
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in trained if id(p) not in backbone], "rate": config.rate},
                {"params": [p for p in trained if id(p) in backbone], "rate": config.backbone_rate},
                {"params": [self.log_scale], "rate": config.rate, "weight_decay": 0.0},
            ],
            lr=config.rate,
            weight_decay=config.weight_decay,
        )
        self.text = MiniLM(cache=False)
        self._read_rooms()
        self.average = {k: v.detach().clone() for k, v in self._moving().items()}
        self.imagenet = anchor_of(weights, self.text) if weights else None
        self.anchor = 0.0  # weight of the ImageNet classifier, and
        self.threshold = 0.5  # the encoder's: both are found at the end
        self.step = 0
        self.seconds = 0.0  # trained in earlier runs and this one

    def resume(self) -> bool:
        """Continue from last.pt if it is there."""
        path = self.out / "last.pt"
        if not path.is_file():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        with torch.no_grad():
            self.log_scale.copy_(state["log_scale"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._stream = None
        return True

    def run(self) -> dict:
        """Train to the end, choose the default threshold, return the last validation."""
        config = self.config
        saved = evaluated = began = time.monotonic()
        before = self.seconds
        losses = []
        bar = tqdm(total=config.steps or None, initial=self.step, desc="train", unit="step")
        while self.progress() < 1.0:
            if self.step % config.rescan_steps == 0 and self.rooms.rescan() + self.val.rescan():
                self._read_rooms()
            losses.append(self.train_step())
            self.seconds = before + time.monotonic() - began
            bar.update()
            if self.step % 20 == 0:
                loss = float(np.mean(losses[-20:]))
                bar.set_postfix(loss=f"{loss:.3f}", done=f"{self.progress():.0%}")
                scale = float(self.log_scale.detach().exp())
                self._log(loss=loss, scale=scale, images=self.rooms.frames)
            now = time.monotonic()
            if now - saved > 60 * config.save_minutes:
                self.save()
                saved = now
            if now - evaluated > 60 * config.evaluate_minutes:
                self.validate(queries=False)
                evaluated = time.monotonic()
        bar.close()
        self.save()
        return self.finish()

    def finish(self) -> dict:
        """Choose the anchor's weight, then the default threshold; return the last validation."""
        if self.val.rooms:
            if self.imagenet is not None:
                self.anchor = max(ANCHORS, key=self._miou_with)
            self.threshold = self.validate()["best_threshold"]
        return self.validate()

    def progress(self) -> float:
        """Return how much of the run is done, 0..1."""
        if self.config.steps:
            return self.step / self.config.steps
        return self.seconds / (60 * self.config.minutes)

    def train_step(self) -> float:
        """Make one step and return its loss."""
        config = self.config
        rng = np.random.default_rng([config.seed, self.step, 1])
        warm = min(1.0, (self.step + 1) / config.warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(self.progress(), 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * warm * max(fall, 0.01)
        batch = self._next_batch()
        columns = self.bank.draw(batch.name, batch.word, rng)
        positive, left_out, wrong = self.bank.targets(columns, batch.name, batch.word, rng)
        self.network.train()
        rgb = torch.from_numpy(batch.rgb).permute(0, 3, 1, 2).float() / 255.0
        maps = self.network.pyramid(rgb)
        features = self.network.features_at(
            self.network.decode(rgb, *maps), torch.from_numpy(batch.cells)
        )
        scale = self.log_scale.exp().clamp(4.0, 60.0)
        loss = soft_cross_entropy(
            scale * features @ columns.features.T,
            config.softness * (columns.features @ columns.features.T)[positive],
            left_out,
            wrong,
        )
        if config.keep:
            loss = loss + config.keep * self._lost(maps[1][: config.kept], maps[3][: config.kept])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return loss.item()

    def encoder(self) -> EmbeddedEncoder:
        """Return the averaged weights as an encoder."""
        network = EmbeddedNetwork(replace(self.network.config, anchor=self.anchor))
        weights = {**self.network.state_dict(), **self.average}
        if network.anchor is not None:
            kept = self.imagenet.state_dict()
            weights.update({f"anchor.{name}": value for name, value in kept.items()})
        network.load_state_dict(weights)
        settings = EmbeddedSettings(
            logit_scale=round(float(self.log_scale.detach().exp().clamp(4.0, 60.0)), 3),
            default_threshold=self.threshold,
            default_contrast=self._contrast(),
            training={
                "config": asdict(self.config),
                "steps": self.step,
                "seconds": round(self.seconds),
                "rooms": len(self.rooms.rooms),
                "images": self.rooms.frames,
            },
        )
        return EmbeddedEncoder(network, self.bank.vocabulary(settings.covered_from), settings)

    def validate(self, queries: bool = True) -> dict:
        """Write model.safetensors, measure it on the validation rooms and log that."""
        encoder = self.encoder()
        path = self.out / "model.safetensors"
        save_embedded(path, encoder.network, encoder.vocabulary, encoder.settings)
        if not self.val.rooms:
            return {}
        frames = self.config.validation_frames
        result = evaluate(encoder, self.val.rooms, frames, queries=queries)
        summary = {k: round(v, 4) for k, v in result.items() if k != "per_class"}
        self._log(**{f"val_{k}": v for k, v in summary.items()})
        tqdm.write(f"step {self.step}: {summary}")
        return result

    def _miou_with(self, anchor: float) -> float:
        self.anchor = anchor
        frames = self.config.validation_frames
        return evaluate(self.encoder(), self.val.rooms, frames, queries=False)["miou"]

    def save(self) -> None:
        """Write last.pt, under another name first."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "log_scale": self.log_scale.detach(),
            "step": self.step,
            "seconds": self.seconds,
        }
        temporary = self.out / f".last.{os.getpid()}.pt"
        torch.save(state, temporary)
        os.replace(temporary, self.out / "last.pt")

    def _read_rooms(self) -> None:
        config = self.config
        self.bank = TextBank(self.rooms.rooms, self.text)
        self.batches = BatchMaker(
            self.rooms.rooms,
            {room.name: self.bank.room_tables(room) for room in self.rooms.rooms},
            config.batch,
            config.width,
            config.height,
            config.cells,
            config.focus,
            config.seed,
        )
        self._stream: Iterator[Batch] | None = None

    def _lost(
        self, stride8: Float[Tensor, "b _ _ _"], stride32: Float[Tensor, "b _ _ _"]
    ) -> Float[Tensor, ""]:
        """Return the share of variance that the last map has lost of the ImageNet network's."""
        with torch.no_grad():
            wanted = stride8
            for stage in self.teacher:
                wanted = stage(wanted)
        return (stride32 - wanted).square().mean() / wanted.var()

    def _next_batch(self) -> Batch:
        if self._stream is None:  # at the start, after a resumption, and when rooms were added
            self._stream = self.batches.stream(self.step, self.config.workers)
        return next(self._stream)

    def _contrast(self) -> tuple[str, ...]:
        """Structure, `NOTHING` and the names that the most rooms show."""
        count = dict.fromkeys(self.bank.names, 0)
        for room in self.rooms.rooms:
            for name in room.classes.values():
                count[name] += 1
        structure = [name for name in STRUCTURE if name in count]
        common = sorted(count, key=lambda name: (-count[name], name))
        words = dict.fromkeys([*structure, *NOTHING, *common])
        return tuple(words)[: self.config.contrast]

    def _moving(self) -> dict[str, Tensor]:
        """Return the weights and statistics that training changes."""
        frozen = {name for name, p in self.network.named_parameters() if not p.requires_grad}
        return {
            name: value
            for name, value in self.network.state_dict().items()
            if name not in frozen and value.is_floating_point()
        }

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        moving = self._moving()
        torch._foreach_lerp_(
            [self.average[name] for name in moving], list(moving.values()), 1 - decay
        )

    def _log(self, **values: float | int) -> None:
        line = {"step": self.step, "seconds": round(self.seconds, 1), **values}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def soft_cross_entropy(
    logits: Float[Tensor, "n t"],
    likeness: Float[Tensor, "n t"],
    left_out: Tensor,
    wrong: Tensor,
) -> Float[Tensor, ""]:
    """Return the mean cross entropy against a target softened by the likeness of texts.

    Args:
        logits: scaled cosines of cells and texts.
        likeness: scaled cosines of each cell's positive and the texts: the target is their softmax.
        left_out: texts that take no part for a cell, [n, t] bool.
        wrong: texts whose target is zero however alike, [n, t] bool.
    """
    never = -1e4  # finite, so that zero target times log probability stays zero
    target = likeness.masked_fill(left_out | wrong, never).softmax(-1)
    return -(target * logits.masked_fill(left_out, never).log_softmax(-1)).sum(-1).mean()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    train_embedded_cli.add_arguments(parser)
    return train_embedded_cli.run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
