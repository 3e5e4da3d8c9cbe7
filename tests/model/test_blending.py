import dataclasses

import pytest
import torch
from box_field import OV_DIM, box_scene, random_points, tiny_field
from box_room import LOWER, UPPER, room_cameras
from views_in_a_row import in_a_row, walls_at

from govnesf_model.blending import (
    Blend,
    Views,
    blend_color,
    blend_semantic,
    choose_views,
    project_text,
    surface_offset,
)
from govnesf_model.cameras import feature_grid, project, sample_map, unproject


@pytest.fixture(scope="module")
def scene():
    field = tiny_field()
    views, volume = box_scene(field)
    return field, views, volume


def test_blending_equals_the_dense_weighted_sum(scene):
    field, views, volume = scene
    points = random_points(200)
    directions = points - (LOWER + UPPER) / 2
    blend = field.blend(points, views, volume, k=4, directions=directions)
    uv, _ = project(points, views.K, views.T_world_camera)
    for weights, maps, stride, blended in (
        (blend.w_color, views.rgb, 1, blend_color(blend, points, views)),
        (
            blend.w_semantic,
            views.ov.permute(0, 3, 1, 2),
            4,
            blend_semantic(blend, points, views),
        ),
    ):
        full = torch.zeros(200, len(views)).scatter_add(1, blend.view, weights)
        dense = (full.T.unsqueeze(-1) * sample_map(maps, uv, stride)).sum(dim=0)
        torch.testing.assert_close(blended, dense, atol=1e-5, rtol=1e-4)


def test_text_first_gives_the_scores_of_the_blended_feature(scene):
    field, views, volume = scene
    points = random_points(500)
    blend = field.blend(points, views, volume)
    text = torch.nn.functional.normalize(torch.randn(7, OV_DIM), dim=-1)
    feature = blend_semantic(blend, points, views)
    scores = blend_semantic(blend, points, views, table=project_text(views, text))
    torch.testing.assert_close(scores, feature @ text.T, atol=1e-5, rtol=1e-4)
    assert bool((scores.argmax(dim=1) == (feature @ text.T).argmax(dim=1)).all())


def test_half_precision_maps_are_read_as_they_are(scene):
    field, views, volume = scene
    points = random_points(300)
    blend = field.blend(points, views, volume)
    half = dataclasses.replace(views, ov=views.ov.half())
    exact = blend_semantic(blend, points, views)
    rounded = blend_semantic(blend, points, half)
    assert rounded.dtype == torch.float16
    assert float((rounded.float() - exact).abs().max()) < 1e-3  # 1/64 would be 0.016


def test_a_map_at_stride_eight_is_read_at_its_own_half_pixels():
    camera = room_cameras(1)[0]
    positions = feature_grid(6, 8, 8)[None].clone()  # each cell holds the image position it shows
    views = Views(
        torch.zeros(1, 3, 48, 64),
        torch.zeros(1, 2, 12, 16),
        camera.K[None],
        camera.T_world_camera[None],
        ov=positions,
        ov_stride=8,
    )
    uv = torch.tensor([[20.0, 17.5], [40.25, 30.0]])
    points = unproject(uv, torch.tensor([1.0, 1.5]), camera.K, camera.T_world_camera)
    one = torch.ones(2, 1)
    blend = Blend(torch.zeros(2, 1).long(), one.bool(), uv.unsqueeze(1), one, one)
    torch.testing.assert_close(blend_semantic(blend, points, views), uv, atol=1e-3, rtol=0)


def test_points_of_a_ray_are_summed_in_the_same_gather(scene):
    field, views, volume = scene
    points = random_points(12)
    blend = field.blend(points, views, volume)
    ray = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 3, 3, 3, 3])
    weight = torch.rand(12)
    single = blend_semantic(blend, points, views) * weight.unsqueeze(-1)
    expected = torch.zeros(4, OV_DIM).index_add(0, ray, single)
    summed = blend_semantic(blend, points, views, ray=ray, ray_weight=weight)
    torch.testing.assert_close(summed, expected)


def test_surface_offset_tells_before_on_and_behind():
    views = in_a_row(0.0, 0.0, surface=walls_at(2.0, 0.0, spread=0.03))
    points = torch.tensor([[0.0, 0.0, z] for z in (0.5, 1.9, 2.0, 2.1, 4.0)])
    choice = choose_views(points, views, k=0)
    offset = surface_offset(choice, views)
    one, two = (choice.view == 0).nonzero(as_tuple=True), (choice.view == 1).nonzero(as_tuple=True)
    side, near, known = offset[one].unbind(-1)
    off = (points[:, 2] / 2.0).log() / 0.05
    torch.testing.assert_close(side, torch.tanh(off / 2))
    torch.testing.assert_close(near, torch.exp(-off.abs()))
    assert known.tolist() == [1.0] * 5
    assert float(side[0]) < -0.99
    assert float(side[4]) > 0.99
    assert float(near[2]) == 1.0
    assert float(offset[two].abs().max()) == 0.0  # it knows of no surface
    bare = in_a_row(0.0, 0.0)
    assert float(surface_offset(choose_views(points, bare, k=0), bare).abs().max()) == 0.0


def test_wrong_requests_are_refused_with_a_sentence(scene):
    field, views, volume = scene
    points = random_points(3)
    blend = field.blend(points, views, volume)
    with pytest.raises(ValueError, match="give `directions`"):
        blend_color(blend, points, views)
    with pytest.raises(ValueError, match="'none' or 'depth'"):
        choose_views(points, views, 4, masking="dgm")
    bare = dataclasses.replace(views, ov=None, depth=None)
    with pytest.raises(ValueError, match=r"Views\.depth"):
        choose_views(points, bare, 4, masking="depth")
    with pytest.raises(ValueError, match=r"Views\.ov"):
        blend_semantic(blend, points, bare)


def test_scores_of_half_precision_maps_are_made_piece_by_piece(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    ov = torch.randn(3, 5, 7, 16, generator=generator)
    text = torch.randn(4, 16, generator=generator)
    camera = room_cameras(1)[0]
    views = Views(
        torch.zeros(3, 3, 20, 28),
        torch.zeros(3, 2, 5, 7),
        camera.K.expand(3, 3, 3),
        camera.T_world_camera.expand(3, 4, 4),
        ov=ov.half(),
    )
    monkeypatch.setattr("govnesf_model.blending.TEXT_ROWS", 11)
    scores = project_text(views, text)
    assert scores.dtype == torch.float16
    torch.testing.assert_close(scores.float(), ov @ text.T, atol=0.02, rtol=2e-3)
