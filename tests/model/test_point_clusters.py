"""Clusters against plain ones: a point at a time, spreading to all that touch it."""

import numpy as np
import pytest

from govnesf_model.point_clusters import CellLattice, cluster_labels


@pytest.fixture(params=["table", "sorting"], autouse=True)
def _way(request, monkeypatch) -> None:
    if request.param == "sorting":
        monkeypatch.setattr("govnesf_model.point_clusters._DENSE", 0)


def spread(xyz: np.ndarray, label: np.ndarray, cell: float) -> list[list[int]]:
    """Return the clusters of each label in the order of their first cells."""
    lattice = np.floor(xyz / cell).astype(int)
    found = []
    for number in np.unique(label[label > 0]):
        rows = np.flatnonzero(label == number)
        left = set(rows.tolist())
        for seed in rows[np.lexsort(lattice[rows].T[::-1])]:
            if seed not in left:
                continue
            cluster, edge = [], [int(seed)]
            left.remove(int(seed))
            while edge:
                one = edge.pop()
                cluster.append(one)
                others = np.array(sorted(left), int)
                touching = (np.abs(lattice[others] - lattice[one]) <= 1).all(axis=1)
                edge += others[touching].tolist()
                left -= set(others[touching].tolist())
            found.append(sorted(cluster))
    return found


@pytest.mark.parametrize("density", [40, 150, 400])
@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_those_of_a_plain_search(density, seed):
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-0.5, 0.5, (density, 3)).astype(np.float32)
    label = rng.integers(0, 4, density).astype(np.uint32)
    clusters = cluster_labels(xyz, label, 0.13)
    expected = spread(xyz, label, 0.13)
    assert [clusters.rows(n).tolist() for n in range(len(clusters.size))] == expected
    assert clusters.label.tolist() == [label[rows[0]] for rows in expected]
    lower, upper = clusters.ends(xyz)
    for number, rows in enumerate(expected):
        assert np.array_equal(lower[number], xyz[rows].min(axis=0))
        assert np.array_equal(upper[number], xyz[rows].max(axis=0))


def test_one_lattice_serves_any_labels_of_its_points():
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    lattice = CellLattice.of(xyz, 0.15)
    assert lattice.member.max() + 1 < len(xyz)  # cells with points of several labels
    for labels in ([0, 1], [1], [0, 9], [2, 3, 250], [0]):
        label = rng.choice(labels, len(xyz)).astype(np.uint32)
        clusters = lattice.clusters(label)
        found = [clusters.rows(n).tolist() for n in range(len(clusters.size))]
        assert found == spread(xyz, label, 0.15)
    assert len(CellLattice.of(xyz[:0], 0.15).clusters(label[:0]).size) == 0


def test_every_neighbour_links_and_nothing_farther():
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for step in steps[np.abs(steps).max(axis=1) > 0]:
        xyz = np.array([[0.5, 0.5, 0.5], step + 0.5])
        clusters = cluster_labels(xyz, np.ones(2, int), 1.0)
        assert len(clusters.size) == (1 if np.abs(step).max() == 1 else 2)


def test_labels_do_not_touch_one_another_and_no_row_runs_into_the_next():
    line = np.stack([np.arange(100) * 0.05, np.zeros(100), np.zeros(100)], axis=1)
    label = np.repeat([1, 0, 1, 7], [40, 4, 26, 30])
    clusters = cluster_labels(line, label, 0.06)
    assert clusters.label.tolist() == [1, 1, 7]
    assert clusters.size.tolist() == [40, 26, 30]
    # The last of one row and the first of the next follow one another in memory.
    corners = np.array([[0.5, 0.5, 3.5], [0.5, 1.5, 0.5], [1.5, 5.5, 0.5], [0.5, 5.5, 9.5]])
    assert len(cluster_labels(corners, np.ones(4, int), 1.0).size) == 4


def test_without_labels_there_are_no_clusters():
    clusters = cluster_labels(np.zeros((3, 3)), np.zeros(3, int), 0.1)
    assert len(clusters.size) == 0
    assert clusters.ends(np.zeros((3, 3)))[0].shape == (0, 3)
