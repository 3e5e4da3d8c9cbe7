import pytest
import torch
from box_room import LOWER, UPPER, room_cameras, trace

from govnesf_model.cameras import project
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.evidence import (
    HALF,
    SURE,
    TRUNCATION,
    EvidenceVolume,
    look_up,
    measured_surface,
    packed,
    sample_evidence,
)
from govnesf_model.stereo import Surface

K = torch.tensor([[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]])
HERE = torch.eye(4)  # looks along +z
SIZE = (64, 48)
GRID = VolumeGrid.around(torch.tensor([-0.5, -0.4, 0.3]), torch.tensor([0.5, 0.4, 3.5]), 0.1)
REACH = TRUNCATION * GRID.voxel


def wall(depth: float, spread: float = 0.001, stride: int = 4) -> Surface:
    """Return a plane seen head-on."""
    shape = (1, 48 // stride, 64 // stride)
    return Surface(torch.full(shape, depth), torch.full(shape, spread))


def with_views(*surfaces: Surface, grid: VolumeGrid = GRID) -> EvidenceVolume:
    volume = EvidenceVolume(grid)
    for surface in surfaces:
        volume.add_view(surface, K, HERE, *SIZE)
    return volume


def in_sight() -> torch.Tensor:
    """Return which voxels the camera has in its image."""
    uv, z = project(GRID.centers().reshape(-1, 3), K, HERE)
    inside = (uv > -0.5).all(dim=1) & (uv < torch.tensor([63.5, 47.5])).all(dim=1) & (z > 0)
    return inside.view(GRID.shape)


@pytest.fixture(scope="module")
def room():
    """Six views of the box room: surfaces, intrinsics, poses and a grid around it."""
    cameras = room_cameras(6)
    depth = torch.stack([trace(camera)[1] for camera in cameras])
    grid = VolumeGrid.around(LOWER - 0.3, UPPER + 0.3, 0.2)
    return (
        measured_surface(depth),
        torch.stack([camera.K for camera in cameras]),
        torch.stack([camera.T_world_camera for camera in cameras]),
        grid,
    )


def filled(room, order=range(6), grid: VolumeGrid | None = None) -> EvidenceVolume:
    surface, intrinsics, poses, own = room
    volume = EvidenceVolume(own if grid is None else grid)
    for view in order:
        volume.add_view(surface[view : view + 1], intrinsics[view], poses[view], *SIZE)
    return volume


def test_the_distance_to_a_plane_is_exact_to_rounding():
    depth = 2.037
    volume = with_views(wall(depth))
    z = GRID.centers()[..., 2]
    voted = in_sight() & (z < depth + REACH)
    assert int(voted.sum()) > 1000
    assert bool(((volume.sure > 0) == voted).all())  # far behind nothing is known
    expected = ((depth - z) / REACH).clamp(-1, 1)
    torch.testing.assert_close(volume.distance[voted], expected[voted], atol=1e-5, rtol=0)
    assert float(volume.distance[~voted].abs().max()) == 0.0
    torch.testing.assert_close(volume.sure[voted], torch.full((int(voted.sum()),), 1 / (1 + HALF)))


@pytest.mark.parametrize("depth", [1.2, 1.749, 2.037, 2.81])
def test_the_zero_lies_on_the_surface_to_a_hundredth_of_a_voxel(depth):
    volume = with_views(wall(depth))
    z = torch.arange(depth - 0.2, depth + 0.2, 0.001)
    for x, y in ((0.0, 0.0), (0.137, -0.081), (-0.26, 0.19)):
        points = torch.stack([torch.full_like(z, x), torch.full_like(z, y), z], dim=1)
        distance, sure, _ = sample_evidence(packed(volume.table()), GRID, points)
        last = int((distance > 0).nonzero().max())
        assert bool((distance[: last + 1] > 0).all())
        crossing = z[last] + 0.001 * distance[last] / (distance[last] - distance[last + 1])
        assert float(crossing) == pytest.approx(depth, abs=0.01 * GRID.voxel)
        assert float(sure.min()) > 0.5


def test_voxels_that_know_nothing_have_no_say_between_voxels():
    volume = with_views(wall(2.0))
    z = torch.tensor([2.25, 2.31, 2.34])  # the voxel at 2.35 is too far behind
    points = torch.stack([torch.zeros(3), torch.zeros(3), z], dim=1)
    distance, sure, _ = sample_evidence(packed(volume.table()), GRID, points)
    behind = float(volume.distance[5, 4, 19])  # at 2.25
    assert behind == pytest.approx(-0.25 / REACH, abs=1e-5)
    torch.testing.assert_close(distance, torch.full((3,), behind), atol=1e-5, rtol=0)
    assert float(sure[0]) > float(sure[1]) > float(sure[2]) > 0
    nothing = sample_evidence(packed(volume.table()), GRID, torch.tensor([[0.0, 0.0, 3.2]]))
    assert [float(value) for value in nothing[:2]] == [0.0, 0.0]


def test_views_are_averaged_by_how_little_they_doubt():
    sure, unsure = wall(2.0, 0.01), wall(2.1, 0.1)  # doubts of 2 cm and 21 cm
    volume = with_views(sure, unsure)
    light = (SURE / 0.21) ** 2
    mean = (2.0 + light * 2.1) / (1 + light)
    z = 1.95
    distance = float(volume.distance[5, 4, 16])
    assert float(GRID.centers()[5, 4, 16, 2]) == pytest.approx(z)
    assert distance == pytest.approx((mean - z) / REACH, abs=1e-5)
    weight = 1 + light
    assert float(volume.sure[5, 4, 16]) == pytest.approx(weight / (weight + HALF), abs=1e-6)


def test_doubt_lowers_the_weight_and_small_doubt_does_not():
    values = [
        float(with_views(wall(2.0, spread)).sure[5, 4, 10]) for spread in (0.0, 0.02, 0.1, 1.0)
    ]
    assert values[0] == values[1] == pytest.approx(1 / (1 + HALF))
    assert values[2] == pytest.approx(0.04 / (0.04 + HALF), abs=1e-6)
    assert values[3] == pytest.approx(0.0004 / (0.0004 + HALF), abs=1e-6)


def test_a_depth_that_is_unknown_has_no_vote():
    surface = wall(2.0)
    surface.depth[:, :, :8] = 0.0
    surface.spread[:, :, :8] = 0.0
    volume = with_views(surface)
    uv, _ = project(GRID.centers().reshape(-1, 3), K, HERE)
    left = (uv[:, 0] < 31.5).view(GRID.shape)
    assert float(volume.sure[left].max()) == 0.0
    assert float(volume.sure[~left].max()) > 0.5
    strange = wall(float("nan"))
    assert float(with_views(strange).sure.max()) == 0.0


def test_adding_and_removing_a_view_leaves_what_was(room):
    surface, intrinsics, poses, _ = room
    volume = filled(room, (0, 1, 2, 3))
    before = volume.table().clone()
    view = (surface[4:5], intrinsics[4], poses[4], *SIZE)
    volume.add_view(*view)
    assert float((volume.table() - before).abs().max()) > 0.1
    volume.remove_view(*view)
    torch.testing.assert_close(volume.table(), before, atol=2e-6, rtol=1e-5)


def test_removing_all_views_leaves_exactly_nothing(room):
    surface, intrinsics, poses, _ = room
    volume = filled(room)
    for view in (3, 0, 5, 1, 4, 2):
        volume.remove_view(surface[view : view + 1], intrinsics[view], poses[view], *SIZE)
    assert float(volume.table().abs().max()) == 0.0


def test_the_order_of_views_does_not_matter(room):
    one, two = filled(room), filled(room, (4, 2, 5, 0, 3, 1))
    torch.testing.assert_close(one.table(), two.table(), atol=1e-6, rtol=1e-5)


def test_the_room_is_free_inside_and_its_walls_are_at_zero(room):
    volume = filled(room, grid=room[3].finer(2))
    generator = torch.Generator().manual_seed(0)
    points = LOWER + (UPPER - LOWER) * torch.rand(4000, 3, generator=generator)
    to_wall = torch.minimum(points - LOWER, UPPER - points).amin(dim=1)
    distance, sure, _ = sample_evidence(packed(volume.table()), volume.grid, points)
    known = sure > 0.5
    assert float(known.float().mean()) > 0.6
    assert bool((distance[known & (to_wall > 0.1)] > 0).all())
    # Along a ray it is farther than to the nearest wall; as z-depth at most by the corners' cosine.
    reach = TRUNCATION * volume.grid.voxel
    near = known & (to_wall < 0.5 * reach)
    short = distance[near] * reach - 0.69 * to_wall[near]
    assert float(short.quantile(0.01)) > -0.03
    walls = points.clone()
    walls[:, 2] = 0.0  # the floor
    distance, sure, _ = sample_evidence(packed(volume.table()), volume.grid, walls)
    assert float((distance[sure > 0.5] * reach).abs().median()) < 0.01


def test_a_pixel_looks_up_its_nearest_cell():
    """Cell i of a map at stride 4 lies on pixel 4 i + 1.5; half way is 4 i + 3.5."""
    depth = torch.arange(12.0).view(1, 3, 4).repeat(2, 1, 1)
    depth[1] += 100
    surface = Surface(depth, depth / 10)
    uv = torch.tensor([[1.5, 1.5], [3.4, 1.5], [3.6, 1.5], [15.4, 11.4], [-0.4, 4.0], [7.4, 3.6]])
    found, spread = look_up(surface, 0, uv, 16)
    assert found.tolist() == [0.0, 0.0, 1.0, 11.0, 4.0, 5.0]
    torch.testing.assert_close(spread, found / 10)
    views = torch.tensor([0, 1, 0, 1, 0, 1])
    assert look_up(surface, views, uv, 16)[0].tolist() == [0.0, 100.0, 1.0, 111.0, 4.0, 105.0]


def test_a_pixel_looks_up_itself_at_full_resolution():
    depth = torch.arange(48.0 * 64).view(1, 48, 64)
    surface = Surface(depth.half(), depth)
    uv = torch.tensor([[0.0, 0.0], [5.4, 2.6], [63.4, 47.4], [-0.4, 0.4]])
    found, exact = look_up(surface, 0, uv, 64)
    assert exact.tolist() == [0.0, 3 * 64 + 5, 47 * 64 + 63, 0.0]
    assert found.dtype == torch.float32


@pytest.mark.parametrize("width", [63, 64, 65, 318, 322])
def test_maps_of_images_of_any_width_are_at_stride_four(width):
    columns = -(-width // 4)
    surface = Surface(torch.arange(float(columns)).view(1, 1, -1), torch.zeros(1, 1, columns))
    u = torch.arange(columns).clamp_max((width - 1) // 4) * 4.0
    found, _ = look_up(surface, 0, torch.stack([u, torch.zeros_like(u)], dim=1), width)
    assert torch.equal(found, torch.arange(float(columns)))


def test_the_doubt_of_a_depth_camera_grows_with_depth():
    surface = measured_surface(torch.tensor([[[0.0, 1.0, 4.0]]]))
    torch.testing.assert_close(surface.spread, torch.tensor([[[0.0, 0.009, 0.018]]]))
    assert surface.depth.tolist() == [[[0.0, 1.0, 4.0]]]
