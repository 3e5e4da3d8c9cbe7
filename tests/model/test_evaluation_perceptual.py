"""LPIPS is left out with a sentence, or computed from weights that lie there; never downloaded."""

import urllib.request

import pytest
import torch

from govnesf_model.evaluation.perceptual import WEIGHTS, _distance, load_lpips, weights_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_: object, **__: object):
        raise AssertionError("something is downloaded")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)


@pytest.mark.usefixtures("no_network")
def test_without_weights_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lpips, note = load_lpips("cpu")
    assert lpips is None
    assert str(tmp_path / "hub" / "checkpoints" / WEIGHTS) in note
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_with_weights_it_is_a_distance(tmp_path, monkeypatch):
    """The file has drawn weights: what is tested is that they are found and used."""
    import govnesf_model.torchvision_guard  # noqa: F401

    # isort: split
    from torchvision.models import vgg16

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    _distance.cache_clear()
    with torch.device("meta"):
        state = vgg16(weights=None).state_dict()
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in state.items():
        # The classifier is not looked at: one number that is stretched keeps the file small.
        weights[name] = torch.zeros(1).expand(value.shape) if value.dim() else torch.zeros(())
        if name.startswith("features") and name.endswith("weight"):
            scale = (2 / value[0].numel()) ** 0.5
            weights[name] = torch.randn(value.shape, generator=generator) * scale
    weights_path().parent.mkdir(parents=True)
    torch.save(weights, weights_path())

    lpips, note = load_lpips("cpu")
    assert note == ""
    image = torch.rand(64, 80, 3, generator=generator)
    noise = torch.randn(image.shape, generator=generator)
    near, far = (lpips((image + s * noise).clamp(0, 1), image) for s in (0.02, 0.4))
    assert lpips(image, image) == pytest.approx(0.0, abs=1e-6)
    assert 0 < near < far
    assert lpips(image, (image + 0.4 * noise).clamp(0, 1)) == pytest.approx(far, rel=1e-4)
    _distance.cache_clear()
