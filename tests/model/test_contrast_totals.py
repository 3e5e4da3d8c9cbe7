"""Scores from kept totals are those of the whole softmax."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from furnished_room import ColorEncoder

from govnesf_model.contrast_totals import ContrastTotals
from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.keyframes import MapSnapshot
from govnesf_model.query import Query, answer
from govnesf_model.segmentation import best_texts

WORDS = tuple(f"word {number}" for number in range(40))
DIM = 32


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


class Encoder(ColorEncoder):
    """Random features for words, the same every time."""

    dim = DIM
    default_contrast = WORDS

    def __init__(self, logit_scale: float) -> None:
        torch.manual_seed(1)
        self.logit_scale = logit_scale
        self.table = {word: unit(DIM) for word in (*WORDS, "mug", "cup", "red mug", "rival")}

    def encode_texts(self, texts):
        return torch.stack([self.table[text] for text in texts])


def snapshot_of(features: torch.Tensor | FeatureBlocks, version: int = 1) -> MapSnapshot:
    n = len(features)
    if isinstance(features, torch.Tensor):
        features = FeatureBlocks.of(features)
    return MapSnapshot(
        np.zeros((n, 3), np.float32), np.zeros((n, 3), np.uint8), features, np.ones(n, np.float32),
        0.0, (), version, 0.03,
    )  # fmt: skip


@pytest.fixture(params=[5.0, 20.0, 100.0])
def encoder(request) -> Encoder:
    return Encoder(request.param)


@pytest.fixture
def features(encoder) -> FeatureBlocks:
    """Points that look like the words, more or less, and some that no view has seen."""
    torch.manual_seed(2)
    like = encoder.encode_texts([*WORDS, "mug", "cup"])[torch.randint(42, (5000,))]
    found = F.normalize(like + 0.15 * torch.randn(5000, DIM), dim=1).half()
    found[::50] = 0
    return FeatureBlocks.of(found)


@pytest.mark.parametrize(
    ("texts", "less", "more"),
    [
        (["mug"], (), ()),
        (["mug", "cup"], (), ("rival",)),
        (["red mug"], (), ("mug", "rival")),
        (["word 3"], ("word 3", "word 4", "word 5"), ()),
        (["word 3", "mug"], ("word 3",), ("rival",)),
        (["mug", "word 3", "cup", "word 7"], ("word 3",), ("rival",)),
    ],
)
def test_scores_are_those_of_the_whole_softmax(encoder, features, texts, less, more) -> None:
    totals = ContrastTotals.of(snapshot_of(features), encoder)
    contrast = (*more, *(word for word in WORDS if word not in less))
    text_features = encoder.encode_texts(texts)
    contrast_features = encoder.encode_texts(contrast)
    index, score, peak = totals.best_texts(features, text_features, contrast, contrast_features)
    expected = best_texts(features, text_features, contrast_features, encoder.logit_scale)
    assert torch.allclose(score, expected[1], atol=5e-4)
    assert torch.allclose(peak, expected[2], atol=5e-4)
    assert (score[::50] == 0).all()
    clear = score > 1e-3
    assert torch.equal(index[clear], expected[0][clear])


def test_texts_that_are_contrast_words_are_not_multiplied_again(encoder, features) -> None:
    totals = ContrastTotals.of(snapshot_of(features), encoder)
    contrast = tuple(word for word in WORDS if word not in ("word 3", "word 7"))
    vectors = encoder.encode_texts(contrast)
    for texts, multiplied in ((["word 3", "word 7"], 0), (["word 3", "mug", "word 7"], 1)):
        plan = totals._plan(encoder.encode_texts(texts), contrast, vectors)
        assert len(plan.words) == multiplied
        assert sorted(plan.order.tolist()) == list(range(len(texts)))


def test_an_empty_map_has_no_scores(encoder) -> None:
    nothing = FeatureBlocks.empty(DIM)
    totals = ContrastTotals.of(snapshot_of(nothing), encoder)
    text, contrast = encoder.encode_texts(["mug"]), encoder.encode_texts(WORDS)
    index, score, peak = totals.best_texts(nothing, text, WORDS, contrast)
    assert (len(index), len(score), peak.tolist()) == (0, 0, [0.0])


def test_answers_do_not_depend_on_totals_and_ignore_those_of_another_map() -> None:
    vlm = ColorEncoder()
    torch.manual_seed(0)
    snapshot = snapshot_of(F.normalize(torch.rand(300, vlm.dim), dim=1).half(), version=2)
    query = Query(texts=("mug",), min_score=0.1)
    plain = answer(snapshot, vlm, query)
    quick = answer(snapshot, vlm, query, ContrastTotals.of(snapshot, vlm))
    assert np.allclose(plain.relevancy, quick.relevancy, atol=1e-5)
    assert np.array_equal(plain.label, quick.label)
    stale = ContrastTotals.of(snapshot_of(snapshot.features.tensor()[:7], version=1), vlm)
    assert np.array_equal(answer(snapshot, vlm, query, stale).relevancy, plain.relevancy)


def test_after_a_change_only_what_changed_is_scored(encoder, features, monkeypatch) -> None:
    monkeypatch.setattr("govnesf_model.feature_blocks._ROWS", 500)
    features = FeatureBlocks.of(features.tensor())
    scored = []
    best = ContrastTotals._best

    def counted(totals, blocks, *rest):
        scored.extend(blocks)
        return best(totals, blocks, *rest)

    monkeypatch.setattr(ContrastTotals, "_best", counted)
    words = encoder.encode_texts(["mug", "cup"]), WORDS, encoder.encode_texts(WORDS)
    totals = ContrastTotals.of(snapshot_of(features), encoder)
    first = totals.best_texts(features, *words)
    again = totals.best_texts(features, *words)
    assert len(scored) == len(features.blocks) == 10
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))

    changed = features.with_rows(np.arange(600, 900), encoder.encode_texts(["rival"] * 300))
    changed = changed.keep(np.arange(5000) < 4200)
    later = ContrastTotals.of(snapshot_of(changed, version=2), encoder, totals)
    found = later.best_texts(changed, *words)
    assert len(scored) == 12  # the one with new features and the one that was cut
    fresh = ContrastTotals.of(snapshot_of(changed, version=2), encoder)
    expected = fresh.best_texts(changed, *words)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    # Blocks that left the map are not held on to.
    assert not set(features.blocks) - set(changed.blocks) & set(later._memory.contrast._held)
    later.forget_queries()
    later.best_texts(changed, *words)
    assert len(scored) == 12 + 2 * len(changed.blocks)


def test_other_words_or_another_temperature_are_summed_up_anew(encoder, features) -> None:
    totals = ContrastTotals.of(snapshot_of(features), encoder)
    other = Encoder(2 * encoder.logit_scale)
    found = ContrastTotals.of(snapshot_of(features), other, totals)
    words = other.encode_texts(["mug"]), WORDS, other.encode_texts(WORDS)
    expected = ContrastTotals.of(snapshot_of(features), other).best_texts(features, *words)
    assert torch.equal(found.best_texts(features, *words)[1], expected[1])
