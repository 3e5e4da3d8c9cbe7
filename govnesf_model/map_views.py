"""From frames to keyframes, and from keyframes to the views that the field blends.

keyframe = encode_frame(field, vlm, frame, config, number=0)      # the only place with encoders
views = stack_views((keyframe, ...), device)
features, confidence, count = fuse_points(field, points, views, volume, k=8, tolerance=0.05)
"""

from time import perf_counter

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from govnesf_model.blending import Views, blend_semantic
from govnesf_model.cameras import scale_intrinsics
from govnesf_model.data.posed_scene import Frame
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.vlm.base import DenseEncoder


def encode_frame(
    field: GovNesf,
    vlm: DenseEncoder,
    frame: Frame,
    config: MapConfig,
    number: int,
    clock: "StageClock | None" = None,
    ov: Float[torch.Tensor, "hs ws d"] | None = None,
) -> Keyframe:
    """Resize a frame and run both image encoders on it.

    Args:
        field, vlm: the encoders.
        frame: what the camera saw.
        config: the working width, and whether depth is kept.
        number: the keyframe's id.
        clock: takes the seconds of both encoders.
        ov: the encoder's map of the frame where it is known already.

    Raises:
        ValueError: the frame's arrays do not fit together.
    """
    clock = clock or StageClock()
    rgb, K, depth = working_image(frame, config.image_width)
    image = torch.from_numpy(rgb).to(field.device).permute(2, 0, 1).unsqueeze(0) / 255.0
    if ov is None:
        ov = vlm.encode_images(image)[0].permute(1, 2, 0).to(torch.float16).contiguous()
    clock.lap("encode")
    maps = field.encode_images(image)
    clock.lap("field")
    return Keyframe(
        id=number,
        stamp=float(frame.index) if frame.stamp is None else float(frame.stamp),
        rgb=rgb,
        K=K,
        T_world_camera=frame.T_world_camera.astype(np.float32),
        depth=depth if config.use_depth else None,
        ov=ov.to(field.device),
        ov_stride=vlm.stride,
        volume_features=maps.volume[0],
        query_features=maps.query[0],
        source_size=(frame.rgb.shape[1], frame.rgb.shape[0]),
        name=frame.name,
    )


def fuse_points(
    field: GovNesf,
    points: Float[torch.Tensor, "n 3"],
    views: Views,
    volume: VolumeField,
    k: int,
    tolerance: float,
) -> tuple[Float[torch.Tensor, "n d"], Float[torch.Tensor, "n"], torch.Tensor]:
    """Return unit features of points, a confidence in 0..1 and the number of views behind each.

    The views' features have unit length, so the length of their weighted mean says how far they
    agree; one view alone is trusted half. Where views have depth, those whose depth is off the
    point by more than the (relative) tolerance do not see it: depth-guided masking, much tighter
    than for samples along a ray, because these points lie on the surface.
    """
    masking = "none" if views.depth is None else "depth"
    blend = field.blend(points, views, volume, k=k, masking=masking, tolerance=tolerance)
    feature = blend_semantic(blend, points, views).float()
    count = blend.valid.sum(dim=1)
    lost = (count == 0).nonzero().squeeze(1)
    if masking == "depth" and len(lost):
        at = points[lost]
        blend = field.blend(at, views, volume, k=k, masking=masking)
        feature[lost] = blend_semantic(blend, at, views).float()
        count[lost] = blend.valid.sum(dim=1)
    length = feature.norm(dim=1)
    unit = feature / length.clamp_min(1e-6).unsqueeze(1)
    confidence = length.clamp(0, 1) * count / (count + 1)
    return unit, confidence, count


def stack_views(keyframes: tuple[Keyframe, ...], device: torch.device) -> Views:
    """Return keyframes as the reference views of the field.

    Depth is there when at least one keyframe has it; the others then hold 0, unknown.
    """
    depth = None
    if any(keyframe.depth is not None for keyframe in keyframes):
        empty = np.zeros((keyframes[0].height, keyframes[0].width), np.float32)
        depth = _stack([empty if k.depth is None else k.depth for k in keyframes], device)
    rgb = _stack([keyframe.rgb for keyframe in keyframes], device)
    return Views(
        rgb=rgb.permute(0, 3, 1, 2) / 255.0,
        query=torch.stack([keyframe.query_features for keyframe in keyframes]),
        K=_stack([keyframe.K for keyframe in keyframes], device),
        T_world_camera=_stack([keyframe.T_world_camera for keyframe in keyframes], device),
        depth=depth,
        ov=torch.stack([keyframe.ov for keyframe in keyframes]),
        ov_stride=keyframes[0].ov_stride,
    )


def working_image(
    frame: Frame, width: int
) -> tuple[
    UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "3 3"], Float32[np.ndarray, "h w"] | None
]:
    """Return colours, intrinsics and depth of a frame at a width in pixels.

    Raises:
        ValueError: depth and image differ in aspect, or the pose is no finite 4x4 matrix.
    """
    if frame.T_world_camera.shape != (4, 4) or not np.isfinite(frame.T_world_camera).all():
        raise ValueError(f"frame {frame.name} has no finite 4x4 pose")
    rows, columns = frame.rgb.shape[:2]
    height = max(1, round(rows * width / columns))
    rgb = frame.rgb
    if (columns, rows) != (width, height):
        method = cv2.INTER_AREA if width < columns else cv2.INTER_LINEAR
        rgb = cv2.resize(rgb, (width, height), interpolation=method)
    K = scale_intrinsics(torch.from_numpy(frame.K.copy()), width / columns, height / rows)
    depth = frame.depth
    if depth is not None:
        if abs(depth.shape[1] / depth.shape[0] - columns / rows) > 0.02 * columns / rows:
            raise ValueError(
                f"frame {frame.name} has {depth.shape[1]}x{depth.shape[0]} pixels of depth and "
                f"{columns}x{rows} of colour: depth must be registered to the image"
            )
        if depth.shape != (height, width):
            # The nearest pixel: a mean of two surfaces is a depth that nobody measured.
            depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        depth = np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    return np.ascontiguousarray(rgb), K.numpy().astype(np.float32), depth


def _stack(arrays: list[np.ndarray], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


class StageClock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.start = self.last = perf_counter()
        self.stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self.last
        self.last = now

    def report(self) -> dict[str, float]:
        return {**self.stages, "total": self.last - self.start}
