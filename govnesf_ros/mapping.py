"""From complete frames to keyframes: decode, straighten, ask the map whether it wants them, add.

    mapper = Mapper(scene_map, ledger, depth="auto", changed=refresh)
    mapper.process(frame)        # on the worker thread

Every frame that comes in has one outcome in the ledger when `process` returns.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from govnesf_model.data.posed_scene import Frame
from govnesf_model.keyframes import Keyframe
from govnesf_model.scene_map import KeyframeReport, SceneMap
from govnesf_ros.calibration import Straightener, cropped_to_aspect
from govnesf_ros.conversions import BadInput
from govnesf_ros.frame_buffer import ReadyFrame
from govnesf_ros.images import to_metres, to_rgb
from govnesf_ros.ledger import FrameLedger

_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Timings:
    """Milliseconds of the last keyframe.

    Attributes:
        encode: image encoders.
        integrate: volume, network and points.
        total: from taking up the image to the new snapshot.
    """

    encode: float = 0.0
    integrate: float = 0.0
    total: float = 0.0


class Mapper:
    """Feeds a SceneMap.

    Args:
        scene_map: only this object writes to it.
        ledger: takes the outcome of every frame.
        depth: "auto" maps a frame without depth when its depth cannot be used, "required" drops it.
        changed: called after each keyframe.
    """

    def __init__(
        self,
        scene_map: SceneMap,
        ledger: FrameLedger,
        depth: str = "auto",
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.scene_map = scene_map
        self.timings = Timings()
        self._ledger = ledger
        self._depth = depth
        self._changed = changed
        self._paused = threading.Event()
        self._straighten = Straightener()

    @property
    def paused(self) -> bool:
        """Whether frames are let pass without being mapped."""
        return self._paused.is_set()

    def pause(self, paused: bool) -> None:
        """Stop or resume mapping; queries go on either way."""
        if paused:
            self._paused.set()
        else:
            self._paused.clear()

    def process(self, frame: ReadyFrame) -> None:
        """Map one frame or note in the ledger why not."""
        if self.paused:
            self._ledger.skip(frame.token, "paused")
            return
        stamp = frame.stamp / 1e9
        wanted, reason = self.scene_map.wants(frame.T_map_camera, stamp)
        if not wanted:
            self._ledger.skip(frame.token, reason)
            return
        begin = perf_counter()
        try:
            posed = self._decode(frame)
            wanted, reason = self.scene_map.wants(frame.T_map_camera, stamp, posed.rgb)
            if not wanted:
                self._ledger.skip(frame.token, reason)
                return
            report = self.scene_map.add(posed)
        except BadInput as error:
            self._ledger.drop(frame.token, error.reason, str(error))
            return
        except ValueError as error:
            self._ledger.drop(frame.token, "bad_data", str(error))
            return
        except (torch.OutOfMemoryError, MemoryError) as error:
            self._ledger.drop(frame.token, "out_of_memory", _out_of_memory(error))
            return
        except Exception as error:
            self._ledger.drop(
                frame.token,
                "model_error",
                f"an image could not be mapped, the map stays as it was: "
                f"{type(error).__name__}: {error}",
            )
            return
        self._ledger.use(frame.token)
        self.timings = _timings(report, perf_counter() - begin)
        self._changed()

    def _decode(self, frame: ReadyFrame) -> Frame:
        rgb = to_rgb(frame.image)
        height, width = rgb.shape[:2]
        info = frame.intrinsics
        if (width, height) != (info.width, info.height):
            raise BadInput(
                "bad_camera_info",
                f"the image has {width}x{height} pixels and its camera_info is for "
                f"{info.width}x{info.height}: do both come from the same camera?",
            )
        depth = self._depth_of(frame.depth, width, height)
        straight = self._straighten(rgb, depth, info)
        keyframes = self.scene_map.snapshot().keyframes
        if keyframes:
            first = keyframes[0]
            fitting = cropped_to_aspect(straight, first.width, first.height)
            if fitting is not straight:
                self._ledger.complain(
                    "other_aspect",
                    f"images of {width}x{height} are cropped to the aspect of the map's images, "
                    f"{first.width}x{first.height}; reset the map to start with another",
                )
            straight = fitting
        return Frame(
            name=frame_name(frame.frame_id, frame.stamp),
            index=frame.token,
            rgb=straight.rgb,
            K=straight.K,
            T_world_camera=frame.T_map_camera,
            depth=straight.depth,
            stamp=frame.stamp / 1e9,
        )

    def _depth_of(self, message: Any, width: int, height: int) -> np.ndarray | None:
        if message is None:
            return None
        try:
            depth = to_metres(message)
            rows, columns = depth.shape
            if abs(columns / rows * height / width - 1) > _ASPECT_TOLERANCE:
                raise BadInput(
                    "bad_depth",
                    f"depth has {columns}x{rows} pixels and the image {width}x{height}: take the "
                    "depth topic that is registered to colour (aligned_depth_to_color)",
                )
        except BadInput as error:
            if self._depth == "required":
                raise
            self._ledger.complain(error.reason, f"{error}; the image is used without depth")
            return None
        return depth


def _out_of_memory(error: Exception) -> str:
    # What is cached for shapes of before would stay in the way of the next try.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    why = str(error)[:200] or type(error).__name__
    return (
        f"no memory for an image, the map stays as it was ({why}): "
        "lower image_width, max_keyframes or memory_mib, or free the device"
    )


def frame_name(frame_id: str, stamp: int) -> str:
    """Return the name of a frame in the map, which keeps its header exactly."""
    return f"{frame_id}@{stamp}"


def keyframe_header(keyframe: Keyframe) -> tuple[int, str]:
    """Return stamp [ns] and frame_id of the image that a keyframe came from.

    A map that was made without ROS knows no frame_id.
    """
    frame_id, at, stamp = keyframe.name.rpartition("@")
    if not at or not stamp.isdecimal():
        return max(0, round(1e9 * keyframe.stamp)), ""
    return int(stamp), frame_id


def _timings(report: KeyframeReport, total: float) -> Timings:
    encode = report.seconds.get("encode", 0.0) + report.seconds.get("field", 0.0)
    integrate = report.seconds.get("total", total) - encode
    return Timings(1e3 * encode, 1e3 * integrate, 1e3 * total)
