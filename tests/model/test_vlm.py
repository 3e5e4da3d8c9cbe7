"""`load_vlm` finds every kind of encoder and says what to do about words that are none."""

import pytest
import torch
from lseg_fill import TINY, published_state

from govnesf_model.cli import main
from govnesf_model.vlm import ENCODERS, DenseEncoder, load_vlm
from govnesf_model.vlm.base import encoder_key, tensors_digest
from govnesf_model.vlm.lseg_checkpoint import convert


@pytest.mark.parametrize("spec", ["telepathy", "", ":x", "/weights/lseg.ckpt", "ViT-B-16/openai"])
def test_a_word_that_is_none_gets_the_list(spec):
    with pytest.raises(ValueError) as refusal:
        load_vlm(spec)
    text = str(refusal.value)
    assert text.startswith(f"there is no encoder {spec!r}: Choose one of ")
    for kind in ENCODERS.values():
        assert kind.usage in text
        assert kind.example in text


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("openclip:ViT-B-16/openai", "open_clip:ViT-B-16/openai"),
        ("Lseg:demo_e200.ckpt?stride=8", "lseg:demo_e200.ckpt?stride=8"),
        ("embeded", "embedded"),
        ("OPEN-CLIP", "open_clip"),
    ],
)
def test_a_slip_of_the_pen_is_guessed(spec, meant):
    with pytest.raises(ValueError) as refusal:
        load_vlm(spec)
    assert f"did you mean {meant}? " in str(refusal.value)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("lseg", ValueError, "lseg: needs the path of its weights: get demo_e200.ckpt"),
        ("lseg:/no/such.safetensors", FileNotFoundError, "no LSeg weights at /no/such.safetensors"),
        ("open_clip", ValueError, "open_clip: needs a model and its weights: write it like open_"),
        ("open_clip:ViT-B-61/openai", ValueError, "did you mean ViT-B-16"),
        ("open_clip:ViT-B-16/no/such.pt", FileNotFoundError, "there is no file no/such.pt"),
        ("embedded:/no/such.safetensors", FileNotFoundError, "no checkpoint of the embedded enc"),
    ],
)
def test_every_kind_says_what_it_misses(spec, error, words):
    with pytest.raises(error, match=words):
        load_vlm(spec)


def test_the_path_may_begin_at_home(tmp_path, monkeypatch):
    torch.save({"state_dict": published_state()}, tmp_path / "tiny.ckpt")
    convert(tmp_path / "tiny.ckpt", tmp_path / "tiny.safetensors", config=TINY)
    monkeypatch.setenv("HOME", str(tmp_path))
    vlm = load_vlm(" lseg:~/tiny.safetensors?stride=8 ", "cpu")
    assert isinstance(vlm, DenseEncoder)
    assert (vlm.name, vlm.stride, vlm.dim) == ("lseg", 8, TINY.dim)


def test_the_list_names_every_kind_and_whether_it_is_ready(capsys):
    assert main(["vlm", "list"]) == 0
    shown = capsys.readouterr().out
    for kind in ENCODERS.values():
        assert kind.usage in shown
    assert "here     ready\n" in shown
    assert shown.count("here     ready for the weights that you name") == 2


def test_a_key_tells_parts_apart_and_their_order():
    keys = {encoder_key("x", *parts) for parts in ((1, "a"), ("a", 1), (1, "b"), ("1", "a"), (1,))}
    assert len(keys) == 5
    assert all(key.startswith("x-") and len(key) == 14 for key in keys)
    assert encoder_key("x", {"b": 1, "a": 2}) == encoder_key("x", {"a": 2, "b": 1})


def test_a_digest_depends_on_names_shapes_and_values_alone():
    values = {"a": torch.arange(6.0), "b": torch.tensor(2.0)}
    digest = tensors_digest(values)
    assert tensors_digest(dict(reversed(values.items()))) == digest
    assert tensors_digest({name: value.half() for name, value in values.items()}) == digest
    others = [
        {"a": torch.arange(6.0).view(2, 3), "b": values["b"]},
        {"c": values["a"], "b": values["b"]},
        {"a": values["a"], "b": torch.tensor(2.5)},
        {"a": values["a"]},
    ]
    assert len({digest, *map(tensors_digest, others)}) == 5
    done = []
    tensors_digest(values, done.append)
    assert sum(done) == 4 * 7
