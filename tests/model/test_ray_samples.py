"""Where samples lie; the analytic cases of eq. 7 are in test_rendering.py."""

import pytest
import torch

from govnesf_model.ray_samples import merge_samples, ray_weights, sample_distances


def test_merged_samples_keep_the_weight_and_the_mean_depth():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(20, 24, generator=generator) * 0.04
    t = torch.rand(20, 24, generator=generator).cumsum(dim=1)
    for groups in (1, 3, 24):
        mass, at = merge_samples(weights, t, groups)
        assert mass.shape == at.shape == (20, groups)
        torch.testing.assert_close(mass.sum(dim=1), weights.sum(dim=1))
        torch.testing.assert_close((mass * at).sum(dim=1), (weights * t).sum(dim=1))
        full = mass > 0
        for row, used in zip(at, full, strict=True):
            assert bool((row[used].diff() > 0).all())  # ascending, where there is anything


def test_groups_share_the_weight_evenly():
    weights = torch.full((1, 12), 1 / 12)
    mass, at = merge_samples(weights, torch.arange(12.0).unsqueeze(0), 3)
    assert mass[0].tolist() == pytest.approx([1 / 3] * 3)
    assert at[0].tolist() == pytest.approx([1.5, 5.5, 9.5])


def test_two_surfaces_stay_apart():
    """Half the ray at 1 m and half at 4 m: nothing may be looked up between them."""
    t = torch.tensor([[0.99, 1.0, 1.01, 2.5, 3.99, 4.0, 4.01]])
    weights = torch.tensor([[0.1, 0.3, 0.1, 0.0, 0.1, 0.3, 0.1]])
    mass, at = merge_samples(weights, t, 4)
    held = at[mass > 0]
    assert bool(((held - 1.0).abs().minimum((held - 4.0).abs()) < 0.02).all())


def test_an_empty_ray_has_no_groups():
    mass, at = merge_samples(torch.zeros(2, 5), torch.rand(2, 5), 3)
    assert float(mass.abs().sum()) == 0.0
    assert bool(torch.isfinite(at).all())


def test_a_wall_is_one_place_however_it_is_sampled():
    t = torch.linspace(0.5, 3.0, 200).unsqueeze(0)
    sigma = (t > 2.0).float() * 80
    weights = ray_weights(sigma, sample_distances(t, torch.tensor([3.0]), torch.ones(1, 3)[:, :3]))
    mass, at = merge_samples(weights, t, 3)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-4)
    assert bool(((at[mass > 1e-3] - 2.0).abs() < 0.05).all())
