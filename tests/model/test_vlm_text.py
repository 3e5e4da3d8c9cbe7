"""MiniLM on torch alone: published similarities, odd texts, and a cache that can be damaged."""

import time

import pytest
import torch

from govnesf_model.vlm import text as text_module
from govnesf_model.vlm.feature_cache import FeatureCache
from govnesf_model.vlm.text import MiniLM


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM(cache=False)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("one", "other", "cosine"),
    [
        ("couch", "sofa", 0.86),
        ("fridge", "refrigerator", 0.96),
        ("mug", "cup", 0.71),
        ("something to sit on", "chair", 0.60),
    ],
)
def test_similarities_are_those_of_the_published_model(minilm, one, other, cosine):
    a, b = minilm.encode([one, other])
    assert float(a @ b) == pytest.approx(cosine, abs=0.01)


def test_features_have_unit_norm_and_do_not_depend_on_the_batch(minilm):
    texts = ["mug", "a very long description of a red wooden cabinet in the kitchen", "Tür", "日本"]
    together = minilm.encode(texts)
    alone = torch.cat([MiniLM(cache=False).encode([text]) for text in texts])
    assert together.norm(dim=-1).sub(1).abs().max() < 1e-5
    assert (together - alone).abs().max() < 1e-5


@pytest.mark.parametrize("text", ["", " \n\t", "\udc80\udcff", "\x00", "🪑" * 50, "%s{}\\"])
def test_any_string_has_a_feature(minilm, text):
    feature = minilm.encode([text])[0]
    assert torch.isfinite(feature).all()
    assert float(feature.norm()) == pytest.approx(1.0, abs=1e-5)


def test_a_megabyte_of_text_is_cut_not_suffered(minilm):
    start = time.perf_counter()
    long, longer = minilm.encode(["word " * 2000, "word " * 200_000])
    assert time.perf_counter() - start < 5
    assert (long - longer).abs().max() < 1e-6


def test_white_space_and_repeats_do_not_matter(minilm):
    a, b, c = minilm.encode(["red cabinet", "  red \n cabinet ", "red cabinet"])
    assert torch.equal(a, b)
    assert torch.equal(a, c)
    assert minilm.encode([]).shape == (0, 384)


def test_cached_features_need_no_weights(cache_folder, monkeypatch):
    expected = MiniLM().encode(["mug", "cup"])

    def fail(_):
        raise AssertionError("the weights were read")

    monkeypatch.setattr(text_module, "_load", fail)
    assert torch.equal(MiniLM().encode(["cup", "mug"]).flip(0), expected)
    with pytest.raises(AssertionError):
        MiniLM().encode(["teapot"])


@pytest.mark.parametrize("damage", [b"", b"short", b"\xff" * 1540])
def test_a_damaged_cache_file_is_ignored_and_replaced(cache_folder, damage):
    expected = MiniLM().encode(["mug"])
    (file,) = cache_folder.rglob("*.f32")
    intact = file.read_bytes()
    file.write_bytes(damage)
    assert torch.equal(MiniLM().encode(["mug"]), expected)
    assert file.read_bytes() == intact


def test_a_cache_that_cannot_be_written_costs_no_answer(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GOVNESF_CACHE", str(blocked))
    assert MiniLM().encode(["mug"]).shape == (1, 384)


def test_models_do_not_share_features(cache_folder):
    first, second = (FeatureCache("text", name, 3) for name in ("a", "b"))
    first.write({"mug": torch.tensor([1.0, 2.0, 3.0])})
    assert first.read(["mug"])["mug"].tolist() == [1, 2, 3]
    assert second.read(["mug"]) == {}
    assert not list(cache_folder.rglob("*.tmp"))


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(text_module, "WHEEL", "no-such-wheel-at-all")
    with pytest.raises(FileNotFoundError, match="pip install no-such-wheel-at-all"):
        MiniLM(cache=False).encode(["mug"])


def test_an_incomplete_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        MiniLM(tmp_path, cache=False).encode(["mug"])
