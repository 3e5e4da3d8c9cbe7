"""Depth from as little density as it takes: the same as from all of it where views agree."""

import pytest
import torch
from box_field import box_scene, tiny_field
from box_room import room_cameras, trace

from govnesf_model.checkpoint import load_field
from govnesf_model.map_depth import opaque_weights
from govnesf_model.ray_samples import clip_to_grid, place_samples
from govnesf_model.rendering import sample_weights


@pytest.fixture(scope="module")
def field():
    return load_field("small", "cpu").requires_grad_(False)


@pytest.fixture(scope="module")
def scene(field):
    """The volume of the box room, and rays of a camera in it with their true depth."""
    _, volume = box_scene(field, 6)
    camera = room_cameras(6)[2]
    origins, directions = (rays.flatten(0, 1).contiguous() for rays in camera.rays())
    return volume, origins, directions, trace(camera)[1].flatten()


def samples(volume, origins, directions, count: int = 48):
    start, end = clip_to_grid(volume.grid, origins, directions, 0.1, 8.0)
    return place_samples(start, end, count), end


def counted(field, monkeypatch) -> list[int]:
    """Count the points whose density is asked."""
    asked, density = [], field.density

    def counting(points, volume):
        asked.append(len(points))
        return density(points, volume)

    monkeypatch.setattr(field, "density", counting)
    return asked


def test_depth_is_that_of_all_density_from_a_fraction_of_it(field, scene, monkeypatch):
    volume, *rays, truth = scene
    t, end = samples(volume, *rays)
    whole = sample_weights(field, volume, *rays, t, end)[0]
    asked = counted(field, monkeypatch)
    lean = opaque_weights(field, volume, *rays, t, end)
    assert 0 < sum(asked) < 0.4 * t.numel()
    depths = [(w * t).sum(dim=1) / w.sum(dim=1).clamp_min(1e-6) for w in (whole, lean)]
    opaque = whole.sum(dim=1) > 0.7
    assert float(opaque.float().mean()) > 0.95
    assert float((lean.sum(dim=1) > 0.7)[opaque].float().mean()) > 0.99
    off = [(depth - truth)[opaque].abs().median() for depth in depths]
    assert float(off[0]) < 0.1
    assert float(off[1]) < float(off[0]) + 0.005
    assert float((depths[0] - depths[1])[opaque].abs().median()) < 0.02


def test_nothing_is_asked_in_free_space_nor_behind_a_wall(field, scene, monkeypatch):
    volume, origins, directions, truth = scene
    places = []
    density = field.density

    def noting(points, volume):
        places.append(points)
        return density(points, volume)

    monkeypatch.setattr(field, "density", noting)
    t, end = samples(volume, origins, directions)
    opaque_weights(field, volume, origins, directions, t, end)
    distance = (torch.cat(places) - origins[0]).norm(dim=1)
    nearest, farthest = (
        truth.min(),
        (truth.unsqueeze(1) * directions.norm(dim=1, keepdim=True)).max(),
    )
    assert float((distance < 0.5 * nearest).float().mean()) < 0.01
    assert float((distance > farthest + 0.5).float().mean()) < 0.05


def test_where_no_view_tells_all_density_counts(field, scene):
    volume, *rays, _ = scene
    t, end = samples(volume, *rays)
    unknown = torch.zeros_like(volume.fine_table)
    told, volume.fine_table = volume.fine_table, unknown
    try:
        whole = sample_weights(field, volume, *rays, t, end)[0]
        lean = opaque_weights(field, volume, *rays, t, end)
    finally:
        volume.fine_table = told
    torch.testing.assert_close(lean, whole, atol=1e-6, rtol=1e-4)


def test_a_field_without_evidence_is_asked_everywhere(monkeypatch):
    field = tiny_field(evidence_split=0, encode_surface=False)
    _, volume = box_scene(field, 2)
    origins, directions = (rays.flatten(0, 1) for rays in room_cameras(2)[0].rays())
    t, end = samples(volume, origins, directions, 8)
    with torch.no_grad():
        whole = sample_weights(field, volume, origins, directions, t, end)[0]
        lean = opaque_weights(field, volume, origins, directions, t, end)
    assert torch.equal(lean, whole)
