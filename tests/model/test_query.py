"""Questions to a map: what is understood, what is refused, what is said."""

import numpy as np
import pytest
import torch
from furnished_room import NAMES, ColorEncoder

from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.keyframes import MapSnapshot
from govnesf_model.query import EMPTY_MAP, Query, QueryError, answer, clean_texts, encode_query

ENCODER = ColorEncoder()


def blob(name: str, center, count: int = 60, spread: float = 0.04, seed: int = 0):
    """Return points around a centre that all carry the feature of a name."""
    xyz = np.random.default_rng(seed).uniform(-spread, spread, (count, 3)) + center
    return xyz.astype(np.float32), ENCODER.encode_texts([name]).expand(count, -1)


def snapshot_of(*blobs) -> MapSnapshot:
    xyz = np.concatenate([points for points, _ in blobs])
    features = torch.cat([features for _, features in blobs]).half()
    count = len(xyz)
    rgb, confidence = np.zeros((count, 3), np.uint8), np.ones(count, np.float32)
    features = FeatureBlocks.of(features)
    return MapSnapshot(xyz, rgb, features, confidence, 1.0, (), 7, 0.03)


ROOM = snapshot_of(
    blob("mug", (1, 2, 0.8)), blob("mug", (3, 2, 0.8), seed=1), blob("table", (1, 2, 0.4), 300, 0.3)
)


def test_answer_names_places_labels_and_scores():
    result = answer(ROOM, ENCODER, Query(("table", "mug", "cabinet")))
    assert result.texts == ("table", "mug", "cabinet")
    assert result.found == (True, True, False)
    assert [len(found) for found in result.instances] == [1, 2, 0]
    assert result.instances[0][0].center == pytest.approx((1, 2, 0.4), abs=0.02)
    assert sorted(round(i.center[0]) for i in result.instances[1]) == [1, 3]
    np.testing.assert_array_equal(np.unique(result.label[:120]), [2])
    np.testing.assert_array_equal(np.unique(result.label[120:]), [1])
    assert result.label.dtype == np.uint32
    assert (result.relevancy > 0.9).all()
    rows = result.instances[1][0].indices
    assert set(result.label[rows]) == {2}
    assert result.version == 7
    assert "mug: 2 found, best at (" in result.message
    assert "cabinet: nothing above 0.50 (best 0.00)" in result.message


def test_absent_things_are_not_found():
    result = answer(ROOM, ENCODER, Query(("cabinet",)))
    assert (result.found, result.instances) == ((False,), ((),))
    assert not result.label.any()


def test_an_empty_map_says_so():
    empty = MapSnapshot.empty(ENCODER.dim, 0.03)
    result = answer(empty, ENCODER, Query(("mug",)))
    assert result.message == EMPTY_MAP
    assert (result.found, len(result.label)) == ((False,), 0)


def test_uncovered_texts_are_warned_about():
    result = answer(ROOM, ENCODER, Query(("samovar", "mug")))
    assert len(result.warnings) == 1
    assert "samovar" in result.warnings[0]
    assert result.warnings[0] in result.message


def test_max_instances_and_threshold_are_obeyed():
    assert len(answer(ROOM, ENCODER, Query(("mug",), max_instances=1)).instances[0]) == 1
    with pytest.raises(QueryError, match="min_score"):
        answer(ROOM, ENCODER, Query(("mug",), min_score=1.5))
    with pytest.raises(QueryError, match="min_score"):
        answer(ROOM, ENCODER, Query(("mug",), min_score=float("nan")))
    with pytest.raises(QueryError, match="max_instances"):
        answer(ROOM, ENCODER, Query(("mug",), max_instances=-1))


def test_contrast_words_compete():
    alone = encode_query(ENCODER, Query(("mug",), ("table",), only_contrast=True))
    assert alone.contrast_features.shape == (1, ENCODER.dim)
    more = encode_query(ENCODER, Query(("mug",), ("samovar",)))
    assert len(more.contrast_features) == len(NAMES)  # all names but "mug", and the samovar


def test_cleaning_keeps_order_and_drops_repeats():
    assert clean_texts(["  red   cabinet ", "mug", "red cabinet"]) == ("red cabinet", "mug")
    assert clean_texts("mug") == ("mug",)
    assert clean_texts(["Tasse für Kaffee", "杯子", "a\tb\nc"]) == (
        "Tasse für Kaffee",
        "杯子",
        "a b c",
    )


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        ([], "no text"),
        (["mug", "  "], "text 2 is empty"),
        (["x" * 257], "257 characters"),
        (["mug\x00"], "control"),
        (["\x1b[31m"], "control"),
        (["caf\udce9"], "Unicode"),
        ([f"thing {n}" for n in range(1000)], "1000 texts"),
    ],
)
def test_bad_texts_are_refused_with_a_sentence(texts, what):
    with pytest.raises(QueryError, match=what) as caught:
        clean_texts(texts)
    str(caught.value).encode("utf-8")  # the sentence itself can be sent
    with pytest.raises(QueryError):
        answer(ROOM, ENCODER, Query(tuple(texts)))
