import pytest
import torch

from govnesf_model.sparse_lattice import SparseLattice

LOWER, UPPER = torch.tensor([-1.0, 0.5, 0.0]), torch.tensor([1.2, 2.0, 0.9])


@pytest.fixture
def lattice():
    return SparseLattice(LOWER, UPPER, 0.04)


def inside(count: int = 500) -> torch.Tensor:
    share = torch.rand(count, 3, generator=torch.Generator().manual_seed(1))
    return LOWER + 0.04 + (UPPER - LOWER - 0.08) * share


def test_the_weighted_mean_of_the_points_around_a_point_is_that_point(lattice):
    points = inside()
    index, weight = lattice.taps(points)
    around = lattice.positions(index.flatten()).view(-1, 8, 3)
    assert float((around - points.unsqueeze(1)).abs().max()) < 0.04 + 1e-5
    torch.testing.assert_close((around * weight.unsqueeze(2)).sum(dim=1), points)
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(len(points)))


def test_every_point_of_the_lattice_has_an_index_of_its_own(lattice):
    axes = [torch.arange(size) for size in lattice.shape]
    points = lattice.origin + torch.cartesian_prod(*axes) * 0.04
    index, weight = lattice.taps(points)
    nearest = index.gather(1, weight.argmax(dim=1, keepdim=True)).squeeze(1)
    assert len(nearest.unique()) == len(points)
    torch.testing.assert_close(lattice.positions(nearest), points, atol=1e-5, rtol=0)


def test_rows_are_given_once_and_stay(lattice):
    index = lattice.taps(inside(50))[0]
    assert int(lattice.rows(index).max()) == 0
    first = index.unique()
    rows = lattice.add(first)
    assert rows.tolist() == list(range(1, len(first) + 1))
    assert len(lattice) == len(first)
    more = lattice.taps(inside(400))[0]
    lacking = more[lattice.rows(more) == 0].unique()
    lattice.add(lacking)
    assert torch.equal(lattice.rows(first), rows)
    assert lattice.rows(lacking).tolist() == list(range(len(first) + 1, len(lattice) + 1))


def test_memory_grows_with_blocks_that_hold_something():
    far = torch.tensor([60.0, 60.0, 4.0])
    wide = SparseLattice(torch.zeros(3), far, 0.04)
    assert wide.bytes < 1 << 20
    for number in range(10):
        corner = torch.tensor([[5.0 * number, 5.0 * number, 1.0]])
        wide.add(wide.taps(corner)[0].unique())
    assert wide.bytes < 4 << 20  # of 150 million points


def test_outside_the_box_nothing_is_known(lattice):
    for far in ([-2.0, 1.0, 0.5], [0.0, 3.0, 0.5], [0.0, 1.0, -9.0]):
        assert float(lattice.taps(torch.tensor([far]))[1].abs().max()) == 0.0
    on_the_face = torch.tensor([[-1.0, 1.0, 0.5], [1.2, 1.0, 0.5]])
    torch.testing.assert_close(lattice.taps(on_the_face)[1].sum(dim=1), torch.ones(2))


def test_a_box_of_one_point_is_a_lattice():
    one = SparseLattice(torch.zeros(3), torch.full((3,), 0.04), 0.04)
    index, weight = one.taps(torch.tensor([[0.02, 0.02, 0.02]]))
    assert one.shape == [1, 1, 1]
    assert index.unique().tolist() == [0]
    assert float(weight.sum()) == pytest.approx(1)
