"""Voxel-hashed points: merging, visibility, edges."""

import numpy as np
import pytest
import torch
from furnished_room import room_frames

from govnesf_model.map_points import (
    SurfacePoints,
    depth_edges,
    points_from_depth,
    rows_seen,
    voxel_keys,
)


def test_voxel_keys_are_equal_exactly_within_a_voxel():
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-3, 3, (5000, 3))
    keys = voxel_keys(xyz, 0.1)
    cells = np.floor(xyz / 0.1).astype(int)
    _, first = np.unique(cells, axis=0, return_inverse=True)
    _, second = np.unique(keys, return_inverse=True)
    assert len(np.unique(first)) == len(np.unique(second))
    assert len(set(zip(first.reshape(-1), second.reshape(-1), strict=True))) == len(
        np.unique(first)
    )


def test_merging_keeps_running_means_and_rows():
    points = SurfacePoints(0.1, dim=4)
    one = np.array([[0.01, 0.01, 0.01], [0.03, 0.01, 0.01], [0.55, 0, 0]], np.float32)
    rows, fresh = points.merge(one, np.full((3, 3), 100, np.float32))
    assert (len(points), fresh.tolist()) == (2, [True, True])
    first = rows[0]
    assert points.xyz[first] == pytest.approx((0.02, 0.01, 0.01))  # one image, one observation
    before = points.xyz
    again = np.array([[0.06, 0.01, 0.01], [0.95, 0, 0]], np.float32)
    rows, fresh = points.merge(again, np.full((2, 3), 200, np.float32))
    assert fresh.tolist() == [False, True]
    assert rows[0] == first
    assert points.xyz[first] == pytest.approx((0.04, 0.01, 0.01))
    assert points.rgb[first] == pytest.approx((150, 150, 150))
    assert before[first] == pytest.approx((0.02, 0.01, 0.01))  # earlier arrays never change


def test_dropping_points_keeps_features_and_lookup_in_step():
    points = SurfacePoints(0.1, dim=3)
    xyz = np.stack([np.arange(10) * 0.1 + 0.05, np.zeros(10), np.zeros(10)], 1).astype(np.float32)
    rows, _ = points.merge(xyz, np.zeros((10, 3), np.float32))
    features = torch.arange(30.0).view(10, 3)
    points.set_features(rows, features, np.ones(10, np.float32), np.ones(10, int))
    kept = np.arange(10) % 2 == 0
    new_row = points.keep(kept)
    assert new_row.tolist() == [0, -1, 1, -1, 2, -1, 3, -1, 4, -1]
    assert torch.equal(points.features.tensor().float(), features[::2])
    rows, fresh = points.merge(xyz, np.zeros((10, 3), np.float32))
    assert fresh.sum() == 5
    assert len(points) == 10
    points.set_features(np.array([9]), torch.ones(1, 3), np.ones(1, np.float32), np.ones(1, int))
    assert len(points.features) == 10
    assert points.features.tensor()[5:9].abs().sum() == 0


def test_replacing_the_surface_keeps_what_stays():
    points = SurfacePoints(0.1, dim=3)
    xyz = np.stack([np.arange(4) * 0.1 + 0.05, np.zeros(4), np.zeros(4)], 1).astype(np.float32)
    colors = np.zeros((4, 3), np.float32)
    rows, _ = points.merge(xyz, colors)
    points.set_features(
        rows, torch.arange(12.0).view(4, 3), np.ones(4, np.float32), np.ones(4, int)
    )
    moved = xyz[[1, 3, 3]] + np.array([0, 0, 0.01], np.float32)
    other = np.concatenate([moved, np.array([[0.95, 0, 0]], np.float32)])
    new_row, added = points.replace(other, np.full((4, 3), 9, np.float32))
    assert added == 1
    assert new_row.tolist() == [-1, 0, -1, 1]
    assert points.features.tensor().tolist() == [[3, 4, 5], [9, 10, 11], [0, 0, 0]]
    assert points.views.tolist() == [1, 1, 0]
    assert points.xyz[:, 2] == pytest.approx([0.01, 0.01, 0.0])
    assert points.merge(xyz, colors)[1].sum() == 2


def test_points_looked_through_vanish():
    points = SurfacePoints(0.1, dim=3)
    points.merge(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))
    for _ in range(2):
        points.miss(np.array([0]))
        assert not points.vanished().any()
    points.miss(np.array([0]))
    assert points.vanished().all()


def test_depth_points_lie_on_the_surface_and_edges_are_left_out():
    frame = room_frames(1)[0]
    K, T = frame.K.astype(np.float32), frame.T_world_camera.astype(np.float32)
    xyz, rgb = points_from_depth(frame.rgb, frame.depth, K, T, 1, 0.1, 5.0)
    on_wall = np.abs(np.abs(xyz[:, :2]) - (2.0, 1.5)).min(1) < 1e-3
    label_is_wall = np.abs(rgb - (150, 160, 200)).sum(1) == 0
    assert (on_wall | ~label_is_wall).all()
    edges = depth_edges(frame.depth)
    assert 0.0 < edges.mean() < 0.1
    ramp = np.tile(np.linspace(1, 5, 80, dtype=np.float32), (60, 1))
    assert not depth_edges(ramp).any()
    step = np.where(np.arange(80) < 40, 1.0, 2.0).astype(np.float32)[None].repeat(60, 0)
    assert depth_edges(step)[:, 38:42].any(axis=1).all()
    assert not depth_edges(step)[:, :35].any()


@pytest.mark.parametrize("measured", [True, False], ids=["measured depth", "z-buffer"])
def test_what_is_behind_is_not_seen(measured):
    frame = room_frames(1)[0]
    K, T = frame.K.astype(np.float32), frame.T_world_camera.astype(np.float32)
    xyz, _ = points_from_depth(frame.rgb, frame.depth, K, T, 2, 0.1, 8.0)
    ray = xyz - T[:3, 3]
    behind, before = T[:3, 3] + ray * 1.5, T[:3, 3] + ray * 0.6
    depth = frame.depth if measured else None
    points = np.concatenate([xyz, behind]).astype(np.float32)
    view = rows_seen(points, K, T, (160, 120), depth, 0.05, 20.0)
    # Without depth a slanted surface hides its own far end within a cell of the buffer.
    assert (view.seen < len(xyz)).mean() > 0.97
    assert (view.seen < len(xyz)).sum() > (0.9 if measured else 0.6) * len(xyz)
    view = rows_seen(before.astype(np.float32), K, T, (160, 120), frame.depth, 0.05, 20.0)
    assert len(view.through) > 0.9 * len(before)
    away = T.copy()
    away[:3, :3] = T[:3, :3] @ np.diag([-1.0, 1.0, -1.0]).astype(np.float32)
    assert len(rows_seen(xyz, K, away, (160, 120), depth, 0.05, 20.0).seen) == 0
