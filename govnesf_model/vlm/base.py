"""What every open-vocabulary encoder offers: dense image features and text features in one space.

    vlm = load_vlm("embedded")
    features = vlm.encode_images(rgb)                    # [b, d, ceil(h / s), ceil(w / s)]
    contrast = vlm.contrast_for(["mug"])                 # words that stand for "something else"
    texts = vlm.encode_texts(["mug", *contrast])         # [1 + c, d]
    scores = softmax(vlm.logit_scale * features . texts) # column 0: probability of "mug"

A feature map at stride s holds, at index i, the image position u = s * i + (s - 1) / 2: see
cameras.py.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class TextCoverage:
    """How well a text is covered by what an encoder was taught.

    Attributes:
        text: the text asked about.
        nearest: the taught text that is most like it; None for encoders without such a list.
        cosine: similarity of the two.
        covered: False when answers to this text are guesses; a warning is then owed to the user.
    """

    text: str
    nearest: str | None
    cosine: float
    covered: bool


@runtime_checkable
class DenseEncoder(Protocol):
    """An image and a text encoder that share a space.

    Attributes:
        name: the word that `load_vlm` knows it by.
        key: a short text that changes whenever the features would (weights, recipe,
            preprocessing); whoever caches features files them under it.
        dim: length of a feature.
        stride: image pixels per cell of the feature map.
        long_side: pixels of the long side beyond which an image is better scaled down before it is
            encoded, because things then look as in training; None where any size is as good.
        logit_scale: inverse temperature of the softmax that turns cosines into probabilities.
        default_threshold: probability from which on a text counts as found.
        default_contrast: words that stand for "something else".
    """

    name: str
    key: str
    dim: int
    stride: int
    long_side: int | None
    logit_scale: float
    default_threshold: float
    default_contrast: tuple[str, ...]

    def encode_images(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return features of RGB images in 0..1, of unit norm over d."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Return features of texts, of unit norm."""
        ...

    def coverage(self, texts: Sequence[str]) -> list[TextCoverage]:
        """Tell for each text whether the encoder was taught anything near to it."""
        ...

    def contrast_for(self, texts: Sequence[str], extra: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the contrast words to score these texts against, conflicts removed."""
        ...


def all_covered(texts: Sequence[str]) -> list[TextCoverage]:
    """Return the `coverage` of an encoder that was taught from captions: nothing is unknown."""
    return [TextCoverage(text, None, 1.0, True) for text in texts]


def coverage_warning(coverage: TextCoverage) -> str | None:
    """Return the sentence that the user is owed about an uncovered text, else None."""
    if coverage.covered:
        return None
    nearest = f" (nearest: '{coverage.nearest}', cosine {coverage.cosine:.2f})"
    return (
        f"'{coverage.text}' is not covered by what this encoder was taught"
        f"{nearest if coverage.nearest else ''}: take its answers as a guess, or use an encoder "
        "that knows more words"
    )


def as_images(rgb: Tensor, device: torch.device | str) -> Float[Tensor, "b 3 h w"]:
    """Return images in single precision on a device.

    Raises:
        ValueError: they have no pixels.
    """
    if rgb.shape[-1] < 1 or rgb.shape[-2] < 1:
        raise ValueError(f"an image of shape {tuple(rgb.shape)} has no pixels")
    return rgb.to(device, torch.float32)


def encoder_key(name: str, *parts: object) -> str:
    """Return a `key`: the encoder's name and 12 hex digits over all that features depend on."""
    return f"{name}-{digest_of(*parts)[:12]}"


def digest_of(*parts: object) -> str:
    """Return a sha256 over values that JSON or `str` can tell apart, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def tensors_digest(
    tensors: Mapping[str, Tensor], progress: Callable[[int], object] | None = None
) -> str:
    """Return a sha256 over names, shapes and values in single precision, in hexadecimal.

    Args:
        tensors: name -> weights; their order does not matter.
        progress: called with the bytes read after every tensor.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {list(value.shape)}\n".encode())
        digest.update(value.reshape(-1).numpy().data)
        if progress is not None:
            progress(tensors[name].numel() * tensors[name].element_size())
    return digest.hexdigest()
