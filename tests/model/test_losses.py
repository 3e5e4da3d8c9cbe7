import math

import pytest
import torch

from govnesf_model.losses import (
    color_loss,
    depth_loss,
    distortion_loss,
    free_space_loss,
    guess_loss,
    occupancy_loss,
    ov_loss,
    surface_loss,
)


def test_color_loss_is_the_squared_distance_per_ray():
    rendered = torch.tensor([[0.1, 0.2, 0.3], [1.0, 0.0, 0.0]])
    truth = torch.tensor([[0.1, 0.2, 0.5], [0.0, 0.0, 0.0]])
    assert float(color_loss(rendered, truth)) == pytest.approx((0.04 + 1.0) / 2)
    only_first = torch.tensor([True, False])
    assert float(color_loss(rendered, truth, only_first)) == pytest.approx(0.04)


def test_ov_loss_is_one_minus_cosine():
    one = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])
    two = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert float(ov_loss(one, two)) == pytest.approx((0 + 1 + 2) / 3)


def test_depth_loss_skips_unknown_depth():
    loss = depth_loss(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 0.0, 3.0]))
    assert float(loss) == pytest.approx(0.25)


def test_surface_loss_counts_weight_in_the_band():
    t = torch.tensor([[1.0, 2.0, 2.1, 3.0]])
    weights = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    loss = surface_loss(weights, t, torch.tensor([2.05]), width=0.1)
    assert float(loss) == pytest.approx(-math.log(0.71))
    assert float(surface_loss(weights, t, torch.tensor([0.0]), width=0.1)) == 0.0


def test_distortion_is_the_expected_distance_of_two_samples():
    torch.manual_seed(0)
    t = torch.rand(3, 20).cumsum(dim=1)
    weights = torch.rand(3, 20).softmax(dim=1)
    delta = torch.rand(3, 20) * 0.1
    pairs = weights[:, :, None] * weights[:, None, :] * (t[:, :, None] - t[:, None, :]).abs()
    expected = pairs.sum(dim=(1, 2)) + (weights.square() * delta).sum(dim=1) / 3
    torch.testing.assert_close(distortion_loss(weights, t, delta), expected.mean())


def test_a_sharp_ray_has_less_distortion_than_a_soft_one():
    t = torch.linspace(0, 4, 40).expand(1, -1)
    delta = torch.full_like(t, 0.1)
    sharp = torch.zeros(1, 40)
    sharp[0, 20] = 1.0
    soft = torch.full((1, 40), 1 / 40)
    assert float(distortion_loss(sharp, t, delta)) < 0.1 * float(distortion_loss(soft, t, delta))


def test_free_space_loss_is_the_opacity_of_the_given_rays():
    weights = torch.tensor([[0.2, 0.3], [0.9, 0.0]])
    assert float(free_space_loss(weights, torch.tensor([True, False]))) == pytest.approx(0.5)
    assert float(free_space_loss(weights, torch.tensor([False, False]))) == 0.0


def test_occupancy_loss_is_the_cross_entropy_of_alpha():
    sigma = torch.tensor([10.0, 30.0, 2.0])
    solid = torch.tensor([True, True, False])
    missed = -(math.log(1 - math.exp(-1.0)) + math.log(1 - math.exp(-3.0))) / 2
    loss = occupancy_loss(sigma, solid, length=0.1, free_share=0.6)
    assert float(loss) == pytest.approx(0.4 * missed + 0.6 * 0.2, abs=2e-3)
    assert float(occupancy_loss(torch.tensor([0.0]), torch.tensor([False]))) == 0.0


def test_guess_loss_is_best_at_the_true_depth_and_the_true_spread():
    depth = torch.full((1, 4, 4), 2.0)
    depth[0, 0] = 0.0  # unknown pixels count for nothing

    def loss(guessed: float, spread: float) -> float:
        guess = torch.tensor([guessed, spread]).log().view(1, 2, 1, 1).expand(1, 2, 4, 4)
        return float(guess_loss(guess, depth))

    assert loss(2.0, 0.1) == pytest.approx(math.log(0.1))
    assert loss(2.2, 0.1) == pytest.approx(math.log(1.1) / 0.1 + math.log(0.1), abs=1e-5)
    assert loss(2.2, math.log(1.1)) < min(loss(2.2, 0.05), loss(2.2, 0.3))
