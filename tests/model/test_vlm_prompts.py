import pytest

from govnesf_model.vlm.prompts import TEMPLATES, prompts, template_names, templates


def test_templates_take_the_text_and_no_second_article():
    chosen = ("a photo of a {}.", "the {}", "{}")
    expected = ["a photo of a red chair.", "the red chair", "a red chair"]
    assert prompts("a red chair", chosen) == expected
    assert prompts("The", ("a {}.",)) == ["a The."]
    assert prompts("{} and {}", ("a {}.",)) == ["a {} and {}."]


def test_none_leaves_the_text_alone():
    assert prompts("a red chair", templates("none")) == ["a red chair"]


def test_every_name_gives_templates_with_one_place():
    assert set(TEMPLATES) < set(template_names())
    for name in template_names():
        assert all(template.count("{}") == 1 for template in templates(name))
    assert len(templates("imagenet")) == 80


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="no templates 'many': choose none, photo, small"):
        templates("many")
