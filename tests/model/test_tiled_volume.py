"""What views put into tiles against one dense volume."""

import pytest
import torch
from box_room import LOWER, UPPER, room_cameras, trace

from govnesf_model.evidence import measured_surface
from govnesf_model.scene_volume import SceneVolume
from govnesf_model.tile_grid import TILE
from govnesf_model.tiled_volume import TiledVolume, tiles_of_box, to_dense, to_tiles

VOXEL, SIZE = 0.25, (64, 48)


@pytest.fixture(scope="module")
def views():
    """Four views of a room: features, intrinsics, poses and measured surfaces."""
    torch.manual_seed(0)
    result = []
    for camera in room_cameras(4):
        surface = measured_surface(trace(camera)[1][None])
        feat = torch.randn(6, 12, 16)
        result.append((feat, camera.K, camera.T_world_camera, *SIZE, surface))
    return result


def room_box():
    """Return the lowest tile of the room, the number of tiles and the voxels that they span."""
    edge = TILE * VOXEL
    first = torch.floor((LOWER - 0.5) / edge).long()
    last = torch.floor((UPPER + 0.5) / edge).long()
    lower, upper = (first * TILE).tolist(), ((last + 1) * TILE).tolist()
    return first.tolist(), (last - first + 1).tolist(), tuple(lower), tuple(upper)


def filled(views, split=2):
    first, counts, lower, upper = room_box()
    tiles = tiles_of_box(first, counts)
    volume = TiledVolume(VOXEL, 6, split)
    for view in views:
        volume.add_view(tiles, (lower, upper), *view)
    return volume, tiles, lower, upper


def dense(views, grid, split=2):
    scene = SceneVolume(grid, 6, split)
    for view in views:
        scene.add_view(*view)
    return scene


@pytest.mark.parametrize("split", [0, 2])
def test_tiles_hold_what_one_dense_volume_holds(views, split):
    volume, tiles, lower, upper = filled(views, split)
    grid, features, evidence = volume.box(lower, upper)
    scene = dense(views, grid, split)
    assert float(scene.cost.count.max()) >= 2
    torch.testing.assert_close(features, scene.cost.features(), atol=1e-5, rtol=1e-5)
    if split:
        torch.testing.assert_close(evidence, scene.evidence.table(), atol=1e-5, rtol=1e-5)
    else:
        assert evidence is None
    assert len(volume.tiles) == len(tiles)


def test_any_part_of_the_tiles_can_be_had(views):
    volume, _, lower, upper = filled(views)
    lower = tuple(low + 3 for low in lower)
    upper = tuple(up + 5 for up in upper)  # nothing is there
    grid, features, evidence = volume.box(lower, upper)
    scene = dense(views, grid)
    inner = tuple(slice(0, up - low - 5) for low, up in zip(lower, upper, strict=True))
    part = (slice(None), *inner)
    torch.testing.assert_close(features[part], scene.cost.features()[part], atol=1e-5, rtol=1e-5)
    assert float(features[:, inner[0].stop :].abs().max()) == 0.0
    whole = evidence.view(*(2 * n for n in grid.shape), 2)
    expected = scene.evidence.table().view_as(whole)
    fine = tuple(slice(0, 2 * s.stop) for s in inner)
    torch.testing.assert_close(whole[fine], expected[fine], atol=1e-5, rtol=1e-5)
    assert float(whole[fine[0].stop :].abs().max()) == 0.0


def test_taking_a_view_out_is_never_having_put_it_in(views):
    volume, tiles, lower, upper = filled(views)
    before = [t.clone() for t in volume.box(lower, upper)[1:]]
    few = tiles[:3]
    bounds = lower, tuple(up - 5 for up in upper)
    volume.add_view(few, bounds, *views[0])
    assert float((volume.box(lower, upper)[1] - before[0]).abs().max()) > 0.01
    volume.remove_view(few, bounds, *views[0])
    for one, two in zip(volume.box(lower, upper)[1:], before, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    for view in views:
        volume.remove_view(tiles, (lower, upper), *view)
    assert len(volume.tiles) == 0
    assert volume.bytes == 0


def test_a_view_touches_its_own_tiles_alone(views):
    volume, tiles, *bounds = filled(views[:1])
    others = {tile: volume.tiles[tile].mean.clone() for tile in tiles[4:]}
    volume.add_view(tiles[:4], tuple(bounds), *views[1])
    for tile, mean in others.items():
        assert torch.equal(volume.tiles[tile].mean, mean)
    assert [volume.tiles[tile].views for tile in tiles[3:5]] == [2, 1]


def test_a_view_that_was_never_put_in_is_refused(views):
    volume, tiles, *bounds = filled(views[:1])
    volume.remove_view(tiles, tuple(bounds), *views[0])
    with pytest.raises(KeyError):
        volume.remove_view(tiles, tuple(bounds), *views[0])


def test_nothing_beyond_its_bounds_hears_of_a_view(views):
    first, counts, lower, upper = room_box()
    tiles = tiles_of_box(first, counts)
    volume = TiledVolume(VOXEL, 6, 2)
    inner = tuple(low + 5 for low in lower), tuple(up - 6 for up in upper)
    volume.add_view(tiles, inner, *views[0])
    grid, features, evidence = volume.box(lower, upper)
    scene = dense(views[:1], grid)
    part = tuple(slice(5, n - 6) for n in grid.shape)
    expected = torch.zeros_like(features)
    expected[(slice(None), *part)] = scene.cost.features()[(slice(None), *part)]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    fine = tuple(slice(2 * s.start, 2 * s.stop) for s in part)
    whole = scene.evidence.table().view(*(2 * n for n in grid.shape), 2)
    expected = torch.zeros_like(whole)
    expected[fine] = whole[fine]
    torch.testing.assert_close(evidence.view_as(whole), expected, atol=1e-5, rtol=1e-5)


def test_rows_of_tiles_are_those_of_the_dense_grid_and_back():
    shape, edge = (4, 6, 2), 2
    index = torch.cartesian_prod(*(torch.arange(n) for n in shape)).float().view(*shape, 3)
    rows = to_tiles(index, edge)
    assert rows.shape == (6, 8, 3)
    for rows_of, tile in zip(rows, tiles_of_box((0, 0, 0), (2, 3, 1)), strict=True):
        expected = torch.cartesian_prod(*(torch.arange(2),) * 3) + torch.tensor(tile) * edge
        torch.testing.assert_close(rows_of, expected.float())
    assert torch.equal(to_dense(rows, (2, 3, 1), edge), index)


def test_tiles_on_the_disk_are_those_in_memory(views):
    volume, tiles, lower, upper = filled(views[:2])
    small = TiledVolume(VOXEL, 6, 2, limit=2.5 * volume.tile_bytes)
    for view in views[:3]:
        small.add_view(tiles, (lower, upper), *view)
    small.remove_view(tiles, (lower, upper), *views[2])
    assert small.bytes <= 2.5 * volume.tile_bytes
    assert small.tiles.on_disk == len(tiles) - 2
    for one, two in zip(small.box(lower, upper)[1:], volume.box(lower, upper)[1:], strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
