"""Which words a query is scored against, and what an encoder was taught.

A score is a softmax over the query and contrast words. It can only say "nothing here matches" when
the words for what is there are among the contrast words, and it is only fair when none of them is
another word for the query. `Vocabulary.contrast` decides this, always in the same way:

1. The default contrast words of the encoder, in their order, and the user's own.
2. Minus words that are the query itself, nearly the same (cosine of the texts), or that name the
   same things: "furniture" drops "chair" and "chair" drops "furniture", by the taught synonyms
   and hypernyms.
3. Plus rivals: a query of a taught colour or material, "red cabinet", is scored against "blue
   cabinet" and so on, and no longer against "cabinet".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from govnesf_model.vlm.base import TextCoverage

NEAR_SYNONYM = 0.8  # cosine from which on two texts cannot stand against each other
MAX_RIVALS = 48  # so that a vocabulary of 1000 coloured things stays affordable

Encode = Callable[[Sequence[str]], Float[Tensor, "t d"]]


@dataclass(frozen=True)
class Vocabulary:
    """What an encoder was taught.

    Attributes:
        names: taught name -> other texts for the same thing, synonyms and hypernyms.
        attributes: kind ("color", "material") -> words that were taught in front of a name.
        texts: all names and synonyms, the rows of `features`.
        features: unit-norm text features, [n, d].
        covered_from: cosine to the nearest taught text from which on a query counts as covered.
    """

    names: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, tuple[str, ...]]
    texts: tuple[str, ...]
    features: Float[Tensor, "n d"]
    covered_from: float = 0.9

    @cached_property
    def meaning(self) -> dict[str, frozenset[str]]:
        """Text in lower case -> the taught names of which it is true."""
        found: dict[str, set[str]] = {}
        for name, others in self.names.items():
            for text in (name, *others):
                found.setdefault(text.lower(), set()).add(name)
        return {text: frozenset(names) for text, names in found.items()}

    def coverage(self, texts: Sequence[str], encode: Encode) -> list[TextCoverage]:
        """Return the nearest taught text of each text, attributes set aside."""
        bare = [self.split_attribute(text)[2] for text in texts]
        nearest, cosine = self._nearest(bare, encode)
        return [
            TextCoverage(text, self.texts[index], value, value >= self.covered_from)
            for text, index, value in zip(texts, nearest, cosine, strict=True)
        ]

    def contrast(
        self,
        texts: Sequence[str],
        default: Sequence[str],
        extra: Sequence[str],
        encode: Encode,
    ) -> tuple[str, ...]:
        """Return contrast words for a query; see the head of this file."""
        split = [self.split_attribute(text) for text in texts]
        own = {text.strip().lower() for text in texts}
        bare = [base for _, _, base in split]
        meant = frozenset().union(*self._meanings(bare, encode)) if bare else frozenset()
        words = list(dict.fromkeys(default))
        close = [False] * len(words)
        if words and texts:
            cosines = encode(words) @ encode([*texts, *bare]).T
            close = (cosines.max(1).values > NEAR_SYNONYM).tolist()
        kept = [
            word
            for word, near in zip(words, close, strict=True)
            if not near and not (self.meaning.get(word.lower(), frozenset()) & meant)
        ]
        rivals = [
            f"{other} {base}"
            for kind, attribute, base in split
            if kind is not None
            for other in self.attributes[kind]
            if other != attribute and f"{other} {base}" not in own
        ]
        wanted = [word for word in extra if word.strip() and word.strip().lower() not in own]
        return tuple(dict.fromkeys([*wanted, *kept, *rivals[:MAX_RIVALS]]))

    def split_attribute(self, text: str) -> tuple[str | None, str | None, str]:
        """Return (kind, attribute, rest) of "red cabinet", or (None, None, text)."""
        head, _, rest = text.strip().partition(" ")
        for kind, words in self.attributes.items():
            # "glass table" is a name of its own, no table of the material glass.
            if head.lower() in words and rest.strip() and text.strip().lower() not in self.meaning:
                return kind, head.lower(), rest.strip()
        return None, None, text

    def _meanings(self, texts: Sequence[str], encode: Encode) -> list[frozenset[str]]:
        nearest, cosine = self._nearest(texts, encode)
        return [
            self.meaning[self.texts[index].lower()] if value > NEAR_SYNONYM else frozenset()
            for index, value in zip(nearest, cosine, strict=True)
        ]

    def _nearest(self, texts: Sequence[str], encode: Encode) -> tuple[list[int], list[float]]:
        if not texts:
            return [], []
        best = (encode(list(texts)) @ self.features.T.float()).max(1)
        return best.indices.tolist(), torch.clamp(best.values, -1, 1).tolist()
