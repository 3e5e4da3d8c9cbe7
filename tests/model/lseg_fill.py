"""Weights and images by formula, for comparing LSeg with values computed elsewhere."""

import math
import zlib

import numpy as np
import torch

from govnesf_model.vlm.lseg_checkpoint import TEXT, LSegWeights, unused_layout, used_layout
from govnesf_model.vlm.lseg_network import LSegConfig

# LSeg in a size that runs in milliseconds.
TINY = LSegConfig(
    width=32,
    depth=5,
    heads=2,
    grid=4,
    taps=(0, 1, 2, 4),
    levels=(8, 12, 16, 16),
    fusion=8,
    dim=16,
    text_width=16,
    text_depth=2,
    text_heads=2,
    visual_width=8,
    visual_depth=2,
)

CHUNK = 1 << 18  # values; stays in the processor's cache
EMBEDDINGS = (
    "pos_embed",
    "cls_token",
    "positional_embedding",
    "class_embedding",
    "token_embedding.weight",
)


def published_state(config: LSegConfig = TINY) -> dict[str, torch.Tensor]:
    """Return all entries of a checkpoint in the precisions that the published one mixes."""
    state = {}
    for key, shape in (used_layout(config) | unused_layout(config)).items():
        counter = key.endswith("num_batches_tracked")
        state[key] = torch.empty(shape, dtype=torch.int64 if counter else torch.float32)
        fill(key, state[key])
        single = ("ln_", "embedding", "logit_scale")
        if key.startswith(TEXT) and not any(part in key for part in single):
            state[key] = state[key].half()
    return state


def tiny_weights() -> LSegWeights:
    """Return filled weights of the small network."""
    state = published_state()
    return LSegWeights(TINY, {key: state[key] for key in used_layout(TINY)}, "0" * 64)


def fill(key: str, tensor: torch.Tensor) -> None:
    """Fill a contiguous tensor with the values that belong to its key ("net." included)."""
    if key.endswith(("num_batches_tracked", "logit_scale")):
        tensor.fill_(math.log(1 / 0.07) if key.endswith("logit_scale") else 0)
        return
    offset, scale = 0.0, 1.0
    if key.endswith("running_mean"):
        scale = 0.1
    elif key.endswith("running_var"):
        offset, scale = 1.0, 0.2
    elif key.endswith(EMBEDDINGS):
        scale = 0.5
    elif tensor.dim() == 1:
        offset, scale = (1.0, 0.1) if key.endswith("weight") else (0.0, 0.05)
    else:
        scale = 1 / math.sqrt(math.prod(tensor.shape[1:]))
    flat = tensor.detach().view(-1).numpy()
    for start in range(0, len(flat), CHUNK):
        stop = min(start + CHUNK, len(flat))
        flat[start:stop] = offset + scale * noise(key, start, stop)


def noise(key: str, start: int, stop: int) -> np.ndarray:
    """Return values of mean 0 and variance 1, a function of the key and the index alone."""
    x = np.arange(start, stop, dtype=np.uint32)
    x *= np.uint32(2654435761)
    x += np.uint32(zlib.crc32(key.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return (x * (2 / 2**32) - 1) * math.sqrt(3)


def image(height: int, width: int) -> torch.Tensor:
    """Return [1, 3, h, w], already normalised to about -1..1."""
    c = np.arange(3.0)[:, None, None]
    y = np.arange(float(height))[None, :, None]
    x = np.arange(float(width))[None, None, :]
    slow = 0.5 * np.sin(0.05 * (c + 1) * x + 0.03 * (c + 2) * y + c)
    fast = 0.5 * np.sin(0.31 * x - 0.23 * (c + 1) * y + 0.5 * c)
    return torch.from_numpy((slow + fast).astype(np.float32))[None]
