"""Queries in milliseconds: the contrast words are scored once per map, not once per query.

    totals = ContrastTotals.of(snapshot, vlm, totals)        # after a keyframe, in the background
    result = answer(snapshot, vlm, query, totals)            # as without, only faster

A query's probability is a softmax over its texts and some sixty contrast words, nearly the same
words for every query. What each of them adds to the denominator at each point is kept; a query then
looks at its own texts, at the few words that it has more than the others (rivals), and sums up the
kept ones without its synonyms. A text that is a contrast word itself costs nothing. The result
differs from the whole softmax by rounding alone.

Scores are kept per block of features: after a keyframe only what changed is scored anew, for the
contrast words and for the queries that were asked last. The cells in which points are clustered do
not depend on the query either.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

import torch
from jaxtyping import Float, Int
from torch import Tensor

from govnesf_model.feature_blocks import FeatureBlocks, PerBlock
from govnesf_model.instances import LINK
from govnesf_model.keyframes import MapSnapshot
from govnesf_model.point_clusters import CellLattice
from govnesf_model.segmentation import best_texts
from govnesf_model.skinny_product import products
from govnesf_model.vlm.base import DenseEncoder

_TOGETHER = 8  # blocks scored together: their scores stay in the processor's cache
_TOO_LITTLE = 1e-2  # what is left of the terms beside the largest is inexact below
_TOO_MUCH = 1e34  # terms beyond were cut off so that their sum can be told
_NOTHING, _ENOUGH = -60.0, 80.0  # exp of the one is lost beside 1, that of the other is too much
_RECENT = 8  # queries whose results are kept, 5 bytes per point each

Best = tuple[Tensor, Tensor, Tensor]  # of one block: index, score and peak as in `best_texts`


@dataclass(frozen=True, eq=False)
class _Contrast:
    """The contrast words at the points of one block.

    Attributes:
        reference: [b] largest logit of the words.
        terms: [w, b] exp(logit - reference) of each word.
        unseen: [u] rows that are zero, as no view has seen the point.
    """

    reference: Tensor
    terms: Tensor
    unseen: Tensor


@dataclass(frozen=True, eq=False)
class _Plan:
    """How the terms of a query come about at each point, a row each.

    Attributes:
        words: [r, d] what is multiplied with the features: rivals, then texts.
        rivals: how many of them are none of the query's texts.
        picks: [k] which contrast words make further rows of terms: texts that are such words.
        wanted: [w] 1 for each contrast word that belongs to the query, else 0.
        order: [t] which text each row stands for, without the rivals.
        plain: what `best_texts` takes, for points that are scored plainly.
    """

    words: Tensor
    rivals: int
    picks: Tensor
    wanted: Tensor
    order: Tensor
    plain: tuple[Tensor, Tensor, float]


@dataclass(frozen=True, eq=False)
class ContrastTotals:
    """The default contrast words summed up for the points of one snapshot.

    Attributes:
        version: of the snapshot.
        words: that are summed up.
        word_features: [w, d], unit norm.
        logit_scale: the encoder's.
        lattice: in which the instances of a query are clustered.
    """

    version: int
    words: tuple[str, ...]
    word_features: Float[Tensor, "w d"]
    logit_scale: float
    lattice: CellLattice
    _contrast: dict[Tensor, _Contrast]  # per block of features
    _memory: "_Memory"  # shared with the totals of earlier and later snapshots

    @classmethod
    @torch.no_grad()
    def of(
        cls, snapshot: MapSnapshot, vlm: DenseEncoder, before: "ContrastTotals | None" = None
    ) -> "ContrastTotals":
        """Sum up the encoder's default contrast words.

        Args:
            snapshot: the map.
            vlm: that made its features.
            before: totals of an earlier snapshot; what did not change since is taken from them.
        """
        words = tuple(dict.fromkeys(vlm.default_contrast))
        table = snapshot.features
        word_features = vlm.encode_texts(words).to(table.device)
        scale = vlm.logit_scale
        weights = word_features.float() * scale
        same = before is not None and (before.words, before.logit_scale) == (words, scale)
        same = same and torch.equal(before.word_features, word_features)
        memory = before._memory if same else _Memory()

        def summed(blocks: list[Tensor]) -> Iterator[_Contrast]:
            for block in blocks:
                logits = weights @ block.float().T  # [words, b]
                reference = logits.amax(dim=0)
                # Only a row without any logit can be a zero row; see segmentation.best_texts.
                flat = ((reference == 0) & (logits.amin(dim=0) == 0)).nonzero().squeeze(1)
                unseen = flat[~block[flat].any(dim=1)]
                yield _Contrast(reference, _exp(logits.sub_(reference)), unseen)

        parts = memory.contrast.of(table, summed)
        memory.forget_others(table)
        contrast = dict(zip(table.blocks, parts, strict=True))
        lattice = CellLattice.of(snapshot.xyz, LINK * snapshot.voxel_size)
        return cls(snapshot.version, words, word_features, scale, lattice, contrast, memory)

    @torch.no_grad()
    def best_texts(
        self,
        features: FeatureBlocks,
        text_features: Float[Tensor, "t d"],
        contrast: tuple[str, ...],
        contrast_features: Float[Tensor, "c d"],
        kept: PerBlock | None = None,
    ) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "t"]]:
        """Return what `segmentation.best_texts` returns for the same words.

        Args:
            features: of the snapshot that the totals belong to.
            text_features: of the query.
            contrast: the query's contrast words.
            contrast_features: theirs.
            kept: results for the same words and other snapshots; it takes up those of this one.
                Without it they are kept with those of the queries that were asked last.
        """
        if kept is None:
            kept = self._memory.of_query(text_features, contrast, contrast_features)
        parts = kept.of(features, self._scorer(text_features, contrast, contrast_features))
        if not parts:
            nothing = torch.zeros(0, device=features.device)
            return nothing.long(), nothing, torch.zeros(len(text_features), device=features.device)
        index, score, peak = zip(*parts, strict=True)
        return torch.cat(index).long(), torch.cat(score), torch.stack(peak).amax(dim=0)

    def forget_queries(self) -> None:
        """Let go of the results of queries: the next one is as slow as the first of its kind."""
        self._memory.forget_queries()

    def _scorer(
        self, text_features: Tensor, contrast: tuple[str, ...], contrast_features: Tensor
    ) -> Callable[[list[Tensor]], Iterator[Best]]:
        """Return a function that scores blocks of the snapshot's features."""
        plain = text_features, contrast_features, self.logit_scale
        plan = self._plan(text_features, contrast, contrast_features)

        def score(blocks: list[Tensor]) -> Iterator[Best]:
            room = _Room(plan)
            for start in range(0, len(blocks), _TOGETHER):
                yield from self._best(blocks[start : start + _TOGETHER], plan, room)

        def score_plainly(blocks: list[Tensor]) -> Iterator[Best]:
            return (_narrow(best_texts(block, *plain)) for block in blocks)

        return score if plan.wanted.any() else score_plainly

    def _plan(
        self, text_features: Tensor, contrast: tuple[str, ...], contrast_features: Tensor
    ) -> _Plan:
        device, wanted = self.word_features.device, set(contrast)
        known = {row.tobytes(): n for n, row in enumerate(self.word_features.cpu().numpy())}
        places = [known.get(row.tobytes()) for row in text_features.cpu().numpy()]
        new = [text for text, place in enumerate(places) if place is None]
        old = [text for text, place in enumerate(places) if place is not None]
        rivals = [number for number, word in enumerate(contrast) if word not in set(self.words)]
        words = torch.cat([contrast_features[rivals], text_features[new]]).float().to(device)
        picks = torch.tensor([places[text] for text in old], dtype=torch.long)
        return _Plan(
            words * self.logit_scale,
            len(rivals),
            picks.to(device),
            torch.tensor([float(word in wanted) for word in self.words], device=device),
            torch.tensor([*new, *old], device=device),
            (text_features, contrast_features, self.logit_scale),
        )

    def _best(self, blocks: list[Tensor], plan: _Plan, room: "_Room") -> Iterator[Best]:
        """Yield index, score and peak of blocks."""
        held = [self._contrast[block] for block in blocks]
        lengths = [len(block) for block in blocks]
        fresh, texts = len(plan.words), len(plan.order)
        terms = room.terms(sum(lengths))
        columns = terms.split(lengths, dim=1)
        for column, contrast in zip(columns, held, strict=True):
            torch.index_select(contrast.terms, 0, plan.picks, out=column[fresh:-1])
            torch.mv(contrast.terms.T, plan.wanted, out=column[-1])
        if fresh:
            for column, block in zip(columns, blocks, strict=True):
                products(plan.words, room.single(block), out=column[:fresh])
            _exp(terms[:fresh].sub_(torch.cat([contrast.reference for contrast in held])))
        denominator = terms.sum(dim=0)
        # Of a sharp softmax on a text that fits far better, or after synonyms that do.
        doubtful = (denominator < _TOO_LITTLE) | (denominator > _TOO_MUCH)
        again = bool(doubtful.any())
        denominator.masked_fill_(doubtful, torch.inf)
        part = terms[plan.rivals : plan.rivals + texts].div_(denominator)
        for own, contrast in zip(part.split(lengths, dim=1), held, strict=True):
            if len(contrast.unseen):
                own[:, contrast.unseen] = 0.0
        peaks = [own.amax(dim=1) for own in part.split(lengths, dim=1)]
        score = part.amax(dim=0)
        # The first text that has the best score; several times faster than `max` along rows, and
        # than comparing into a tensor of truth values.
        index = texts - part.eq_(score).mul_((texts - plan.order)[:, None]).amax(dim=0)
        split = (values.split(lengths) for values in (index.to(torch.uint8), score, doubtful))
        for block, found, *own in zip(blocks, peaks, *split, strict=True):
            best, value = own[0].clone(), own[1].clone()
            peak = torch.empty_like(found)
            peak[plan.order] = found
            rows = own[2].nonzero().squeeze(1) if again else ()
            if len(rows):
                best[rows], value[rows], other = _narrow(best_texts(block[rows], *plan.plain))
                peak = torch.maximum(peak, other)
            yield best, value, peak


class _Room:
    """Memory that the blocks of one query use in turn: fresh memory costs more than the work in it.

    Args:
        plan: of the query.
    """

    def __init__(self, plan: _Plan) -> None:
        self._rows = len(plan.words) + len(plan.picks) + 1
        self._terms, self._single = plan.words.new_empty(0), plan.words.new_empty(0)

    def terms(self, points: int) -> Float[Tensor, "rows points"]:
        """Return room for the terms of so many points."""
        if self._terms.numel() < self._rows * points:
            self._terms = self._terms.new_empty(self._rows * points)
        return self._terms[: self._rows * points].view(self._rows, points)

    def single(self, block: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return the block in single precision, until the next one is asked for."""
        if self._single.numel() < block.numel():
            self._single = self._single.new_empty(block.numel())
        return self._single[: block.numel()].view(block.shape).copy_(block)


def _exp(values: Tensor) -> Tensor:
    # Numbers too small to be normal cost a processor ten times as much and add nothing.
    return values.clamp_(_NOTHING, _ENOUGH).exp_()


def _narrow(best: Best) -> Best:
    return best[0].to(torch.uint8), best[1], best[2]


class _Memory:
    """What was computed of blocks that may still be in the map."""

    def __init__(self) -> None:
        self.contrast: PerBlock[_Contrast] = PerBlock()
        self._recent: OrderedDict[tuple, PerBlock[Best]] = OrderedDict()
        self._lock = Lock()

    def of_query(
        self, text_features: Tensor, contrast: tuple[str, ...], contrast_features: Tensor
    ) -> PerBlock[Best]:
        """Return what is kept for these words."""
        vectors = torch.cat([text_features, contrast_features]).cpu().contiguous()
        key = (len(text_features), contrast, vectors.numpy().tobytes())
        with self._lock:
            kept = self._recent.setdefault(key, PerBlock())
            self._recent.move_to_end(key)
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return kept

    def forget_queries(self) -> None:
        with self._lock:
            self._recent.clear()

    def forget_others(self, table: FeatureBlocks) -> None:
        """Let go of blocks that are no longer in the map."""
        with self._lock:
            recent = list(self._recent.values())
        for kept in recent:
            kept.forget_others(table)
