import pytest
import torch
from box_field import random_points
from box_room import LOWER, UPPER, room_cameras, trace
from views_in_a_row import in_a_row, walls_at

from govnesf_model.cameras import inside_image, project, unproject
from govnesf_model.view_choice import Views, choose_views, nearby_order, views_near


@pytest.fixture(scope="module")
def test_only_views_that_see_the_point_are_chosen(scene):
    _, views, _ = scene
    points = random_points(100)
    choice = choose_views(points, views, k=0)
    uv, z = project(points, views.K, views.T_world_camera)
    seen = ((z > 0) & (uv[..., 0] > -0.5) & (uv[..., 0] < 63.5) & (uv[..., 1] > -0.5)) & (
        uv[..., 1] < 47.5
    )
    assert choice.view.shape == (100, len(views))
    assert choice.valid.sum(dim=1).tolist() == seen.sum(dim=0).tolist()
    chosen_uv = uv[choice.view, torch.arange(100).unsqueeze(-1)]
    torch.testing.assert_close(choice.uv[choice.valid], chosen_uv[choice.valid])


def test_near_views_and_views_along_the_ray_are_preferred():
    K = torch.tensor([[30.0, 0, 31.5], [0, 30.0, 23.5], [0, 0, 1]]).repeat(3, 1, 1)
    T = torch.eye(4).repeat(3, 1, 1)
    T[0, 2, 3], T[1, 2, 3], T[2, 2, 3] = -3.0, -1.0, -2.0  # all look along +z
    views = Views(torch.zeros(3, 3, 48, 64), torch.zeros(3, 2, 12, 16), K, T)
    points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    choice = choose_views(points, views, k=2)
    assert choice.view.tolist() == [[1, 2], [1, 2]]
    T[1, 0, 3] = 1.5  # the nearest camera now looks from the side
    turned = Views(torch.zeros(3, 3, 48, 64), torch.zeros(3, 2, 12, 16), K, T)
    along = choose_views(points[:1], turned, k=1, directions=torch.tensor([[0.0, 0.0, 1.0]]))
    assert along.view.tolist() == [[2]]


def test_a_view_that_believes_in_something_before_the_point_comes_last():
    point = torch.zeros(1, 3)  # 1, 2 and 3 m before the cameras
    places = (-1.0, -2.0, -3.0)
    assert choose_views(point, in_a_row(*places), k=0).view.tolist() == [[0, 1, 2]]
    hidden = in_a_row(*places, surface=walls_at(0.6, 2.0, 3.0))
    assert choose_views(point, hidden, k=0).view.tolist() == [[1, 2, 0]]
    assert choose_views(point, hidden, k=2).view.tolist() == [[1, 2]]
    along = choose_views(point, hidden, k=0, directions=torch.tensor([[0.0, 0.0, 1.0]]))
    assert along.view.tolist() == [[1, 2, 0]]
    assert bool(along.valid.all())  # last, but better than nothing
    alone = in_a_row(-1.0, surface=walls_at(0.6))
    assert choose_views(point, alone, k=4).valid.tolist() == [[True]]


def test_a_view_hides_nothing_within_its_doubt_nor_where_it_knows_nothing():
    point = torch.zeros(1, 3)
    for depth, spread, first in (
        (0.96, 0.01, 0),  # the point lies 4 cm behind: within the tolerance
        (0.8, 0.01, 1),
        (0.8, 0.2, 0),  # a depth that doubts 20 % hides nothing here
        (0.0, 0.0, 0),
        (5.0, 0.01, 0),  # looks on behind the point
    ):
        surface = walls_at(depth, 2.0, spread=spread)
        choice = choose_views(point, in_a_row(-1.0, -2.0, surface=surface), k=0)
        assert int(choice.view[0, 0]) == first, (depth, spread)
    torch.testing.assert_close(choice.z, torch.tensor([[1.0, 2.0]]))


def test_depth_guided_masking_cuts_at_a_quarter_of_the_measured_depth():
    camera = room_cameras(1)[0]
    _, depth, _ = trace(camera)
    views = Views(
        torch.zeros(1, 3, 48, 64),
        torch.zeros(1, 2, 12, 16),
        camera.K[None],
        camera.T_world_camera[None],
        depth=depth[None],
    )
    uv = torch.tensor([[30.0, 20.0]]).expand(5, 2)
    factor = torch.tensor([0.74, 0.76, 1.0, 1.24, 1.26])
    points = unproject(uv, depth[20, 30] * factor, camera.K, camera.T_world_camera)
    masked = choose_views(points, views, k=0, masking="depth").valid[:, 0]
    assert masked.tolist() == [False, True, True, True, False]
    assert choose_views(points, views, k=0).valid.all()
    views.depth = torch.zeros(1, 48, 64)  # nothing measured masks nothing
    assert choose_views(points, views, k=0, masking="depth").valid.all()


def test_views_that_cannot_see_a_cloud_are_left_out_and_no_other(monkeypatch):
    cameras = room_cameras(12)
    K = torch.stack([camera.K for camera in cameras])
    T = torch.stack([camera.T_world_camera for camera in cameras])
    views = Views(torch.zeros(12, 3, 48, 64), torch.zeros(12, 2, 12, 16), K, T)
    generator = torch.Generator().manual_seed(3)
    middles = LOWER + (UPPER - LOWER) * torch.rand(60, 1, 3, generator=generator)
    clouds = (middles + 0.2 * torch.randn(60, 10, 3, generator=generator)).unbind(0)
    left_out = 0
    for cloud, near in zip(clouds, views_near(clouds, views), strict=True):
        uv, z = project(cloud, K, T)
        seen = inside_image(uv, z, 64, 48).any(dim=1).nonzero().squeeze(1)
        assert set(seen.tolist()) <= set(near.tolist())
        left_out += 12 - len(near)
    assert left_out > 100  # of 720
    points = torch.cat(clouds)
    rays = torch.randn(600, 3, generator=generator)
    for k in (0, 5):
        whole = choose_views(points, views, k, rays)
        with monkeypatch.context() as patch:
            patch.setattr("govnesf_model.view_choice.CHOICE_CELLS", 12 * 10)
            pieces = choose_views(points, views, k, rays)
        assert torch.equal(pieces.valid, whole.valid)
        assert torch.equal(pieces.view[whole.valid], whole.view[whole.valid])
        torch.testing.assert_close(
            pieces.uv[whole.valid], whole.uv[whole.valid], atol=1e-3, rtol=1e-4
        )
    away = points + 100
    with monkeypatch.context() as patch:
        patch.setattr("govnesf_model.view_choice.CHOICE_CELLS", 12 * 10)
        assert not bool(choose_views(away, views, 3).valid.any())


def test_points_of_one_cube_follow_each_other():
    generator = torch.Generator().manual_seed(0)
    points = 4 * torch.rand(500, 3, generator=generator) - 2
    order = nearby_order(points)
    assert order.sort().values.tolist() == list(range(500))
    cube = ((points - points.amin(dim=0)) / 0.5).long()[order]
    changes = int((cube[1:] != cube[:-1]).any(dim=1).sum())
    assert changes == len(cube.unique(dim=0)) - 1
    assert nearby_order(points[:0]).tolist() == []
