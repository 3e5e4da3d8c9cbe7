"""A stack gives the views that a fresh one gives, copies only what is new, and holds nobody."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch

from govnesf_model.keyframes import Keyframe
from govnesf_model.view_stack import ViewStack, stack_views

CPU = torch.device("cpu")


def keyframe(number: int, width: int = 16, depth: bool = True) -> Keyframe:
    generator = np.random.default_rng(number)
    maps = torch.from_numpy(generator.random((3, 4, 5), np.float32))
    pose = np.eye(4, dtype=np.float32)
    pose[0, 3] = number
    return Keyframe(
        id=number,
        stamp=float(number),
        rgb=generator.integers(0, 256, (12, width, 3), dtype=np.uint8),
        K=np.eye(3, dtype=np.float32) * (1 + number),
        T_world_camera=pose,
        depth=generator.random((12, width), np.float32) if depth else None,
        ov=maps.half(),
        ov_stride=4,
        volume_features=maps,
        query_features=maps + 1,
        source_size=(width, 12),
        surface_depth=torch.full((1, 12, width), float(number)).half(),
        surface_spread=torch.full((1, 12, width), 0.1).half(),
    )


def same_views(one, other) -> bool:
    """Whether both hold the same views, whatever their order."""
    order = [one.T_world_camera[:, 0, 3].argsort(), other.T_world_camera[:, 0, 3].argsort()]
    pairs = [(views, rows) for views, rows in zip((one, other), order, strict=True)]
    for name in ("rgb", "query", "query_table", "K", "T_world_camera", "depth", "ov"):
        mine, theirs = (getattr(views, name)[rows] for views, rows in pairs)
        if not torch.equal(mine, theirs):
            return False
    mine, theirs = (views.surface.depth[rows] for views, rows in pairs)
    return torch.equal(mine, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_any_row_of_requests_gives_the_views_of_a_fresh_stack(seed):
    generator = np.random.default_rng(seed)
    everyone = [keyframe(number) for number in range(8)]
    stack = ViewStack(CPU)
    for _ in range(25):
        count = int(generator.integers(1, 7))
        some = [everyone[i] for i in generator.choice(8, count, replace=False)]
        assert same_views(stack.of(some), stack_views(some, CPU))
    assert stack.bytes == 6 * (3 * 12 * 16 * 4 + 60 * 4 + 60 * 2)


def test_a_fresh_stack_keeps_the_order_and_repeats():
    three = [keyframe(number) for number in (4, 2, 7)]
    assert stack_views(three, CPU).T_world_camera[:, 0, 3].tolist() == [4, 2, 7]
    assert stack_views([three[0]] * 2, CPU).T_world_camera[:, 0, 3].tolist() == [4, 4]


def test_only_what_is_new_is_copied(monkeypatch):
    everyone = [keyframe(number) for number in range(6)]
    stack = ViewStack(CPU)
    stack.of(everyone[:4])
    put = []
    monkeypatch.setattr(
        stack, "_put", lambda slot, one, do=stack._put: put.append(one) or do(slot, one)
    )
    stack.of(everyone[1:5])
    assert put == [everyone[4]]
    stack.of([everyone[4], everyone[2]])  # two slots: what lies beyond them is brought to the front
    assert len(put) <= 2
    again = dataclasses.replace(everyone[2], T_world_camera=np.eye(4, dtype=np.float32))
    views = stack.of([again])  # another object with the same id is another keyframe
    assert float(views.T_world_camera[0, 0, 3]) == 0.0


def test_other_sizes_and_missing_depth():
    stack = ViewStack(CPU)
    stack.of([keyframe(1), keyframe(2)])
    wide = [keyframe(3, width=20), keyframe(4, width=20)]
    assert same_views(stack.of(wide), stack_views(wide, CPU))
    mixed = stack.of([keyframe(5), keyframe(6, depth=False)])
    assert float(mixed.depth[1].abs().max()) == 0.0
    assert float(mixed.depth[0].max()) > 0
    assert stack.of([keyframe(6, depth=False)]).depth is None


def test_a_keyframe_that_nobody_else_holds_is_gone():
    one = keyframe(1)
    stack, there = ViewStack(CPU), weakref.ref(one)
    stack.of([one])
    del one
    gc.collect()
    assert there() is None
    assert len(stack.of([keyframe(2)])) == 1
