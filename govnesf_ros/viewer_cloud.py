"""The map as the page draws it: read from a message, coloured, cut into blocks, thinned.

    points = read_cloud(message)
    blocks = cut(points.xyz, colors_of(points, "words"), before=blocks)
    levels = choose_levels(blocks, eye, budget=300_000)

No state. A block keeps its version numbers as long as nothing in it changes, so that only changed
blocks travel; its points are in an order whose every prefix is an even sample, so that a
level of detail is a prefix.
"""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from sensor_msgs_py import point_cloud2

from govnesf_model.palette import heat_colors, label_colors

MODES = ("photo", "words", "relevancy", "confidence")
LEVELS = 4  # level l shows a 4^-l part of the points, each twice as wide as one level below
MAX_CLOUD = 4_000_000  # points that are read of one message; beyond, every second, third, ...
MAX_LABEL = 1000  # the mapper has at most 254; what is above has no name and gets no colour
BLOCK_EDGE = 1.0  # metres; doubled while there would be more than MAX_BLOCKS
MAX_BLOCKS = 600  # a browser draws each with a call of its own
FULL_DETAIL = 12.0  # metres from the eye up to which 3 cm between points are worth drawing
_DIM = 0.45  # brightness of what is not highlighted

# The floor is at z = 0: points that waver there must not change cubes with every keyframe.
_SHIFT = np.array([0.0, 0.0, 0.25])
_versions = itertools.count(1)


class BadCloud(ValueError):
    """A cloud that cannot be shown; the message says why."""


@dataclass(frozen=True, eq=False)
class MapPoints:
    """A cloud of the mapper.

    Attributes:
        xyz: float32 [N, 3], map frame, metres.
        photo: uint8 [N, 3], the colour that the camera saw.
        label: uint32 [N], 0 none, i + 1 = word i.
        value: float32 [N], confidence or relevancy, 0..1.
        stamp: nanoseconds, of the newest keyframe inside.
        frame_id: the map frame.
    """

    xyz: np.ndarray
    photo: np.ndarray
    label: np.ndarray
    value: np.ndarray
    stamp: int = 0
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.xyz)

    def where(self, keep: np.ndarray) -> "MapPoints":
        """Return some of the points: a mask or indices."""
        columns = ("xyz", "photo", "label", "value")
        return replace(self, **{name: getattr(self, name)[keep] for name in columns})


@dataclass(frozen=True, eq=False)
class Block:
    """The points of one cube of space.

    Attributes:
        center: float64 [3], of the cube, map frame, metres.
        xyz: float16 [n, 3], relative to the centre: half a millimetre fine in a cube of 1 m.
        rgb: uint8 [n, 3].
        shape: a number that was never used before, whenever xyz changes.
        paint: the same for rgb.
    """

    center: np.ndarray
    xyz: np.ndarray
    rgb: np.ndarray
    shape: int
    paint: int


@dataclass(frozen=True, eq=False)
class Blocks:
    """A cloud cut into cubes; keys are the cubes' places in the lattice."""

    edge: float
    by_key: dict[tuple[int, int, int], Block]

    @property
    def keys(self) -> list[tuple[int, int, int]]:
        return list(self.by_key)

    def count(self) -> int:
        """Return the number of points."""
        return sum(len(block.xyz) for block in self.by_key.values())


NO_BLOCKS = Blocks(BLOCK_EDGE, {})


def read_cloud(message: Any) -> MapPoints:
    """Return the points of a PointCloud2 of the mapper; those that are not finite are left out.

    Raises:
        BadCloud: fields are missing, or the data does not fill the cloud.
    """
    names = {field.name for field in message.fields}
    value = next((name for name in ("relevancy", "confidence") if name in names), None)
    if value is None or not {"x", "y", "z", "rgb", "label"} <= names:
        raise BadCloud(
            f"the cloud has the fields {', '.join(sorted(names)) or 'none'}; expected x, y, z, "
            "rgb, label and relevancy or confidence: is it published by this mapper?"
        )
    wrong = [field.name for field in message.fields if not _is_plain(field)]
    if wrong:
        raise BadCloud(f"the cloud's fields {', '.join(wrong)} are not single numbers of 4 bytes")
    count = message.width * message.height
    if len(message.data) != count * message.point_step:
        raise BadCloud(
            f"the cloud holds {len(message.data)} bytes, expected {count * message.point_step}"
        )
    stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
    if count == 0:
        return empty_points(stamp, message.header.frame_id)
    rows = point_cloud2.read_points(message).reshape(-1)
    rows = rows[:: -(-count // MAX_CLOUD)]
    xyz = np.stack([rows["x"], rows["y"], rows["z"]], axis=1).astype(np.float32, copy=False)
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.all():
        rows, xyz = rows[finite], xyz[finite]
    # `rgb` shows labels in ~/semantic_cloud; what the camera saw is then in `photo`.
    photo = np.ascontiguousarray(rows["photo" if "photo" in names else "rgb"])
    label = np.ascontiguousarray(rows["label"]).view(np.uint32)
    return MapPoints(
        xyz=xyz,
        photo=unpack_rgb(photo.view(np.uint32)),
        label=np.where(label <= MAX_LABEL, label, 0),
        value=np.nan_to_num(rows[value].astype(np.float32)),
        stamp=stamp,
        frame_id=message.header.frame_id,
    )


def empty_points(stamp: int = 0, frame_id: str = "") -> MapPoints:
    """Return a cloud without points."""
    return MapPoints(
        xyz=np.zeros((0, 3), np.float32),
        photo=np.zeros((0, 3), np.uint8),
        label=np.zeros(0, np.uint32),
        value=np.zeros(0, np.float32),
        stamp=stamp,
        frame_id=frame_id,
    )


def unpack_rgb(packed: np.ndarray) -> np.ndarray:
    """Return colours [N, 3] of integers [N] that hold them as 0x00RRGGBB."""
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)


def colors_of(points: MapPoints, mode: str) -> np.ndarray:
    """Return the colours of a mode, uint8 [N, 3].

    photo: as the camera saw it. words: the label's colour, shaded by the photo. relevancy: what is
    found in its label's colour, what is near to it in heat colours, the rest dim. confidence: heat.
    """
    if mode == "confidence":
        return heat_colors(points.value)
    if mode == "photo" or not len(points):
        return points.photo
    photo = points.photo.astype(np.float32)
    light = photo @ np.float32([0.299, 0.587, 0.114])
    dim = (0.3 * photo + 0.7 * light[:, None]) * _DIM
    shade = (0.7 + 0.3 * light / 255)[:, None]
    labelled = label_colors(int(points.label.max(initial=0)))[points.label] * shade
    if mode == "relevancy":
        # Far below the threshold, relevancy is noise: it fades in from a quarter on.
        strength = np.clip((points.value - 0.25) / 0.5, 0, 1)[:, None]
        dim = dim + (0.8 * heat_colors(points.value) - dim) * strength
    painted = np.where(points.label[:, None] > 0, labelled, dim)
    return painted.round().clip(0, 255).astype(np.uint8)


def cut(xyz: np.ndarray, rgb: np.ndarray, before: Blocks = NO_BLOCKS) -> Blocks:
    """Cut a cloud into blocks; a block that equals the one before keeps its versions.

    Args:
        xyz: float32 [N, 3], metres.
        rgb: uint8 [N, 3].
        before: the blocks of the cloud that this one replaces.
    """
    if not len(xyz):
        return replace(before, by_key={})
    edge = before.edge
    cells, flat = _cells(xyz, edge)
    while len(np.unique(flat)) > MAX_BLOCKS:
        edge *= 2
        cells, flat = _cells(xyz, edge)
    # One number to sort by takes half the time of two.
    order = np.argsort(flat.astype(np.uint64) << np.uint64(32) | _scatter(xyz), kind="stable")
    flat, xyz, rgb = flat[order], xyz[order], np.ascontiguousarray(rgb[order])
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] - 1))
    known = before.by_key if edge == before.edge else {}
    blocks = {}
    for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
        key = tuple(int(i) for i in cells[order[start]])
        center = (np.asarray(key) + 0.5 - _SHIFT) * edge
        local = (xyz[start:end] - center).astype(np.float16)
        blocks[key] = _block(center, local, rgb[start:end], known.get(key))
    return Blocks(edge, blocks)


def spacing(blocks: Blocks) -> float:
    """Return the usual distance between neighbours, metres; 0 for less than two points.

    Of the block with the most points: maps are as fine everywhere.
    """
    xyz = max((block.xyz for block in blocks.by_key.values()), key=len, default=np.zeros((0, 3)))
    if len(xyz) < 2:
        return 0.0
    xyz = xyz.astype(np.float32)
    return float(np.median(cKDTree(xyz).query(xyz[:500], k=2)[0][:, 1]))


def taken(count: int, level: int) -> int:
    """Return how many of a block's points a level of detail shows."""
    return -(-count // 4**level)


def choose_levels(
    blocks: Blocks,
    eye: np.ndarray,
    budget: int,
    before: dict[tuple[int, int, int], int] | None = None,
) -> dict[tuple[int, int, int], int]:
    """Return the level of detail of each block: 0 all points .. LEVELS - 1 the fewest.

    A level thins by 4 and begins at twice the distance of the one before, so that the gaps between
    points look the same everywhere. All distances shrink until the budget is kept.

    Args:
        blocks: to choose for.
        eye: [3], map frame, metres.
        budget: points to be drawn at most. Kept unless the coarsest level of all exceeds it.
        before: levels now shown; a block near the border between two levels keeps its own.
    """
    if not blocks.by_key:
        return {}
    centers = np.array([block.center for block in blocks.by_key.values()])
    counts = np.array([len(block.xyz) for block in blocks.by_key.values()])
    distance = np.linalg.norm(centers - eye, axis=1)
    distance = np.maximum(distance - blocks.edge, 1e-3)
    reach = FULL_DETAIL
    levels = _levels_at(distance, reach)
    while _drawn(counts, levels) > budget and levels.min() < LEVELS - 1:
        reach *= 0.8
        levels = _levels_at(distance, reach)
    if before:
        nearer, farther = _levels_at(distance / 1.15, reach), _levels_at(distance * 1.15, reach)
        old = np.array([before.get(key, -1) for key in blocks.by_key])
        calm = np.where((nearer <= old) & (old <= farther), old, levels)
        if _drawn(counts, calm) <= budget:
            levels = calm
    return dict(zip(blocks.by_key, map(int, levels), strict=True))


def _is_plain(field: Any) -> bool:
    """Return whether a field is one int32, uint32 or float32."""
    return field.count == 1 and field.datatype in (5, 6, 7)


def _levels_at(distance: np.ndarray, reach: float) -> np.ndarray:
    return np.clip(np.floor(np.log2(distance / reach) + 1), 0, LEVELS - 1).astype(int)


def _drawn(counts: np.ndarray, levels: np.ndarray) -> int:
    return int((-(-counts // 4**levels)).sum())


def _block(center: np.ndarray, xyz: np.ndarray, rgb: np.ndarray, known: Block | None) -> Block:
    if known is None or not np.array_equal(known.xyz, xyz):
        return Block(center, xyz, rgb, next(_versions), next(_versions))
    if not np.array_equal(known.rgb, rgb):
        return replace(known, rgb=rgb, paint=next(_versions))
    return known


def _cells(xyz: np.ndarray, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each point in a lattice, int64 [N, 3], and a number for it below 2^32."""
    cells = np.floor(xyz / edge + _SHIFT).astype(np.int64)
    low, high = cells.min(axis=0), cells.max(axis=0)
    size = high - low + 1
    if np.prod(size.astype(float)) < 2**32:
        return cells, np.ravel_multi_index(tuple((cells - low).T), tuple(size))
    # Stray points lie so far out that only the cells that hold points can be counted.
    return cells, np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)


def _scatter(xyz: np.ndarray) -> np.ndarray:
    """Return a number below 2^32 per point that depends on its place alone, without pattern."""
    bits = np.ascontiguousarray(xyz, np.float32).view(np.uint32).astype(np.uint64)
    mixed = bits @ np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed >> np.uint64(32)
