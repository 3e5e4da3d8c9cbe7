"""Dense features of images that are larger than an encoder is good at: in overlapping windows.

    features = encode_in_windows(encode, images, stride=16, window=336, overlap=0.33)

Windows begin on the encoder's own cells, so that joining them needs no interpolation. Where they
overlap the unit features are averaged with weights that fall linearly towards a window's border.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Encode = Callable[[Float[Tensor, "n 3 h w"]], Float[Tensor, "n d hs ws"]]


def encode_in_windows(
    encode: Encode,
    images: Float[Tensor, "b 3 h w"],
    stride: int,
    window: int,
    overlap: float,
    batch: int = 8,
) -> Float[Tensor, "b d hs ws"]:
    """Return unit-norm features of whole images.

    Args:
        encode: images whose sides are multiples of the stride -> features, one cell a stride.
        images: sides are multiples of the stride.
        stride: pixels a cell.
        window: side of a window in pixels, rounded down to cells; an image that fits into one is
            encoded as a whole.
        overlap: least share of a window that it has in common with the next, 0 to 0.9.
        batch: windows encoded at once.
    """
    cells = [side // stride for side in images.shape[-2:]]
    size = [min(n, max(1, window // stride)) for n in cells]
    if size == cells:
        return F.normalize(encode(images).float(), dim=1)
    rows, columns = (window_starts(n, w, overlap) for n, w in zip(cells, size, strict=True))
    places = [(i, y, x) for i in range(len(images)) for y in rows for x in columns]
    weight = _tent(size[0])[:, None] * _tent(size[1])
    weight = weight.to(images.device)
    total = images.new_zeros(len(images), 1, *cells, dtype=torch.float32)
    joined = None
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        crops = [
            images[i, :, y * stride : (y + size[0]) * stride, x * stride : (x + size[1]) * stride]
            for i, y, x in chosen
        ]
        features = F.normalize(encode(torch.stack(crops)).float(), dim=1)
        if joined is None:
            joined = features.new_zeros(len(images), features.shape[1], *cells)
        for (i, y, x), feature in zip(chosen, features, strict=True):
            joined[i, :, y : y + size[0], x : x + size[1]] += weight * feature
            total[i, :, y : y + size[0], x : x + size[1]] += weight
    return F.normalize(joined / total, dim=1)


def window_starts(cells: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin, evenly spaced, so that they cover all cells.

    Args:
        cells: length to cover.
        window: length of a window, at most `cells`.
        overlap: least share of a window that two neighbours have in common.
    """
    step = max(1, int(window * (1 - overlap)))
    steps = -(-(cells - window) // step)
    return [round(i * (cells - window) / steps) for i in range(steps + 1)] if steps else [0]


def _tent(length: int) -> Float[Tensor, "n"]:
    """Return weights that rise to the middle and are nowhere 0."""
    index = torch.arange(length, dtype=torch.float32)
    return torch.minimum(index + 1, length - index) / ((length + 1) // 2)
