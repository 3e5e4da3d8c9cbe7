"""The encoder `lseg:` keeps the protocol; a small network stands in for the large one."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from lseg_fill import TINY, published_state, tiny_weights

from govnesf_model.vlm.base import DenseEncoder
from govnesf_model.vlm.lseg import LSegEncoder, load_lseg
from govnesf_model.vlm.lseg_checkpoint import convert
from govnesf_model.vlm.lseg_recipe import openscene, plain
from govnesf_model.vlm.lseg_text import LSegText, tokenize

ALL = list(itertools.product(("plain", "openscene"), (2, 4, 8)))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lseg")
    torch.save({"state_dict": published_state()}, folder / "tiny.ckpt")
    convert(folder / "tiny.ckpt", folder / "tiny.safetensors", config=TINY)
    return folder / "tiny.safetensors"


def test_a_converted_file_becomes_an_encoder(converted):
    vlm = load_lseg(str(converted), "cpu")
    assert isinstance(vlm, DenseEncoder)
    assert (vlm.name, vlm.dim, vlm.stride) == ("lseg", TINY.dim, 4)
    assert vlm.logit_scale == pytest.approx(14.2857, abs=1e-4)
    assert 0 < vlm.default_threshold < 1
    assert vlm.encode_texts(["chair", "table"]).norm(dim=1).sub(1).abs().max() < 1e-5


@pytest.mark.parametrize(("recipe", "stride"), ALL)
@pytest.mark.parametrize("size", [(48, 64), (1, 1), (33, 50)])
def test_any_size_gives_unit_features_at_the_stride(recipe, stride, size):
    vlm = LSegEncoder(tiny_weights(), recipe=recipe, stride=stride)
    features = vlm.encode_images(torch.rand(1, 3, *size))
    assert features.shape == (1, TINY.dim, -(-size[0] // stride), -(-size[1] // stride))
    assert features.norm(dim=1).sub(1).abs().max() < 1e-5


def test_features_are_the_recipes_own_at_its_own_stride():
    image = torch.rand(1, 3, 40, 60)
    for name, stride, recipe in (("plain", 2, plain), ("openscene", 1, openscene)):
        vlm = LSegEncoder(tiny_weights(), recipe=name, stride=stride)
        expected = F.normalize(recipe(vlm.network, image), dim=1)
        assert torch.equal(vlm.encode_images(image), expected)


def test_a_batch_equals_its_single_images():
    vlm = LSegEncoder(tiny_weights())
    images = torch.rand(3, 3, 40, 60)
    alone = torch.cat([vlm.encode_images(image[None]) for image in images])
    assert torch.equal(vlm.encode_images(images), alone)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ValueError, match="no pixels"):
        LSegEncoder(tiny_weights()).encode_images(torch.rand(1, 3, 0, 5))


def test_bfloat16_is_near_and_still_gives_single_precision():
    image = torch.rand(1, 3, 64, 64)
    exact = LSegEncoder(tiny_weights()).encode_images(image)
    rounded = LSegEncoder(tiny_weights(), precision="bf16").encode_images(image)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded * exact).sum(1).min() > 0.99


def test_the_key_changes_with_all_that_changes_features(converted):
    variants = (
        *("", "?recipe=openscene", "?stride=2", "?prompt=scene", "?precision=bf16"),
        "?recipe=openscene&stride=1",
    )
    keys = [load_lseg(f"{converted}{options}").key for options in variants]
    assert len(set(keys)) == len(keys)
    assert load_lseg(f"{converted}?stride=4&recipe=plain").key == keys[0]
    weights = tiny_weights()
    other = LSegEncoder(type(weights)(TINY, weights.tensors, "1" * 64))
    assert LSegEncoder(weights).key != other.key
    assert keys[0].startswith("lseg-")
    assert len(keys[0]) == len("lseg-") + 12


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "lseg: needs the path of its weights: get demo_e200.ckpt"),
        ("x?recipe=fast", "no recipe 'fast': choose plain or openscene"),
        ("x?prompt=loud", "no prompt 'loud': choose bare or scene"),
        ("x?precision=fp8", "no precision 'fp8'"),
        ("x?precision=fp16", "fp16 needs a GPU"),
        ("x?stride=3", "stride 3 does not fit recipe plain, whose own is 2"),
        ("x?stride=0", "stride 0 does not fit"),
        ("x?size=3", "no option 'size'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_read(argument, words):
    with pytest.raises(ValueError, match=words):
        load_lseg(argument, "cpu")


def test_missing_weights_say_what_to_get_and_where_to_put_it(tmp_path):
    with pytest.raises(FileNotFoundError) as refusal:
        load_lseg(f"{tmp_path / 'lseg.safetensors'}?recipe=openscene", "cpu")
    text = str(refusal.value)
    assert str(tmp_path / "lseg.safetensors") in text
    assert "demo_e200.ckpt" in text
    assert "isl-org/lang-seg" in text
    assert "govnesf vlm convert lseg" in text


def test_tokens_are_clips():
    tokens = tokenize(["a chair in a scene", "", "chair " * 100])
    assert tokens.shape == (3, 77)
    assert tokens[0, :8].tolist() == [49406, 320, 4269, 530, 320, 3562, 49407, 0]
    assert tokens[1, :3].tolist() == [49406, 49407, 0]
    assert tokens[2, -1] == 49407


def test_a_text_feature_is_the_end_tokens_and_does_not_see_what_follows():
    text: LSegText = tiny_weights().build("cpu")[1]
    tokens = tokenize(["chair"])
    beyond = tokens.clone()
    beyond[0, 10:] = 7
    assert torch.allclose(text.encode_text(tokens), text.encode_text(beyond), atol=1e-6)


def test_prompts_surround_every_text_but_other():
    bare = LSegEncoder(tiny_weights())
    scene = LSegEncoder(tiny_weights(), prompt="scene")
    asked = scene.encode_texts(["chair", "other"])
    assert torch.allclose(asked, bare.encode_texts(["a chair in a scene", "other"]), atol=1e-6)
    assert (asked[0] - bare.encode_texts(["chair"])[0]).abs().max() > 1e-3


def test_every_text_is_covered():
    (found,) = LSegEncoder(tiny_weights()).coverage(["flux capacitor"])
    assert (found.text, found.nearest, found.cosine, found.covered) == (
        *("flux capacitor", None),
        *(1.0, True),
    )


@pytest.mark.parametrize(
    ("texts", "extra", "gone", "there"),
    [
        (["mug"], (), set(), {"other", "wall", "floor", "ceiling"}),
        (["Wall"], (), {"wall"}, {"other", "floor"}),
        (["walls", "carpet"], (), {"wall", "floor"}, {"other", "ceiling"}),
        (["other"], (), {"other"}, {"wall"}),
        (["mug"], ("table", "mug"), {"mug"}, {"table", "wall"}),
        (["red cabinet"], (), {"cabinet", "red cabinet"}, {"blue cabinet", "wall"}),
    ],
)
def test_contrast_words_do_not_stand_against_the_query(texts, extra, gone, there):
    words = set(LSegEncoder(tiny_weights()).contrast_for(texts, extra))
    assert not words & gone
    assert there <= words
