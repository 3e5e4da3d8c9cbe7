"""The volume of the online map: which tiles there are, and that only what changed is run."""

import dataclasses

import numpy as np
import pytest
import torch
from box_field import tiny_field
from box_room import LOWER, UPPER, look_at, room_cameras, trace

from govnesf_model.cameras import Camera, unproject
from govnesf_model.checkpoint import load_field
from govnesf_model.evidence import measured_surface
from govnesf_model.gather import gather
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_views import field_maps
from govnesf_model.map_volume import Look, MapVolume, changed_boxes, look_of
from govnesf_model.tile_grid import TILE

WIDTH, HEIGHT = 96, 72
CONFIG = MapConfig(image_width=WIDTH)


@pytest.fixture(scope="module")
def field():
    return tiny_field()


def keyframes(field, count: int = 3, shift: tuple[float, float, float] = (0, 0, 0), first=0):
    """Return what a camera sees that turns about in the box room, wherever the room stands."""
    result = []
    for number in range(first, first + count):
        camera = room_cameras(8, WIDTH, HEIGHT)[number % 8]
        rgb, depth, _ = trace(camera)
        pose = camera.T_world_camera.clone()
        pose[:3, 3] += torch.tensor(shift)
        with torch.no_grad():
            maps = field_maps(field, rgb.permute(2, 0, 1).unsqueeze(0))
        surface = measured_surface(depth.unsqueeze(0))
        result.append(
            Keyframe(
                id=number,
                stamp=float(number),
                rgb=(255 * rgb).byte().numpy(),
                K=camera.K.numpy(),
                T_world_camera=pose.numpy(),
                depth=depth.numpy(),
                ov=torch.zeros(1, 1, 1),
                ov_stride=4,
                source_size=(WIDTH, HEIGHT),
                surface_depth=surface.depth,
                surface_spread=surface.spread,
                **maps,
            )
        )
    return result


def volume_of(field, keyframes) -> MapVolume:
    volume = MapVolume(field, CONFIG)
    for keyframe in keyframes:
        volume.add(keyframe)
    return volume


def points_of_room(count: int = 3000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return LOWER - 0.1 + (UPPER - LOWER + 0.2) * torch.rand(count, 3, generator=generator)


def test_tiles_cover_what_a_surface_shows_and_nothing_far_behind(field):
    keyframe = keyframes(field, 1)[0]
    voxel = field.config.voxel_size
    edge = TILE * voxel
    tiles = set(look_of(keyframe, CONFIG, voxel).tiles)
    uv = torch.cartesian_prod(torch.arange(0.0, WIDTH, 3), torch.arange(0.0, HEIGHT, 3))
    K, T = torch.from_numpy(keyframe.K), torch.from_numpy(keyframe.T_world_camera)
    depth = torch.from_numpy(keyframe.depth)[uv[:, 1].long(), uv[:, 0].long()]
    for part in (0.0, 0.3, 0.7, 1.0):
        at = unproject(uv, part * depth, K, T)
        names = torch.floor(at / edge).long().unique(dim=0).tolist()
        lost = {tuple(name) for name in names} - tiles
        assert len(lost) <= 0.05 * len(names)
    lower = (np.array(list(tiles)) * edge).max(axis=0)
    upper = (np.array(list(tiles)) * edge).min(axis=0) + edge
    assert (lower < UPPER.numpy() + 0.33).all()
    assert (upper > LOWER.numpy() - 0.33).all()
    # The view ends at walls and floor, a margin of 0.32 m behind them; it does not see the ceiling.
    bounds = np.array(look_of(keyframe, CONFIG, voxel).bounds) * voxel
    assert (bounds[0] >= LOWER.numpy() - 0.32 - voxel).all()
    assert bounds[0][2] == pytest.approx(-0.32, abs=voxel)
    assert (bounds[1] <= UPPER.numpy() + 0.32 + voxel).all()
    # The same surface known at stride 4 alone opens the same tiles, but for some at the border.
    coarse = dataclasses.replace(
        keyframe,
        surface_depth=keyframe.surface_depth[:, 1::4, 1::4],
        surface_spread=keyframe.surface_spread[:, 1::4, 1::4],
    )
    assert len(tiles ^ set(look_of(coarse, CONFIG, voxel).tiles)) <= 0.1 * len(tiles)
    doubtful = dataclasses.replace(coarse, surface_spread=coarse.surface_spread * 0 + 0.5)
    corners = keyframe.T_world_camera[:3, 3] + 0.32 * np.array([[-1.0], [1.0]])
    here = {tuple(t) for t in np.floor(corners / edge).astype(int).tolist()}
    assert here <= set(look_of(doubtful, CONFIG, voxel).tiles)
    assert len(look_of(doubtful, CONFIG, voxel).tiles) <= 8


def test_one_pixel_that_is_wrong_by_far_opens_no_tile(field):
    keyframe = keyframes(field, 1)[0]
    wrong = keyframe.surface_depth.clone()
    wrong[:, 3::30, 3::30] = 50.0
    wrong = dataclasses.replace(keyframe, surface_depth=wrong)
    voxel = field.config.voxel_size
    tiles = look_of(wrong, MapConfig(max_depth=60.0), voxel).tiles
    assert len(tiles) < 1.2 * len(look_of(keyframe, CONFIG, voxel).tiles)


def test_without_any_surface_the_frustum_is_covered(field):
    keyframe = dataclasses.replace(
        keyframes(field, 1)[0], surface_depth=None, surface_spread=None, depth=None
    )
    tiles = look_of(keyframe, CONFIG, field.config.voxel_size).tiles
    axis = torch.tensor([[WIDTH / 2, HEIGHT / 2]])
    at = unproject(
        axis,
        torch.tensor([4.0]),
        torch.from_numpy(keyframe.K),
        torch.from_numpy(keyframe.T_world_camera),
    )
    edge = TILE * field.config.voxel_size
    assert tuple(torch.floor(at[0] / edge).long().tolist()) in tiles


def test_boxes_cover_what_changed_and_none_is_large():
    generator = np.random.default_rng(0)
    assert changed_boxes([]) == []

    def look(low: int, high: int, count: int) -> Look:
        tiles = np.unique(generator.integers(low, high, (count, 3)), axis=0)
        bounds = (
            tuple((tiles.min(0) * TILE + 3).tolist()),
            tuple((tiles.max(0) * TILE + 6).tolist()),
        )
        return Look([tuple(tile) for tile in tiles.tolist()], bounds)

    near, far = look(0, 4, 200), look(300, 330, 50)
    ((lower, upper),) = changed_boxes([near])
    assert (tuple(lower), tuple(upper)) == near.bounds
    boxes = changed_boxes([near, far])
    assert len(boxes) > 2
    for kind in (near, far):
        for tile in kind.tiles:
            voxels = np.arange(TILE)[:, None] + np.array(tile) * TILE
            voxels = voxels.clip(kind.bounds[0], np.array(kind.bounds[1]) - 1)
            holds = [((voxels >= a) & (voxels < b)).all() for a, b in boxes]
            assert sum(holds) == 1
    assert max((b - a).max() for a, b in boxes) <= 8 * TILE


def test_running_what_changed_is_close_to_running_everything():
    """With the shipped weights: how far ring and margin are from running all of it."""
    field = load_field("small")
    found = keyframes(field, 4)
    volume = volume_of(field, found[:2])
    volume.run()
    for keyframe in found[2:]:
        volume.add(keyframe)
        step = volume.run()
    whole = volume_of(field, found).run()
    points = points_of_room()
    with torch.no_grad():
        one, two = field.density(points, step), field.density(points, whole)
    alpha = [1 - torch.exp(-0.05 * sigma) for sigma in (one, two)]
    error = (alpha[0] - alpha[1]).abs()
    assert float(alpha[1].max()) > 0.8
    assert float(error.mean()) < 0.002
    assert float(error.quantile(0.99)) < 0.02


def test_far_tiles_stay_bit_identical_and_are_not_run_again(field, monkeypatch):
    volume = volume_of(field, keyframes(field))
    before = volume.run()
    points = points_of_room()
    with torch.no_grad():
        sigma = field.density(points, before)
    rows = gather(before.fusion_table, *before.grid.taps(points))
    cells = []
    run = field.volume_from

    def counted(grid, *inputs):
        cells.append(grid.cells)
        return run(grid, *inputs)

    monkeypatch.setattr(field, "volume_from", counted)
    for number in range(5):  # rooms in a row, each far from the others
        for keyframe in keyframes(field, 3, (20.0 * (1 + number), 0, 0), first=3 * (1 + number)):
            volume.add(keyframe)
        after = volume.run()
    assert len(cells) == 5
    assert max(cells) < 1.5 * cells[0]  # all of them would be five times as many
    with torch.no_grad():
        assert torch.equal(field.density(points, after), sigma)
    assert torch.equal(gather(after.fusion_table, *after.grid.taps(points)), rows)
    # All rooms are alike, wherever they stand: there is no wall at 6.4, 12.8 or 100 m.
    with torch.no_grad():
        far = field.density(points + torch.tensor([100.0, 0.0, 0.0]), after)
        there = volume_of(field, keyframes(field, 3, first=15)).run()
        torch.testing.assert_close(far, field.density(points, there), atol=0.05, rtol=0.05)
    # A reader's volume is what it was.
    with torch.no_grad():
        assert torch.equal(field.density(points, before), sigma)


def test_taking_a_keyframe_out_takes_its_votes_and_its_tiles_out(field):
    found = keyframes(field, 3)
    far = keyframes(field, 1, (30.0, 0, 0), first=3)[0]
    volume, exact = volume_of(field, [*found, far]), volume_of(field, found[:2])
    everything, held = volume.run(), volume.bytes
    volume.remove(found[2])
    volume.remove(far)
    left, expected = volume.run(), exact.run()
    assert volume.bytes < held
    assert volume.voxels == exact.voxels
    points = points_of_room()
    tables = [v.fine_table for v in (left, expected, everything)]
    fine = [v.fine_grid for v in (left, expected, everything)]
    rows = [gather(t, *g.taps(points))[:, :2] for t, g in zip(tables, fine, strict=True)]
    torch.testing.assert_close(rows[0], rows[1], atol=1e-4, rtol=1e-4)
    assert float((rows[2] - rows[0]).abs().max()) > 0.1
    with torch.no_grad():
        ours, theirs = field.density(points, left), field.density(points, expected)
    torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-2)
    volume.remove(far)  # it is gone: nothing happens
    assert volume.voxels == exact.voxels


def test_one_that_makes_room_leaves_what_it_showed_until_another_looks_there(field, monkeypatch):
    found = keyframes(field, 3)
    far = keyframes(field, 1, (30.0, 0, 0), first=3)[0]
    volume = volume_of(field, [*found, far])
    everything = volume.run()
    ran = []
    run = field.volume_from
    monkeypatch.setattr(field, "volume_from", lambda *inputs: ran.append(inputs) or run(*inputs))
    volume.remove(found[2], later=True)
    volume.remove(far, later=True)
    left, points = volume.run(), points_of_room()
    assert not ran
    with torch.no_grad():
        there = left.grid.contains(points)
        before, after = (field.density(points[there], v) for v in (everything, left))
        assert float((before == after).float().mean()) > 0.95  # beside tiles that are gone
        # Tiles that no keyframe looks into are gone at once.
        assert volume.voxels == volume_of(field, found[:2]).voxels
        assert not left.grid.contains(points + torch.tensor([30.0, 0.0, 0.0])).any()
        # Another look there brings what the voxels really hold.
        again = dataclasses.replace(found[2], id=9)
        volume.add(again)
        volume.run()
        volume.remove(again)
        expected = volume_of(field, found[:2]).run()
        ours, theirs = field.density(points, volume.run()), field.density(points, expected)
    torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-2)


def test_a_baseline_that_regresses_reads_tiles_too():
    field = tiny_field(use_mjf=False, distill_dim=3)
    volume = volume_of(field, keyframes(field)).run()
    points = points_of_room(50)
    rows = gather(volume.features.permute(1, 2, 3, 0).flatten(0, 2), *volume.grid.taps(points))
    with torch.no_grad():
        torch.testing.assert_close(
            field.density_in(rows), gather(volume.density_table, *volume.grid.taps(points))
        )


def test_the_camera_of_a_frame_is_inside(field):
    eye, target = torch.tensor([1.0, 1.0, 1.5]), torch.tensor([3.0, 2.0, 1.0])
    camera = Camera(room_cameras(1, WIDTH, HEIGHT)[0].K, look_at(eye, target), WIDTH, HEIGHT)
    keyframe = dataclasses.replace(
        keyframes(field, 1)[0], T_world_camera=camera.T_world_camera.numpy()
    )
    assert bool(volume_of(field, [keyframe]).run().grid.contains(eye[None]).all())
