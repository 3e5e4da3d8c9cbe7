"""The full-size network against values that the published definition computed.

The 405 M parameters in use are filled by formula, once. About a minute on one core, and 3 GB.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lseg_fill import fill, image

from govnesf_model.vlm.lseg import LOGIT_SCALE
from govnesf_model.vlm.lseg_checkpoint import IMAGE, TEXT
from govnesf_model.vlm.lseg_network import LSegConfig, LSegNetwork
from govnesf_model.vlm.lseg_recipe import openscene_normalised
from govnesf_model.vlm.lseg_text import LSegText, tokenize

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent.parent / "data" / "lseg" / "golden.npz"
STAGES = 16  # values kept of every stage


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def network() -> LSegNetwork:
    with torch.device("meta"):
        network = LSegNetwork(LSegConfig())
    network.to_empty(device="cpu").eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        fill(IMAGE + name, tensor)
    return network


@pytest.fixture(scope="module")
def text() -> LSegText:
    text = LSegText(LSegConfig()).eval().requires_grad_(False)
    for name, tensor in text.state_dict().items():
        fill(TEXT + name, tensor)
    return text


def assert_pixels(found: torch.Tensor, golden: dict, case: str, chan_atol: float = 1e-4) -> None:
    rows, columns = golden[f"{case}_px_yx"].T
    pixels = found[:, rows, columns].T
    np.testing.assert_allclose(pixels[:4], golden[f"{case}_feat_px4"], rtol=0, atol=1e-6)
    chosen = pixels[:, golden[f"{case}_ch"]]
    np.testing.assert_allclose(chosen, golden[f"{case}_feat"], rtol=0, atol=1e-6)
    channels = found.flatten(1)
    norm = channels.double().norm(dim=1)
    np.testing.assert_allclose(norm, golden[f"{case}_chan_norm"], rtol=0, atol=chan_atol)
    mean = channels.double().mean(1)
    np.testing.assert_allclose(mean, golden[f"{case}_chan_mean"], rtol=0, atol=1e-6)
    stats = statistics(found)
    np.testing.assert_allclose(stats, golden[f"{case}_feat_stats"], rtol=0, atol=1e-6)


def statistics(values: torch.Tensor) -> list[float]:
    values = values.double()
    spread = values.std(correction=0)
    return [
        float(v) for v in (values.mean(), spread, values.min(), values.max(), values.abs().mean())
    ]


def test_the_fill_is_the_one_that_the_values_were_made_with(golden, network, text):
    filled = {IMAGE + name: value for name, value in network.state_dict().items()}
    filled |= {TEXT + name: value for name, value in text.state_dict().items()}
    compared = 0
    for index, name in enumerate(golden["fill_names"]):
        if name in filled:
            values = filled[name].flatten()
            np.testing.assert_array_equal(values[:4], golden["fill_first4"][index])
            total, squares = golden["fill_sum_sumsq"][index]
            assert float(values.double().sum()) == pytest.approx(total, abs=1e-6)
            assert float(values.double().square().sum()) == pytest.approx(squares, rel=1e-9)
            compared += 1
    assert compared == 19


def test_texts_match(golden, text):
    tokens = tokenize(golden["labels"].tolist())
    np.testing.assert_array_equal(tokens, golden["tokens"])
    with torch.inference_mode():
        raw = text.encode_text(tokens)
    np.testing.assert_allclose(raw, golden["text_raw"], rtol=1e-6, atol=1e-5)
    unit = F.normalize(raw, dim=-1)
    np.testing.assert_allclose(unit, golden["text_feat"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(256, 320), (480, 480)])
def test_one_pass_matches(golden, network, height, width):
    case = f"d{height}x{width}"
    normalised = image(height, width)
    check = golden[f"img{height}x{width}_check"]
    corners = [normalised[0, 0, 0, 0], normalised[0, 1, 2, 3], normalised[0, 2, -1, -1]]
    np.testing.assert_allclose(corners, check[:3], atol=1e-6)

    stages: dict[str, torch.Tensor] = {}

    def watch(name: str, value: torch.Tensor) -> None:
        if f"mid_{name}_s16" in golden:
            flat = value.flatten()
            step = len(flat) // STAGES
            stages[name] = flat[torch.arange(STAGES) * (step + 1)].clone()
            if (height, width) == (256, 320):
                assert tuple(value.shape[1:]) == tuple(golden[f"mid_{name}_shape"])
                stats = golden[f"mid_{name}_stats"]
                np.testing.assert_allclose(statistics(value), stats, rtol=1e-5, atol=3e-5)

    with torch.inference_mode():
        raw = network.raw(normalised, watch)[0]
    assert len(stages) == 14
    if (height, width) == (256, 320):
        for name, values in stages.items():
            expected = golden[f"mid_{name}_s16"]
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=3e-5, err_msg=name)

    rows, columns = golden[f"{case}_px_yx"].T
    norm = raw[:, rows, columns].norm(dim=0)
    np.testing.assert_allclose(norm, golden[f"{case}_rawnorm"], rtol=1e-5)
    np.testing.assert_allclose(statistics(raw), golden[f"{case}_raw_stats"], rtol=1e-5, atol=3e-5)
    features = F.normalize(raw, dim=0)
    assert_pixels(features, golden, case)

    texts = torch.from_numpy(golden["text_feat"])
    logits = LOGIT_SCALE * torch.einsum("dhw,td->thw", features, texts)
    half = logits[:, rows, columns].T
    np.testing.assert_allclose(half, golden[f"{case}_logits_half_res"], rtol=0, atol=1e-5)
    # As published, the logits are stretched to the image corner on corner.
    full = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=True)[0]
    rows, columns = golden[f"{case}_px_full_yx"].T
    expected = golden[f"{case}_logits_full_res"]
    np.testing.assert_allclose(full[:, rows, columns].T, expected, rtol=0, atol=1e-5)
    stats = golden[f"{case}_logits_full_stats"]
    np.testing.assert_allclose(statistics(full), stats, rtol=0, atol=1e-5)
    histogram = full.argmax(0).flatten().bincount(minlength=len(texts))
    np.testing.assert_allclose(histogram, golden[f"{case}_argmax_hist"], atol=5)


def test_the_recipe_of_openscene_matches(golden, network):
    with torch.inference_mode():
        total = openscene_normalised(network, image(240, 320))[0]
    assert total.shape == (512, 240, 320)
    assert_pixels(total, golden, "os240x320")
    norm = total.norm(dim=0).double()
    stats = [norm.mean(), norm.std(correction=0), norm.min(), norm.max()]
    np.testing.assert_allclose(stats, golden["os240x320_pixnorm_stats"], rtol=0, atol=1e-6)
