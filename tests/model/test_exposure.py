import dataclasses

import pytest
import torch
from textured_room import textured_views

from govnesf_model.exposure import even_exposure, expected_exposure
from govnesf_model.stereo import Surface


@pytest.fixture(scope="module")
def views():
    return textured_views()


def exposed(views, factors):
    return dataclasses.replace(views, rgb=views.rgb * factors[:, :, None, None], gain=None)


def random_factors(count):
    return torch.exp(0.15 * torch.randn(count, 3, generator=torch.Generator().manual_seed(4)))


def test_exposure_is_found_up_to_one_factor_for_all(views):
    factors = random_factors(len(views))
    left = (even_exposure(exposed(views, factors)) * factors).log()
    left = left - left.mean(dim=0)
    assert float(factors.log().std(dim=0).min()) > 0.08
    assert float(left.abs().max()) < 0.02  # the prior pulls a little


def test_a_view_that_shows_something_else_spoils_nothing(views):
    factors = random_factors(len(views))
    spoiled = exposed(views, factors)
    spoiled.rgb[3, :, :, :70] = 0.8  # somebody walks through the image
    left = (even_exposure(spoiled) * factors).log()
    others = [view for view in range(len(views)) if view != 3]
    left = left[others] - left[others].mean(dim=0)
    assert float(left.abs().max()) < 0.03


def test_views_that_are_alike_stay_as_they_are(views):
    torch.testing.assert_close(even_exposure(views), torch.ones(len(views), 3), atol=0.005, rtol=0)


def test_what_is_burnt_out_tells_nothing(views):
    burnt = exposed(views, torch.full((len(views), 3), 4.0))
    torch.testing.assert_close(even_exposure(burnt), torch.ones(len(views), 3))


def test_views_that_know_no_surface_or_have_nobody_beside_stay_as_they_are(views):
    nowhere = Surface(torch.zeros_like(views.depth), torch.zeros_like(views.depth))
    unknown = dataclasses.replace(views, surface=nowhere)
    none = dataclasses.replace(views, surface=None)
    one = dataclasses.replace(
        views,
        rgb=views.rgb[:1],
        query=views.query[:1],
        depth=None,
        K=views.K[:1],
        T_world_camera=views.T_world_camera[:1],
        surface=views.surface[:1],
    )
    for lone in (unknown, none, one):
        torch.testing.assert_close(even_exposure(lone), torch.ones(len(lone), 3))


def test_a_new_camera_takes_the_exposure_of_those_around_it(views):
    along = torch.linspace(-1, 1, len(views)).unsqueeze(1)  # brighter on the way
    factors = torch.exp(along * torch.tensor([0.2, 0.15, 0.1]))
    views = dataclasses.replace(views, gain=1 / factors)
    between = views.T_world_camera[5].clone()
    between[:3, 3] = views.T_world_camera[5:7, :3, 3].mean(dim=0)
    expected = expected_exposure(views, between)
    torch.testing.assert_close(expected, factors[5:7].mean(dim=0), atol=0.03, rtol=0)
    far = between.clone()
    far[:3, 3] += 300.0
    torch.testing.assert_close(expected_exposure(views, far), torch.ones(3), atol=1e-3, rtol=0)


def test_without_gains_there_is_nothing_to_expect(views):
    assert expected_exposure(views, views.T_world_camera[0]) is None
