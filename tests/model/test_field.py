import dataclasses

import pytest
import torch
import torch.nn.functional as F
from box_field import OV_DIM, box_scene, random_points, tiny_field
from box_room import LOWER, UPPER

from govnesf_model.blending import Views, blend_color, blend_semantic
from govnesf_model.cameras import invert_pose
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.evidence import sample_evidence


@pytest.fixture(scope="module")
def scene():
    field = tiny_field()
    views, volume = box_scene(field)
    return field, views, volume


def blended(field, views, volume, points, **options):
    """Colour and feature, whatever views were chosen and in which order."""
    directions = points - (LOWER + UPPER) / 2 + 0.1
    blend = field.blend(points, views, volume, directions=directions, **options)
    return blend_color(blend, points, views), blend_semantic(blend, points, views)


def test_density_is_the_mlp_of_the_interpolated_feature():
    """Its first layer, applied per voxel, gives the same as applied after interpolation."""
    field = tiny_field(evidence_split=0, encode_surface=False)
    _, volume = box_scene(field)
    points = random_points(100)
    v = volume.grid.sample(volume.features, points)
    expected = F.softplus(field.density_out(field.density_in(v)).squeeze(-1)) / 0.05
    torch.testing.assert_close(field.density(points, volume), expected, atol=1e-5, rtol=1e-4)


def test_density_adds_the_signed_distance_where_views_know_it(scene):
    field, _, volume = scene
    points = torch.cat([random_points(100), random_points(50, 1) * torch.tensor([1.0, 1.0, 0.0])])
    v = volume.grid.sample(volume.features, points)
    fine = volume.fine_grid
    distance, sure, _ = sample_evidence(volume.fine_table, fine, points)
    table = volume.fine_table[:, 2:].reshape(*fine.shape, -1).permute(3, 0, 1, 2)
    told = torch.cat([distance[:, None], sure[:, None], fine.sample(table, points)], dim=1)
    logit = field.density_out(field.density_in(v) + field.density_fine(told)).squeeze(-1)
    expected = F.softplus(logit + sure * (7 - 20 * distance)) / 0.05
    torch.testing.assert_close(field.density(points, volume), expected, atol=1e-5, rtol=1e-4)
    assert float(field.density(points[:100], volume).median()) < 0.05  # the room's air is clear
    assert float(field.density(points[100:], volume).median()) > 10  # its floor is not


def test_without_a_surface_density_is_a_thin_fog_that_evidence_does_not_touch():
    field = tiny_field()
    grid = VolumeGrid.around(LOWER, UPPER, 0.25)
    volume = field.volume_features(field.empty_volume(grid))
    sigma = field.density(random_points(100), volume)
    thin = F.softplus(torch.tensor(-5.0)) / 0.05
    torch.testing.assert_close(sigma, thin.expand(100), atol=0.1, rtol=0.5)


def test_density_is_zero_outside_the_grid_and_positive_inside(scene):
    field, _, volume = scene
    points = torch.cat([random_points(20), UPPER + torch.rand(5, 3) + 0.6, LOWER[None] - 5])
    sigma = field.density(points, volume)
    assert bool((sigma[:20] > 0).all())
    assert float(sigma[20:].abs().max()) == 0.0


def test_directions_start_at_the_camera_centres(scene):
    field, views, volume = scene
    points = random_points(10)
    caught = []
    hook = field.fusion.encode_direction.register_forward_pre_hook(
        lambda _, inputs: caught.append(inputs[0])
    )
    blend = field.blend(points, views, volume, k=3)
    hook.remove()
    centres = views.T_world_camera[blend.view, :3, 3]
    expected = F.normalize(points.unsqueeze(1) - centres, dim=-1)
    torch.testing.assert_close(caught[0][..., :3], expected)
    wrong = F.normalize(
        points.unsqueeze(1) - invert_pose(views.T_world_camera)[blend.view, :3, 3], dim=-1
    )
    assert float((caught[0][..., :3] - wrong).abs().max()) > 0.5


def test_querying_all_views_equals_k_as_large_as_their_number(scene):
    field, views, volume = scene
    points = random_points(100)
    exact = blended(field, views, volume, points, k=0)
    torch.testing.assert_close(blended(field, views, volume, points, k=len(views)), exact)
    torch.testing.assert_close(blended(field, views, volume, points, k=50), exact)


def test_k_best_views_equal_all_views_where_no_more_see_the_point(scene):
    field, views, volume = scene
    points = random_points(300)
    exact = field.blend(points, views, volume, k=0)
    few = exact.valid.sum(dim=1) <= 3
    assert int(few.sum()) > 20
    fast = field.blend(points, views, volume, k=3)
    torch.testing.assert_close(
        blend_semantic(fast, points, views)[few],
        blend_semantic(exact, points, views)[few],
        atol=1e-5,
        rtol=1e-4,
    )


def test_the_order_of_views_does_not_matter(scene):
    field, views, volume = scene
    points = random_points(60)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = Views(
        views.rgb[order],
        views.query[order],
        views.K[order],
        views.T_world_camera[order],
        views.depth[order],
        views.ov[order],
        surface=views.surface[order],
    )
    torch.testing.assert_close(
        blended(field, shuffled, volume, points),
        blended(field, views, volume, points),
        atol=1e-5,
        rtol=1e-4,
    )


def test_views_that_see_nothing_of_it_change_nothing(scene):
    field, views, volume = scene
    points = random_points(60)
    away = torch.eye(4)
    away[2, 3] = 50.0  # far above the room, looking up
    more = Views(
        torch.cat([views.rgb, torch.rand(2, 3, 48, 64)]),
        torch.cat([views.query, torch.randn(2, *views.query.shape[1:])]),
        torch.cat([views.K, views.K[:2]]),
        torch.cat([views.T_world_camera, away.expand(2, 4, 4)]),
        torch.cat([views.depth, views.depth[:2]]),
        torch.cat([views.ov, views.ov[:2]]),
        surface=views.surface[[0, 1, 2, 3, 4, 5, 0, 1]],
    )
    torch.testing.assert_close(
        blended(field, more, volume, points, k=0),
        blended(field, views, volume, points, k=0),
        atol=1e-5,
        rtol=1e-4,
    )


def test_weights_do_not_depend_on_the_open_vocabulary_maps(scene):
    field, views, volume = scene
    points = random_points(40)
    other = dataclasses.replace(views, ov=torch.randn_like(views.ov))
    one = field.blend(points, views, volume).w_semantic
    torch.testing.assert_close(one, field.blend(points, other, volume).w_semantic, atol=0, rtol=0)


def test_without_vfa_the_volume_does_not_reach_the_weights():
    field = tiny_field(use_vfa=False)
    views, volume = box_scene(field)
    points = random_points(40)
    before = field.blend(points, views, volume).w_semantic
    volume.fusion_table = volume.fusion_table + 3.0
    torch.testing.assert_close(field.blend(points, views, volume).w_semantic, before)


def test_with_vfa_it_does(scene):
    field, views, volume = scene
    points = random_points(40)
    before = field.blend(points, views, volume).w_semantic
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(volume.fusion_table.shape, generator=generator)
    other = dataclasses.replace(volume, fusion_table=volume.fusion_table + 3 * noise)
    assert float((field.blend(points, views, other).w_semantic - before).abs().max()) > 1e-4


def test_the_distill_baseline_regresses_colour_and_feature():
    field = tiny_field(use_mjf=False, distill_dim=OV_DIM)
    views, volume = box_scene(field)
    color, feature = field.distill(random_points(9), views, volume)
    assert color.shape == (9, 3)
    assert feature.shape == (9, OV_DIM)
    assert bool(((color > 0) & (color < 1)).all())
    with pytest.raises(ValueError, match="use_mjf=False"):
        tiny_field().distill(random_points(2), views, volume)


def test_train_and_eval_mode_give_the_same(scene):
    field, views, volume = scene
    points = random_points(30)
    evaluated = blended(field.eval(), views, volume, points)
    torch.testing.assert_close(blended(field.train(), views, volume, points), evaluated)
    field.eval()


def test_a_point_that_no_view_sees_is_black_and_meaningless(scene):
    field, views, volume = scene
    color, feature = blended(field, views, volume, torch.tensor([[2.0, 1.5, 90.0]]))
    assert float(color.abs().sum()) == 0.0
    assert float(feature.abs().sum()) == 0.0
