import dataclasses

import pytest
import torch
from box_field import OV_DIM, box_scene, random_points, tiny_field
from box_room import LOWER, UPPER, room_cameras, trace

from govnesf_model.blending import (
    Blend,
    Views,
    blend_color,
    blend_semantic,
    choose_views,
    project_text,
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


def test_only_views_that_see_the_point_are_chosen(scene):
    _, views, _ = scene
    points = random_points(100)
    choice = choose_views(points, views, k=0)
    uv, z = project(points, views.K, views.T_world_camera)
    seen = ((z > 0) & (uv[..., 0] > -0.5) & (uv[..., 0] < 63.5) & (uv[..., 1] > -0.5)) & (
        uv[..., 1] < 47.5
    )
    assert choice.view.shape == (100, len(views))
    assert choice.valid.sum(dim=1).tolist() == seen.sum(dim=0).tolist()
    chosen_uv = uv[choice.view, torch.arange(100).unsqueeze(-1)]
    torch.testing.assert_close(choice.uv[choice.valid], chosen_uv[choice.valid])


def test_near_views_and_views_along_the_ray_are_preferred():
    K = torch.tensor([[30.0, 0, 31.5], [0, 30.0, 23.5], [0, 0, 1]]).repeat(3, 1, 1)
    T = torch.eye(4).repeat(3, 1, 1)
    T[0, 2, 3], T[1, 2, 3], T[2, 2, 3] = -3.0, -1.0, -2.0  # all look along +z
    views = Views(torch.zeros(3, 3, 48, 64), torch.zeros(3, 2, 12, 16), K, T)
    points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    choice = choose_views(points, views, k=2)
    assert choice.view.tolist() == [[1, 2], [1, 2]]
    T[1, 0, 3] = 1.5  # the nearest camera now looks from the side
    turned = Views(torch.zeros(3, 3, 48, 64), torch.zeros(3, 2, 12, 16), K, T)
    along = choose_views(points[:1], turned, k=1, directions=torch.tensor([[0.0, 0.0, 1.0]]))
    assert along.view.tolist() == [[2]]


def test_depth_guided_masking_cuts_at_a_quarter_of_the_measured_depth():
    camera = room_cameras(1)[0]
    _, depth, _ = trace(camera)
    views = Views(
        torch.zeros(1, 3, 48, 64),
        torch.zeros(1, 2, 12, 16),
        camera.K[None],
        camera.T_world_camera[None],
        depth=depth[None],
    )
    uv = torch.tensor([[30.0, 20.0]]).expand(5, 2)
    factor = torch.tensor([0.74, 0.76, 1.0, 1.24, 1.26])
    points = unproject(uv, depth[20, 30] * factor, camera.K, camera.T_world_camera)
    masked = choose_views(points, views, k=0, masking="depth").valid[:, 0]
    assert masked.tolist() == [False, True, True, True, False]
    assert choose_views(points, views, k=0).valid.all()
    views.depth = torch.zeros(1, 48, 64)  # nothing measured masks nothing
    assert choose_views(points, views, k=0, masking="depth").valid.all()


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
