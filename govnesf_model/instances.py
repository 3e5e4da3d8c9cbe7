"""Objects from scored points: clusters and yaw-oriented boxes.

    instances = instances_of_labels(xyz, scores, label, texts=20, voxel_size=0.03)
    best = instances[3][0]        # of label 4: centre, size, yaw, score

Points of all labels are clustered in one go; a box is fitted only where something depends on it,
and boxes of all labels are fitted together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from govnesf_model.box_fit import Box, fit_boxes, sampled
from govnesf_model.point_clusters import CellLattice, Clusters

# Points at which a cluster's score counts half when clusters are ranked: so many, or so large a
# part of the largest cluster.
_FEW, _FEW_SHARE = 10.0, 0.05
LINK = 2.0  # voxels; points in neighbouring cells of this edge belong together


@dataclass(frozen=True)
class Instance:
    """One object in the map.

    Attributes:
        center: middle of the box, metres, map frame.
        size: extents along the box's own x, y, z, metres; x is the longer horizontal side.
        yaw: rotation of the box about z in radians, in (-pi/2, pi/2].
        score: mean probability of the points inside.
        count: number of points.
        indices: their rows in the map.
    """

    center: Float[np.ndarray, "3"]
    size: Float[np.ndarray, "3"]
    yaw: float
    score: float
    count: int
    indices: Int[np.ndarray, "n"]

    def corners(self) -> Float[np.ndarray, "8 3"]:
        """Return the corners; bit 0, 1, 2 of the row number choose the side along x, y, z."""
        signs = ((np.arange(8)[:, None] >> np.arange(3)) & 1) - 0.5
        local = signs * self.size
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        return local @ turn + self.center


def find_instances(
    xyz: Float[np.ndarray, "n 3"],
    scores: Float[np.ndarray, "n"],
    min_score: float = 0.5,
    max_instances: int = 10,
    voxel_size: float = 0.03,
    **rules: float,
) -> list[Instance]:
    """Cluster the points that score high enough for one text.

    Args:
        xyz: points, metres, z up.
        scores: probability of the text at each point.
        min_score: points below it belong to nothing.
        max_instances, voxel_size, rules: as in `instances_of_labels`.

    Returns:
        Instances, best first.
    """
    label = (scores >= min_score).astype(np.uint32)
    return instances_of_labels(xyz, scores, label, 1, max_instances, voxel_size, **rules)[0]


def instances_of_labels(
    xyz: Float[np.ndarray, "n 3"],
    scores: Float[np.ndarray, "n"],
    label: Integer[np.ndarray, "n"],
    texts: int,
    max_instances: int = 10,
    voxel_size: float = 0.03,
    min_points: int = 5,
    min_share: float = 0.015,
    link: float = LINK,
    lattice: CellLattice | None = None,
) -> list[list[Instance]]:
    """Cluster the points of every label.

    Args:
        xyz: points, metres, z up.
        scores: probability of its label at each point.
        label: 0 for points that belong to nothing, else 1 .. texts.
        texts: number of labels.
        max_instances: at most this many are returned per label.
        voxel_size: the spacing of the points, metres.
        min_points: smaller clusters are noise. A mug has ten to thirty points at 3 cm.
        min_share: so are those with a smaller part of the points of the largest cluster: crumbs.
        link: points in neighbouring cells of `link * voxel_size` belong together.
        lattice: those cells, if there is one already.

    Returns:
        Instances per label, best first: by score, where few points count less.
    """
    clusters = (lattice or CellLattice.of(xyz, link * voxel_size)).clusters(label)
    lower, upper = clusters.ends(xyz)
    borders = np.searchsorted(clusters.label, np.arange(1, texts + 2))
    labels: list[_Label] = []
    for begin, end in pairwise(borders):
        # Largest first, the first of equals first.
        mine = begin + np.argsort(-clusters.size[begin:end], kind="stable")
        mine = mine[clusters.size[mine] >= min_points]
        least = max(float(min_points), min_share * clusters.size[mine].max(initial=0))
        labels.append(_Label(xyz, clusters, mine, least, lower[mine], upper[mine], voxel_size))
    _fit(xyz, [one for label in labels for one in label.homes()], voxel_size)
    # Only what is shown needs a box.
    shown = [label.ranked(scores)[:max_instances] for label in labels]
    _fit(xyz, [one for label in shown for one in label], voxel_size)
    return [[one.instance() for one in label] for label in shown]


def points_in_box(
    xyz: Float[np.ndarray, "n 3"], instance: Instance, margin: float = 0.0
) -> Bool[np.ndarray, "n"]:
    """Tell which points lie in an instance's box, widened by a margin in metres."""
    relative = xyz - instance.center
    c, s = np.cos(instance.yaw), np.sin(instance.yaw)
    x = c * relative[:, 0] + s * relative[:, 1]
    y = c * relative[:, 1] - s * relative[:, 0]
    local = np.abs(np.stack([x, y, relative[:, 2]], axis=1))
    return (local <= instance.size / 2 + margin).all(axis=1)


class _Object:
    """A cluster, and the smaller ones that turned out to be a part of it."""

    def __init__(self, indices: np.ndarray) -> None:
        self.indices = indices
        self.box: Box | None = None  # of these points
        self._score = 0.0
        self._parts = [indices]

    def take_in(self, indices: np.ndarray) -> None:
        """Make other points a part of the object."""
        self._parts.append(indices)

    def rank(self, scores: np.ndarray, few: float) -> float:
        """Return the mean score of all parts, less for few points."""
        if len(self._parts) > 1:
            self.indices, self.box, self._parts = np.concatenate(self._parts), None, []
        self._score = float(scores[self.indices].mean())
        return self._score * len(self.indices) / (len(self.indices) + few)

    def instance(self) -> Instance:
        return Instance(*self.box, self._score, len(self.indices), self.indices)


class _Label:
    """The clusters of one label, and which of them may be a part of which larger one.

    Args:
        xyz: points.
        clusters: of all labels.
        numbers: of the clusters of the label, largest first.
        least: points that a cluster has unless it is a part of another.
        lower, upper: corners around each of them.
        voxel_size: metres.
    """

    def __init__(
        self,
        xyz: np.ndarray,
        clusters: Clusters,
        numbers: np.ndarray,
        least: float,
        lower: np.ndarray,
        upper: np.ndarray,
        voxel_size: float,
    ) -> None:
        members = [clusters.rows(number) for number in numbers.tolist()]
        large = int((clusters.size[numbers] >= least).sum())
        self._objects = [_Object(indices) for indices in members[:large]]
        # However a box is turned, it stays within reach of its points; most others are far away.
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        reach = half[:large].copy()
        reach[:, :2] = np.sqrt(2.0) * np.linalg.norm(half[:large, :2], axis=1, keepdims=True)
        reach += voxel_size
        near = np.tri(len(members), large, -1, dtype=bool)  # to larger ones
        for axis in range(3):
            apart = np.abs(middle[:, None, axis] - middle[None, :large, axis])
            near &= apart <= half[:, None, axis] + reach[None, :, axis]
        self._guests = np.flatnonzero(near.any(axis=1)).tolist()
        self._parts = [members[place] for place in self._guests]
        medians = [_median(xyz[sampled(rows)]) for rows in self._parts]
        self._points = np.array(medians).reshape(-1, 3)
        apart = np.abs(self._points[:, None] - middle[None, :large])
        self._near = near[self._guests] & (apart <= reach).all(axis=2)

    def homes(self) -> list[_Object]:
        """Return the objects whose own boxes tell whether others are a part of them."""
        return [self._objects[place] for place in np.flatnonzero(self._near.any(axis=0)).tolist()]

    def ranked(self, scores: np.ndarray) -> list[_Object]:
        """Return what is no part of another, best first, once homes have a box."""
        inside = self._near
        for place in np.flatnonzero(inside.any(axis=0)).tolist():
            inside[:, place] &= points_in_box(self._points, self._objects[place].instance())
        few = max(_FEW, _FEW_SHARE * max((len(one.indices) for one in self._objects), default=0))
        objects = dict(enumerate(self._objects))
        for guest, indices, homes in zip(self._guests, self._parts, inside, strict=True):
            # What lies inside a larger object of the same name is a part that lost contact with it.
            home = next((n for n in np.flatnonzero(homes).tolist() if n in objects), None)
            if home is not None:
                objects[home].take_in(indices)
                objects.pop(guest, None)
        return sorted(objects.values(), key=lambda one: -one.rank(scores, few))


def _fit(xyz: np.ndarray, objects: Sequence[_Object], voxel_size: float) -> None:
    """Give those a box that have none."""
    without = [one for one in objects if one.box is None]
    boxes = fit_boxes(xyz, [one.indices for one in without])
    for one, (center, size, yaw) in zip(without, boxes, strict=True):
        # A voxel's point stands for a patch around it: nothing is flatter than one voxel.
        one.box = center, np.maximum(size, voxel_size), yaw


def _median(xyz: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"]:
    """Return the median per axis."""
    # Sorting takes less time than `np.median` of few points.
    ordered = np.sort(np.ascontiguousarray(xyz.T), axis=1)
    middle = len(xyz) // 2
    return (ordered[:, middle] + ordered[:, -1 - middle]) / 2
