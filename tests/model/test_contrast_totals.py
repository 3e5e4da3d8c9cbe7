"""Scores from kept totals are those of the whole softmax."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from furnished_room import ColorEncoder

from govnesf_model.contrast_totals import ContrastTotals
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


def snapshot_of(features: torch.Tensor, version: int = 1) -> MapSnapshot:
    n = len(features)
    return MapSnapshot(
        np.zeros((n, 3), np.float32), np.zeros((n, 3), np.uint8), features, np.ones(n, np.float32),
        0.0, (), version, 0.03,
    )  # fmt: skip


@pytest.fixture(params=[5.0, 20.0, 100.0])
def encoder(request) -> Encoder:
    return Encoder(request.param)


@pytest.fixture
def features(encoder) -> torch.Tensor:
    """Points that look like the words, more or less, and some that no view has seen."""
    torch.manual_seed(2)
    like = encoder.encode_texts([*WORDS, "mug", "cup"])[torch.randint(42, (5000,))]
    found = F.normalize(like + 0.15 * torch.randn(5000, DIM), dim=1).half()
    found[::50] = 0
    return found


@pytest.mark.parametrize(
    ("texts", "less", "more"),
    [
        (["mug"], (), ()),
        (["mug", "cup"], (), ("rival",)),
        (["red mug"], (), ("mug", "rival")),
        (["word 3"], ("word 3", "word 4", "word 5"), ()),
        (["word 3", "mug"], ("word 3",), ("rival",)),
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


def test_an_empty_map_has_no_scores(encoder) -> None:
    nothing = torch.zeros(0, DIM, dtype=torch.float16)
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
    stale = ContrastTotals.of(snapshot_of(snapshot.features[:7], version=1), vlm)
    assert np.array_equal(answer(snapshot, vlm, query, stale).relevancy, plain.relevancy)
