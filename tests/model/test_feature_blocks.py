"""Tables in blocks: what a plain tensor would hold, with memory shared between versions."""

import numpy as np
import pytest
import torch

from govnesf_model.feature_blocks import FeatureBlocks, PerBlock

DIM = 3


def numbered(count: int, first: float = 1.0) -> torch.Tensor:
    return (first + torch.arange(count * DIM).view(count, DIM) % 1000).half()


@pytest.fixture
def table(monkeypatch) -> FeatureBlocks:
    monkeypatch.setattr("govnesf_model.feature_blocks._ROWS", 10)
    return FeatureBlocks.of(numbered(35))


def shared(one: FeatureBlocks, other: FeatureBlocks) -> int:
    return sum(any(block is old for old in one.blocks) for block in other.blocks)


def test_a_table_is_its_rows_and_a_copy_of_them(table) -> None:
    rows = numbered(35)
    table = FeatureBlocks.of(rows)
    rows[:] = 0
    assert [len(block) for block in table.blocks] == [10, 10, 10, 5]
    assert torch.equal(table.tensor(), numbered(35))
    assert (len(table), table.shape, table.dim, table.dtype) == (35, (35, 3), 3, torch.float16)
    assert table.bytes == 35 * table.row_bytes == 35 * 3 * 2
    for start, block in table:
        assert torch.equal(block, numbered(35)[start : start + len(block)])
    asked = np.array([34, 0, 12, 11, 12])
    assert torch.equal(table.take(asked), numbered(35)[asked])
    assert table.take(np.zeros(0, np.int64)).shape == (0, 3)


def test_a_new_version_shares_all_blocks_that_it_does_not_change(table) -> None:
    before = table.tensor().clone()
    rows = np.array([13, 2, 19])
    later = table.with_rows(rows, -torch.arange(9.0).view(3, 3))
    expected = before.clone()
    expected[rows] = -torch.arange(9.0).view(3, 3).half()
    assert torch.equal(later.tensor(), expected)
    assert torch.equal(table.tensor(), before)
    assert [new is old for new, old in zip(later.blocks, table.blocks, strict=True)] == [
        *(False, False, True, True)
    ]


def test_rows_beyond_the_end_are_zero_until_they_are_given(table) -> None:
    later = table.lengthened(58).with_rows(np.array([36, 52]), torch.ones(2, 3))
    assert [len(block) for block in later.blocks] == [10, 10, 10, 10, 10, 8]
    expected = torch.cat([table.tensor(), torch.zeros(23, 3).half()])
    expected[[36, 52]] = 1
    assert torch.equal(later.tensor(), expected)
    assert shared(table, later) == 3
    first = FeatureBlocks.empty(DIM).lengthened(2).with_rows(np.array([1]), torch.ones(1, 3))
    assert first.tensor().tolist() == [[0, 0, 0], [1, 1, 1]]


def test_rows_of_zeros_take_no_memory_until_they_are_given(table) -> None:
    later = table.lengthened(75)
    blank = later.blocks[4:]
    assert [len(block) for block in blank] == [10, 10, 10, 5]
    assert all(block.untyped_storage().nbytes() == table.row_bytes for block in blank)
    assert len(set(map(id, blank))) == 4  # what is kept per block is kept for each of them
    given = later.with_rows(np.array([52]), torch.ones(1, 3))
    assert given.blocks[5].untyped_storage().nbytes() == 10 * table.row_bytes
    assert not later.blocks[5].any()


def test_a_block_that_is_replaced_whole_holds_its_rows_in_their_order(table) -> None:
    rows = np.random.default_rng(0).permutation(20)
    later = table.with_rows(rows, -numbered(20)[rows])
    assert torch.equal(later.tensor()[:20], -numbered(20))
    assert [later.blocks[n] is table.blocks[n] for n in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("row", [-1, 35])
def test_rows_that_are_not_there_are_refused(table, row) -> None:
    with pytest.raises(IndexError, match="of a table of 35"):
        table.with_rows(np.array([3, row]), torch.ones(2, 3))
    with pytest.raises(IndexError, match="of a table of 35"):
        table.take(np.array([row]))


def test_dropping_rows_rewrites_only_the_blocks_that_lose_some(table) -> None:
    kept = np.ones(35, bool)
    kept[[12, 17]] = False
    later = table.keep(kept)
    assert torch.equal(later.tensor(), numbered(35)[kept])
    assert shared(table, later) == 3
    nothing = table.keep(np.zeros(35, bool))
    assert (len(nothing), nothing.dim, nothing.tensor().shape) == (0, 3, (0, 3))


def test_blocks_do_not_become_ever_shorter(table) -> None:
    rng = np.random.default_rng(0)
    expected = table.tensor()
    for _ in range(40):
        kept = rng.random(len(table)) > 0.3
        rows = np.arange(kept.sum(), kept.sum() + 10)
        more = numbered(10)
        table = table.keep(kept).lengthened(int(kept.sum()) + 10).with_rows(rows, more)
        expected = torch.cat([expected[kept], more])
        assert torch.equal(table.tensor(), expected)
        pairs = zip(table.blocks, table.blocks[1:], strict=False)
        assert all(len(one) + len(two) > 5 for one, two in pairs)


def test_values_are_computed_once_per_block(table) -> None:
    seen = []

    def summed(blocks: list[torch.Tensor]) -> list[float]:
        seen.extend(blocks)
        return [float(block.float().sum()) for block in blocks]

    sums = PerBlock()
    assert sums.of(table, summed) == [float(block.float().sum()) for block in table.blocks]
    assert len(seen) == 4
    later = table.with_rows(np.array([25]), torch.zeros(1, 3))
    assert sums.of(later, summed) == [float(block.float().sum()) for block in later.blocks]
    assert len(seen) == 5
    assert seen[4] is later.blocks[2]
    assert sums.of(FeatureBlocks.empty(DIM), summed) == []
    # Nothing is kept for tables that are gone.
    sums.of(table, summed)
    assert len(seen) == 9
    sums.forget_others(later)
    sums.of(table, summed)
    assert seen[9:] == [table.blocks[2]]
