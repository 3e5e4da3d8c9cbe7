import math

import pytest
import torch

from govnesf_model.losses import (
    color_loss,
    depth_loss,
    distortion_loss,
    entropy_loss,
    free_space_loss,
    hard_surface_loss,
    occupancy_loss,
    ov_loss,
    surface_loss,
)
from govnesf_model.ray_samples import ray_weights


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


def test_entropy_counts_the_samples_that_share_a_ray():
    one = torch.zeros(1, 8)
    one[0, 3] = 0.7
    assert float(entropy_loss(one)) == pytest.approx(0.0, abs=1e-6)
    for count in (2, 5):
        even = torch.zeros(1, 8)
        even[0, :count] = 0.9 / count
        assert float(entropy_loss(even)) == pytest.approx(math.log(count), abs=1e-5)
    faint = torch.full((1, 8), 0.01)
    assert float(entropy_loss(faint)) == 0.0
    assert float(entropy_loss(torch.cat([even, faint]))) == pytest.approx(math.log(5), abs=1e-5)


def test_a_hard_surface_costs_nothing_and_half_a_one_most():
    def loss(*weights: float) -> float:
        return float(hard_surface_loss(torch.tensor([weights])))

    assert loss(0.0, 1.0, 0.0) == pytest.approx(0.0, abs=1e-6)
    half = math.log1p(math.exp(-1)) - math.log(2 * math.exp(-0.5))
    assert loss(0.5, 0.5, 0.0) == pytest.approx(2 * half, abs=1e-6)
    assert loss(0.5) > loss(0.6) > loss(0.9) > 0
    assert loss(0.3) == pytest.approx(loss(0.7), abs=1e-6)


def wall(sigma: float, at: float = 2.0, samples: int = 400) -> tuple[torch.Tensor, ...]:
    """Return weights, t and delta of a ray of 4 m that meets uniform density from `at` on."""
    delta = torch.full((1, samples), 4.0 / samples)
    t = (torch.arange(samples) + 0.5).unsqueeze(0) * delta
    return ray_weights((t > at) * sigma, delta), t, delta


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_the_sharpness_terms_have_the_values_of_an_exponential_wall(sigma):
    weights, t, delta = wall(sigma)
    # Two draws from an exponential of rate sigma are 1 / sigma apart on average; cut at 2 m.
    assert float(distortion_loss(weights, t, delta)) == pytest.approx(1 / sigma, rel=0.02)
    # The entropy of that distribution is 1 - log(sigma), in bins of delta: - log(delta) more.
    expected = 1 - math.log(sigma * float(delta[0, 0]))
    assert float(entropy_loss(weights)) == pytest.approx(expected, rel=0.01)


def test_every_sharpness_term_prefers_the_denser_wall():
    soft, hard = wall(2.0), wall(40.0)
    assert float(distortion_loss(*hard)) < 0.2 * float(distortion_loss(*soft))
    assert float(entropy_loss(hard[0])) < float(entropy_loss(soft[0])) - 2.0
    coarse = [wall(sigma, samples=16)[0] for sigma in (2.0, 40.0)]
    assert float(hard_surface_loss(coarse[1])) < 0.1 * float(hard_surface_loss(coarse[0]))


@pytest.mark.parametrize("name", ["distortion", "entropy", "hard"])
def test_descent_on_a_sharpness_term_sharpens_a_ray(name):
    delta = torch.full((1, 32), 0.1)
    t = torch.arange(32).unsqueeze(0) * 0.1
    raw = (-(t - 1.5).square()).clone().requires_grad_()
    sigma = torch.nn.functional.softplus(3 * raw + 1) * 2
    weights = ray_weights(sigma, delta)
    terms = {
        "distortion": lambda w: distortion_loss(w, t, delta),
        "entropy": entropy_loss,
        "hard": hard_surface_loss,
    }
    before = float(weights.detach().max())
    (gradient,) = torch.autograd.grad(terms[name](weights), raw)
    with torch.no_grad():
        moved = raw - 0.5 * gradient / gradient.abs().max()
        sigma = torch.nn.functional.softplus(3 * moved + 1) * 2
        after_weights = ray_weights(sigma, delta)
    assert float(terms[name](after_weights)) < float(terms[name](weights).detach())
    if name != "hard":  # which may as well empty the ray
        assert float(after_weights.max()) > before
