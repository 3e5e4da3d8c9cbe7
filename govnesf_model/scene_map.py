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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

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
from govnesf_model.map_correction import (
    PoseCorrection,
    checked_poses,
    with_poses,
)
from govnesf_model.map_state import MapState, plain_attributes, set_plain_attributes
from govnesf_model.map_surface import MapSurface
from govnesf_model.map_views import (
    StageClock,
    encode_frame,
    matched_again,
)
from govnesf_model.map_volume import MapVolume
from govnesf_model.view_stack import stack_views
from govnesf_model.vlm.base import DenseEncoder

__all__ = ["Keyframe", "KeyframeReport", "MapConfig", "MapSnapshot", "PoseCorrection", "SceneMap"]


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
                visible, added = self._surface.add(self._keyframes, volume)
                self._last_added = added
                clock.lap("points")
                self._surface.fuse(self._keyframes, visible, volume)
                clock.lap("fuse")
                self._publish()
                clock.lap("publish")
            except BaseException:
                # A half-added keyframe would be counted in the volume and not among the views.
                self._forget(keyframe.id)
                raise
            return KeyframeReport(keyframe.id, clock.report(), added, evicted)

    def state(self) -> MapState:
        """Return all that the map consists of, to be saved; it does not change with the map."""
        with self._write:
            return MapState(
                keyframes=self._keyframes,
                points=plain_attributes(self._surface.points),
                sightings=plain_attributes(self._surface.sightings),
                rendered=plain_attributes(self._surface.rendered),
                next_id=self._next_id,
                evicted=self._evicted,
                image_width=self.config.image_width,
                voxel_size=self.config.voxel_size,
            )

    @torch.no_grad()
    def restore(self, state: MapState) -> None:
        """Become the map of a state; readers see the old map until the new one is complete.

        Raises:
            MapStateError: the state does not fit; the map stays as it was.
        """
        other = SceneMap(self.field, self.vlm, self.config, self.device)
        set_plain_attributes(other._surface.points, state.points)
        set_plain_attributes(other._surface.sightings, state.sightings)
        set_plain_attributes(other._surface.rendered, state.rendered)
        state.check(self.vlm.dim, self.vlm.stride, self.config)
        other._evicted, other._next_id = state.evicted, state.next_id
        other._become(state.keyframes)
        other._volume.run()
        with self._write:
            self._take_over(other)

    @torch.no_grad()
    def replace_poses(self, poses: Mapping[int, Float[np.ndarray, "4 4"]]) -> PoseCorrection:
        """Put keyframes where a loop closure says they are, and the map with them.

        No image is encoded again: volume and points come from what the keyframes keep, see
        `map_correction.py`. Readers see the old map until the new one is complete.

        Args:
            poses: T_world_camera per id of a keyframe; keyframes that are not named stay, ids that
                the map has given up are passed over and reported.

        Raises:
            ValueError: a pose is not rigid or not finite, or an id was never given to a keyframe;
                the map stays as it was.
        """
        with self._write:
            clock = StageClock()
            checked = checked_poses(poses, self._next_id)
            keyframes, moved = with_poses(self._keyframes, checked)
            unknown = tuple(sorted(set(checked) - {keyframe.id for keyframe in keyframes}))
            if not moved:
                points = len(self._surface.points)
                return PoseCorrection((), unknown, points, 0, clock.report())
            other = SceneMap(self.field, self.vlm, self.config, self.device)
            other._become(keyframes)
            clock.lap("volume")
            volume = other._volume.run()
            clock.lap("unet")
            moving = self._surface, self._keyframes, keyframes, volume
            fused = other._surface.follow(*moving, clock)
            other._next_id, other._evicted, other._gate = self._next_id, self._evicted, self._gate
            self._take_over(other)
            clock.lap("publish")
            points = len(self._surface.points)
            return PoseCorrection(moved, unknown, points, fused, clock.report())

    @property
    def volume(self) -> VolumeField | None:
        """The field's volume after the last keyframe, for rendering; None in an empty map."""
        return self._volume.field

    def views(self, keyframes: tuple[Keyframe, ...] | None = None) -> Views:
        """Return keyframes as the reference views of the field, all of them by default."""
        keyframes = self._keyframes if keyframes is None else keyframes
        return stack_views(keyframes, self.device)

    def _become(self, keyframes: tuple[Keyframe, ...]) -> None:
        """Hold these keyframes, in an empty map."""
        self._keyframes = keyframes
        self._remember_poses()
        for keyframe in keyframes:
            self._volume.add(keyframe)

    def _take_over(self, other: "SceneMap") -> None:
        """Become another map in one step."""
        other._version, other._write = self._version, self._write
        other._publish()
        vars(self).update(vars(other))

    def _clear(self) -> None:
        self._keyframes: tuple[Keyframe, ...] = ()
        self._surface = MapSurface(self.field, self.config, self.vlm.dim, self.device)
        self._volume = MapVolume(self.field, self.config, self.device)
        self._evicted = 0
        self._last_added = 0
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
        keyframe = encode_frame(
            *(self.field, self.vlm, frame, self.config, self._next_id, clock),
            others=self._keyframes,
        )
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
            or self._held_mib() + self._needed_mib(newcomer) > self.config.memory_mib
        ):
            surface = self._surface
            seen = [surface.sightings.rows[keyframe.id] for keyframe in self._keyframes]
            victim = self._keyframes[least_needed(seen, len(surface.points))]
            self._forget(victim.id, later=True)
            self._evicted += 1
            first = victim.id if first is None else first
        return first

    def _forget(self, number: int, later: bool = False) -> None:
        for keyframe in self._keyframes:
            if keyframe.id == number:
                self._volume.remove(keyframe, later)
        self._keyframes = tuple(k for k in self._keyframes if k.id != number)
        self._surface.forget(number)
        self._remember_poses()

    def _integrate(self, keyframe: Keyframe, clock: StageClock) -> VolumeField:
        self._volume.add(keyframe)
        for old, again in matched_again(self.field, self._keyframes):
            self._volume.remove(old)
            self._keyframes = tuple(again if k is old else k for k in self._keyframes)
            self._volume.add(again)
        clock.lap("volume")
        volume = self._volume.run()
        clock.lap("unet")
        return volume

    def _needed_mib(self, newcomer: Keyframe) -> float:
        """Return the memory that a keyframe will need; it adds as many points as the one before."""
        points = self._last_added * self._surface.points.row_bytes
        return (newcomer.bytes + self._volume.bytes_for(newcomer) + points) / 2**20

    def _held_mib(self) -> float:
        held = sum(keyframe.bytes for keyframe in self._keyframes)
        return (held + self._surface.bytes + self._volume.bytes) / 2**20

    def _publish(self) -> None:
        points = self._surface.points
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
