import cv2
import numpy as np
import pytest
import torch
from box_room import look_at, room_cameras

from govnesf_model.cameras import (
    Camera,
    feature_grid,
    in_planes,
    inside_image,
    invert_pose,
    nearest_rotation,
    pixel_grid,
    pixel_rays,
    project,
    project_planes,
    project_seen,
    rotation_error,
    sample_map,
    scale_intrinsics,
    to_feature_coordinates,
    transform,
    unproject,
)

K = torch.tensor([[60.0, 0, 31.5], [0, 58.0, 23.5], [0, 0, 1]])
T_WORLD_CAMERA = look_at(torch.tensor([1.0, -2.0, 1.5]), torch.tensor([2.0, 3.0, 0.5]))


def test_project_undoes_unproject():
    uv = torch.tensor([[0.0, 0.0], [31.5, 23.5], [63.0, 47.0]])
    depth = torch.tensor([0.5, 2.0, 7.0])
    points = unproject(uv, depth, K, T_WORLD_CAMERA)
    again, z = project(points, K, T_WORLD_CAMERA)
    torch.testing.assert_close(again, uv, atol=2e-4, rtol=0)
    torch.testing.assert_close(z, depth, atol=1e-5, rtol=0)


def test_rays_start_at_the_camera_centre_not_at_the_world_to_camera_translation():
    origins, _ = pixel_rays(torch.tensor([[3.0, 4.0]]), K, T_WORLD_CAMERA)
    torch.testing.assert_close(origins[0], torch.tensor([1.0, -2.0, 1.5]))
    translation = invert_pose(T_WORLD_CAMERA)[:3, 3]
    assert (origins[0] - translation).norm() > 1.0


def test_the_ray_of_an_integer_pixel_passes_through_that_pixel():
    uv = pixel_grid(48, 64)[7, 11]
    assert uv.tolist() == [11.0, 7.0]
    origin, direction = pixel_rays(uv[None], K, T_WORLD_CAMERA)
    again, z = project(origin + 3.0 * direction, K, T_WORLD_CAMERA)
    torch.testing.assert_close(again[0], uv, atol=2e-4, rtol=0)
    assert float(z) == pytest.approx(3.0, abs=1e-5)


def test_camera_rays_cover_the_image_in_rows():
    origins, directions = Camera(K, T_WORLD_CAMERA, 64, 48).rays()
    assert origins.shape == directions.shape == (48, 64, 3)
    uv, _ = project((origins + directions)[10, 20][None], K, T_WORLD_CAMERA)
    torch.testing.assert_close(uv[0], torch.tensor([20.0, 10.0]), atol=2e-4, rtol=0)


def test_resized_camera_sees_the_resized_image():
    """The half-pixel convention agrees with cv2's resize on a linear ramp."""
    ramp = np.tile(np.arange(64, dtype=np.float32), (48, 1))
    small = cv2.resize(ramp, (16, 12), interpolation=cv2.INTER_AREA)
    camera = Camera(K, T_WORLD_CAMERA, 64, 48).resized(16, 12)
    _, directions = camera.rays()
    uv, _ = project(camera.T_world_camera[:3, 3] + directions[6, 9][None], K, T_WORLD_CAMERA)
    assert float(uv[0, 0]) == pytest.approx(float(small[6, 9]), abs=1e-3)


def test_feature_positions_are_the_centres_of_their_pixels():
    grid = feature_grid(3, 4, 4)
    assert grid[0, 0].tolist() == [1.5, 1.5]  # mean of pixels 0..3
    assert grid[2, 3].tolist() == [13.5, 9.5]
    torch.testing.assert_close(to_feature_coordinates(grid, 4), pixel_grid(3, 4))


def test_sample_map_reproduces_a_ramp_with_u_along_the_width():
    u_ramp = pixel_grid(48, 64)[..., 0]
    v_ramp = pixel_grid(48, 64)[..., 1]
    at = torch.tensor([[[12.25, 30.75], [62.5, 0.5]]])
    values = sample_map(torch.stack([u_ramp, v_ramp])[None], at)
    torch.testing.assert_close(values, at, atol=1e-4, rtol=0)


def test_sample_map_of_a_strided_map_reproduces_a_ramp():
    ramp = feature_grid(12, 16, 4).permute(2, 0, 1)[None]
    at = torch.tensor([[[20.0, 30.0], [33.3, 17.1]]])
    torch.testing.assert_close(sample_map(ramp, at, stride=4), at, atol=1e-4, rtol=0)


def test_scale_intrinsics_keeps_the_border():
    scaled = scale_intrinsics(K, 2.0, 2.0)
    assert float(scaled[0, 2]) == pytest.approx((31.5 + 0.5) * 2 - 0.5)
    assert float(scaled[0, 0]) == 120.0


def test_inside_image_reaches_half_a_pixel_over_the_outer_centres():
    uv = torch.tensor([[-0.4, 0.0], [-0.6, 0.0], [63.4, 47.4], [63.6, 0.0], [5.0, 5.0]])
    depth = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0])
    assert inside_image(uv, depth, 64, 48).tolist() == [True, False, True, False, False]


def test_invert_pose_and_transform():
    torch.testing.assert_close(
        invert_pose(T_WORLD_CAMERA) @ T_WORLD_CAMERA, torch.eye(4), atol=1e-6, rtol=0
    )
    points = torch.randn(5, 3)
    back = transform(invert_pose(T_WORLD_CAMERA), transform(T_WORLD_CAMERA, points))
    torch.testing.assert_close(back, points, atol=1e-5, rtol=0)


def test_rotation_error_and_repair():
    assert rotation_error(T_WORLD_CAMERA) < 1e-6
    mirrored = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0]))
    assert rotation_error(mirrored) == float("inf")
    bent = T_WORLD_CAMERA[:3, :3] + 0.01 * torch.randn(3, 3)
    repaired = torch.eye(4)
    repaired[:3, :3] = nearest_rotation(bent)
    assert rotation_error(repaired) < 1e-5


def test_planes_of_many_cameras_are_their_projections():
    cameras = room_cameras(5)
    intrinsics = torch.stack([camera.K for camera in cameras])
    T = torch.stack([camera.T_world_camera for camera in cameras])
    points = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) * 6 - 1
    uv, z = project(points, intrinsics, T)
    u, v, depth = project_planes(points, intrinsics, T)
    torch.testing.assert_close(torch.stack([u, v], dim=-1), uv, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(depth, z)


def test_what_is_seen_is_what_projects_onto_the_image_in_any_layout():
    camera = room_cameras(1)[0]
    view = camera.K, camera.T_world_camera
    points = torch.rand(400, 3, generator=torch.Generator().manual_seed(1)) * 8 - 2
    uv, z = project(points, *view)
    inside = inside_image(uv, z, camera.width, camera.height)
    assert 10 < int(inside.sum()) < 390
    for layout in (points, in_planes(points)):
        rows, pixels, depth = project_seen(layout, *view, camera.width, camera.height)
        assert rows.tolist() == inside.nonzero().squeeze(1).tolist()
        torch.testing.assert_close(pixels, uv[inside], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(depth, z[inside])


def test_points_in_planes_are_the_same_points():
    points = torch.rand(5, 3)
    laid = in_planes(points)
    assert torch.equal(laid, points)
    assert laid.stride() == (1, 5)
