"""LSeg's text tower: that of CLIP ViT-B/32, on open_clip's transformer; nothing is downloaded."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

import govnesf_model.torchvision_guard  # noqa: F401  open_clip imports torchvision

# isort: split
from open_clip.tokenizer import tokenize as clip_tokenize
from open_clip.transformer import QuickGELU, TextTransformer

from govnesf_model.vlm.lseg_network import LSegConfig


class LSegText(TextTransformer):
    """Tokens to features; its keys are those of the checkpoint without "net.clip_pretrained."."""

    def __init__(self, config: LSegConfig) -> None:
        super().__init__(
            width=config.text_width,
            heads=config.text_heads,
            layers=config.text_depth,
            output_dim=config.dim,
            # OpenAI's CLIP was trained with this approximation; the exact one costs 1.6e-3.
            act_layer=QuickGELU,
        )

    def init_parameters(self) -> None:
        """Draw nothing: weights always come from a file."""

    def encode_text(self, tokens: Int[Tensor, "t n"]) -> Float[Tensor, "t d"]:
        """Return features of tokens, not normalised."""
        return self(tokens)


def tokenize(texts: Sequence[str]) -> Int[Tensor, "t 77"]:
    """Return CLIP's tokens, zero padded; long texts are cut and still end in the end token."""
    return clip_tokenize(list(texts))
