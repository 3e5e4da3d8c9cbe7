"""Text side of the CLIP encoders: a text tower, prompt templates averaged, features cached."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from govnesf_model.vlm.feature_cache import CachedTexts, FeatureCache
from govnesf_model.vlm.prompts import prompts

BATCH_PROMPTS = 64


class PromptedTexts:
    """Unit-norm text features, each the mean over a text's prompts.

    Args:
        model: its `encode_text` takes tokens, as open_clip's models do.
        tokenizer: the tokenizer that belongs to it.
        chosen: templates, see prompts.py.
        dim: length of a feature.
        cache: names the features on disk; changes with weights and templates.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        chosen: tuple[str, ...],
        dim: int,
        cache: str,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.templates = chosen
        self.dim = dim
        self._cached = CachedTexts(dim, lambda: FeatureCache("text", cache, dim))

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Return features of texts on the CPU; any string is accepted, repeats too."""
        return self._cached.encode(texts, self._compute)

    @torch.no_grad()
    def _compute(self, texts: list[str]) -> dict[str, Float[Tensor, "d"]]:
        device = next(self.model.parameters()).device
        sentences = [sentence for text in texts for sentence in prompts(text, self.templates)]
        features = []
        for first in range(0, len(sentences), BATCH_PROMPTS):
            tokens = self.tokenizer(sentences[first : first + BATCH_PROMPTS]).to(device)
            features.append(F.normalize(self.model.encode_text(tokens).float(), dim=-1).cpu())
        grouped = torch.cat(features).unflatten(0, (len(texts), len(self.templates)))
        return dict(zip(texts, F.normalize(grouped.mean(1), dim=-1), strict=True))
