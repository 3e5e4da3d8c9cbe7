"""Sums of tiles that go to the disk and come back."""

import gc
import os
from pathlib import Path

import pytest
import torch

from govnesf_model.tile_store import TileStore, TileSums


def sums(value: float) -> TileSums:
    tensors = torch.full((8,), value), torch.full((8, 3), value), torch.full((8, 3), -value)
    return TileSums(*tensors, torch.full((64,), value + 1), torch.full((64,), value + 2), views=2)


SIZE = sums(0.0).bytes


def same(one: TileSums, other: TileSums) -> bool:
    alike = [torch.equal(t, other.tensors[name]) for name, t in one.tensors.items()]
    return all(alike) and one.views == other.views


def filled(limit: float, count: int = 6) -> TileStore:
    store = TileStore("cpu", limit)
    for number in range(count):
        store[number, -number, 0] = sums(float(number))
    return store


def test_what_was_not_used_for_longest_goes_to_disk_and_comes_back():
    store = filled(2.5 * SIZE)
    assert (store.bytes, store.on_disk) == (6 * SIZE, 0)
    assert store[0, 0, 0].views == 2  # used now
    store.trim()
    assert (store.bytes, store.on_disk, len(store)) == (2 * SIZE, 4, 6)
    assert set(store) == {(n, -n, 0) for n in range(6)}
    folder = Path(store._folder.name)
    assert sorted(os.listdir(folder)) == [f"{n}_{-n}_0.safetensors" for n in (1, 2, 3, 4)]
    for number in range(6):
        assert (number, -number, 0) in store
        assert same(store[number, -number, 0], sums(float(number)))
    assert store.on_disk == 0
    assert os.listdir(folder) == []
    store[3, -3, 0].mean += 1.0
    store.trim()
    for number in (5, 4):
        store[number, -number, 0]
    store.trim()
    assert store.on_disk == 4
    assert torch.equal(store[3, -3, 0].mean, torch.full((8, 3), 4.0))


def test_tiles_on_disk_can_be_dropped_and_replaced():
    store = filled(0.0)
    store.trim()
    assert (store.bytes, store.on_disk) == (0, 6)
    del store[2, -2, 0]
    assert (2, -2, 0) not in store
    with pytest.raises(KeyError):
        store[2, -2, 0]
    with pytest.raises(KeyError):
        del store[2, -2, 0]
    store[3, -3, 0] = sums(30.0)
    assert same(store[3, -3, 0], sums(30.0))
    assert len(store) == 5
    assert len(os.listdir(store._folder.name)) == 4


def test_nothing_is_left_on_the_disk():
    store = filled(0.0)
    store.trim()
    folder = Path(store._folder.name)
    assert folder.is_dir()
    del store
    gc.collect()
    assert not folder.exists()


def test_without_a_limit_nothing_is_written():
    store = filled(float("inf"))
    store.trim()
    assert store.on_disk == 0
    assert store._folder is None


def test_what_a_full_disk_does_not_take_stays_in_memory(monkeypatch):
    store = filled(1.0 * SIZE)
    monkeypatch.setattr("govnesf_model.tile_store.save_file", _full)
    store.trim()
    assert (store.bytes, store.on_disk) == (6 * SIZE, 0)
    assert same(store[4, -4, 0], sums(4.0))


def _full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to hold tiles")
def test_from_a_gpu_tiles_go_to_the_host_first():
    store = TileStore("cuda", 2.0 * SIZE)
    for number in range(6):
        store[number, 0, 0] = sums(float(number)).to("cuda")
    store.trim()
    assert (len(store._near), len(store._host), store.on_disk) == (2, 2, 2)
    for number in range(6):
        assert store[number, 0, 0].mean.device.type == "cuda"
        assert same(store[number, 0, 0].to("cpu"), sums(float(number)))
