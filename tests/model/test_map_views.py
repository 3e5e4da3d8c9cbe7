"""The surfaces that keyframes bring along, measured or matched, and how views stack them."""

import dataclasses

import numpy as np
import pytest
import torch
from box_field import tiny_field
from box_room import look_at, room_cameras, trace
from furnished_room import ColorEncoder

from govnesf_model.cameras import Camera
from govnesf_model.data.posed_scene import Frame
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_views import encode_frame, with_surface
from govnesf_model.surfaces import stereo_surfaces
from govnesf_model.view_stack import stack_views

WIDTH, HEIGHT = 100, 72  # no multiples of 16


@pytest.fixture(scope="module")
def field():
    field = tiny_field()
    torch.nn.init.normal_(field.stereo.leave.weight, std=0.3)  # as if it had learned something
    return field


def frames(count: int, depth: bool) -> list[Frame]:
    """Return what a camera sees that moves sideways through the box room."""
    K = room_cameras(1, WIDTH, HEIGHT)[0].K
    step = torch.tensor([0.12, -0.15, 0.0])
    found = []
    for number in range(count):
        eye = torch.tensor([1.0, 1.2, 1.3]) + number * step
        pose = look_at(eye, torch.tensor([3.6, 2.4, 1.0]) + number * step)
        rgb, z, _ = trace(Camera(K, pose, WIDTH, HEIGHT))
        found.append(
            Frame(
                name=f"{number:04d}",
                index=number,
                rgb=(rgb.numpy() * 255).round().astype(np.uint8),
                K=K.double().numpy(),
                T_world_camera=pose.double().numpy(),
                depth=z.numpy() if depth else None,
                label=None,
                stamp=None,
            )
        )
    return found


def encoded(field, frames: list[Frame], others=()) -> list[Keyframe]:
    config = MapConfig(image_width=WIDTH)
    with torch.no_grad():
        return [
            encode_frame(field, ColorEncoder(), frame, config, number, others=others)
            for number, frame in enumerate(frames)
        ]


def test_measured_depth_is_the_surface_as_it_is(field):
    frame = frames(1, depth=True)[0]
    frame.depth[:10] = 0.0
    keyframe = encoded(field, [frame])[0]
    assert keyframe.surface_depth.shape == (1, HEIGHT, WIDTH)
    np.testing.assert_allclose(keyframe.surface_depth[0].numpy(), frame.depth, rtol=1e-3)
    assert float(keyframe.surface_spread[0, :10].abs().max()) == 0.0
    doubt = 0.006 + 0.003 * frame.depth[10:]
    np.testing.assert_allclose(keyframe.surface_spread[0, 10:].numpy(), doubt, rtol=5e-3)
    tensors = (keyframe.surface_depth, keyframe.surface_spread, keyframe.match)
    held = sum(tensor.numel() * 2 for tensor in tensors)
    bare = dataclasses.replace(keyframe, surface_depth=None, surface_spread=None, match=None)
    assert keyframe.bytes - bare.bytes == held


def test_keyframes_are_matched_like_views_of_one_scene(field):
    """The map, one view at a time, and training, all at once, must see the same depth."""
    keyframes = encoded(field, frames(4, depth=False), others=None)
    assert all(keyframe.surface is None for keyframe in keyframes)
    views = stack_views(tuple(keyframes), torch.device("cpu"))
    assert views.surface is None
    expected = stereo_surfaces(field, views.rgb, None, views.K, views.T_world_camera)
    with torch.no_grad():
        matched = [with_surface(field, keyframe, keyframes) for keyframe in keyframes]
    for number, keyframe in enumerate(matched):
        assert keyframe.surface_depth.shape == (1, HEIGHT // 4, WIDTH // 4)
        assert keyframe.surface_depth.dtype == torch.float16
        off = (keyframe.surface_depth[0].float() / expected.depth[number].float() - 1).abs()
        assert float(off.median()) < 0.005  # `match` is kept in half precision
        assert float((off < 0.05).float().mean()) > 0.95


def test_others_of_another_size_are_not_matched_against(field):
    one, two = encoded(field, frames(2, depth=False), others=None)
    other = dataclasses.replace(two, rgb=np.zeros((48, 64, 3), np.uint8))
    with torch.no_grad():
        alone = with_surface(field, one, [])
        strange = with_surface(field, one, [other])
        beside = with_surface(field, one, [two])
    assert torch.equal(alone.surface_depth, strange.surface_depth)
    assert not torch.equal(alone.surface_depth, beside.surface_depth)


def test_views_of_both_kinds_are_stacked_at_the_coarser_stride(field):
    measured = encoded(field, frames(1, depth=True))[0]
    matched = encoded(field, frames(2, depth=False)[1:])[0]
    views = stack_views((measured, matched), torch.device("cpu"))
    assert views.surface.depth.shape == (2, HEIGHT // 4, WIDTH // 4)
    assert torch.equal(views.surface.depth[0], measured.surface_depth[0, 1::4, 1::4])
    assert torch.equal(views.surface.depth[1], matched.surface_depth[0])
    alike = stack_views((measured, measured), torch.device("cpu"))
    assert alike.surface.depth.shape == (2, HEIGHT, WIDTH)


def test_a_field_without_evidence_keeps_no_surfaces():
    field = tiny_field(stereo_planes=0, evidence_split=0, encode_surface=False)
    for depth in (True, False):
        keyframe = encoded(field, frames(1, depth))[0]
        assert keyframe.surface is None
        assert keyframe.match is None
        assert stack_views((keyframe,), torch.device("cpu")).surface is None


def test_without_stereo_only_measured_depth_is_a_surface():
    field = tiny_field(stereo_planes=0)
    assert encoded(field, frames(1, depth=True))[0].surface is not None
    assert encoded(field, frames(1, depth=False))[0].surface is None
