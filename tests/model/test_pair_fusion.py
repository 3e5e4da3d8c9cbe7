import dataclasses

import pytest
import torch
from box_field import box_scene, random_points, tiny_field

from govnesf_model import pair_fusion
from govnesf_model.blending import choose_views

KINDS = (
    {},
    {"use_cva": False},
    {"use_vfa": False, "encode_distance": False},
    {"encode_surface": False, "fusion_heads": 2},
)


def stirred(field):
    """Give every bias and every factor of a norm a value, so that none can be forgotten."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in field.fusion.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return field


def points_and_rays(views, count: int = 400):
    """Return points that anything from no view to all views see, and rays through them."""
    points = random_points(count)
    points[:20] = views.T_world_camera[0, :3, 3] * 30 + 100  # seen by few or none
    points[20:40] = views.T_world_camera[:1, :3, 3]
    return points, torch.randn(count, 3, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("changes", KINDS)
@pytest.mark.parametrize("k", [0, 1, 3])
def test_weights_are_those_of_the_padded_network(changes, k):
    field = stirred(tiny_field(**changes))
    views, volume = box_scene(field)
    points, rays = points_and_rays(views)
    with torch.enable_grad():
        padded = field.blend(points, views, volume, k=k, directions=rays)
    with torch.no_grad():
        lean = field.blend(points, views, volume, k=k, directions=rays)
        alone = field.blend(points, views, volume, k=k)
    assert len(lean.valid.sum(dim=1).unique()) > min(2, k or 9)  # some of every kind
    assert torch.equal(padded.view, lean.view)
    torch.testing.assert_close(lean.w_color, padded.w_color.detach(), atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(lean.w_semantic, padded.w_semantic.detach(), atol=2e-6, rtol=1e-4)
    assert alone.w_color is None
    if k == 0:  # the choice does not depend on the rays
        one, other = (
            torch.zeros(len(points), len(views)).scatter_add(1, blend.view, blend.w_semantic)
            for blend in (alone, lean)
        )
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-4)


@torch.no_grad()
def test_the_size_of_a_block_changes_nothing(monkeypatch):
    field = stirred(tiny_field())
    views, volume = box_scene(field)
    points, rays = points_and_rays(views)
    whole = field.blend(points, views, volume, directions=rays)
    monkeypatch.setattr(pair_fusion, "TOKENS", 7)
    pieces = field.blend(points, views, volume, directions=rays)
    torch.testing.assert_close(pieces.w_semantic, whole.w_semantic, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(pieces.w_color, whole.w_color, atol=2e-6, rtol=1e-4)


@torch.no_grad()
def test_a_point_that_no_view_sees_has_no_weights():
    field = stirred(tiny_field())
    views, volume = box_scene(field)
    far = torch.full((5, 3), 1e3)
    blend = field.blend(far, views, volume, directions=far)
    assert not bool(blend.valid.any())
    assert float(blend.w_semantic.abs().max()) == 0
    assert float(blend.w_color.abs().max()) == 0
    assert field.blend(far[:0], views, volume, directions=far[:0]).w_semantic.shape[0] == 0


@torch.no_grad()
def test_views_that_know_of_no_surface_are_weighed_as_well():
    field = stirred(tiny_field())
    views, volume = box_scene(field)
    blind = dataclasses.replace(views, surface=None)
    points, _ = points_and_rays(blind)
    lean = field.blend(points, blind, volume)
    choice = choose_views(points, blind, field.config.views_per_point)
    assert torch.equal(lean.view, choice.view)
    with torch.enable_grad():
        padded = field.blend(points, blind, volume)
    torch.testing.assert_close(lean.w_semantic, padded.w_semantic.detach(), atol=2e-6, rtol=1e-4)
