"""Queries in milliseconds: the contrast words are scored once per map, not once per query.

    totals = ContrastTotals.of(snapshot, vlm)                # after a keyframe, in the background
    result = answer(snapshot, vlm, query, totals)            # as without, only faster

A query's probability is a softmax over its texts and some sixty contrast words, nearly the same
words for every query. What they add to the denominator at each point is kept; a query then looks
at its own texts, at the few words that it has more than the others (rivals) and at the few that it
has less (its synonyms). The result differs from the whole softmax by rounding alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from govnesf_model.keyframes import MapSnapshot
from govnesf_model.segmentation import best_texts
from govnesf_model.vlm.base import DenseEncoder

_CHUNK = 2048  # rows at once: they and their scores stay in the processor's cache
_CANCELLED = 1e-2  # what is left of a total after its greatest words are taken out is too inexact


@dataclass(frozen=True, eq=False)
class ContrastTotals:
    """The default contrast words summed up for the points of one snapshot.

    Attributes:
        version: of the snapshot.
        words: that are summed up.
        word_features: [w, d], unit norm.
        logit_scale: the encoder's.
        reference: [n] largest logit of the words at each point.
        total: [n] sum over the words of exp(logit - reference).
    """

    version: int
    words: tuple[str, ...]
    word_features: Float[Tensor, "w d"]
    logit_scale: float
    reference: Float[Tensor, "n"]
    total: Float[Tensor, "n"]

    @classmethod
    @torch.no_grad()
    def of(cls, snapshot: MapSnapshot, vlm: DenseEncoder) -> "ContrastTotals":
        """Sum up the encoder's default contrast words."""
        words = tuple(dict.fromkeys(vlm.default_contrast))
        features = snapshot.features
        word_features = vlm.encode_texts(words).to(features.device)
        table = (word_features * vlm.logit_scale).T
        reference = torch.zeros(len(features), device=features.device)
        total = torch.zeros(len(features), device=features.device)
        for start in range(0, len(features), _CHUNK):
            rows = slice(start, start + _CHUNK)
            logits = features[rows].float() @ table
            reference[rows] = logits.amax(dim=1)
            total[rows] = (logits - reference[rows, None]).exp().sum(dim=1)
        return cls(snapshot.version, words, word_features, vlm.logit_scale, reference, total)

    @torch.no_grad()
    def best_texts(
        self,
        features: Float[Tensor, "n d"],
        text_features: Float[Tensor, "t d"],
        contrast: tuple[str, ...],
        contrast_features: Float[Tensor, "c d"],
    ) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "t"]]:
        """Return what `segmentation.best_texts` returns for the same words.

        Args:
            features: of the snapshot that the totals belong to.
            text_features: of the query.
            contrast: the query's contrast words.
            contrast_features: theirs.
        """
        kept, wanted = set(self.words), set(contrast)
        more = [number for number, word in enumerate(contrast) if word not in kept]
        less = [number for number, word in enumerate(self.words) if word not in wanted]
        texts = len(text_features)
        if texts + len(more) + len(less) > len(contrast):
            return best_texts(features, text_features, contrast_features, self.logit_scale)
        columns = [text_features, contrast_features[more], self.word_features[less]]
        table = (torch.cat(columns) * self.logit_scale).T.to(features.device)
        index = torch.zeros(len(features), dtype=torch.long, device=features.device)
        score = torch.zeros(len(features), device=features.device)
        peak = torch.zeros(texts, device=features.device)
        inexact = []
        for start in range(0, len(features), _CHUNK):
            rows = slice(start, start + _CHUNK)
            logits = features[rows].float() @ table
            terms = (logits - self.reference[rows, None]).exp()
            own, added, removed = terms.split([texts, len(more), len(less)], dim=1)
            rest = self.total[rows] - removed.sum(dim=1)
            denominator = own.sum(dim=1) + added.sum(dim=1) + rest
            doubtful = rest < _CANCELLED * self.total[rows]
            # Beyond exp(88) float32 overflows: a sharp softmax on a text that fits far better.
            doubtful |= ~denominator.isfinite()
            part = own / denominator[:, None]
            # A row without any logit was seen by no view; see segmentation.score_features.
            doubtful |= (logits == 0).all(dim=1)
            part[doubtful] = 0.0
            inexact.append(doubtful.nonzero().squeeze(1) + start)
            score[rows], index[rows] = part.max(dim=1)
            peak = torch.maximum(peak, part.amax(dim=0))
        again = torch.cat(inexact) if inexact else index[:0]
        if len(again):
            found = best_texts(features[again], text_features, contrast_features, self.logit_scale)
            index[again], score[again] = found[0], found[1]
            peak = torch.maximum(peak, found[2])
        return index, score, peak
