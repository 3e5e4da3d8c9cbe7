import pytest
import torch
from box_field import box_scene, random_points, tiny_field
from box_room import room_cameras, trace

from govnesf_model.precision import chosen, half_convolutions
from govnesf_model.surfaces import stereo_surfaces

CPU = torch.device("cpu")


def images(count: int = 3) -> torch.Tensor:
    return torch.stack([trace(c)[0].permute(2, 0, 1) for c in room_cameras(count)])


def test_words_stand_for_precisions():
    assert chosen("auto", CPU) is None
    assert chosen("full", torch.device("cuda")) is None
    assert chosen("bf16", CPU) is torch.bfloat16
    assert chosen("fp16", CPU) is torch.float16
    with pytest.raises(ValueError, match="'half' is not one of auto, full, bf16, fp16"):
        tiny_field().use_precision("half")


@torch.no_grad()
def test_maps_in_half_precision_are_those_in_full_to_a_percent():
    field = tiny_field()
    full = field.encode_images(images())
    field.use_precision("bf16")
    half = field.encode_images(images())
    for one, other in ((half.volume, full.volume), (half.query, full.query)):
        assert one.dtype == torch.float32
        error = (one - other).norm() / other.norm()
        assert 0 < float(error) < 0.02  # it is another precision, and little is lost


@torch.no_grad()
def test_density_and_weights_follow_from_half_precision_almost_as_from_full():
    field = tiny_field()
    views, volume = box_scene(field)
    points = random_points(300)
    sigma, weight = field.density(points, volume), field.blend(points, views, volume).w_semantic
    field.use_precision("bf16")
    half_views, half_volume = box_scene(field)
    again = field.density(points, half_volume)
    assert half_volume.features.dtype == again.dtype == torch.float32
    assert float((again - sigma).abs().mean()) < 0.02 * float(sigma.abs().mean())
    other = field.blend(points, half_views, half_volume).w_semantic
    assert float((other - weight).abs().max()) < 0.05


@torch.no_grad()
def test_stereo_in_half_precision_settles_on_nearly_the_same_depth():
    field, cameras = tiny_field(), room_cameras(6)
    K = torch.stack([camera.K for camera in cameras])
    T = torch.stack([camera.T_world_camera for camera in cameras])
    full = stereo_surfaces(field, images(6), None, K, T).depth.float()
    field.use_precision("bf16")
    half = stereo_surfaces(field, images(6), None, K, T).depth.float()
    off = (half / full - 1).abs()
    assert float(off.median()) < 0.02


def test_what_is_learned_keeps_its_callers_precision():
    field = tiny_field()
    field.use_precision("bf16")
    with half_convolutions(field, torch.zeros(1)):
        assert not torch.is_autocast_enabled("cpu")
    with torch.no_grad(), half_convolutions(field, torch.zeros(1)):
        assert torch.is_autocast_enabled("cpu")


@torch.no_grad()
def test_channels_last_changes_no_number():
    field, inputs = tiny_field(), images()
    plain = field.encode_images(inputs)
    field.encoder.to(memory_format=torch.channels_last)
    last = field.encode_images(inputs.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last.volume, plain.volume, atol=1e-5, rtol=1e-4)
