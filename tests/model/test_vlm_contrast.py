"""Which contrast words a query gets, and which queries are covered."""

import pytest

from govnesf_model.vlm.base import coverage_warning
from govnesf_model.vlm.contrast import MAX_RIVALS, Vocabulary
from govnesf_model.vlm.text import MiniLM

DEFAULT = ("wall", "floor", "chair", "table", "desk", "sofa", "mug", "other", "background")
NAMES = {
    "wall": ("room wall",),
    "floor": ("ground",),
    "chair": ("seat", "furniture"),
    "table": ("furniture",),
    "desk": ("writing desk", "table", "furniture"),
    "glass table": ("table",),
    "sofa": ("couch", "seat", "furniture"),
    "cabinet": ("cupboard", "furniture"),
    "mug": ("coffee mug",),
}


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM(cache=False)


@pytest.fixture(scope="module")
def vocabulary(minilm) -> Vocabulary:
    texts = tuple(sorted({text for name, others in NAMES.items() for text in (name, *others)}))
    attributes = {"color": ("blue", "green", "red"), "material": ("glass", "wooden")}
    return Vocabulary(NAMES, attributes, texts, minilm.encode(texts))


def contrast(vocabulary, minilm, *texts, extra=()):
    return vocabulary.contrast(texts, DEFAULT, extra, minilm.encode)


def test_a_query_never_stands_against_itself(vocabulary, minilm):
    assert contrast(vocabulary, minilm, "wall") == tuple(w for w in DEFAULT if w != "wall")
    assert "wall" not in contrast(vocabulary, minilm, "WALL")


def test_synonyms_are_dropped(vocabulary, minilm):
    words = contrast(vocabulary, minilm, "couch")
    assert "sofa" not in words
    assert "chair" in words


def test_hypernyms_are_dropped_both_ways(vocabulary, minilm):
    assert contrast(vocabulary, minilm, "furniture") == (
        "wall", "floor", "mug", "other", "background",
    )  # fmt: skip
    words = vocabulary.contrast(["chair"], ("furniture", "seat", "mug"), (), minilm.encode)
    assert words == ("mug",)


def test_all_texts_of_a_query_count(vocabulary, minilm):
    words = contrast(vocabulary, minilm, "mug", "couch")
    assert "mug" not in words
    assert "sofa" not in words


def test_a_colour_is_scored_against_the_other_colours(vocabulary, minilm):
    words = contrast(vocabulary, minilm, "red cabinet")
    assert words == (*DEFAULT, "blue cabinet", "green cabinet")
    assert "green cabinet" not in contrast(vocabulary, minilm, "red cabinet", "green cabinet")
    assert "desk" not in contrast(vocabulary, minilm, "wooden table")


def test_a_name_that_begins_with_a_material_is_a_name(vocabulary):
    assert vocabulary.split_attribute("glass table") == (None, None, "glass table")
    assert vocabulary.split_attribute("Wooden table") == ("material", "wooden", "table")
    assert vocabulary.split_attribute("red") == (None, None, "red")


def test_own_contrast_words_are_kept(vocabulary, minilm):
    words = contrast(vocabulary, minilm, "mug", extra=["cup", "mug", " "])
    assert words[0] == "cup"
    assert "mug" not in words


def test_the_answer_is_the_same_every_time_and_bounded(vocabulary, minilm):
    texts = [f"red thing {i}" for i in range(200)]
    first = contrast(vocabulary, minilm, *texts)
    assert first == contrast(vocabulary, minilm, *texts)
    assert len(first) <= len(DEFAULT) + MAX_RIVALS
    assert contrast(vocabulary, minilm) == DEFAULT


def test_coverage_finds_the_nearest_taught_text(vocabulary, minilm):
    known, coloured, unknown = vocabulary.coverage(
        ["couch", "red couch", "nuclear submarine"], minilm.encode
    )
    assert (known.nearest, known.covered) == ("couch", True)
    assert known.cosine == pytest.approx(1.0, abs=1e-4)
    assert (coloured.nearest, coloured.covered) == ("couch", True)
    assert not unknown.covered
    assert coverage_warning(known) is None
    assert "nuclear submarine" in coverage_warning(unknown)
    assert vocabulary.coverage([], minilm.encode) == []
