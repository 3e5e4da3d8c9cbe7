"""Tiles against one dense volume that holds the same."""

import pytest
import torch

from govnesf_model import tile_grid
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.evidence import packed, sample_evidence
from govnesf_model.gather import gather
from govnesf_model.ray_samples import clip_to_grid
from govnesf_model.tile_grid import TILE, TileGrid, tile_centers
from govnesf_model.tile_tables import TileTables
from govnesf_model.tiled_volume import tiles_of_box, to_dense, to_tiles

VOXEL = 0.16
FIRST, COUNTS = (-2, -1, 0), (3, 2, 2)  # the box that the tiles fill
NAMES = [tile for tile in tiles_of_box(FIRST, COUNTS) if tile != (-1, 0, 1)]  # but for one


def both(edge: int = TILE, voxel: float = VOXEL, channels: int = 5):
    """Return a dense grid and table, and tiles and tables with the same content."""
    torch.manual_seed(0)
    shape = tuple(n * edge for n in COUNTS)
    lower = torch.tensor(FIRST) * edge * voxel
    dense = VolumeGrid(lower + voxel / 2, voxel, shape)
    table = torch.randn(dense.cells, channels)
    empty = torch.randn(channels)
    rows = to_tiles(table.view(*shape, -1), edge)
    hole = tiles_of_box(FIRST, COUNTS).index((-1, 0, 1))
    rows[hole] = empty
    table = to_dense(rows, COUNTS, edge).reshape(dense.cells, -1)
    kept = [i for i in range(len(rows)) if i != hole]
    tables = TileTables({"rows": empty.expand(edge**3, -1)})
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(1)).tolist()
    slots = tables.write({"rows": rows[kept][order]})
    slots = dict(zip([NAMES[i] for i in order], slots, strict=True))
    return dense, table, TileGrid(voxel, edge, slots), tables.table("rows")


def inner_points(grid: TileGrid, count: int = 4000) -> torch.Tensor:
    """Return points half a voxel and more inside, among them ones on the borders of tiles."""
    low, high = grid.lower + grid.voxel / 2, grid.upper - grid.voxel / 2
    points = low + (high - low) * torch.rand(count, 3)
    corner = TILE * VOXEL
    points[:500] = (points[:500] / corner).round() * corner + 0.01 * torch.randn(500, 3)
    return points.clamp(low, high)


@pytest.mark.parametrize("edge", [TILE, 2 * TILE, 3 * TILE])
@pytest.mark.parametrize("pages", ["table", "search"])
def test_tiles_are_sampled_as_one_dense_volume(pages, edge, monkeypatch):
    if pages == "search":
        monkeypatch.setattr(tile_grid, "_MOST_PAGES", 0)
    dense, dense_table, grid, table = both(edge, VOXEL * TILE / edge)  # tiles of one size
    torch.testing.assert_close(grid.lower, dense.lower)
    torch.testing.assert_close(grid.upper, dense.upper)
    points = inner_points(grid)
    expected = gather(dense_table, *dense.taps(points))
    index, weight = grid.taps(points)
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(len(points)))
    torch.testing.assert_close(gather(table, index, weight), expected, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(table[grid.nearest(points)], dense_table[dense.nearest(points)])


def test_finer_tiles_are_sampled_as_the_finer_dense_volume():
    dense, dense_table, fine, table = both(2 * TILE, VOXEL / 2, 2)
    grid = TileGrid(VOXEL, TILE, fine.slots).finer(2)
    points = inner_points(grid)
    dense_table, table = packed(dense_table.sigmoid()), packed(table.sigmoid())
    for one, two in zip(
        sample_evidence(table, grid, points),
        sample_evidence(dense_table, dense, points),
        strict=True,
    ):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_a_linear_ramp_is_sampled_exactly_across_borders():
    grid = both()[2]
    tables = TileTables({"at": torch.zeros(TILE**3, 3)})
    rows = tile_centers(NAMES, TILE, VOXEL).view(len(NAMES), -1, 3)
    slots = dict(zip(NAMES, tables.write({"at": rows}), strict=True))
    grid = TileGrid(VOXEL, TILE, slots)
    points = inner_points(grid)
    hole = (torch.tensor((-1, 0, 1)) * TILE - 1) * VOXEL
    beside = ((points < hole) | (points > hole + (TILE + 2) * VOXEL)).any(dim=1)
    sampled = gather(tables.table("at"), *grid.taps(points))
    torch.testing.assert_close(sampled[beside], points[beside], atol=1e-5, rtol=0)


def test_where_no_tile_is_there_is_the_empty_row():
    _, _, grid, table = both()
    hole = torch.tensor([[-0.5, 0.5, 1.5]]) * TILE * VOXEL
    far = torch.tensor([[1e4, 0.0, 0.0], [-3.0, -1e5, 7.0], [0.0, 0.0, 30.0]])
    for points in (hole, far):
        assert not grid.contains(points).any()
        empty = table[:1].expand(len(points), -1)
        torch.testing.assert_close(gather(table, *grid.taps(points)), empty)
        assert bool((grid.nearest(points) < TILE**3).all())
    assert bool(grid.contains(tile_centers(NAMES, TILE, VOXEL)).all())
    assert grid.cells == len(NAMES) * TILE**3


@pytest.mark.parametrize("pages", ["table", "search"])
def test_tiles_kilometres_apart_cost_nothing_in_between(pages, monkeypatch):
    names = [(0, 0, 0), (700_000, -3, 2)]
    tables = TileTables({"at": torch.zeros(TILE**3, 1)})
    slots = dict(zip(names, tables.write({"at": torch.ones(2, TILE**3, 1)}), strict=True))
    if pages == "search":
        monkeypatch.setattr(tile_grid, "_MOST_PAGES", 0)
    grid = TileGrid(1.0, TILE, slots)
    middle = tile_centers(names, TILE, 1.0).view(2, -1, 3).mean(dim=1)
    assert bool(grid.contains(middle).all())
    assert gather(tables.table("at"), *grid.taps(middle)).flatten().tolist() == [1.0, 1.0]
    assert not grid.contains(middle.mean(dim=0, keepdim=True)).any()


def test_rays_are_clipped_to_the_tiles():
    grid = both()[2]
    origins = torch.tensor([[-10.0, 0.1, 0.1], [0.0, 0.0, 50.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    start, end = clip_to_grid(grid, origins, directions, 0.2, 30.0)
    assert start[0] == pytest.approx(10 - 2 * TILE * VOXEL, abs=1e-4)
    assert end[0] == pytest.approx(10 + TILE * VOXEL, abs=1e-4)
    assert float(end[1] - start[1]) == 0.0


def test_a_slot_that_a_reader_holds_is_not_written_again():
    tables = TileTables({"rows": torch.zeros(4, 1)})
    (old,) = tables.write({"rows": torch.full((1, 4, 1), 7.0)})
    reader = TileGrid(1.0, TILE, {(0, 0, 0): old}), tables.table("rows")
    number = old.number
    del old
    held = []
    for value in range(100):  # tables grow meanwhile
        (new,) = tables.write({"rows": torch.full((1, 4, 1), float(value))})
        assert new.number != number
        held.append(new)
    assert reader[1][number * 4].item() == 7.0
    assert tables.table("rows")[number * 4].item() == 7.0
    assert len({slot.number for slot in held}) == 100
    numbers = {slot.number for slot in held}
    rows = len(tables.table("rows"))
    del held, new, reader
    again = tables.write({"rows": torch.zeros(101, 4, 1)})
    assert {slot.number for slot in again} >= numbers
    assert len(tables.table("rows")) == rows


def test_densities_of_tiles_are_computed_once():
    grid = both()[2]
    asked = []

    def density(points):
        asked.append(len(points))
        return points[:, 0].abs() + 1.0

    table = grid.sigma_table(density)
    assert sum(asked) == grid.cells
    torch.testing.assert_close(grid.sigma_table(density), table)
    assert sum(asked) == grid.cells
    points = tile_centers(NAMES, TILE, VOXEL)
    torch.testing.assert_close(table[grid.nearest(points)], points[:, 0].abs() + 1.0)
    assert float(table[: TILE**3].abs().max()) == 0.0


def test_no_points_have_no_taps():
    _, _, grid, table = both()
    index, weight = grid.taps(torch.zeros(0, 3))
    assert index.shape == weight.shape == (0, 8)
    assert gather(table, index, weight).shape == (0, table.shape[1])
