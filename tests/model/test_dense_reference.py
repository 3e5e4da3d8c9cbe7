import dataclasses

import pytest
import torch
import torch.nn.functional as F
from box_field import box_scene, random_points, tiny_field
from box_room import room_cameras

from govnesf_model.blending import blend_color, blend_semantic
from govnesf_model.cost_volume import batch_features
from govnesf_model.dense_reference import DenseReference, FullMaps, dense_volume
from govnesf_model.rendering import render_rays


def wild(field):
    """Shake the weights: what starts at 0 in an untrained field would hide errors."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return field


def full_resolution(views):
    """Give the views random maps at stride 1, where both forms interpolate alike."""
    generator = torch.Generator().manual_seed(2)
    ov = torch.randn(len(views), views.height, views.width, 12, generator=generator)
    return dataclasses.replace(views, ov=F.normalize(ov, dim=-1), ov_stride=1)


def rays(step: int = 7):
    origins, directions = room_cameras(7)[3].rays()
    return origins[::step, ::step].reshape(-1, 3), directions[::step, ::step].reshape(-1, 3)


CASES = (
    {},
    {"use_cva": False},
    {"use_vfa": False},
    {"encode_distance": False},
    {"evidence_split": 0, "encode_surface": False, "stereo_planes": 0},
)


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_exact_path_is_the_plain_form_of_the_equations(changes):
    field = wild(tiny_field(fine_samples=0, background=False, **changes))
    views, volume = box_scene(field)
    views = full_resolution(views)
    with torch.no_grad():
        exact = render_rays(field, views, volume, *rays(), want_ov=True, exact=True)
    plain = DenseReference(field, views, volume).render(*rays())
    assert float(exact.depth.std()) > 1e-3  # something is there to be different
    for name in ("color", "depth", "opacity", "ov"):
        torch.testing.assert_close(getattr(plain, name), getattr(exact, name), atol=1e-3, rtol=0)


def test_what_the_grid_leaves_over_takes_the_background():
    """The exact path leaves out what weighs below a hundredth, and so it may be that far off."""
    field = wild(tiny_field(fine_samples=0, background=True))
    views, volume = box_scene(field)
    views = full_resolution(views)
    with torch.no_grad():
        exact = render_rays(field, views, volume, *rays(), want_ov=True, exact=True)
    plain = DenseReference(field, views, volume).render(*rays())
    for name in ("color", "ov"):
        off = (getattr(plain, name) - getattr(exact, name)).abs().amax(dim=1)
        # Rays may end on the very edge of a view, where rounding decides who sees the end.
        assert float((off < 0.01).float().mean()) > 0.95


def test_points_are_blended_alike():
    field = wild(tiny_field())
    views, volume = box_scene(field)
    views = full_resolution(views)
    points = random_points(200)
    points[0] = 50.0  # no view sees it
    directions = F.normalize(random_points(200, seed=3) - 1.0, dim=1)
    blend = field.blend(points, views, volume, k=0, directions=directions)
    ov, color = DenseReference(field, views, volume).blend(points, directions)
    torch.testing.assert_close(ov, blend_semantic(blend, points, views), atol=1e-4, rtol=0)
    torch.testing.assert_close(color, blend_color(blend, points, views), atol=1e-4, rtol=0)
    assert float(ov[0].abs().max()) == 0


def test_maps_are_brought_to_the_resolution_of_the_images():
    """A map that is linear in the image stays so: pixel u of stride 4 lies at (u - 1.5) / 4."""
    field = tiny_field()
    views, _ = box_scene(field)
    ramp = torch.arange(16.0).view(1, 1, 16, 1).expand(len(views), 12, 16, 1)
    views = dataclasses.replace(views, ov=ramp)
    for keep in (True, False):
        full = FullMaps(views, keep)[2]
        assert full.shape == (1, 1, 48, 64)
        expected = ((torch.arange(64) - 1.5) / 4).clamp(0, 15)
        torch.testing.assert_close(full[0, 0, 7], expected)


def test_the_volume_computed_anew_is_that_of_the_statistics():
    field = tiny_field()
    views, volume = box_scene(field)
    maps = torch.randn(len(views), 8, 12, 16, generator=torch.Generator().manual_seed(0))
    expected = batch_features(volume.grid, maps, views.K, views.T_world_camera, 64, 48)
    torch.testing.assert_close(
        dense_volume(volume.grid, maps, views), expected[:-1], atol=1e-5, rtol=1e-4
    )


def test_fields_that_regress_are_refused():
    field = tiny_field(use_mjf=False, distill_dim=4)
    views, volume = box_scene(field)
    with pytest.raises(ValueError, match="without MJF"):
        DenseReference(field, views, volume)
