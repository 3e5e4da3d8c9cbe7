"""The surface of the online map: its points, who sees them, and the feature of each.

    surface = MapSurface(field, config, dim, device)
    visible, added = surface.add(keyframes, volume)        # what the newest of them shows
    surface.fuse(keyframes, visible, volume)               # features of what is new and what gains
    surface.forget(number)                                 # points stay when a keyframe goes

Points come from measured depth where there is any, else from the depth that the field renders. A
keyframe's points are fused from the keyframes that see most of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64

from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.fitting_chunks import FittingChunks
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_correction import measured_points, rebuild_points
from govnesf_model.map_depth import render_depth
from govnesf_model.map_points import SurfacePoints
from govnesf_model.map_sightings import Sightings
from govnesf_model.map_views import StageClock, fuse_points
from govnesf_model.rendered_surface import RenderedSurface
from govnesf_model.view_stack import ViewStack

_FUSE_CHUNK = 8192
_SPARE_SHARE = 100  # part of the points that a full map gives up beyond what it must
_FULL_SHARE = 8  # part of the points fused anew that may have all the views they can have
_POINT_SHARE = 0.5  # of the map's memory may be surface points


class MapSurface:
    """Points of a map; only the map's writer changes them.

    Attributes:
        points: one per occupied voxel, features included.
        sightings: which keyframe sees which of them.
        rendered: where no depth is measured, what the field rendered per keyframe.
    """

    def __init__(
        self, field: GovNesf, config: MapConfig, dim: int, device: torch.device | str = "cpu"
    ) -> None:
        """Start empty.

        Args:
            field: renders depth and weighs views.
            config: see `MapConfig`.
            dim: length of a feature.
            device: of the features.
        """
        self.points = SurfacePoints(config.voxel_size, dim, device)
        self.sightings = Sightings(config)
        self.rendered = RenderedSurface(config)
        self._field, self._config, self._device = field, config, torch.device(device)
        self._chunks = FittingChunks(_FUSE_CHUNK)
        self._stack = ViewStack(device)

    @property
    def bytes(self) -> int:
        """Memory held; rendered depth belongs to the keyframes."""
        return self.points.bytes + self.sightings.bytes + self._stack.bytes

    def add(
        self, keyframes: tuple[Keyframe, ...], volume: VolumeField
    ) -> tuple[Int64[np.ndarray, "_"], int]:
        """Add the surface that the newest keyframe shows.

        Args:
            keyframes: of the map, newest last.
            volume: with all of them in it.

        Returns:
            The rows that the keyframe sees, and how many of the points are new.
        """
        config, points, keyframe = self._config, self.points, keyframes[-1]
        if self.rendered.applies(keyframes):
            return self._add_rendered(keyframes, volume)
        if keyframe.depth is not None:
            self.sightings.surface[keyframe.id] = keyframe.depth
            xyz, rgb = measured_points(keyframe, config)
        else:
            depth, xyz, rgb = render_depth(self._field, volume, keyframe, config)
            self.sightings.surface[keyframe.id] = depth
        rows, fresh = points.merge(xyz, rgb)
        view = self.sightings.look(keyframe, points.xyz)
        visible = np.union1d(rows, view.seen)
        # A point that this very image has confirmed is not looked through by another pixel of it.
        points.miss(np.setdiff1d(view.through, rows))
        self.sightings.saw(keyframe.id, visible, rows, len(points))
        return self._drop(visible, keyframe), int(fresh.sum())

    def fuse(
        self, keyframes: tuple[Keyframe, ...], visible: np.ndarray, volume: VolumeField
    ) -> None:
        """Fuse features of what the newest keyframe sees: new points, and those that gain most.

        Args:
            keyframes: of the map, newest last.
            visible: rows that the newest sees, from `add`.
            volume: as for `add`.
        """
        points, sightings, limit = self.points, self.sightings, self._config.related_views
        fresh = points.views[visible] == 0
        new, old = visible[fresh], self._to_refresh(visible[~fresh], keyframes[-1])
        rows = np.concatenate([new, old])
        related = sightings.related(keyframes, rows, len(points), limit)
        sightings.spread(related[1:], points.xyz, new)  # the newest knows
        self._fuse_groups([(rows, related)], volume)

    def forget(self, number: int) -> None:
        """Give up a keyframe; its points stay."""
        self.rendered.freeze(number)
        self.sightings.forget(number)

    def follow(
        self,
        other: "MapSurface",
        old: tuple[Keyframe, ...],
        new: tuple[Keyframe, ...],
        volume: VolumeField,
        clock: StageClock,
    ) -> int:
        """Become another map's surface, moved with its keyframes; see `map_correction.py`.

        Args:
            other: the surface of `old`, which stays as it is.
            old: keyframes at their former poses.
            new: the same at their new poses.
            volume: of `new`.
            clock: takes the seconds of points and fuse.

        Returns:
            How many features were fused anew.
        """
        parts = other.points, other.sightings, other.rendered
        rebuilt = rebuild_points(*parts, old, new, self._config)
        self.points, self.sightings = rebuilt.points, rebuilt.sightings
        self.rendered = rebuilt.rendered
        self._drop(self.sightings.rows[new[-1].id], new[-1])
        clock.lap("points")
        stale = np.flatnonzero(self.points.views == 0)
        limit = self._config.related_views
        groups = self.sightings.groups(new, stale, len(self.points), limit)
        fused = self._fuse_groups(groups, volume)
        clock.lap("fuse")
        return fused

    def _add_rendered(
        self, keyframes: tuple[Keyframe, ...], volume: VolumeField
    ) -> tuple[Int64[np.ndarray, "_"], int]:
        """Take the surface anew from what the field renders now; as `add`."""
        keyframe = keyframes[-1]
        rendered = self.rendered.update(self._field, volume, keyframes)
        new_row, added = self.points.replace(*self.rendered.points())
        self.sightings.renumber(new_row, len(self.points))
        for again in rendered:
            self.sightings.surface[again.id] = self.rendered.depth(again.id)
            view = self.sightings.look(again, self.points.xyz)
            self.sightings.saw(again.id, view.seen, view.seen, len(self.points))
        visible = self._drop(self.sightings.rows[keyframe.id], keyframe)
        # Keyframes that were rendered again have points that the new one need not see.
        return np.union1d(visible, np.flatnonzero(self.points.views == 0)), added

    def _drop(self, visible: np.ndarray, newest: Keyframe) -> np.ndarray:
        """Drop points that are gone or too many; return `visible` in the new numbering."""
        points = self.points
        gone = points.vanished()
        # Features may be long: points leave room for keyframes whatever the encoder.
        affordable = int(_POINT_SHARE * self._config.memory_mib * 2**20 / points.row_bytes)
        limit = min(self._config.max_points, affordable)
        excess = len(points) - int(gone.sum()) - limit
        if excess > 0:
            # A few more, so that the next keyframes find room; sorting bytes takes no time.
            rank = np.where(gone, 255, points.weight).astype(np.uint8)
            gone[np.argsort(rank, kind="stable")[: excess + limit // _SPARE_SHARE]] = True
        # Renumbering looks at everything: not worth it for a handful of points.
        if gone.sum() <= 0.002 * len(points):
            return visible
        new_row = points.keep(~gone)
        self.sightings.renumber(new_row, len(points))
        return self.sightings.rows[newest.id]

    def _fuse_groups(
        self, groups: Sequence[tuple[np.ndarray, tuple[Keyframe, ...]]], volume: VolumeField
    ) -> int:
        """Fuse the features of rows, each group from keyframes of its own; return how many."""
        config, parts = self._config, []
        limits = config.views_per_point, config.depth_tolerance
        for rows, related in groups:
            if not len(rows):
                continue
            views = self._stack.of(related)
            xyz = torch.from_numpy(self.points.xyz[rows]).to(self._device)
            fused = self._chunks.run(
                len(xyz),
                lambda part, xyz=xyz, views=views: fuse_points(
                    self._field, xyz[part], views, volume, *limits
                ),
            )
            # In half precision at once: a correction makes hundreds of MiB of them.
            parts += [(rows[part], unit.half(), *rest) for part, (unit, *rest) in fused]
        if not parts:
            return 0
        rows, features, confidence, counts = zip(*parts, strict=True)
        self.points.set_features(
            np.concatenate(rows),
            torch.cat(features),
            torch.cat(confidence).cpu().numpy(),
            torch.cat(counts).cpu().numpy(),
        )
        return sum(map(len, rows))

    def _to_refresh(self, rows: np.ndarray, keyframe: Keyframe) -> np.ndarray:
        """Return which of the points that a keyframe sees again are fused anew."""
        config, views = self._config, self.points.views[rows]
        # Points that few views have told about gain most from another one, ...
        order = np.argsort(views, kind="stable")
        gain = order[: np.searchsorted(views[order], config.views_per_point)]
        gain = gain[: config.refresh_points]
        # ... those with as many as are blended little: a few at a time follow what changes.
        spare = min(config.refresh_points - len(gain), config.refresh_points // _FULL_SHARE)
        full = order[len(gain) :] if spare else order[:0]
        stride = max(1, -(-len(full) // max(spare, 1)))
        return rows[np.concatenate([gain, full[keyframe.id % stride :: stride]])]
