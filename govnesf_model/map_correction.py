"""Poses of keyframes that a loop closure has corrected, and the points that follow them.

    poses = checked_poses({4: T_world_camera}, next_id)     # ValueError in a sentence
    rebuilt = rebuild_points(old, keyframes, config)        # no network, no image encoder

What is kept of a keyframe is relative to its camera: maps, measured depth and the depth that stereo
or the field found. So the points are taken anew from the depths at the new poses. Depth that was
not measured is kept as it is: it comes from neighbours, and those move along. Points that no depth
gives again, most of them because their keyframes were given up long ago, move with the keyframe
that hit them last, or with the one nearest to it in time where that is gone: drift grows with time,
so they stay with what was mapped beside them and the map does not tear.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64

from govnesf_model.cameras import rotation_error, transform
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_points import SurfacePoints, one_per_voxel, points_from_depth, voxel_keys
from govnesf_model.map_sightings import Sightings
from govnesf_model.rendered_surface import RenderedSurface

_RIGID = 1e-2  # largest error of a rotation that a pose of float32 may have
_ALIKE = 0.5  # voxels by which a point's views may move against each other and its feature stays


@dataclass(frozen=True)
class PoseCorrection:
    """What replacing poses did.

    Attributes:
        moved: ids of the keyframes whose pose is another now.
        unknown: ids that were named and that the map has given up before; nothing happens to them.
        points: surface points after it.
        fused: points whose feature was fused anew; all others kept theirs.
        seconds: per stage: volume, unet, points, fuse, publish; and total.
    """

    moved: tuple[int, ...]
    unknown: tuple[int, ...]
    points: int
    fused: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class RebuiltPoints:
    """Points of a map at new poses.

    Attributes:
        points: without features yet; those that are to be fused anew have no views either.
        sightings: which keyframe sees which of them.
        rendered: the rendered surface, moved along.
        origin: row of the old points whose feature each of them keeps, -1 without.
    """

    points: SurfacePoints
    sightings: Sightings
    rendered: RenderedSurface
    origin: Int64[np.ndarray, "n"]


def checked_poses(
    poses: Mapping[int, np.ndarray], next_id: int
) -> dict[int, Float32[np.ndarray, "4 4"]]:
    """Return poses as the map keeps them.

    Args:
        poses: T_world_camera per id of a keyframe.
        next_id: number of the next keyframe; ids from there on were never given.

    Raises:
        ValueError: a pose is not rigid or not finite, or there never was such a keyframe.
    """
    checked = {}
    for number, pose in poses.items():
        where = f"the new pose of keyframe {number}"
        if not 0 <= number < next_id:
            raise ValueError(
                f"there is no keyframe {number}: ids so far are 0 to {next_id - 1}; no pose was "
                "replaced"
            )
        pose = np.asarray(pose)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise ValueError(f"{where} is no finite 4x4 matrix; no pose was replaced")
        rigid = rotation_error(torch.from_numpy(pose.astype(np.float64))) <= _RIGID
        if not rigid or np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
            raise ValueError(f"{where} is not rigid; no pose was replaced")
        checked[int(number)] = pose.astype(np.float32)
    return checked


def rebuild_points(
    points: SurfacePoints,
    sightings: Sightings,
    rendered: RenderedSurface,
    old: Sequence[Keyframe],
    new: Sequence[Keyframe],
    config: MapConfig,
) -> RebuiltPoints:
    """Return the points of a map whose keyframes have new poses; the old ones stay as they are.

    Args:
        points, sightings, rendered: of the map.
        old: its keyframes.
        new: the same with their new poses.
        config: of the map.
    """
    corrections = _Corrections(old, new)
    only_rendered = rendered.applies(tuple(new))
    moved_surface = rendered.moved(corrections.apply)
    rebuilt = SurfacePoints(points.voxel_size, points.features.shape[1], points.features.device)
    hits: dict[int, np.ndarray] = {}
    if only_rendered:
        rebuilt.replace(*moved_surface.points())
    else:
        hits = _from_depths(rebuilt, new, config)
    moved = corrections.apply(points.xyz, sightings.last)
    looks = Sightings(config)
    looks.surface = dict(sightings.surface)
    source = _nearest(rebuilt.xyz, moved, points.voxel_size)
    if not only_rendered:
        lost = np.flatnonzero(~np.isin(sightings.last, list(hits)))
        lost = lost[_nearest(moved[lost], rebuilt.xyz, points.voxel_size) < 0]
        lost = lost[np.unique(voxel_keys(moved[lost], points.voxel_size), return_index=True)[1]]
        rows, _ = rebuilt.merge(moved[lost], points.rgb[lost])
        rebuilt.weight[rows], rebuilt.misses[rows] = points.weight[lost], points.misses[lost]
        source = np.concatenate([source, lost])
    looks.last = np.full(len(rebuilt), new[-1].id, np.int64)
    looks.last[source >= 0] = sightings.last[source[source >= 0]]
    misses = np.zeros(len(rebuilt), np.float32)
    xyz = np.asfortranarray(rebuilt.xyz)  # every keyframe looks at all of them
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        views = list(pool.map(lambda keyframe: looks.look(keyframe, xyz), new))
    for keyframe, view in zip(new, views, strict=True):
        seen = np.zeros(len(rebuilt), bool)
        through = seen.copy()
        seen[view.seen], through[view.through] = True, True
        if keyframe.id in hits:
            seen[hits[keyframe.id]] = True
            through[hits[keyframe.id]] = False
        looks.rows[keyframe.id] = np.flatnonzero(seen)
        misses += through
    if not only_rendered:
        rebuilt.misses = np.maximum(rebuilt.misses, misses)
    # What is fused anew needs no feature until then: looking it up is half of the work here.
    apart = corrections.disagree(rebuilt.xyz, looks.rows, _ALIKE * points.voxel_size)
    origin = np.where((source < len(points.features)) & ~apart, source, -1)
    kept = np.flatnonzero(origin >= 0)
    rebuilt.confidence[kept] = points.confidence[origin[kept]]
    rebuilt.views[kept] = points.views[origin[kept]]
    gone = rebuilt.vanished()
    if gone.any():
        looks.renumber(rebuilt.keep(~gone), len(rebuilt))
        origin = origin[~gone]
    return RebuiltPoints(rebuilt, looks, moved_surface, origin)


def measured_points(
    keyframe: Keyframe, config: MapConfig
) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n 3"]]:
    """Return the points of a keyframe's measured depth and their colours 0..255."""
    return points_from_depth(
        keyframe.rgb,
        keyframe.depth,
        keyframe.K,
        keyframe.T_world_camera,
        config.depth_step,
        config.min_depth,
        config.max_depth,
    )


def with_poses(
    keyframes: Sequence[Keyframe], poses: Mapping[int, Float32[np.ndarray, "4 4"]]
) -> tuple[tuple[Keyframe, ...], tuple[int, ...]]:
    """Return keyframes at new poses, and the ids of those whose pose is another one."""
    moved = []
    result = []
    for keyframe in keyframes:
        pose = poses.get(keyframe.id)
        if pose is not None and not np.array_equal(pose, keyframe.T_world_camera):
            moved.append(keyframe.id)
            keyframe = replace(keyframe, T_world_camera=pose)
        result.append(keyframe)
    return tuple(result), tuple(moved)


class _Corrections:
    """T_new_old per keyframe, also for keyframes that are gone."""

    def __init__(self, old: Sequence[Keyframe], new: Sequence[Keyframe]) -> None:
        self._ids = np.array([keyframe.id for keyframe in old], np.int64)  # ascending
        self._T = np.stack(
            [
                after.T_world_camera.astype(np.float64)
                @ np.linalg.inv(before.T_world_camera.astype(np.float64))
                for before, after in zip(old, new, strict=True)
            ]
        )

    def of(self, ids: Int64[np.ndarray, "n"]) -> Float64[np.ndarray, "n 4 4"]:
        """Return the corrections of keyframes, for those that are gone of the nearest in time."""
        after = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        before = (after - 1).clip(min=0)
        nearer = np.abs(self._ids[before] - ids) < np.abs(self._ids[after] - ids)
        return self._T[np.where(nearer, before, after)]

    def apply(
        self, xyz: Float[np.ndarray, "n 3"], ids: Int64[np.ndarray, "n"]
    ) -> Float32[np.ndarray, "n 3"]:
        """Return points, each moved with its keyframe."""
        return moved_points(xyz, self.of(ids))

    def disagree(
        self, xyz: Float32[np.ndarray, "n 3"], rows: Mapping[int, np.ndarray], most: float
    ) -> Bool[np.ndarray, "n"]:
        """Tell which points, already moved, have views that moved against each other.

        Args:
            xyz: the points.
            rows: per keyframe, those that it sees.
            most: metres that views may move apart at a point.
        """
        points = torch.from_numpy(xyz)
        least = torch.full((len(xyz), 3), torch.inf)
        largest = -least
        for number, seen in rows.items():
            back = torch.from_numpy(np.linalg.inv(self.of(np.array([number]))[0]))
            at = torch.from_numpy(seen)
            # In double precision: what is asked for are differences of a centimetre.
            before = transform(back, points.index_select(0, at).double()).float()
            least.index_copy_(0, at, torch.minimum(least.index_select(0, at), before))
            largest.index_copy_(0, at, torch.maximum(largest.index_select(0, at), before))
        return ((largest - least).amax(dim=1) > most).numpy()


def moved_points(
    xyz: Float[np.ndarray, "n 3"], T: Float64[np.ndarray, "n 4 4"]
) -> Float32[np.ndarray, "n 3"]:
    """Return points, each moved by a transform of its own."""
    return (np.einsum("nij,nj->ni", T[:, :3, :3], xyz) + T[:, :3, 3]).astype(np.float32)


def _from_depths(
    points: SurfacePoints, keyframes: Sequence[Keyframe], config: MapConfig
) -> dict[int, np.ndarray]:
    """Fill points from measured depths; return the rows that each keyframe's depth has hit."""

    def observed(keyframe: Keyframe) -> tuple[np.ndarray, np.ndarray]:
        # One image is one observation, however many of its pixels fall into a voxel.
        _, xyz, rgb, _ = one_per_voxel(*measured_points(keyframe, config), points.voxel_size)
        return xyz, rgb

    measured = [keyframe for keyframe in keyframes if keyframe.depth is not None]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        parts = list(pool.map(observed, measured))
    xyz, rgb = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    points.replace(xyz, rgb)
    # A mean may leave its voxel by rounding.
    row = points.find(voxel_keys(xyz, points.voxel_size))
    points.weight = np.bincount(row, minlength=len(points)).astype(np.float32)
    ends = np.cumsum([len(part) for part, _ in parts])[:-1]
    return {k.id: rows for k, rows in zip(measured, np.split(row, ends), strict=True)}


def _nearest(
    xyz: Float32[np.ndarray, "n 3"], others: Float32[np.ndarray, "m 3"], voxel_size: float
) -> Int64[np.ndarray, "n"]:
    """Return for each point another one in its voxel or else in one around it, -1 where none is."""
    found = np.full(len(xyz), -1, np.int64)
    if len(others) == 0:
        return found
    keys = voxel_keys(others, voxel_size)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    steps = sorted(np.ndindex(3, 3, 3), key=lambda step: sum(abs(s - 1) for s in step))
    for step in steps:
        open_ = np.flatnonzero(found < 0)
        shifted = xyz[open_] + voxel_size * (np.array(step, np.float32) - 1)
        wanted = voxel_keys(shifted, voxel_size)
        at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        hit = keys[at] == wanted
        found[open_[hit]] = order[at[hit]]
    return found
