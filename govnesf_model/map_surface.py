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
from jaxtyping import Bool, Int64

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
        origin, gone = rebuilt.origin, self._surplus()
        if gone is not None:
            origin = origin[~gone]
            self._give_up(gone)
        clock.lap("points")
        kept = np.flatnonzero(origin >= 0)
        stale = np.flatnonzero(self.points.views == 0)
        limit = self._config.related_views
        groups = self.sightings.groups(new, stale, len(self.points), limit)
        # All at once: each copy of the table would take as much memory as the map.
        features = other.points.features.take(origin[kept])
        fused = self._fuse_groups(groups, volume, (kept, features))
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
        gone = self._surplus()
        if gone is None:
            return visible
        self._give_up(gone)
        return self.sightings.rows[newest.id]

    def _surplus(self) -> Bool[np.ndarray, "n"] | None:
        """Tell which points are gone or too many; None where they are not worth the trouble."""
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
        return gone if gone.sum() > 0.002 * len(points) else None

    def _give_up(self, gone: Bool[np.ndarray, "n"]) -> None:
        self.sightings.renumber(self.points.keep(~gone), len(self.points))

    def _fuse_groups(
        self,
        groups: Sequence[tuple[np.ndarray, tuple[Keyframe, ...]]],
        volume: VolumeField,
        kept: tuple[np.ndarray, torch.Tensor] | None = None,
    ) -> int:
        """Fuse the features of rows, each group from keyframes of its own; return how many.

        Args:
            groups: rows and their keyframes.
            volume: of the map.
            kept: rows and the features that they have already, to be set together with the others.
        """
        config, points = self._config, self.points
        limits = config.views_per_point, config.depth_tolerance
        held, known = kept or (np.zeros(0, np.int64), points.features.take(np.zeros(0, np.int64)))
        rows = np.concatenate([held, *(rows for rows, _ in groups)])
        features = known.new_empty(len(rows), known.shape[1])
        features[: len(held)] = known
        confidence, views = points.confidence[rows], points.views[rows]
        start = len(held)
        for some, related in groups:
            if not len(some):
                continue
            stack = self._stack.of(related)
            xyz = torch.from_numpy(points.xyz[some]).to(self._device)
            fused = self._chunks.run(
                len(xyz),
                lambda part, xyz=xyz, stack=stack: fuse_points(
                    self._field, xyz[part], stack, volume, *limits
                ),
            )
            for part, (unit, sure, count) in fused:
                own = slice(start + part.start, start + part.stop)
                features[own] = unit  # in half precision
                confidence[own], views[own] = sure.cpu().numpy(), count.cpu().numpy()
            start += len(some)
        points.set_features(rows, features, confidence, views)
        return len(rows) - len(held)

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
