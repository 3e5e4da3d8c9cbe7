"""Pictures to judge a field in training by: truth beside what was rendered.

row = picture_row(truth, image, depth, meaning)       # uint8 [h, 6 w, 3]
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from .palette import colorize
from .rendering import RenderedImage

FAR_COLOR = 5.0  # metres that the depth pictures reach
MIN_OPACITY = 0.5  # what is more transparent shows nothing


def picture_row(
    truth: Float[Tensor, "h w 3"],
    image: RenderedImage,
    depth: Float[Tensor, "h w"] | None,
    meaning: tuple[UInt8[np.ndarray, "h w 3"] | None, UInt8[np.ndarray, "h w 3"] | None],
) -> UInt8[np.ndarray, "h w6 3"]:
    """Return true and rendered colour, depth and meaning; black where there is none.

    Args:
        truth: true colours, 0..1.
        image: what was rendered, on the CPU.
        depth: true depth in metres, 0 unknown.
        meaning: true and rendered, from `label_pictures` or `feature_pictures`.
    """
    black = np.zeros((*truth.shape[:2], 3), dtype=np.uint8)
    panels = [
        _to_bytes(truth),
        _to_bytes(image.color),
        None if depth is None else _depth_picture(depth),
        _depth_picture(image.depth * (image.opacity > MIN_OPACITY)),
        *meaning,
    ]
    return np.concatenate([black if panel is None else panel for panel in panels], axis=1)


def label_pictures(
    truth: Integer[Tensor, "h w"] | None, shown: Integer[Tensor, "h w"] | None
) -> tuple[UInt8[np.ndarray, "h w 3"] | None, UInt8[np.ndarray, "h w 3"] | None]:
    """Return labels in colours, the same for the same label; 0 is grey."""
    pair = [None if labels is None else colorize(labels.numpy()) for labels in (truth, shown)]
    return pair[0], pair[1]


def feature_pictures(
    truth: Float[Tensor, "h w d"], shown: Float[Tensor, "h w d"]
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """Return features in colours: the three directions in which the true ones vary most."""
    flat = truth.reshape(-1, truth.shape[-1]).double()
    mean = flat.mean(dim=0)
    centred = flat - mean
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes[:, -3:].flip(1)
    # An axis has no sign of its own: the largest entry decides, so that pictures can be compared.
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    spread = (centred @ axes).std(dim=0).clamp_min(1e-6)
    pictures = [
        _to_bytes(0.5 + ((features.double() - mean) @ axes / spread / 4))
        for features in (truth, shown)
    ]
    return pictures[0], pictures[1]


def _depth_picture(depth: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    near = (1 - depth / FAR_COLOR).clamp(0, 1)
    coloured = cv2.applyColorMap(_to_bytes(near), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    coloured[(depth <= 0).numpy()] = 0
    return coloured


def _to_bytes(values: Float[Tensor, "*n"]) -> UInt8[np.ndarray, "*n"]:
    return (values.clamp(0, 1) * 255).round().byte().numpy()
