"""Loop closures: `~/corrected_poses` moves keyframes to where SLAM knows them to be by now.

    corrections = CorrectedPoses(node, scene_map, ledger, lookup, submit, changed)
    corrections.process(path)        # on the worker thread, for what was given to `submit`

The map is rebuilt from what the keyframes keep, without an image encoder; queries are answered from
the old map meanwhile.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from nav_msgs.msg import Path
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from govnesf_model.keyframes import Keyframe, pose_difference
from govnesf_model.scene_map import SceneMap
from govnesf_ros import topics
from govnesf_ros.corrected_path import BadPath, read_track
from govnesf_ros.ledger import Corrected, FrameLedger
from govnesf_ros.mapping import keyframe_header
from govnesf_ros.qos import subscription
from govnesf_ros.transforms import TfLookup

# A graph is sent anew all the time; what moves less than a fraction of a voxel is not worth a
# rebuild.
LEAST_METERS, LEAST_DEGREES = 0.01, 0.2


class CorrectedPoses:
    """The subscription, and what is done about its messages.

    Args:
        node: that the subscription belongs to; its settings are read with every path.
        scene_map: whose keyframes are moved.
        ledger: its log takes complaints.
        lookup: returns the transforms, None while the node does not listen to them.
        submit: brings a path to `process` on the worker thread; must not block.
        changed: called after each correction.

    Attributes:
        done: corrections so far.
    """

    def __init__(
        self,
        node: Any,
        scene_map: SceneMap,
        ledger: FrameLedger,
        lookup: Callable[[], TfLookup | None],
        submit: Callable[[Path], object],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._node, self._map, self._ledger = node, scene_map, ledger
        self._lookup, self._changed = lookup, changed
        self.done = Corrected()
        self._subscription = subscription(
            node, Path, topics.CORRECTED_POSES, submit, 1, MutuallyExclusiveCallbackGroup()
        )

    def destroy(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def process(self, path: Path) -> None:
        """Move the keyframes that a path has poses for; on the thread that writes to the map."""
        keyframes = self._map.snapshot().keyframes
        if not keyframes:
            return  # a graph is sent all the time, also before the first image
        try:
            poses = self._poses_for(keyframes, path)
        except BadPath as error:
            self._ledger.complain(f"path {error.kind}", f"~/corrected_poses was not used: {error}")
            return
        if not poses:
            return
        meters, degrees = _moved(keyframes, poses)
        if meters.max() < LEAST_METERS and degrees.max() < LEAST_DEGREES:
            return
        begin = perf_counter()
        try:
            result = self._map.replace_poses(poses)
        except ValueError as error:
            self._ledger.complain("path poses", f"~/corrected_poses was not used: {error}")
            return
        self.done = Corrected(self.done.count + 1, len(result.moved), float(meters.max()))
        without = len(keyframes) - len(poses)
        self._node.get_logger().info(
            f"corrected poses moved {len(result.moved)} of {len(keyframes)} keyframes, by "
            f"{np.median(meters):.2f} m and {np.median(degrees):.1f} degrees as a rule and "
            f"{meters.max():.2f} m at most ({perf_counter() - begin:.1f} s)"
            + (f"; {without} have no pose in the path and stay" if without else "")
        )
        self._changed()

    def _poses_for(self, keyframes: tuple[Keyframe, ...], path: Path) -> dict[int, np.ndarray]:
        """Return T_map_camera per id of the keyframes that the path has a pose for.

        Raises:
            BadPath: the path cannot be used, or has a pose for none.
        """
        settings = self._node.settings
        track = read_track(path, settings.map_frame)
        headers = [keyframe_header(keyframe) for keyframe in keyframes]
        stamps = np.array([stamp for stamp, _ in headers], np.int64)
        slop = settings.corrected_poses_slop
        bodies, found = track.at(stamps, slop)
        if not found.any():
            away = min(np.abs(track.stamps - stamp).min() for stamp in stamps) / 1e9
            raise BadPath(
                "times",
                f"none of its {len(track.stamps)} poses is within {slop:g} s of a "
                f"keyframe (the nearest is {away:.2f} s away): are its stamps those of the "
                "robot's clock? raise corrected_poses_slop if the path is only sparse",
            )
        poses = {}
        for keyframe, (stamp, frame), T_map_body, there in zip(
            keyframes, headers, bodies, found, strict=True
        ):
            T_body_camera = self._mount(frame, stamp) if there else None
            if T_body_camera is not None:
                poses[keyframe.id] = T_map_body @ T_body_camera
        return poses

    def _mount(self, frame: str, stamp: int) -> np.ndarray | None:
        """Return T_body_camera [4, 4] of the path's body frame; None, and a word, if unknown."""
        body = self._node.settings.corrected_poses_frame.lstrip("/")
        if body in ("", frame):
            return np.eye(4)
        lookup = self._lookup()
        mount = lookup.between(body, frame, stamp) if lookup is not None and frame else None
        if mount is None:
            self._ledger.complain(
                "path mount",
                f"~/corrected_poses has poses of '{body}' and TF does not connect it to the camera "
                f"'{frame}': those keyframes stay; is corrected_poses_frame right, and the node "
                "active?",
            )
        return mount


def _moved(
    keyframes: tuple[Keyframe, ...], poses: dict[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return metres and degrees between each new pose and the keyframe's own."""
    pairs = [
        pose_difference(poses[one.id], one.T_world_camera[None].astype(float))
        for one in keyframes
        if one.id in poses
    ]
    meters, degrees = np.array(pairs)[:, :, 0].T
    return meters, degrees
