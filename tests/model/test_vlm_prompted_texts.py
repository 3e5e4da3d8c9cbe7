import open_clip_models
import pytest
import torch
import torch.nn.functional as F
from open_clip_models import random_model

from govnesf_model.vlm.prompted_texts import PromptedTexts

TEMPLATES = ("a photo of a {}.", "the {}")


@pytest.fixture(scope="module", autouse=True)
def _models(tmp_path_factory):
    open_clip_models.register(tmp_path_factory.mktemp("configs"))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))


@pytest.fixture(params=["tiny-vit", "tiny-vit-custom"])
def texts(request):
    return encoder_of(random_model(request.param))


def encoder_of(model, cache="model"):
    import open_clip

    return PromptedTexts(model, open_clip.get_tokenizer("tiny-vit"), TEMPLATES, 24, cache)


def test_a_text_is_the_normalised_mean_of_the_librarys_prompts(texts):
    import open_clip

    sentences = ["a photo of a red chair.", "the red chair", "a photo of a mug.", "the mug"]
    features = texts.model.encode_text(open_clip.tokenize(sentences), normalize=True)
    expected = F.normalize(features.view(2, 2, 24).mean(1), dim=-1)
    assert torch.allclose(texts.encode(["a red  chair", "mug"]), expected, atol=1e-6)


def test_order_repeats_and_batches_do_not_matter(texts):
    words = [f"thing {i}" for i in range(70)]
    together = texts.encode(words)
    again = encoder_of(texts.model, "other")
    assert torch.allclose(again.encode(words[::-1]).flip(0), together, atol=1e-6)
    assert torch.equal(texts.encode(["thing 3", "thing 3"]), together[[3, 3]])
    assert texts.encode([]).shape == (0, 24)


def test_any_string_has_a_feature(texts):
    features = texts.encode(["", "\ud800", "word " * 5000, "桌子"])
    assert torch.allclose(features.norm(dim=-1), torch.ones(4))


def test_features_come_from_the_disk_and_belong_to_the_model():
    first = encoder_of(random_model("tiny-vit", 0)).encode(["mug"])
    other = random_model("tiny-vit", 1)
    assert torch.equal(encoder_of(other).encode(["mug"]), first)
    assert not torch.allclose(encoder_of(other, "another").encode(["mug"]), first, atol=1e-3)
