"""Clusters and boxes of points whose arrangement is known."""

from itertools import chain

import numpy as np
import pytest

from govnesf_model.box_fit import fit_box
from govnesf_model.instances import (
    Instance,
    find_instances,
    instances_of_labels,
    points_in_box,
)
from govnesf_model.point_clusters import CellLattice, cluster_labels


def box_surface(center, size, yaw=0.0, spacing=0.03, seed=0):
    """Return points on the faces of a turned box."""
    rng = np.random.default_rng(seed)
    size = np.asarray(size, float)
    area = size.prod() / size
    count = int(2 * area.sum() / spacing**2)
    axis = rng.choice(3, count, p=area / area.sum())
    local = rng.uniform(-0.5, 0.5, (count, 3))
    local[np.arange(count), axis] = rng.choice([-0.5, 0.5], count)
    local *= size
    c, s = np.cos(yaw), np.sin(yaw)
    return (local @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + center).astype(np.float32)


@pytest.mark.parametrize("yaw", [0.0, 0.3, 0.8, 1.2, -0.5, np.pi / 2])
def test_turned_box_is_recovered(yaw):
    center, size, found = fit_box(box_surface((1, -2, 0.4), (1.2, 0.6, 0.8), yaw))
    assert center == pytest.approx((1, -2, 0.4), abs=0.02)
    assert size == pytest.approx((1.2, 0.6, 0.8), abs=0.04)
    assert np.cos(2 * (found - yaw)) > np.cos(2 * 0.03)  # a box turned by pi is the same box
    assert -np.pi / 2 < found <= np.pi / 2


def test_corners_span_the_box_and_contain_the_points():
    points = box_surface((0.5, 0.5, 0.5), (1.0, 0.4, 0.2), 0.7)
    instance = find_instances(points, np.ones(len(points), np.float32))[0]
    corners = instance.corners()
    assert corners.mean(axis=0) == pytest.approx(instance.center)
    assert np.linalg.norm(corners[1] - corners[0]) == pytest.approx(instance.size[0])
    assert np.linalg.norm(corners[4] - corners[0]) == pytest.approx(instance.size[2])
    assert points_in_box(points, instance, margin=0.03).mean() > 0.98


def test_stray_points_do_not_stretch_a_box():
    points = box_surface((0, 0, 0.5), (1.0, 0.5, 1.0))
    stray = np.array([[0.9, 0.0, 0.5], [0.0, 0.6, 0.4]], np.float32)
    _, size, _ = fit_box(np.concatenate([points, stray]))
    assert size == pytest.approx((1.0, 0.5, 1.0), abs=0.05)


def test_two_chairs_and_a_small_mug_stay_apart():
    chairs = [box_surface((x, 0, 0.45), (0.4, 0.4, 0.9), seed=x) for x in (0, 1)]
    mug = box_surface((3, 0, 0.8), (0.08, 0.08, 0.09), spacing=0.035)
    assert 10 <= len(mug) <= 40
    xyz = np.concatenate([*chairs, mug])
    scores = np.repeat([0.9, 0.7, 0.8], [len(chairs[0]), len(chairs[1]), len(mug)])
    found = find_instances(xyz, scores.astype(np.float32), min_score=0.5)
    assert [instance.count for instance in found] == [len(chairs[0]), len(chairs[1]), len(mug)]
    mugs = [instance for instance in found if instance.center[0] > 2]
    assert len(mugs) == 1
    assert mugs[0].center == pytest.approx((3, 0, 0.8), abs=0.02)
    assert mugs[0].score == pytest.approx(0.8)
    np.testing.assert_array_equal(
        np.sort(mugs[0].indices), np.arange(len(xyz) - len(mug), len(xyz))
    )


def test_threshold_size_and_number_are_obeyed():
    places = np.arange(12)
    blobs = [box_surface((2.0 * x, 0, 0), (0.3, 0.3, 0.3), seed=x) for x in places]
    xyz = np.concatenate(blobs)
    scores = np.repeat(0.3 + 0.05 * places, [len(blob) for blob in blobs])
    found = find_instances(xyz, scores.astype(np.float32), min_score=0.5, max_instances=3)
    assert [round(float(i.center[0] / 2)) for i in found] == [11, 10, 9]
    assert all(i.score >= 0.5 for i in found)
    assert find_instances(xyz, scores, min_score=0.99) == []
    assert find_instances(xyz[:3], np.ones(3, np.float32)) == []
    assert find_instances(np.zeros((0, 3)), np.zeros(0)) == []


def test_a_part_inside_a_larger_object_is_no_object_and_crumbs_are_none():
    table = box_surface((0, 0, 0.7), (1.6, 0.8, 0.06))
    hole = (np.abs(table[:, :2] - (0.3, 0.1)) < 0.25).all(axis=1)
    island = box_surface((0.3, 0.1, 0.7), (0.14, 0.14, 0.06))
    crumb = box_surface((3, 0, 0.7), (0.05, 0.05, 0.05))
    assert 5 < len(crumb) < 0.015 * (~hole).sum()
    xyz = np.concatenate([table[~hole], island, crumb])
    found = find_instances(xyz, np.ones(len(xyz), np.float32))
    assert [instance.count for instance in found] == [len(xyz) - len(crumb)]
    assert found[0].size == pytest.approx((1.6, 0.8, 0.06), abs=0.04)


def test_two_hundred_thousand_points_are_clustered_quickly():
    rng = np.random.default_rng(0)
    xyz = rng.uniform(0, 1, (200_000, 3)) * (20, 20, 0.02)
    instances = find_instances(xyz, np.ones(len(xyz), np.float32))
    assert instances[0].count > 190_000


def plain_instances(xyz, scores, label, texts, voxel_size) -> list[list[tuple]]:
    """The rules of `instances_of_labels` a label at a time, a box for every cluster."""
    found = []
    for number in range(1, texts + 1):
        rows = np.flatnonzero(label == number)
        alone = np.ones(len(rows), np.uint32)
        clusters = cluster_labels(xyz[rows], alone, 2 * voxel_size)
        members = [rows[clusters.rows(n)] for n in range(len(clusters.size))]
        members.sort(key=len, reverse=True)
        objects = []
        for indices in members:
            if len(indices) < 5:
                continue
            box = boxed(xyz, scores, indices, voxel_size)
            middle = np.median(xyz[indices], axis=0, keepdims=True)
            home = next((o for o in objects if points_in_box(middle, o[0])[0]), None)
            if home is not None:
                home[1].append(indices)
            elif len(indices) >= 0.015 * len(members[0]):
                objects.append((box, [indices]))
        few = max(10, 0.05 * len(members[0])) if members else 0
        whole = [boxed(xyz, scores, np.concatenate(parts), voxel_size) for _, parts in objects]
        whole.sort(key=lambda one: -one.score * one.count / (one.count + few))
        found.append(whole[:10])
    return found


def boxed(xyz, scores, indices, voxel_size) -> Instance:
    center, size, yaw = fit_box(xyz[indices].astype(np.float64))
    score = float(scores[indices].mean())
    return Instance(center, np.maximum(size, voxel_size), yaw, score, len(indices), indices)


@pytest.mark.parametrize("seed", range(4))
def test_all_labels_at_once_are_each_label_alone_with_a_box_for_everything(seed):
    rng = np.random.default_rng(seed)
    parts, labels = [], []
    for _ in range(60):
        size = rng.uniform(0.05, 1.2, 3) * rng.choice([0.1, 1.0], 3)
        part = box_surface(rng.uniform(0, 4, 3), size, rng.uniform(0, 3), 0.05)
        parts.append(part[rng.random(len(part)) < rng.uniform(0.2, 1.0)])
        labels.append(np.full(len(parts[-1]), rng.integers(0, 6)))
    for number in (1, 2, 3):  # a table of which a part has lost contact
        table = box_surface((0, 0, 0), (1.6, 1.6, 0.06), spacing=0.04)
        far = np.abs(table[:, :2] - (0.3, 0.1)).max(axis=1)
        parts.append(table[(far > 0.4) | (far < 0.15)] + np.float32(5 + number))
        labels.append(np.full(len(parts[-1]), number))
    mixed = rng.permutation(sum(map(len, parts)))
    xyz, label = np.concatenate(parts)[mixed], np.concatenate(labels)[mixed].astype(np.uint32)
    scores = rng.uniform(0.5, 1.0, len(xyz)).astype(np.float32)
    found = instances_of_labels(xyz, scores, label, 6, voxel_size=0.05)
    lattice = CellLattice.of(xyz, 2 * 0.05)
    again = instances_of_labels(xyz, scores, label, 6, voxel_size=0.05, lattice=lattice)
    expected = plain_instances(xyz, scores, label, 6, 0.05)
    assert [len(own) for own in found] == [len(own) for own in expected]
    assert found[5] == []
    merged = 0
    for one, same, other in zip(chain(*found), chain(*again), chain(*expected), strict=True):
        assert np.array_equal(one.indices, other.indices)
        assert np.array_equal(one.indices, same.indices)
        assert one.center == pytest.approx(other.center, abs=1e-9)
        assert one.size == pytest.approx(other.size, abs=1e-9)
        assert (one.yaw, one.score) == pytest.approx((other.yaw, other.score))
        merged += not (np.diff(one.indices) > 0).all()
    assert merged > 0
