import pytest
import torch
from box_room import LOWER, UPPER, room_cameras, trace

from govnesf_model.cameras import feature_grid, project
from govnesf_model.cost_volume import (
    CostVolume,
    VolumeGrid,
    batch_features,
    visible_voxels,
)

GRID = VolumeGrid(torch.tensor([0.25, 0.25, 0.25]), 0.5, (8, 6, 4))


def ramp_volume(grid: VolumeGrid) -> torch.Tensor:
    """A volume that holds its own world coordinates."""
    return grid.centers().permute(3, 0, 1, 2).contiguous()


@pytest.fixture(scope="module")
def views():
    cameras = room_cameras(5)
    torch.manual_seed(0)
    feats = torch.randn(5, 6, 12, 16)
    K = torch.stack([camera.K for camera in cameras])
    T = torch.stack([camera.T_world_camera for camera in cameras])
    return feats, K, T


def filled(views, grid: VolumeGrid = GRID) -> CostVolume:
    feats, K, T = views
    volume = CostVolume(grid, feats.shape[1])
    for view in range(len(feats)):
        volume.add_view(feats[view], K[view], T[view], 64, 48)
    return volume


def test_sampling_a_volume_of_coordinates_gives_the_point_back():
    """Proves the axis order and that placing and sampling are one: a ramp along x, y and z each."""
    points = torch.tensor([[0.6, 1.1, 0.9], [3.3, 2.2, 1.4], [1.0, 0.4, 0.3]])
    torch.testing.assert_close(GRID.sample(ramp_volume(GRID), points), points)


def test_every_voxel_centre_samples_its_own_voxel():
    torch.manual_seed(0)
    volume = torch.randn(3, *GRID.shape)
    sampled = GRID.sample(volume, GRID.centers().reshape(-1, 3))
    torch.testing.assert_close(sampled, volume.permute(1, 2, 3, 0).reshape(-1, 3))


def test_the_faces_lie_half_a_voxel_outside_the_centres():
    assert GRID.lower.tolist() == [0.0, 0.0, 0.0]
    assert GRID.upper.tolist() == [4.0, 3.0, 2.0]
    inside = GRID.contains(torch.tensor([[0.01, 0.01, 1.99], [-0.01, 1.0, 1.0], [4.01, 1, 1]]))
    assert inside.tolist() == [True, False, False]


def test_around_covers_the_box_with_whole_voxels():
    grid = VolumeGrid.around(LOWER, UPPER, 0.5)
    assert grid.shape == (8, 6, 5)
    torch.testing.assert_close(grid.lower, LOWER)
    assert bool((grid.upper >= UPPER).all())


def test_a_view_fills_the_voxel_with_what_it_shows_there():
    """A map of image positions lands in each voxel as that voxel's own projection."""
    camera = room_cameras(3)[0]
    positions = feature_grid(12, 16, 4).permute(2, 0, 1).contiguous()
    volume = CostVolume(GRID, 2)
    seen = volume.add_view(positions, camera.K, camera.T_world_camera, 64, 48)
    uv, _ = project(GRID.centers().reshape(-1, 3), camera.K, camera.T_world_camera)
    rows = volume.count.reshape(-1) > 0
    assert seen == int(rows.sum()) > 20
    inner = rows & (uv[:, 0] > 1.5) & (uv[:, 0] < 61.5) & (uv[:, 1] > 1.5) & (uv[:, 1] < 45.5)
    torch.testing.assert_close(volume.mean.reshape(2, -1).T[inner], uv[inner], atol=1e-3, rtol=1e-4)


def test_running_moments_equal_the_batch(views):
    feats, K, T = views
    running = filled(views).features()
    batch = batch_features(GRID, feats, K, T, 64, 48)
    torch.testing.assert_close(running, batch, atol=1e-6, rtol=1e-6)


def test_only_views_that_see_a_voxel_count_for_it(views):
    feats, K, T = views
    volume = filled(views)
    centers = GRID.centers().reshape(-1, 3)
    values = torch.full((5, GRID.cells, 6), torch.nan)
    for view in range(5):
        rows, _ = visible_voxels(centers, K[view], T[view], 64, 48)
        single = CostVolume(GRID, 6)
        single.add_view(feats[view], K[view], T[view], 64, 48)
        values[view, rows] = single.mean.reshape(6, -1).T[rows]
    count = (~values[..., 0].isnan()).sum(dim=0)
    torch.testing.assert_close(volume.count.reshape(-1), count.float())
    some = (count > 1) & (count < 5)
    assert int(some.sum()) > 20
    mean = values.nanmean(dim=0)
    variance = (values - mean).square().nanmean(dim=0)
    features = volume.features().reshape(13, -1).T
    torch.testing.assert_close(features[some, :6], mean[some], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features[some, 6:12], variance[some], atol=1e-5, rtol=1e-5)
    assert float(features[count == 0].abs().sum()) == 0.0


def test_removing_a_view_undoes_adding_it(views):
    feats, K, T = views
    volume = filled((feats[:4], K[:4], T[:4]))
    before = volume.features().clone()
    volume.add_view(feats[4], K[4], T[4], 64, 48)
    assert float((volume.features() - before).abs().max()) > 0.1
    volume.remove_view(feats[4], K[4], T[4], 64, 48)
    torch.testing.assert_close(volume.features(), before, atol=2e-6, rtol=1e-5)


def test_removing_all_views_leaves_exactly_nothing(views):
    feats, K, T = views
    volume = filled(views)
    for view in (2, 0, 4, 1, 3):
        volume.remove_view(feats[view], K[view], T[view], 64, 48)
    assert float(volume.features().abs().max()) == 0.0


def test_removing_a_view_that_was_never_added_is_refused(views):
    feats, K, T = views
    with pytest.raises(ValueError, match="was not added"):
        CostVolume(GRID, 6).remove_view(feats[0], K[0], T[0], 64, 48)


def test_depth_hides_voxels_behind_the_surface_only_when_asked():
    camera = room_cameras(3)[0]
    _, depth, _ = trace(camera)
    grid = VolumeGrid.around(LOWER - 2.0, UPPER + 2.0, 0.25)
    feat = torch.ones(1, 12, 16)
    free, hidden = CostVolume(grid, 1), CostVolume(grid, 1)
    free.add_view(feat, camera.K, camera.T_world_camera, 64, 48)
    hidden.add_view(feat, camera.K, camera.T_world_camera, 64, 48, depth=depth, margin=0.3)
    assert 0 < float(hidden.count.sum()) < float(free.count.sum())
    seen = grid.centers()[hidden.count > 0]
    assert bool((seen > LOWER - 0.8).all())
    assert bool((seen < UPPER + 0.8).all())


def test_batch_features_pass_gradients_to_the_maps(views):
    feats, K, T = views
    feats = feats.clone().requires_grad_()
    batch_features(GRID, feats, K, T, 64, 48).square().sum().backward()
    assert float(feats.grad.abs().sum()) > 0


def test_a_finer_grid_covers_the_same_space():
    fine = GRID.finer(2)
    assert fine.shape == (16, 12, 8)
    torch.testing.assert_close(fine.lower, GRID.lower)
    torch.testing.assert_close(fine.upper, GRID.upper)
    middle = fine.centers()[2:4, 4:6, 6:8].reshape(-1, 3).mean(dim=0)
    torch.testing.assert_close(middle, GRID.centers()[1, 2, 3])


def test_the_nearest_voxel_is_the_one_a_point_lies_in():
    centers = GRID.centers().reshape(-1, 3)
    shaken = centers + 0.24 * (2 * torch.rand(centers.shape) - 1)
    assert torch.equal(GRID.nearest(shaken), torch.arange(GRID.cells))
    assert GRID.nearest(torch.tensor([[-99.0, -99.0, -99.0], [99.0, 99.0, 99.0]])).tolist() == [
        0,
        GRID.cells - 1,
    ]
