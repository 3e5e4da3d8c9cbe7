import dataclasses
import math

import pytest
import torch
from box_field import OV_DIM, box_scene, tiny_field
from box_room import LOWER, UPPER, room_cameras, trace
from torch.utils._python_dispatch import TorchDispatchMode

from govnesf_model.blending import blend_color, blend_semantic
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.losses import ov_loss
from govnesf_model.ray_samples import (
    clip_to_grid,
    heavy_samples,
    place_samples,
    ray_weights,
    refine_samples,
    sample_distances,
)
from govnesf_model.rendering import quick_weights, render_image, render_rays, sample_weights


@pytest.fixture(scope="module")
def built():
    field = tiny_field(max_samples_kept=32, min_sample_weight=1e-4)
    return field, *box_scene(field)


@pytest.fixture
def scene(built):
    """The same room for all tests, but no test finds what another left in its volume."""
    field, views, volume = built
    return field, views, dataclasses.replace(volume)


def some_rays(step: int = 5):
    camera = room_cameras(7)[3]
    origins, directions = camera.rays()
    return origins[::step, ::step].reshape(-1, 3), directions[::step, ::step].reshape(-1, 3)


@pytest.mark.parametrize("samples", [8, 64, 512])
def test_fog_absorbs_by_its_depth_in_metres_whatever_the_samples(samples):
    """alpha = 1 - exp(-sigma delta) with true delta: 3 m of 0.4 / m leave exp(-1.2)."""
    directions = torch.tensor([[0.0, 0.0, 2.0]])  # not of unit length: 2 m per unit
    start, end = torch.tensor([1.0]), torch.tensor([2.5])
    t = place_samples(start, end, samples)
    delta = sample_distances(t, end, directions)
    weights = ray_weights(torch.full_like(t, 0.4), delta)
    covered = 3.0 * (1 - 0.5 / samples)  # the first sample lies half a bin in
    assert float(weights.sum()) == pytest.approx(1 - math.exp(-0.4 * covered), abs=1e-5)


def test_weights_are_transmittance_times_alpha():
    sigma = torch.tensor([[0.5, 2.0, 0.0, 9.0]])
    delta = torch.tensor([[0.1, 0.3, 0.2, 0.5]])
    left, expected = 1.0, []
    for s, d in zip(sigma[0].tolist(), delta[0].tolist(), strict=True):
        alpha = 1 - math.exp(-s * d)
        expected.append(left * alpha)
        left *= 1 - alpha
    torch.testing.assert_close(ray_weights(sigma, delta), torch.tensor([expected]))


def test_rays_are_clipped_to_the_grid():
    grid = VolumeGrid.around(torch.zeros(3), torch.tensor([2.0, 2.0, 2.0]), 0.5)
    origins = torch.tensor([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 5.0, 1.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    start, end = clip_to_grid(grid, origins, directions, 0.1, 8.0)
    torch.testing.assert_close(start[:2], torch.tensor([1.0, 0.1]))
    torch.testing.assert_close(end[:2], torch.tensor([3.0, 0.5]))
    assert float(start[2]) == float(end[2])  # the ray that passes by gets no length at all


def test_jitter_stays_in_the_bins_and_is_seeded():
    start, end = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    one = place_samples(start, end, 10, torch.Generator().manual_seed(4))
    torch.testing.assert_close(one, place_samples(start, end, 10, torch.Generator().manual_seed(4)))
    edges = torch.linspace(1.0, 3.0, 11)
    assert bool((one[0] >= edges[:-1]).all())
    assert bool((one[0] <= edges[1:]).all())
    assert bool((one[1] == 2.0).all())


def test_uniform_weights_give_evenly_spread_positions():
    start, end = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 5.0])
    for weights in (torch.full((2, 16), 0.05), torch.zeros(2, 16)):
        t = refine_samples(start, end, weights, 24)
        torch.testing.assert_close(t, place_samples(start, end, 24), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", [None, 0])
def test_refined_positions_ascend_and_lie_where_the_weight_is(seed):
    torch.manual_seed(3)
    start, end = torch.full((200,), 0.5), torch.full((200,), 0.5) + 6 * torch.rand(200)
    end[0] = 0.5  # a ray that misses the grid
    weights = torch.zeros(200, 64)
    spot = torch.randint(2, 62, (200,))
    weights[torch.arange(200), spot] = 0.8
    weights[torch.arange(200), torch.randint(0, 64, (200,))] += 1e-4
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    t = refine_samples(start, end, weights, 24, generator)
    assert t.shape == (200, 24)
    assert bool((t[:, 1:] >= t[:, :-1]).all())
    assert bool((t >= start[:, None]).all())
    assert bool((t <= end[:, None] + 1e-6).all())
    width = ((end - start) / 64)[:, None]
    middle = start[:, None] + width * (spot[:, None] + 0.5)
    near = (t - middle).abs() <= 1.5 * width + 1e-5  # the bin and its neighbours
    assert float(near.float().mean()) > 0.9
    assert bool((near.sum(dim=1) >= 20)[1:].all())
    assert bool((~near[1:]).any())  # some look elsewhere: something may have been missed


def test_weight_is_shared_out_by_its_size():
    weights = torch.zeros(1, 40)
    weights[0, 10], weights[0, 30] = 0.6, 0.2
    t = refine_samples(torch.zeros(1), torch.ones(1), weights, 400)[0]
    first = float(((t > 9 / 40) & (t < 12 / 40)).float().mean())
    second = float(((t > 29 / 40) & (t < 32 / 40)).float().mean())
    assert first == pytest.approx(0.75 / 1.1, abs=0.03)  # a tenth more is the floor
    assert second == pytest.approx(0.25 / 1.1, abs=0.03)


def test_only_the_samples_that_are_rendered_take_a_gradient(scene, monkeypatch):
    field, views, volume = scene
    true, asked = field.density, []

    def watched(points, volume):
        asked.append((torch.is_grad_enabled(), len(points)))
        return true(points, volume)

    monkeypatch.setattr(field, "density", watched)
    origins, directions = some_rays(11)
    render_rays(field, views, volume, origins, directions, samples=16)
    rays = len(origins)
    assert asked == [(False, rays * 16), (True, rays * field.config.fine_samples)]


@pytest.mark.parametrize("voxel", [0.16, 0.25])
def test_measured_depth_is_rendered_without_any_training(voxel):
    """The analytic start: signed distances alone make the walls."""
    field = tiny_field(voxel_size=voxel)
    views, volume = box_scene(field, count=10)
    camera = room_cameras(7)[3]
    _, depth, _ = trace(camera)
    image = render_image(field, views, volume, camera)
    error = (image.depth - depth).abs()
    assert float(error.median()) < 0.015
    assert float((error < 0.1).float().mean()) > 0.98
    assert float(image.opacity.median()) > 0.95


def clear_air(points, volume):
    return torch.zeros(len(points))


def test_a_ray_through_clear_air_takes_what_views_see_at_the_end_of_the_grid(scene, monkeypatch):
    field, views, volume = scene
    monkeypatch.setattr(field, "density", clear_air)
    origins, directions = some_rays(6)
    with torch.no_grad():
        result = render_rays(field, views, volume, origins, directions, want_ov=True)
        _, end = clip_to_grid(volume.grid, origins, directions, 0.2, 8.0)
        at = origins + directions * end.unsqueeze(-1)
        blend = field.blend(at, views, volume, directions=directions)
    seen = blend.valid.any(dim=1)
    assert bool(seen.any())
    torch.testing.assert_close(result.color[seen], blend_color(blend, at, views)[seen])
    mean = views.rgb.mean(dim=(0, 2, 3)).expand(int((~seen).sum()), 3)
    torch.testing.assert_close(result.color[~seen], mean)  # a guess, and no hole
    torch.testing.assert_close(result.ov, blend_semantic(blend, at, views), atol=1e-5, rtol=1e-4)
    assert float(result.opacity.abs().max()) == 0.0
    assert float(result.depth.abs().max()) == 0.0
    assert float(result.color.mean()) > 0.3


def test_a_background_leaves_opacity_and_depth_as_they_are(scene, monkeypatch):
    field, views, volume = scene
    origins, directions = some_rays(6)
    monkeypatch.setattr(field, "density", lambda points, volume: torch.full((len(points),), 0.3))
    with torch.no_grad():
        with_it = render_rays(field, views, volume, origins, directions)
        monkeypatch.setattr(field, "config", dataclasses.replace(field.config, background=False))
        without = render_rays(field, views, volume, origins, directions)
        _, end = clip_to_grid(volume.grid, origins, directions, 0.2, 8.0)
        at = origins + directions * end.unsqueeze(-1)
        blend = field.blend(at, views, volume, directions=directions)
        behind, seen = blend_color(blend, at, views), blend.valid.any(dim=1)
    assert 0.3 < float(with_it.opacity.median()) < 0.8
    assert torch.equal(with_it.opacity, without.opacity)
    assert torch.equal(with_it.depth, without.depth)
    expected = without.color + (1 - without.opacity).unsqueeze(1) * behind
    both = seen & (without.color.sum(dim=1) > 0)
    # Where some of a ray is seen by nobody, the rest stands for it: compare what is seen whole.
    off = (with_it.color - expected).abs().amax(dim=1)[both]
    assert float(off.median()) < 2e-3


def test_a_solid_box_is_rendered_at_its_depth(scene, monkeypatch):
    """With the room's true walls as density, rendered depth is the analytic one."""
    field, views, volume = scene

    def walls(points, volume):
        outside = ((points < LOWER) | (points > UPPER)).any(dim=-1)
        return outside.float() * 500.0

    monkeypatch.setattr(field, "density", walls)
    monkeypatch.setattr(field, "config", dataclasses.replace(field.config, fine_samples=0))
    camera = room_cameras(7)[3]
    color, depth, _ = trace(camera)
    image = render_image(field, views, volume, camera, samples=256, want_color=True)
    error = (image.depth - depth).abs()
    assert float(error.median()) < 0.015
    assert float(image.opacity.min()) > 0.99
    # Colours come from other views, through the right pixels: better than any constant by far.
    spread = (color - color.mean(dim=(0, 1))).square().mean()
    assert float((image.color - color).square().mean()) < 0.3 * float(spread)


def test_fast_equals_exact_within_the_weight_that_is_dropped(scene, monkeypatch):
    """At the same samples: where they lie and how many stand for them is another matter."""
    field, views, volume = scene
    same = dataclasses.replace(field.config, fine_samples=0, merged_samples=0)
    monkeypatch.setattr(field, "config", same)
    origins, directions = some_rays()
    options = {"want_ov": True}
    with torch.no_grad():
        fast = render_rays(field, views, volume, origins, directions, k=6, **options)
        exact = render_rays(field, views, volume, origins, directions, exact=True, **options)
    torch.testing.assert_close(fast.depth, exact.depth)
    dropped = 32 * 1e-4
    assert float((fast.color - exact.color).abs().max()) <= dropped
    assert float((fast.ov - exact.ov).abs().max()) <= dropped
    assert float((fast.color - exact.color).abs().mean()) < 1e-4


def test_the_default_cap_and_threshold_stay_close_to_exact():
    field = tiny_field(max_samples_kept=16, min_sample_weight=1e-3)
    views, volume = box_scene(field)
    torch.nn.init.constant_(field.density_out[-1].bias, 2.0)  # 2 / m: still softer than trained
    origins, directions = some_rays()
    with torch.no_grad():
        fast = render_rays(field, views, volume, origins, directions, k=6)
        exact = render_rays(field, views, volume, origins, directions, exact=True)
    assert float((fast.color - exact.color).abs().mean()) < 0.01


def test_looking_up_voxels_finds_the_weight_that_the_network_finds():
    field = tiny_field()
    _, volume = box_scene(field)
    origins, directions = some_rays()
    start, end = clip_to_grid(volume.grid, origins, directions, 0.2, 8.0)
    t = place_samples(start, end, 64)
    with torch.no_grad():
        quick, _ = quick_weights(field, volume, origins, directions, t, end)
        exact, _ = sample_weights(field, volume, origins, directions, t, end)
    step = (end - start) / 64
    off = ((quick * t).sum(1) / quick.sum(1) - (exact * t).sum(1) / exact.sum(1)).abs()
    assert float((off / (step + volume.fine_grid.voxel)).median()) < 0.5
    assert torch.equal(volume.sigma, field.density_grid(volume))  # computed once


def test_text_first_rendering_has_the_argmax_of_the_features(scene):
    field, views, volume = scene
    text = torch.nn.functional.normalize(torch.randn(5, OV_DIM), dim=-1)
    camera = room_cameras(7)[2]
    image = render_image(field, views, volume, camera, text_features=text, want_ov=True)
    direct = image.ov @ text.T
    torch.testing.assert_close(image.scores, direct, atol=1e-4, rtol=1e-3)
    assert float((image.scores.argmax(-1) == direct.argmax(-1)).float().mean()) > 0.999


def test_the_ov_loss_does_not_move_the_density(scene):
    """Section 3.4: no gradient of L_ov reaches sigma, not even a small one."""
    field, views, volume_before = scene
    field.zero_grad()
    geometry = volume_before.features
    table = geometry.permute(1, 2, 3, 0).reshape(volume_before.grid.cells, -1)
    volume = type(volume_before)(
        volume_before.grid, geometry, field.density_in(table), field.fusion_in(table)
    )
    origins, directions = some_rays(7)
    result = render_rays(field, views, volume, origins, directions, want_color=False, want_ov=True)
    ov_loss(result.ov, torch.randn(len(origins), OV_DIM)).backward()
    density = [*field.density_in.parameters(), *field.density_out.parameters()]
    assert all(p.grad is None or float(p.grad.abs().max()) == 0.0 for p in density)
    assert float(field.fusion.mlp_s[0].weight.grad.abs().max()) > 0
    field.zero_grad()


def test_the_colour_loss_does_move_the_density(scene):
    field, views, before = scene
    field.zero_grad()
    table = before.features.permute(1, 2, 3, 0).reshape(before.grid.cells, -1)
    volume = type(before)(
        before.grid, before.features, field.density_in(table), field.fusion_in(table)
    )
    origins, directions = some_rays(7)
    render_rays(field, views, volume, origins, directions).color.square().sum().backward()
    assert float(field.density_in.weight.grad.abs().max()) > 0
    field.zero_grad()


def test_no_tensor_of_points_times_views_times_channels_is_made(scene):
    field, views, volume = scene
    wide = torch.randn(len(views), 12, 16, 257)  # a width that nothing else has

    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor) and result.ndim and result.shape[-1] == 257:
                Watch.largest = max(Watch.largest, result.numel() // 257)
            return result

    views.ov, before = wide, views.ov
    origins, directions = some_rays(2)
    with torch.no_grad(), Watch():
        render_rays(field, views, volume, origins, directions, want_color=False, want_ov=True)
    views.ov = before
    assert 0 < Watch.largest <= max(len(origins), wide.numel() // 257)


def test_heavy_samples_respect_threshold_and_cap():
    weights = torch.tensor([[0.5, 0.0005, 0.2, 0.1, 0.05], [0.0, 0.0, 0.002, 0.0, 0.0]])
    kept = heavy_samples(weights, 1e-3, 3)
    assert kept.tolist() == [[True, False, True, True, False], [False, False, True, False, False]]


def test_rays_that_miss_the_grid_see_nothing(scene):
    field, views, volume = scene
    origins = torch.tensor([[0.0, 0.0, 50.0]])
    with torch.no_grad():
        result = render_rays(
            field, views, volume, origins, torch.tensor([[1.0, 0.0, 0.0]]), want_ov=True
        )
    assert float(result.opacity) == 0.0
    assert float(result.depth) == 0.0
    torch.testing.assert_close(result.color[0], views.rgb.mean(dim=(0, 2, 3)))
    assert float(result.ov.abs().sum()) == 0.0


def test_without_a_background_nothing_is_black(scene, monkeypatch):
    field, views, volume = scene
    monkeypatch.setattr(field, "config", dataclasses.replace(field.config, background=False))
    away = torch.tensor([[0.0, 0.0, 50.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    with torch.no_grad():
        result = render_rays(field, views, volume, *away)
    assert float(result.color.abs().sum()) == 0.0


def test_depth_guided_masking_reaches_the_renderer():
    # With evidence no sample lies where the views' depth would mask it.
    field = tiny_field(evidence_split=0, encode_surface=False)
    views, volume = box_scene(field)
    origins, directions = some_rays(9)
    plain = render_rays(field, views, volume, origins, directions)
    masked = render_rays(field, views, volume, origins, directions, masking="depth")
    torch.testing.assert_close(plain.depth, masked.depth)
    assert float((plain.color - masked.color).abs().max()) > 0.01


def test_the_distill_baseline_renders():
    field = tiny_field(use_mjf=False, distill_dim=OV_DIM)
    views, volume = box_scene(field)
    origins, directions = some_rays(9)
    result = render_rays(field, views, volume, origins, directions, want_ov=True)
    assert result.color.shape == (len(origins), 3)
    assert result.ov.shape == (len(origins), OV_DIM)
