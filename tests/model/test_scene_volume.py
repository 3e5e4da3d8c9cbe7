import torch
from box_room import LOWER, UPPER, room_cameras, trace

from govnesf_model.cost_volume import VolumeGrid, batch_features
from govnesf_model.evidence import measured_surface
from govnesf_model.scene_volume import SceneVolume, children, evidence_of, parents
from govnesf_model.stereo import Surface

GRID = VolumeGrid(torch.tensor([0.3, -0.2, 1.1]), 0.4, (3, 5, 2))
ROOM = VolumeGrid.around(LOWER - 0.2, UPPER + 0.2, 0.4)


def test_children_and_parents_undo_each_other():
    torch.manual_seed(0)
    for split, channels in ((1, 3), (2, 5), (3, 2)):
        table = torch.randn(GRID.finer(split).cells, channels)
        volume = children(table, GRID, split)
        assert volume.shape == (channels * split**3, *GRID.shape)
        assert torch.equal(parents(volume, split), table)


def test_fine_voxels_land_in_the_voxel_that_they_lie_in():
    """A table of world coordinates: the children of a voxel surround its centre."""
    split = 2
    fine = GRID.finer(split)
    volume = children(fine.centers().reshape(-1, 3), GRID, split).view(3, split**3, *GRID.shape)
    centers = GRID.centers().permute(3, 0, 1, 2)
    torch.testing.assert_close(volume.mean(dim=1), centers)
    off = (volume - centers.unsqueeze(1)).abs()
    torch.testing.assert_close(off, torch.full_like(off, GRID.voxel / 4))
    # Each child has a place of its own, and the same one in every voxel.
    places = (volume - centers.unsqueeze(1)).sign().flatten(2)
    assert bool((places == places[..., :1]).all())
    assert len({tuple(row) for row in places[..., 0].T.tolist()}) == split**3


def test_what_the_network_writes_for_a_child_is_read_where_that_child_lies():
    split = 2
    fine = GRID.finer(split)
    table = parents(children(fine.centers().reshape(-1, 3), GRID, split), split)
    points = torch.tensor([[0.35, 0.1, 1.2], [0.9, 1.3, 1.4], [0.6, 0.55, 1.55]])
    volume = table.view(*fine.shape, 3).permute(3, 0, 1, 2)
    torch.testing.assert_close(fine.sample(volume, points), points)


def room_views(count: int = 4):
    cameras = room_cameras(count)
    depth = torch.stack([trace(camera)[1] for camera in cameras])
    torch.manual_seed(0)
    return (
        torch.randn(count, 6, 12, 16),
        torch.stack([camera.K for camera in cameras]),
        torch.stack([camera.T_world_camera for camera in cameras]),
        measured_surface(depth),
    )


def test_both_halves_take_views_in_and_out():
    maps, K, T, surface = room_views()
    scene = SceneVolume(ROOM, 6, 2)
    assert scene.evidence.grid.shape == tuple(2 * n for n in ROOM.shape)
    for view in range(4):
        scene.add_view(maps[view], K[view], T[view], 64, 48, surface[view : view + 1])
    torch.testing.assert_close(
        scene.cost.features(), batch_features(ROOM, maps, K, T, 64, 48), atol=1e-6, rtol=1e-6
    )
    batch = evidence_of(ROOM, 2, surface, K, T, 64, 48)
    torch.testing.assert_close(scene.evidence.table(), batch.table())
    assert scene.bytes == scene.cost.bytes + scene.evidence.bytes
    for view in (2, 0, 3, 1):
        scene.remove_view(maps[view], K[view], T[view], 64, 48, surface[view : view + 1])
    assert float(scene.cost.features().abs().max()) == 0.0
    assert float(scene.evidence.table().abs().max()) == 0.0


def test_a_view_without_a_surface_gives_features_alone():
    maps, K, T, _ = room_views(1)
    scene = SceneVolume(ROOM, 6, 2)
    scene.add_view(maps[0], K[0], T[0], 64, 48)
    assert float(scene.cost.count.sum()) > 0
    assert float(scene.evidence.sure.max()) == 0.0


def test_a_field_without_evidence_holds_none():
    maps, K, T, _ = room_views(1)
    scene = SceneVolume(ROOM, 6, 0)
    scene.add_view(
        maps[0], K[0], T[0], 64, 48, Surface(torch.ones(1, 12, 16), torch.ones(1, 12, 16))
    )
    assert scene.evidence is None
    assert scene.bytes == scene.cost.bytes
    assert scene.grid is ROOM
