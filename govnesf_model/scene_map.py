"""The online map: posed images in, a bounded set of keyframes and labelled-to-be points out.

    scene_map = SceneMap(load_field("small"), load_vlm("embedded"), MapConfig())
    if scene_map.wants(frame.T_world_camera, stamp, frame.rgb)[0]:
        report = scene_map.add(frame)                  # one thread
    snapshot = scene_map.snapshot()                    # any thread, no lock, never changes

A keyframe is encoded once. Its maps are folded into the running moments of the feature volume, the
3D network runs over the volume, surface points are taken from measured depth or from the depth that
the field renders, and every point that the keyframe sees gets the open-vocabulary feature of its
best views, weighted by the field.
"""

import threading
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from govnesf_model.blending import Views
from govnesf_model.data.posed_scene import Frame
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import (
    Keyframe,
    KeyframeGate,
    MapConfig,
    MapSnapshot,
    least_needed,
    pose_difference,
)
from govnesf_model.map_points import SurfacePoints, points_from_depth, rows_seen
from govnesf_model.map_views import StageClock, encode_frame, fuse_points, stack_views
from govnesf_model.map_volume import MapVolume, render_depth
from govnesf_model.rendered_surface import RenderedSurface
from govnesf_model.vlm.base import DenseEncoder

__all__ = ["Keyframe", "KeyframeReport", "MapConfig", "MapSnapshot", "SceneMap"]

_FUSE_CHUNK = 8192
_POINT_SHARE = 0.5  # of the map's memory may be surface points
_RENDERED_TOLERANCE = 3.0  # rendered depth is that much less exact than measured depth


@dataclass(frozen=True)
class KeyframeReport:
    """What adding a keyframe did.

    Attributes:
        id: of the new keyframe.
        seconds: per stage: encode (open-vocabulary encoder), field (image encoder of the field),
            volume, unet, points, fuse, publish; and total.
        points_added: surface points that are new.
        evicted: id of a keyframe that was given up for it, or None.
    """

    id: int
    seconds: dict[str, float]
    points_added: int
    evicted: int | None


class SceneMap:
    """One writer adds keyframes, any number of readers take snapshots."""

    def __init__(
        self,
        field: GovNesf,
        vlm: DenseEncoder,
        config: MapConfig | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        """Start an empty map.

        Args:
            field: the network; moved to `device` and put into eval mode.
            vlm: open-vocabulary encoder of images and texts.
            config: see `MapConfig`.
            device: where the maps live; the field's device by default.
        """
        self.config = config or MapConfig()
        self.device = torch.device(device) if device is not None else field.device
        self.field = field.to(self.device).eval()
        self.vlm = vlm
        self._write = threading.RLock()
        self._gate = KeyframeGate(self.config)
        self._version = 0
        self._next_id = 0
        self._clear()

    def wants(
        self,
        T_world_camera: Float[np.ndarray, "4 4"],
        stamp: float,
        rgb: UInt8[np.ndarray, "H W 3"] | None = None,
    ) -> tuple[bool, str]:
        """Return whether an image would become a keyframe, and the reason in one word.

        Cheap enough for every frame of a camera; the reasons are those of `KeyframeGate.wants`.
        """
        poses, stamps = self._taken
        return self._gate.wants(T_world_camera, stamp, rgb, poses, stamps)

    def snapshot(self) -> MapSnapshot:
        """Return the map as it was after the last change."""
        return self._snapshot

    def reset(self) -> None:
        """Forget everything."""
        with self._write:
            self._clear()

    def status(self) -> dict[str, float | int]:
        """Return counts and memory: keyframes, evicted, points, memory_mib, memory_bound_mib,
        volume_voxels, version."""
        snapshot = self._snapshot
        return {
            "keyframes": len(snapshot.keyframes),
            "evicted": self._evicted,
            "points": len(snapshot.xyz),
            "memory_mib": self._memory_mib,
            "memory_bound_mib": self.config.memory_mib,
            "volume_voxels": self._volume.voxels,
            "version": snapshot.version,
        }

    @torch.no_grad()
    def add(self, frame: Frame) -> KeyframeReport:
        """Make a frame a keyframe, whatever `wants` says of it.

        Args:
            frame: image of any resolution, as long as all have the same aspect.

        Raises:
            ValueError: the frame does not fit together or to the map, which stays as it was.
        """
        with self._write:
            clock = StageClock()
            keyframe = self._new_keyframe(frame, clock)
            self._replace_old_look(keyframe)
            evicted = self._make_room(keyframe)
            try:
                self._keyframes = (*self._keyframes, keyframe)
                self._remember_poses()
                volume = self._integrate(keyframe, clock)
                visible, added = self._add_points(keyframe, volume)
                clock.lap("points")
                self._fuse(keyframe, visible, volume)
                clock.lap("fuse")
                self._publish()
                clock.lap("publish")
            except BaseException:
                # A half-added keyframe would be counted in the volume and not among the views.
                self._forget(keyframe.id)
                raise
            return KeyframeReport(keyframe.id, clock.report(), added, evicted)

    @property
    def volume(self) -> VolumeField | None:
        """The field's volume after the last keyframe, for rendering; None in an empty map."""
        return self._volume.field

    def views(self, keyframes: tuple[Keyframe, ...] | None = None) -> Views:
        """Return keyframes as the reference views of the field, all of them by default."""
        keyframes = self._keyframes if keyframes is None else keyframes
        return stack_views(keyframes, self.device)

    def _clear(self) -> None:
        self._keyframes: tuple[Keyframe, ...] = ()
        self._rendered = RenderedSurface(self.config)
        self._seen: dict[int, np.ndarray] = {}  # rows of the points that each keyframe sees
        self._surface: dict[int, np.ndarray] = {}  # depth of what each keyframe sees
        self._points = SurfacePoints(self.config.voxel_size, self.vlm.dim, self.device)
        self._volume = MapVolume(self.field, self.config, self.device)
        self._evicted = 0
        self._memory_mib = 0.0
        self._gate.reset()
        self._remember_poses()
        self._version += 1
        self._snapshot = MapSnapshot.empty(self.vlm.dim, self.config.voxel_size, self._version)

    def _remember_poses(self) -> None:
        poses = [keyframe.T_world_camera for keyframe in self._keyframes]
        stamps = np.array([keyframe.stamp for keyframe in self._keyframes], np.float64)
        self._taken = (np.array(poses, np.float64).reshape(-1, 4, 4), stamps)

    def _new_keyframe(self, frame: Frame, clock: StageClock) -> Keyframe:
        keyframe = encode_frame(self.field, self.vlm, frame, self.config, self._next_id, clock)
        if self._keyframes and keyframe.rgb.shape != self._keyframes[0].rgb.shape:
            first = self._keyframes[0]
            raise ValueError(
                f"frame {frame.name} is {keyframe.width}x{keyframe.height} pixels at the map's "
                f"width, the keyframes are {first.width}x{first.height}: reset the map for another "
                "camera"
            )
        self._next_id += 1
        return keyframe

    def _replace_old_look(self, newcomer: Keyframe) -> None:
        """Give up what was seen from the same place long ago: a loop must not fill the map."""
        config = self.config
        poses, stamps = self._taken
        meters, degrees = pose_difference(newcomer.T_world_camera, poses)
        near = (meters < config.min_translation) & (degrees < config.min_rotation)
        old = np.abs(newcomer.stamp - stamps) >= config.revisit_after
        for keyframe in [self._keyframes[i] for i in np.flatnonzero(near & old)]:
            self._forget(keyframe.id)

    def _make_room(self, newcomer: Keyframe) -> int | None:
        """Give up keyframes until the new one fits into both bounds; return the first."""
        first = None
        while len(self._keyframes) > 1 and (
            len(self._keyframes) >= self.config.max_keyframes
            or self._held_mib() + newcomer.bytes / 2**20 > self.config.memory_mib
        ):
            seen = [self._seen[keyframe.id] for keyframe in self._keyframes]
            victim = self._keyframes[least_needed(seen, len(self._points))]
            self._forget(victim.id)
            self._evicted += 1
            first = victim.id if first is None else first
        return first

    def _forget(self, number: int) -> None:
        for keyframe in self._keyframes:
            if keyframe.id == number:
                self._volume.remove(keyframe)
        self._keyframes = tuple(k for k in self._keyframes if k.id != number)
        self._rendered.freeze(number)
        self._seen.pop(number, None)
        self._surface.pop(number, None)
        self._remember_poses()

    def _integrate(self, keyframe: Keyframe, clock: StageClock) -> VolumeField:
        self._volume.add(keyframe, self._keyframes)
        clock.lap("volume")
        volume = self._volume.run()
        clock.lap("unet")
        return volume

    def _add_points(
        self, keyframe: Keyframe, volume: VolumeField
    ) -> tuple[Int64[np.ndarray, "_"], int]:
        """Add the surface that a keyframe shows; return the rows it sees and how many are new."""
        config, points = self.config, self._points
        if self._rendered.applies(self._keyframes):
            return self._render_points(keyframe, volume)
        if keyframe.depth is not None:
            self._surface[keyframe.id] = keyframe.depth
            xyz, rgb = points_from_depth(
                keyframe.rgb,
                keyframe.depth,
                keyframe.K,
                keyframe.T_world_camera,
                config.depth_step,
                config.min_depth,
                config.max_depth,
            )
        else:
            depth, xyz, rgb = render_depth(self.field, volume, keyframe, config)
            self._surface[keyframe.id] = depth
        rows, fresh = points.merge(xyz, rgb)
        view = self._rows_seen(keyframe, np.arange(len(points)))
        visible = np.union1d(rows, view.seen)
        # A point that this very image has confirmed is not looked through by another pixel of it.
        points.miss(np.setdiff1d(view.through, rows))
        self._seen[keyframe.id] = visible
        return self._drop(visible), int(fresh.sum())

    def _render_points(
        self, keyframe: Keyframe, volume: VolumeField
    ) -> tuple[Int64[np.ndarray, "_"], int]:
        """Take the surface anew from what the field renders now; as `_add_points`."""
        rendered = self._rendered.update(self.field, volume, self._keyframes)
        new_row, added = self._points.replace(*self._rendered.points())
        self._seen = {number: _moved(rows, new_row) for number, rows in self._seen.items()}
        everything = np.arange(len(self._points))
        for again in rendered:
            self._surface[again.id] = self._rendered.depth(again.id)
            self._seen[again.id] = self._rows_seen(again, everything).seen
        visible = self._drop(self._seen[keyframe.id])
        # Keyframes that were rendered again have points that the new one need not see.
        return np.union1d(visible, np.flatnonzero(self._points.views == 0)), added

    def _rows_seen(self, keyframe: Keyframe, rows: np.ndarray):
        tolerance = self.config.depth_tolerance
        if keyframe.depth is None:
            tolerance *= _RENDERED_TOLERANCE
        return rows_seen(
            self._points.xyz[rows],
            keyframe.K,
            keyframe.T_world_camera,
            (keyframe.width, keyframe.height),
            self._surface.get(keyframe.id),
            tolerance,
            self.config.max_depth * 1.2,
        )

    def _drop(self, visible: np.ndarray) -> np.ndarray:
        """Drop points that are gone or too many; return `visible` in the new numbering."""
        points = self._points
        gone = points.vanished()
        # Features may be long: points leave room for keyframes whatever the encoder.
        affordable = int(_POINT_SHARE * self.config.memory_mib * 2**20 / points.row_bytes)
        limit = min(self.config.max_points, affordable)
        excess = len(points) - int(gone.sum()) - limit
        if excess > 0:
            least = np.argsort(points.weight + 1e6 * gone, kind="stable")[:excess]
            gone[least] = True
        # Renumbering copies every feature: not worth it for a handful of points.
        if gone.sum() <= 0.002 * len(points):
            return visible
        new_row = points.keep(~gone)
        self._seen = {number: _moved(rows, new_row) for number, rows in self._seen.items()}
        return self._seen[self._keyframes[-1].id]

    def _fuse(self, keyframe: Keyframe, visible: np.ndarray, volume: VolumeField) -> None:
        points, config = self._points, self.config
        fresh = points.views[visible] == 0
        new, old = visible[fresh], visible[~fresh]
        if len(old) > config.refresh_points:
            # Points that few views have told about gain most from another one.
            old = old[np.argsort(points.views[old], kind="stable")[: config.refresh_points]]
        rows = np.concatenate([new, old])
        related = self._related(keyframe, rows)
        self._spread(related, new)
        views = self.views(related)
        xyz = torch.from_numpy(points.xyz[rows]).to(self.device)
        features, confidence, counts = [], [], []
        for part in xyz.split(_FUSE_CHUNK):
            feature, agreement, count = fuse_points(
                self.field, part, views, volume, config.views_per_point, config.depth_tolerance
            )
            features.append(feature)
            confidence.append(agreement)
            counts.append(count)
        if not features:
            return
        points.set_features(
            rows,
            torch.cat(features),
            torch.cat(confidence).cpu().numpy(),
            torch.cat(counts).cpu().numpy(),
        )

    def _related(self, keyframe: Keyframe, rows: np.ndarray) -> tuple[Keyframe, ...]:
        """Return the keyframes that see most of the rows, the given one among them."""
        wanted = np.zeros(len(self._points), bool)
        wanted[rows] = True
        overlap = {k.id: int(wanted[self._seen[k.id]].sum()) for k in self._keyframes}
        overlap[keyframe.id] = len(self._points) + 1
        ranked = sorted(self._keyframes, key=lambda k: (-overlap[k.id], k.id))
        return tuple(k for k in ranked[: self.config.related_views] if overlap[k.id] > 0)

    def _spread(self, related: tuple[Keyframe, ...], new: np.ndarray) -> None:
        """Tell earlier keyframes about new points that they see as well, for the coverage."""
        for keyframe in related:
            if len(new) and keyframe.id != self._keyframes[-1].id:
                seen = new[self._rows_seen(keyframe, new).seen]
                self._seen[keyframe.id] = np.concatenate([self._seen[keyframe.id], seen])

    def _held_mib(self) -> float:
        held = sum(keyframe.bytes for keyframe in self._keyframes)
        held += sum(rows.nbytes for rows in self._seen.values())
        return (held + self._points.bytes + self._volume.bytes) / 2**20

    def _publish(self) -> None:
        points = self._points
        self._version += 1
        self._memory_mib = self._held_mib()
        self._snapshot = MapSnapshot(
            xyz=points.xyz,
            rgb=points.rgb.round().clip(0, 255).astype(np.uint8),
            features=points.features,
            confidence=points.confidence,
            stamp=self._keyframes[-1].stamp,
            keyframes=self._keyframes,
            version=self._version,
            voxel_size=self.config.voxel_size,
        )


def _moved(rows: np.ndarray, new_row: np.ndarray) -> np.ndarray:
    moved = new_row[rows]
    return moved[moved >= 0]
