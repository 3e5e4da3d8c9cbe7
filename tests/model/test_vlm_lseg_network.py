"""The image network in a size that runs in milliseconds; its numbers are in the golden test."""

import pytest
import torch
from lseg_fill import TINY, tiny_weights

from govnesf_model.vlm.lseg_network import LSegConfig, LSegNetwork, normalise


@pytest.fixture(scope="module")
def network():
    return tiny_weights().build("cpu")[0]


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 32), (32, 160)])
def test_features_are_unit_vectors_at_half_resolution(network, size):
    features = network(torch.rand(2, 3, *size))
    assert features.shape == (2, TINY.dim, size[0] // 2, size[1] // 2)
    assert features.norm(dim=1).sub(1).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(240, 320), (32, 48), (0, 32)])
def test_a_size_that_does_not_fit_is_refused(network, size):
    with pytest.raises(ValueError, match="multiples of 32 pixels"):
        network(torch.rand(1, 3, *size))


def test_an_image_in_a_batch_is_encoded_as_alone(network):
    images = torch.rand(3, 3, 64, 96)
    alone = torch.cat([network(image[None]) for image in images])
    assert (network(images) - alone).abs().max() < 1e-5


def test_position_embeddings_are_used_as_they_are_at_their_own_size(network):
    """At the size that they were made for they enter unchanged, and elsewhere stretched."""
    side = TINY.grid * 16
    stages = {}
    network(torch.zeros(1, 3, side, side), lambda name, value: stages.setdefault(name, value))
    vit = network.pretrained.model
    tokens = stages["patch"].flatten(2).transpose(1, 2) + vit.pos_embed[:, 1:]
    first = vit.blocks[0](torch.cat([vit.cls_token + vit.pos_embed[:, :1], tokens], dim=1))
    assert torch.allclose(stages["block0"], first, atol=1e-6)


def test_every_weight_but_a_bias_is_felt(network):
    """A part that was forgotten in the forward pass would have no gradient."""
    probe = LSegNetwork(TINY).eval()
    probe.load_state_dict(network.state_dict())
    probe.raw(torch.rand(1, 3, 64, 64)).square().sum().backward()
    silent = [
        name
        for name, parameter in probe.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert silent == []


def test_the_default_is_the_published_size():
    config = LSegConfig()
    assert (config.width, config.depth, config.dim) == (1024, 24, 512)


def test_images_are_normalised_to_minus_one_to_one():
    values = normalise(torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1, 1))
    assert values.flatten().tolist() == [-1, 0, 1]
