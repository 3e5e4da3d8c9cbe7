import pytest

from govnesf_model.vlm.spec import parse_spec

DEFAULTS = {"attention": "maskclip", "window": 224, "share": 0.5, "flip": True}


def test_an_argument_without_options_gets_the_defaults():
    assert parse_spec("ViT-B-16/openai", DEFAULTS) == ("ViT-B-16/openai", DEFAULTS)


def test_options_take_the_type_of_their_default():
    argument, options = parse_spec("m.pt?window=336&share=0.25&flip=no&attention=sclip", DEFAULTS)
    assert argument == "m.pt"
    assert options == {"attention": "sclip", "window": 336, "share": 0.25, "flip": False}


def test_a_question_mark_in_a_file_name_is_no_option():
    assert parse_spec("what?/is?this.pt", DEFAULTS)[0] == "what?/is?this.pt"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("m?windows=2", "no option 'windows'"),
        ("m?window=big", "a whole number"),
        ("m?flip=maybe", "true or false"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(text, words):
    with pytest.raises(ValueError, match=words):
        parse_spec(text, DEFAULTS)
