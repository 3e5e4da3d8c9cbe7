"""Text side of the `open_clip:` encoder: the library's own tower, templates averaged, cached."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from govnesf_model.vlm.feature_cache import FeatureCache
from govnesf_model.vlm.prompts import prompts

MAX_CHARACTERS = 8192  # far beyond any context; a megabyte of text must not cost seconds
BATCH_PROMPTS = 64


class PromptedTexts:
    """Unit-norm text features, each the mean over a text's prompts.

    Args:
        model: open_clip's model; its `encode_text` is used.
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
        self._disk = FeatureCache("text", cache, dim)
        self._memory: dict[str, Tensor] = {}

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Return features of texts on the CPU; any string is accepted, repeats too."""
        clean = [_clean(text) for text in texts]
        missing = sorted(set(clean) - self._memory.keys())
        self._memory.update(self._disk.read(missing))
        missing = [text for text in missing if text not in self._memory]
        if missing:
            computed = dict(zip(missing, self._compute(missing), strict=True))
            self._disk.write(computed)
            self._memory.update(computed)
        if not clean:
            return torch.zeros(0, self.dim)
        return torch.stack([self._memory[text] for text in clean])

    @torch.no_grad()
    def _compute(self, texts: list[str]) -> Float[Tensor, "t d"]:
        device = next(self.model.parameters()).device
        sentences = [sentence for text in texts for sentence in prompts(text, self.templates)]
        features = []
        for first in range(0, len(sentences), BATCH_PROMPTS):
            tokens = self.tokenizer(sentences[first : first + BATCH_PROMPTS]).to(device)
            features.append(F.normalize(self.model.encode_text(tokens).float(), dim=-1).cpu())
        grouped = torch.cat(features).unflatten(0, (len(texts), len(self.templates)))
        return F.normalize(grouped.mean(1), dim=-1)


def _clean(text: str) -> str:
    # Lone surrogates (bytes that were no UTF-8) would make tokenizer and cache fail.
    text = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return " ".join(text.split())
