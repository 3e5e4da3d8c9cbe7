import pytest
import torch

from govnesf_model.cameras import project_seen
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.frustum import VoxelBlocks, view_planes

K = torch.tensor([[40.0, 0.5, 30.0], [0, 42.0, 25.0], [0, 0, 1]])
WIDTH, HEIGHT = 64, 48


def camera(seed: int) -> torch.Tensor:
    """Return a pose somewhere in or around the grid, looking anywhere."""
    random = torch.Generator().manual_seed(seed)
    T = torch.eye(4)
    T[:3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=random))[0]
    T[:3, 2] *= torch.linalg.det(T[:3, :3]).sign()
    T[:3, 3] = 4 * torch.rand(3, generator=random) - 2
    return T


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (1.7, 2.9, 0.5), (0.05, 4.0, 3.0)])
def test_what_a_camera_sees_lies_in_the_blocks_in_its_view(size):
    grid = VolumeGrid.around(-torch.tensor(size) / 2, torch.tensor(size) / 2, 0.1)
    centers = grid.centers()
    blocks = VoxelBlocks(centers)
    found = 0
    for seed in range(30):
        view = K, camera(seed), WIDTH, HEIGHT
        rows, some = blocks.in_view(*view)
        there = ~some.isnan().any(dim=1)
        torch.testing.assert_close(some[there], centers.reshape(-1, 3)[rows[there]], atol=0, rtol=0)
        expected, uv, z = project_seen(centers.reshape(-1, 3), *view)
        seen, own_uv, own_z = project_seen(some, *view)
        order = rows[seen].argsort()
        assert torch.equal(rows[seen][order], expected)
        torch.testing.assert_close(own_uv[order], uv, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(own_z[order], z, atol=1e-5, rtol=1e-5)
        found += len(expected)
    assert found > 100


def test_a_camera_that_sees_a_corner_leaves_out_most_blocks():
    grid = VolumeGrid.around(torch.zeros(3), torch.full((3,), 4.0), 0.1)
    T = torch.eye(4)
    T[:3, 3] = torch.tensor([0.2, 0.2, 3.0])
    blocks = VoxelBlocks(grid.centers())
    rows, _ = blocks.in_view(K, T, WIDTH, HEIGHT)
    seen, _, _ = project_seen(grid.centers().reshape(-1, 3), K, T, WIDTH, HEIGHT)
    assert 0 < len(seen) < len(rows) < 0.1 * grid.cells
    assert blocks.bytes < 20 * grid.cells


def test_planes_tell_metres_from_the_sides():
    normals, offsets = view_planes(K, torch.eye(4), WIDTH, HEIGHT)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(5))
    middle = torch.linalg.inv(K) @ torch.tensor([31.5, 23.5, 1.0]) * 2.0
    assert bool((normals @ middle + offsets > 0.5).all())
    edge = torch.linalg.inv(K) @ torch.tensor([-0.5, 23.5, 1.0]) * 2.0
    distance = normals @ edge + offsets
    assert float(distance[0]) == pytest.approx(0.0, abs=1e-5)
    assert bool((distance[1:] > 0.1).all())
    assert float((normals @ -middle + offsets).max()) < 0
