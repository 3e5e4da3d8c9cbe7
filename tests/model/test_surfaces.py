import pytest
import torch
from box_field import tiny_field
from box_room import look_at, trace
from textured_room import textured_views

from govnesf_model.cameras import Camera
from govnesf_model.stereo import Surface, choose_sources, settle
from govnesf_model.surfaces import (
    at_stride,
    confirmed_surfaces,
    describe_view,
    matched_surface,
    stereo_surfaces,
)


@pytest.fixture(scope="module")
def field():
    field = tiny_field()
    torch.nn.init.normal_(field.stereo.leave.weight, std=0.3)  # as if it had learned something
    return field


def seen(count: int, width: int, height: int):
    """Return colours, intrinsics and poses of a camera that moves sideways through the box room."""
    K = torch.tensor(
        [[0.7 * width, 0, (width - 1) / 2], [0, 0.7 * width, (height - 1) / 2], [0, 0, 1]]
    )
    step = torch.tensor([0.12, -0.15, 0.0])
    poses = torch.stack(
        [
            look_at(
                torch.tensor([1.0, 1.2, 1.3]) + n * step, torch.tensor([3.6, 2.4, 1.0]) + n * step
            )
            for n in range(count)
        ]
    )
    rgb = torch.stack([trace(Camera(K, T, width, height))[0].permute(2, 0, 1) for T in poses])
    return rgb, K.expand(count, 3, 3).clone(), poses


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (61, 41), (5, 3), (322, 7)])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_at_stride_takes_the_pixel_next_to_the_middle_of_each_cell(size, stride):
    width, height = size
    depth = torch.arange(float(height * width)).view(1, height, width)
    small = at_stride(Surface(depth, depth / 2), stride)
    rows, columns = -(-height // stride), -(-width // stride)
    assert small.depth.shape == (1, rows, columns)
    for row in (0, rows // 2, rows - 1):
        for column in (0, columns // 2, columns - 1):
            value = float(small.depth[0, row, column])
            line, place = divmod(int(value), width)
            middle = (stride * column + (stride - 1) / 2, stride * row + (stride - 1) / 2)
            # The nearest pixel that the image has.
            assert abs(place - min(middle[0], width - 1)) <= 0.5
            assert abs(line - min(middle[1], height - 1)) <= 0.5
            assert float(small.spread[0, row, column]) == value / 2


def test_at_stride_one_is_the_surface_itself():
    surface = Surface(torch.rand(2, 7, 9), torch.rand(2, 7, 9))
    assert at_stride(surface, 1) is surface


@pytest.mark.parametrize("size", [(64, 48), (70, 50), (61, 43)])
def test_surfaces_have_a_cell_for_every_four_pixels(field, size):
    width, height = size
    rgb, K, poses = seen(3, width, height)
    surface = stereo_surfaces(field, rgb, None, K, poses)
    assert surface.depth.shape == surface.spread.shape == (3, -(-height // 4), -(-width // 4))
    depths = field.stereo.depths()
    assert bool((surface.depth >= depths[0] * 0.99).all())
    assert bool((surface.depth <= depths[-1] * 1.01).all())
    assert bool((surface.spread >= 0).all())


def test_known_maps_give_the_same_as_running_the_backbone(field):
    rgb, K, poses = seen(3, 64, 48)
    with torch.no_grad():
        maps = field.encoder.backbone(rgb)
    fresh = stereo_surfaces(field, rgb, None, K, poses)
    cached = stereo_surfaces(field, rgb, maps, K, poses)
    torch.testing.assert_close(cached.depth, fresh.depth, atol=2e-2, rtol=5e-3)
    halved = stereo_surfaces(field, rgb, [level.half() for level in maps], K, poses)
    off = (halved.depth.float() / fresh.depth.float() - 1).abs()
    assert float(off.median()) < 0.01


def test_a_view_matched_on_its_own_is_what_it_is_among_the_others(field):
    """The map keeps `match` of each keyframe; both ways must agree, whatever the order of views."""
    rgb, K, poses = seen(4, 70, 50)
    together = stereo_surfaces(field, rgb, None, K, poses)
    matches, parts = [], []
    with torch.no_grad():
        for image in rgb.split(1):
            levels = field.encoder.backbone(image)
            detail, match = describe_view(field, image, levels)
            matches.append(match)
            parts.append((levels, detail))
    near = choose_sources(poses, K, 70, 50, 2)
    assert len(near) == 3
    rows = [2, *near]
    match = torch.cat([matches[row] for row in rows])
    alone = matched_surface(
        field, *parts[2], match, K[rows], poses[rows], (70, 50), 0, list(range(1, len(rows)))
    )
    torch.testing.assert_close(alone.depth[0], together.depth[2], atol=1e-2, rtol=2e-3)
    order = [3, 1, 2, 0]
    turned = stereo_surfaces(field, rgb[order], None, K[order], poses[order])
    torch.testing.assert_close(turned.depth[2], together.depth[2], atol=1e-2, rtol=2e-3)


def test_no_gradient_is_kept(field):
    rgb, K, poses = seen(2, 64, 48)
    surface = stereo_surfaces(field, rgb, None, K, poses)
    assert not surface.depth.requires_grad


def test_a_lone_view_has_a_surface_as_well(field):
    rgb, K, poses = seen(1, 64, 48)
    surface = stereo_surfaces(field, rgb, None, K, poses)
    assert bool(torch.isfinite(surface.depth).all())
    with torch.no_grad():
        levels = field.encoder.backbone(rgb)
        detail, match = describe_view(field, rgb, levels)
        logits = field.stereo(levels, detail, match, K, poses, 64, [(0, [])])
    expected = settle(logits, field.stereo.depths()).depth
    torch.testing.assert_close(surface.depth.float(), expected, atol=1e-2, rtol=1e-3)


def test_a_covered_lens_spoils_no_other_view(field):
    rgb, K, poses = seen(3, 64, 48)
    rgb[1] = 0.0
    surface = stereo_surfaces(field, rgb, None, K, poses)
    assert bool(torch.isfinite(surface.depth).all())
    assert bool(torch.isfinite(surface.spread).all())


@pytest.fixture(scope="module")
def matched():
    """Views whose depth is exact, and doubted by a tenth everywhere."""
    views = textured_views(6)
    depth = at_stride(views.surface, 4).depth
    return views, Surface(depth, torch.full_like(depth, 0.1))


def test_a_depth_that_others_find_is_doubted_less_and_stays(matched):
    views, surface = matched
    confirmed = confirmed_surfaces(surface, views.K, views.T_world_camera, views.width)
    torch.testing.assert_close(confirmed.depth, surface.depth)
    assert float(confirmed.spread.median()) < 0.07
    assert float(confirmed.spread.min()) >= 0.05


def test_a_depth_that_others_look_through_is_doubted_more(matched):
    views, surface = matched
    depth = surface.depth.clone()
    depth[2, 10:20, 15:25] *= 0.6  # in the air
    wrong = Surface(depth, surface.spread)
    confirmed = confirmed_surfaces(wrong, views.K, views.T_world_camera, views.width)
    assert float(confirmed.spread[2, 11:19, 16:24].median()) > 0.15
    assert float(confirmed.spread[2, :8].median()) < 0.1


def test_what_is_hidden_from_others_or_seen_by_nobody_else_is_doubted_as_before(matched):
    views, surface = matched
    depth = surface.depth.clone()
    depth[2] *= 1.5  # behind what all others see
    behind = Surface(depth, surface.spread)
    confirmed = confirmed_surfaces(behind, views.K, views.T_world_camera, views.width)
    assert float((confirmed.spread[2] - 0.1).abs().median()) < 0.005
    alone = confirmed_surfaces(surface[:1], views.K[:1], views.T_world_camera[:1], views.width)
    torch.testing.assert_close(alone.spread, surface.spread[:1])
