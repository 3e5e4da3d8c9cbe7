"""Train one step and write the gradient of every weight, as one of several processes or alone.

python train_gradients.py SCENES OUT DEVICES ACCUMULATE
"""

import sys
from pathlib import Path

import torch
from train_runs import tiny_config

import govnesf_model.torchvision_guard  # noqa: F401
from govnesf_model.train import Machines, train

from lightning.pytorch.callbacks import Callback  # isort: skip


class Recorder(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.is_global_zero:
            named = pl_module.named_parameters()
            torch.save({name: p.grad.clone() for name, p in named if p.grad is not None}, self.path)


def main() -> None:
    torch.set_num_threads(1)
    scenes, out, devices, accumulate = sys.argv[1:]
    config = tiny_config(optimizer={"accumulate": int(accumulate)}, run={"steps": 1})
    recorder = Recorder(Path(out) / "gradients.pt")
    Path(out).mkdir(exist_ok=True)
    machines = Machines(accelerator="cpu", devices=devices)
    train(config, [Path(scenes)], Path(out), machines=machines, extra=[recorder])


if __name__ == "__main__":
    main()
