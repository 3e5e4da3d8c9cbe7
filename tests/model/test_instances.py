"""Clusters and boxes of points whose arrangement is known."""

import numpy as np
import pytest

from govnesf_model.instances import cluster_points, find_instances, fit_box, points_in_box


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


def test_clusters_are_the_connected_components():
    line = np.stack([np.arange(100) * 0.05, np.zeros(100), np.zeros(100)], axis=1)
    line = np.delete(line, [40, 41, 42, 43], axis=0)
    cluster = cluster_points(line, 0.06)
    assert len(set(cluster[:40])) == 1
    assert len(set(cluster[40:])) == 1
    assert cluster[0] != cluster[-1]
    # The other corner of a diagonal neighbour cell still touches; far away in one axis does not.
    diagonal = cluster_points(np.array([[0.05, 0.05, 0.05], [0.07, 0.07, 0.07]]), 0.06)
    assert diagonal[0] == diagonal[1]


def test_two_hundred_thousand_points_are_clustered_quickly():
    rng = np.random.default_rng(0)
    xyz = rng.uniform(0, 1, (200_000, 3)) * (20, 20, 0.02)
    instances = find_instances(xyz, np.ones(len(xyz), np.float32))
    assert instances[0].count > 190_000
