"""What every open-vocabulary encoder offers: dense image features and text features in one space.

    vlm = load_vlm("embedded")
    features = vlm.encode_images(rgb)                    # [b, d, ceil(h / s), ceil(w / s)]
    contrast = vlm.contrast_for(["mug"])                 # words that stand for "something else"
    texts = vlm.encode_texts(["mug", *contrast])         # [1 + c, d]
    scores = softmax(vlm.logit_scale * features . texts) # column 0: probability of "mug"

A feature map at stride s holds, at index i, the image position u = s * i + (s - 1) / 2: see
cameras.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
        logit_scale: inverse temperature of the softmax that turns cosines into probabilities.
        default_threshold: probability from which on a text counts as found.
        default_contrast: words that stand for "something else".
    """

    name: str
    key: str
    dim: int
    stride: int
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
