"""Objects from scored points: clusters and yaw-oriented boxes.

instances = find_instances(xyz, scores, min_score=0.5, max_instances=10, voxel_size=0.03)
best = instances[0]           # centre, size, yaw, score
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_ANGLES = np.deg2rad(np.arange(0.0, 90.0, 1.0))
_FIT_POINTS = 4000  # a box is fitted to at most this many points of a cluster
_AXIS_BONUS = 0.98  # a turned rectangle must be this much smaller than the upright one
# Points at which a cluster's score counts half when clusters are ranked: so many, or so large a
# part of the largest cluster.
_FEW, _FEW_SHARE = 10, 0.05


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
    min_points: int = 5,
    min_share: float = 0.015,
    link: float = 2.0,
) -> list[Instance]:
    """Cluster the points that score high enough.

    Args:
        xyz: points, metres, z up.
        scores: probability of the text at each point.
        min_score: points below it belong to nothing.
        max_instances: at most this many are returned.
        voxel_size: the spacing of the points, metres.
        min_points: smaller clusters are noise. A mug has ten to thirty points at 3 cm.
        min_share: so are those with a smaller part of the points of the largest cluster: crumbs.
        link: points in neighbouring cells of `link * voxel_size` belong together.

    Returns:
        Instances, best first: by score, where few points count less.
    """
    chosen = np.flatnonzero(scores >= min_score)
    if len(chosen) == 0:
        return []
    cluster = cluster_points(xyz[chosen], link * voxel_size)
    order = np.argsort(cluster, kind="stable")
    members = np.split(chosen[order], np.cumsum(np.bincount(cluster))[:-1])
    members.sort(key=len, reverse=True)
    least = max(min_points, min_share * len(members[0]))
    found: list[Instance] = []
    for indices in members:
        if len(indices) < min_points:
            break
        middle = np.median(xyz[indices], axis=0, keepdims=True)
        home = next((n for n, other in enumerate(found) if points_in_box(middle, other)[0]), None)
        if home is not None:
            # What lies inside a larger object of the same name is a part that lost contact with it.
            indices = np.concatenate([found[home].indices, indices])
            found[home] = _instance(xyz, scores, indices, voxel_size)
        elif len(indices) >= least:
            found.append(_instance(xyz, scores, indices, voxel_size))
    few = max(_FEW, _FEW_SHARE * len(members[0]))
    found.sort(key=lambda instance: -instance.score * instance.count / (instance.count + few))
    return found[:max_instances]


def cluster_points(xyz: Float[np.ndarray, "n 3"], cell: float) -> Int[np.ndarray, "n"]:
    """Return a cluster number per point: connected components of occupied cells, 26 neighbours."""
    lattice = np.floor(xyz / cell).astype(np.int64)
    lattice -= lattice.min(axis=0) - 1
    extent = lattice.max(axis=0) + 2
    strides = np.array([extent[1] * extent[2], extent[2], 1])
    cells, member = np.unique(lattice @ strides, return_inverse=True)
    # Half of the 26 neighbours is enough, the other half sees the same pairs from the other end.
    offsets = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)[14:]
    neighbours = cells[:, None] + offsets @ strides  # [cells, 13]
    at = np.searchsorted(cells, neighbours).clip(max=len(cells) - 1)
    first, which = np.nonzero(cells[at] == neighbours)
    second = at[first, which]
    links = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(cells),) * 2)
    _, component = connected_components(links, directed=False)
    return component[member.reshape(-1)].astype(np.int64)


def fit_box(
    xyz: Float[np.ndarray, "n 3"], trim: float = 1.0
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], float]:
    """Return centre, size and yaw of the upright box of least area around points.

    Args:
        xyz: points, metres, z up.
        trim: percent of the points that may stick out at each end: a few stray ones must not
            decide. Of fewer than 100 points none may.
    """
    if len(xyz) > _FIT_POINTS:
        xyz = xyz[np.linspace(0, len(xyz) - 1, _FIT_POINTS).astype(int)]
    cos, sin = np.cos(_ANGLES)[:, None], np.sin(_ANGLES)[:, None]
    along = cos * xyz[:, 0] + sin * xyz[:, 1]  # [angles, n]
    across = cos * xyz[:, 1] - sin * xyz[:, 0]
    low_a, high_a = _ends(along, trim)
    low_b, high_b = _ends(across, trim)
    area = np.maximum(high_a - low_a, 1e-3) * np.maximum(high_b - low_b, 1e-3)
    best = int(area.argmin())
    if area[0] * _AXIS_BONUS <= area[best]:
        best = 0
    low_z, high_z = _ends(xyz[None, :, 2], trim)
    yaw = float(_ANGLES[best])
    a, b = (low_a[best] + high_a[best]) / 2, (low_b[best] + high_b[best]) / 2
    c, s = np.cos(yaw), np.sin(yaw)
    center = np.array([c * a - s * b, s * a + c * b, (low_z[0] + high_z[0]) / 2])
    size = np.array([high_a[best] - low_a[best], high_b[best] - low_b[best], high_z[0] - low_z[0]])
    if size[1] > size[0]:
        size, yaw = size[[1, 0, 2]], yaw + np.pi / 2
    return center, size, yaw if yaw <= np.pi / 2 else yaw - np.pi


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


def _instance(
    xyz: np.ndarray, scores: np.ndarray, indices: np.ndarray, voxel_size: float
) -> Instance:
    center, size, yaw = fit_box(xyz[indices].astype(np.float64))
    # A voxel's point stands for a patch around it: nothing is flatter than one voxel.
    size = np.maximum(size, voxel_size)
    return Instance(center, size, yaw, float(scores[indices].mean()), len(indices), indices)


def _ends(values: Float32[np.ndarray, "a n"] | np.ndarray, trim: float) -> tuple:
    """Return the ends of each row without the outermost `trim` percent."""
    count = values.shape[1]
    skip = int(count * trim / 100)
    ordered = np.partition(values, (skip, count - 1 - skip), axis=1)
    return ordered[:, skip], ordered[:, count - 1 - skip]
