"""What asking oneDNN directly is worth (govnesf_model/onednn.py): a keyframe's networks with and
without it, in processor milliseconds.

OMP_NUM_THREADS=1 python -m benchmarks.convolutions
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from govnesf_model.checkpoint import load_field
from govnesf_model.onednn import QuickConv2d, QuickConv3d, use_onednn
from govnesf_model.vlm import load_vlm

SECONDS = 2.0  # of measuring each


@torch.no_grad()
def main() -> None:
    field, vlm = load_field("small"), load_vlm("embedded", "cpu")
    image = torch.rand(1, 3, 240, 320)
    cases = {
        "open-vocabulary encoder, 320x240": (vlm.network, lambda: vlm.encode_images(image)),
        "field's encoder, 320x240": (field.encoder, lambda: field.encode_images(image)),
    }
    for shape in ((24, 24, 20), (32, 32, 20), (40, 40, 24)):
        volume = torch.rand(1, field.unet.enter.in_channels, *shape)
        name = "3D network, " + "x".join(map(str, shape))
        cases[name] = field.unet, lambda volume=volume: field.unet(volume)
    print(f"{'network':36s} {'torch':>9s} {'oneDNN':>9s} {'ratio':>6s}")
    for name, (network, run) in cases.items():
        quick = milliseconds(run)
        with by_torch(network):
            slow = milliseconds(run)
        print(f"{name:36s} {slow:6.1f} ms {quick:6.1f} ms {slow / quick:6.2f}")


@contextmanager
def by_torch(network: nn.Module) -> Iterator[None]:
    """Let torch choose again."""
    for child in network.modules():
        if isinstance(child, QuickConv2d | QuickConv3d):
            child.__class__ = type(child).__base__
    yield
    use_onednn(network)


def milliseconds(run: Callable[[], object]) -> float:
    """Return processor time of a call: others may use the machine."""
    run()
    began, count = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        run()
        count += 1
    return 1e3 * (time.process_time() - began) / count


if __name__ == "__main__":
    main()
