"""Which points hang together: connected components of occupied cells.

lattice = CellLattice.of(xyz, cell=0.06)        # once for points that stay where they are
clusters = lattice.clusters(label)              # of all labels at once
for number in np.flatnonzero(clusters.label == 3).tolist():
    xyz[clusters.rows(number)]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int32, Int64, Integer
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

_DENSE = 1 << 25  # keys up to which a table of them all is quicker than sorting
_NONE = -1
# Half of the 26 neighbours is enough, the other half sees the same pairs from the other end. Those
# along an axis come first.
_AHEAD = sorted(
    np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)[14:].tolist(),
    key=lambda step: sum(map(abs, step)),
)


@dataclass(frozen=True)
class Clusters:
    """Clusters in the order of their labels.

    Attributes:
        label: of each cluster.
        start: where its points begin in `order`.
        size: how many there are.
        order: rows of the points, cluster after cluster, ascending within each.
    """

    label: Int[np.ndarray, "c"]
    start: Int64[np.ndarray, "c"]
    size: Int64[np.ndarray, "c"]
    order: Int64[np.ndarray, "n"]

    def rows(self, number: int) -> Int64[np.ndarray, "m"]:
        """Return the points of a cluster."""
        return self.order[self.start[number] : self.start[number] + self.size[number]]

    def ends(
        self, xyz: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "c 3"], Float[np.ndarray, "c 3"]]:
        """Return the lower and the upper corner of each cluster, upright."""
        if not len(self.size):
            return np.zeros((0, 3)), np.zeros((0, 3))
        # An axis at a time: numpy goes through what lies in one piece many times faster.
        axes = np.ascontiguousarray(xyz.T).take(self.order, axis=1)
        return (
            np.stack([np.minimum.reduceat(axis, self.start) for axis in axes], axis=1),
            np.stack([np.maximum.reduceat(axis, self.start) for axis in axes], axis=1),
        )


@dataclass(frozen=True, eq=False)
class CellLattice:
    """The cells that points lie in, and which of them touch; nothing of it depends on labels.

    Attributes:
        member: the cell of each point; cells are numbered in the order of their places.
        ahead: [13, k] the neighbours of each cell in half of all directions, -1 where there is no
            point; and one column more, a cell without points, to which -1 leads.
    """

    member: Int32[np.ndarray, "n"]
    ahead: Int32[np.ndarray, "13 k"]

    @classmethod
    def of(cls, xyz: Float[np.ndarray, "n 3"], cell: float) -> "CellLattice":
        """Sort points into cells.

        Args:
            xyz: points, metres.
            cell: edge of a cell, metres.
        """
        if not len(xyz):
            return cls(np.zeros(0, np.int32), np.full((len(_AHEAD), 1), _NONE, np.int32))
        places = np.floor(np.ascontiguousarray((xyz / cell).T)).astype(np.int64)  # [3, n]
        places -= places.min(axis=1, keepdims=True) - 1
        # With a margin, so that a neighbour is never the other end of the next row.
        planes, rows, columns = (places.max(axis=1) + 2).tolist()
        strides = np.array([rows * columns, columns, 1])
        cells = _Numbered(strides @ places, planes * rows * columns)
        ahead = np.full((len(_AHEAD), len(cells.keys) + 1), _NONE, np.int32)
        for own, offset in zip(ahead, (np.array(_AHEAD) @ strides).tolist(), strict=True):
            own[:-1] = cells.find(cells.keys + offset)
        return cls(cells.member, ahead)

    def clusters(self, label: Integer[np.ndarray, "n"]) -> Clusters:
        """Cluster points of the same label that lie in the same or in neighbouring cells.

        Args:
            label: of each point; 0 for those that belong to nothing.
        """
        chosen = np.flatnonzero(label)
        if not len(chosen):
            nothing = np.zeros(0, np.int64)
            return Clusters(nothing, nothing, nothing, nothing)
        labels, width = label[chosen], self.ahead.shape[1]
        used = np.flatnonzero(np.bincount(labels))
        kind = np.int32 if len(used) * width < 1 << 31 else np.int64
        place = np.zeros(used[-1] + 1, kind)
        place[used] = np.arange(len(used)) * width
        # A node is a cell as far as it belongs to one label.
        key = place[labels]
        key += self.member[chosen]
        nodes = _Numbered(key, len(used) * width)
        component = self._components(nodes, len(used))[nodes.member]
        size = np.bincount(component)
        start = np.cumsum(size) - size
        order = chosen[_stable_order(component)]
        return Clusters(label[order[start]].astype(np.int64), start, size, order)

    def _components(self, nodes: "_Numbered", labels: int) -> Int32[np.ndarray, "k"]:
        """Return a cluster number per node, ascending with the label."""
        count, places = len(nodes.keys), np.arange(labels + 1) * self.ahead.shape[1]
        base = np.repeat(places[:-1], np.diff(np.searchsorted(nodes.keys, places)))
        cell = nodes.keys - base
        beside: dict[tuple[int, int], np.ndarray] = {}  # which have a neighbour along an axis
        ones, others = [], []
        for step, ahead in zip(_AHEAD, self.ahead, strict=True):
            parts = [(axis, sign) for axis, sign in enumerate(step) if sign]
            some = slice(None)
            if len(parts) > 1:
                # Where there is one between the two, both are linked to it already.
                some = np.flatnonzero(~np.logical_or.reduce([beside[part] for part in parts]))
            other = ahead[cell[some]]
            # Without a cell the key is that of the last column, in which there is nothing.
            other = nodes.find(base[some] + other)
            linked = np.flatnonzero(other >= 0)
            other = other[linked]
            one = linked if len(parts) == 1 else some[linked]
            if len(parts) == 1:
                ((axis, _),) = parts
                for sign, which in ((1, one), (-1, other)):
                    beside[axis, sign] = np.zeros(count, bool)
                    beside[axis, sign][which] = True
            ones.append(one)
            others.append(other)
        return _connected(ones, others, count)


def cluster_labels(
    xyz: Float[np.ndarray, "n 3"], label: Integer[np.ndarray, "n"], cell: float
) -> Clusters:
    """Cluster points that are clustered only once; see `CellLattice`."""
    return CellLattice.of(xyz, cell).clusters(label)


def _connected(
    ones: Sequence[np.ndarray], others: Sequence[np.ndarray], count: int
) -> Int32[np.ndarray, "k"]:
    """Return the number of the component of each node, ascending with the first node.

    Args:
        ones, others: pairs of linked nodes, in parts that name a node at most once in `ones`.
        count: number of nodes.
    """
    ends = np.zeros(count + 1, np.int32)
    ends[1:] = np.bincount(np.concatenate(ones), minlength=count).cumsum()
    # Filled in here, as scipy would sort what need not be sorted.
    linked, free = np.empty(ends[-1], np.int32), ends[:-1].copy()
    for one, other in zip(ones, others, strict=True):
        at = free[one]
        linked[at] = other
        free[one] = at + 1
    graph = csr_array((np.ones(len(linked)), linked, ends), shape=(count, count))
    return connected_components(graph, directed=False)[1]


class _Numbered:
    """Different keys in ascending order, and the number of each.

    Args:
        key: of each member, from 0.
        size: above all keys.

    Attributes:
        keys: ascending.
        member: the number of each member's key.
    """

    def __init__(self, key: Int[np.ndarray, "n"], size: int) -> None:
        self._number = None
        if size > _DENSE:
            self.keys, member = np.unique(key, return_inverse=True)
            self.member = member.reshape(-1).astype(np.int32)
            return
        held = np.zeros(size, bool)
        held[key] = True
        self.keys = np.flatnonzero(held)
        # From 1, so that memory which nobody has touched yet says none.
        self._number = np.zeros(size, np.int32)
        self._number[self.keys] = np.arange(1, len(self.keys) + 1, dtype=np.int32)
        self.member = self.find(key)

    def find(self, key: Int[np.ndarray, "m"]) -> Int[np.ndarray, "m"]:
        """Return the numbers of keys within the range, -1 for unknown ones."""
        if self._number is not None:
            found = self._number[key]
            found -= 1
            return found
        at = np.searchsorted(self.keys, key).clip(max=len(self.keys) - 1)
        return np.where(self.keys[at] == key, at, _NONE)


def _stable_order(values: np.ndarray) -> np.ndarray:
    """Return what sorts small whole numbers; numpy sorts 16 bits by radix, many times faster."""
    if len(values) and values.max() < 1 << 16:
        values = values.astype(np.uint16)
    return np.argsort(values, kind="stable")
