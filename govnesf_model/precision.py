"""In which precision the convolutional networks run when nothing is learned.

    set_precision(field, "auto")           # half on a GPU that is made for it, full elsewhere
    with half_convolutions(module): ...    # what the networks' callers write

Convolutions take most of a keyframe's time on a GPU and lose little by eight bits of mantissa.
Coordinates, statistics of voxels, densities and weights of views stay in full precision everywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WORDS = ("auto", "full", "bf16", "fp16")
_KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def set_precision(module: nn.Module, word: str) -> None:
    """Choose for a field; without a choice it is "auto".

    Raises:
        ValueError: the word is none of `WORDS`.
    """
    if word not in WORDS:
        raise ValueError(f"precision {word!r} is not one of {', '.join(WORDS)}")
    module.precision = word


def chosen(word: str, device: torch.device) -> torch.dtype | None:
    """Return the half precision that a word stands for on a device; None for full."""
    if word == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return _KINDS.get(word)


@contextmanager
def half_convolutions(module: nn.Module, like: Tensor) -> Iterator[None]:
    """Run convolutions as chosen for a module; where something is learned, as its caller does.

    Args:
        module: with what `set_precision` chose for it.
        like: on the device.
    """
    kind = chosen(getattr(module, "precision", "auto"), like.device)
    if kind is None or torch.is_grad_enabled():
        yield
        return
    with torch.autocast(like.device.type, dtype=kind):
        yield
