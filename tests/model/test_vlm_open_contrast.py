import pytest

from govnesf_model.vlm.open_contrast import DEFAULT_CONTRAST, contrast_words


def test_an_unrelated_query_is_scored_against_all_of_them():
    assert contrast_words(["mug"]) == DEFAULT_CONTRAST


@pytest.mark.parametrize(
    ("query", "dropped"),
    [
        ("wall", {"wall"}),
        ("the walls", {"wall"}),
        ("Carpet", {"floor"}),
        ("thing", {"object", "things", "stuff"}),
        ("room", {"wall", "floor", "ceiling", "background"}),
        ("white wall", {"wall"}),
        ("grass", set()),
    ],
)
def test_no_query_stands_against_another_word_for_itself(query, dropped):
    assert set(DEFAULT_CONTRAST) - set(contrast_words([query])) == dropped


def test_a_colour_or_material_gets_rivals():
    words = contrast_words(["red cabinet", "wooden chair"])
    assert {"blue cabinet", "metal chair"} <= set(words)
    assert not {"red cabinet", "wooden chair", "cabinet"} & set(words)


def test_words_of_the_user_come_first_unless_they_are_the_query():
    assert contrast_words(["mug"], ["cup", "Mug", " "])[0] == "cup"
    assert "Mug" not in contrast_words(["mug"], ["cup", "Mug"])


def test_default_words_of_another_encoder_follow_the_same_rules():
    default = ("other", "wall")
    assert contrast_words(["others"], default=default) == ("wall",)
    assert contrast_words(["room"], default=default) == ("other",)
