import pytest
import torch
import torch.nn.functional as F

from govnesf_model.field_config import FieldConfig
from govnesf_model.fusion import FusionNet, masked_softmax

CONFIG = FieldConfig.small(query_channels=6, fusion_width=16)


def inputs(n: int = 20, k: int = 5, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(n, k, 6, generator=generator)
    from_volume = torch.randn(n, 16, generator=generator)
    directions = F.normalize(torch.randn(n, k, 3, generator=generator), dim=-1)
    distance = torch.rand(n, k, generator=generator) * 4 + 0.3
    valid = torch.rand(n, k, generator=generator) > 0.4
    valid[0] = False
    surface = torch.rand(n, k, 3, generator=generator)
    return query, from_volume, directions, distance, valid, surface


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    return FusionNet(CONFIG)


def both_weights(net, query, from_volume, directions, distance, valid, surface):
    tokens = net.tokens(query, from_volume, directions, distance, valid, surface)
    cosine = directions[..., 0]
    return net.color_weights(tokens, cosine, valid), net.semantic_weights(tokens, valid)


def test_weights_sum_to_one_over_views_in_train_and_in_eval_mode(net):
    query, from_volume, directions, distance, valid, surface = inputs()
    some = valid.any(dim=1).float()
    results = []
    for mode in (True, False):
        net.train(mode)
        results.append(both_weights(net, query, from_volume, directions, distance, valid, surface))
        for weights in results[-1]:
            torch.testing.assert_close(weights.sum(dim=1), some)
            assert not bool(weights[~valid].any())
    torch.testing.assert_close(results[0], results[1])


def test_a_point_that_no_view_sees_has_zero_weights_and_no_nan(net):
    weights = both_weights(net, *inputs())
    assert all(float(w[0].abs().sum()) == 0.0 for w in weights)
    query, *rest = inputs()
    query.requires_grad_()
    torch.cat(both_weights(net, query, *rest)).square().sum().backward()
    assert bool(torch.isfinite(query.grad).all())


def test_what_a_masked_view_shows_changes_nothing(net):
    """Masked views are no keys of the attention, and have no weight."""
    query, from_volume, directions, distance, valid, surface = inputs()
    before = both_weights(net, query, from_volume, directions, distance, valid, surface)
    query = torch.where(valid.unsqueeze(-1), query, query + 100.0)
    distance = torch.where(valid, distance, distance * 7)
    surface = torch.where(valid.unsqueeze(-1), surface, 1 - surface)
    after = both_weights(net, query, from_volume, directions, distance, valid, surface)
    torch.testing.assert_close(before, after)


def test_masking_a_view_equals_leaving_it_out(net):
    query, from_volume, directions, distance, _, surface = inputs()
    valid = torch.ones(20, 5, dtype=torch.bool)
    valid[:, 3] = False
    masked = both_weights(net, query, from_volume, directions, distance, valid, surface)
    kept = [0, 1, 2, 4]
    without = both_weights(
        net,
        query[:, kept],
        from_volume,
        directions[:, kept],
        distance[:, kept],
        valid[:, kept],
        surface[:, kept],
    )
    for one, two in zip(masked, without, strict=True):
        torch.testing.assert_close(one[:, kept], two)


def test_the_order_of_views_does_not_matter(net):
    query, from_volume, directions, distance, valid, surface = inputs()
    order = torch.tensor([3, 0, 4, 1, 2])
    one = both_weights(net, query, from_volume, directions, distance, valid, surface)
    two = both_weights(
        net,
        query[:, order],
        from_volume,
        directions[:, order],
        distance[:, order],
        valid[:, order],
        surface[:, order],
    )
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a[:, order], b)


def test_colour_depends_on_the_rendered_ray_and_meaning_does_not(net):
    query, from_volume, directions, distance, valid, surface = inputs()
    tokens = net.tokens(query, from_volume, directions, distance, valid, surface)
    ahead = net.color_weights(tokens, torch.ones(20, 5) * torch.linspace(-1, 1, 5), valid)
    turned = net.color_weights(tokens, torch.ones(20, 5) * torch.linspace(1, -1, 5), valid)
    assert float((ahead - turned).abs().max()) > 1e-3


def test_what_a_view_believes_to_see_matters_where_the_field_was_told_of_it(net):
    query, from_volume, directions, distance, valid, surface = inputs()
    before = both_weights(net, query, from_volume, directions, distance, valid, surface)
    after = both_weights(net, query, from_volume, directions, distance, valid, surface.flip(1))
    for one, two in zip(before, after, strict=True):
        assert float((one - two).abs().max()) > 1e-3
    blind = FusionNet(FieldConfig.small(query_channels=6, fusion_width=16, encode_surface=False))
    both_weights(blind, query, from_volume, directions, distance, valid, None)


def test_without_cva_every_view_is_weighed_alone():
    torch.manual_seed(0)
    net = FusionNet(FieldConfig.small(query_channels=6, fusion_width=16, use_cva=False))
    query, from_volume, directions, distance, _, surface = inputs()
    valid = torch.ones(20, 5, dtype=torch.bool)
    before = net.tokens(query, from_volume, directions, distance, valid, surface)
    query[:, 0] += 10
    after = net.tokens(query, from_volume, directions, distance, valid, surface)
    torch.testing.assert_close(before[:, 1:], after[:, 1:])


def test_with_cva_views_learn_from_each_other(net):
    query, from_volume, directions, distance, _, surface = inputs()
    valid = torch.ones(20, 5, dtype=torch.bool)
    before = net.tokens(query, from_volume, directions, distance, valid, surface)
    query[:, 0] += 10
    after = net.tokens(query, from_volume, directions, distance, valid, surface)
    assert float((before[:, 1:] - after[:, 1:]).abs().max()) > 1e-3


def test_masked_softmax_is_a_softmax_over_the_valid_entries():
    logits = torch.tensor([[1.0, 2.0, 50.0], [0.0, 0.0, 0.0]])
    valid = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(logits, valid)
    torch.testing.assert_close(weights[0, :2], torch.tensor([1.0, 2.0]).softmax(dim=0))
    assert weights[0, 2] == 0
    assert float(weights[1].sum()) == 0
