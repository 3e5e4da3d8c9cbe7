"""From frames to keyframes, and from keyframes to the features of points.

keyframe = encode_frame(field, vlm, frame, config, number=0)      # the only place with encoders
views = ViewStack(device).of((keyframe, ...))                     # see view_stack.py
features, confidence, count = fuse_points(field, points, views, volume, k=8, tolerance=0.05)
"""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from govnesf_model.blending import Views, blend_semantic
from govnesf_model.cameras import scale_intrinsics
from govnesf_model.data.posed_scene import Frame
from govnesf_model.evidence import measured_surface
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.stereo import Surface, choose_sources
from govnesf_model.surfaces import ENOUGH, SOURCES, describe_view, matched_surface
from govnesf_model.vlm.base import DenseEncoder


def encode_frame(
    field: GovNesf,
    vlm: DenseEncoder,
    frame: Frame,
    config: MapConfig,
    number: int,
    clock: "StageClock | None" = None,
    ov: Float[torch.Tensor, "hs ws d"] | None = None,
    others: Sequence[Keyframe] | None = None,
) -> Keyframe:
    """Resize a frame and run both image encoders on it.

    Args:
        field, vlm: the encoders.
        frame: what the camera saw.
        config: the working width, and whether depth is kept.
        number: the keyframe's id.
        clock: takes the seconds of both encoders.
        ov: the encoder's map of the frame where it is known already.
        others: keyframes that depth is matched against where none was measured; None leaves the
            surface to `with_surface`.

    Raises:
        ValueError: the frame's arrays do not fit together.
    """
    clock = clock or StageClock()
    rgb, K, depth = working_image(frame, config.image_width)
    image = torch.from_numpy(rgb).to(field.device).permute(2, 0, 1).unsqueeze(0) / 255.0
    if ov is None:
        ov = vlm.encode_images(image)[0].permute(1, 2, 0).to(torch.float16).contiguous()
    clock.lap("encode")
    levels = field.encoder.backbone(image)
    keyframe = Keyframe(
        id=number,
        stamp=float(frame.index) if frame.stamp is None else float(frame.stamp),
        rgb=rgb,
        K=K,
        T_world_camera=frame.T_world_camera.astype(np.float32),
        depth=depth if config.use_depth else None,
        ov=ov.to(field.device),
        ov_stride=vlm.stride,
        source_size=(frame.rgb.shape[1], frame.rgb.shape[0]),
        name=frame.name,
        **field_maps(field, image, levels),
    )
    if others is not None:
        keyframe = with_surface(field, keyframe, others, levels)
    clock.lap("field")
    return keyframe


def field_maps(
    field: GovNesf,
    image: Float[torch.Tensor, "1 3 H W"],
    levels: list[Float[torch.Tensor, "1 _ _ _"]] | None = None,
) -> dict[str, torch.Tensor | None]:
    """Return the fields of a keyframe that a field computes from its image alone.

    Args:
        field: the network.
        image: colours in 0..1.
        levels: the backbone's maps of it where they are known.
    """
    levels = field.encoder.backbone(image) if levels is None else levels
    maps = field.encoder.decode(image, levels)
    match = None
    if field.stereo is not None:
        match = describe_view(field, image, levels)[1][0].half()
    return {
        "volume_features": maps.volume[0],
        "query_features": maps.query[0],
        "match": match,
    }


def with_surface(
    field: GovNesf,
    keyframe: Keyframe,
    others: Sequence[Keyframe],
    levels: list[Float[torch.Tensor, "1 _ _ _"]] | None = None,
) -> Keyframe:
    """Return the keyframe with the surface that it believes in.

    Args:
        field: the network.
        keyframe: with depth, or else with `match`.
        others: keyframes of the same size, to match it against.
        levels: the backbone's maps of its image where they are known.
    """
    if not field.config.evidence_split:
        return keyframe
    sources: list[Keyframe] = []
    if keyframe.depth is not None:
        surface = measured_surface(torch.from_numpy(keyframe.depth).to(field.device)[None])
    elif field.stereo is None:
        return keyframe
    else:
        sources = sources_of(keyframe, others)
        surface = _matched(field, keyframe, sources, levels)
    return replace(
        keyframe,
        surface_depth=surface.depth.half(),
        surface_spread=surface.spread.half(),
        sources=len(sources),
    )


def sources_of(keyframe: Keyframe, others: Sequence[Keyframe]) -> list[Keyframe]:
    """Return the keyframes that tell most about the depth of one, see `choose_sources`."""
    comparable = [k for k in others if k.match is not None and k.rgb.shape == keyframe.rgb.shape]
    K = torch.from_numpy(np.stack([k.K for k in (keyframe, *comparable)]))
    poses = torch.from_numpy(np.stack([k.T_world_camera for k in (keyframe, *comparable)]))
    near = choose_sources(poses, K, keyframe.width, keyframe.height, 0, SOURCES)
    return [comparable[row - 1] for row in near]


def matched_again(field: GovNesf, keyframes: Sequence[Keyframe]) -> list[tuple[Keyframe, Keyframe]]:
    """Return the newest keyframe that had too few to be matched against and has more by now.

    The first views of a place have nothing to be matched against.

    Returns:
        At most one pair: the keyframe as it is and as it should be.
    """
    for keyframe in reversed(keyframes[:-1]):
        lacking = keyframe.depth is None and keyframe.sources < ENOUGH
        if (
            lacking
            and keyframe.surface is not None
            and len(sources_of(keyframe, keyframes)) > keyframe.sources
        ):
            return [(keyframe, with_surface(field, keyframe, keyframes))]
    return []


def _matched(
    field: GovNesf,
    keyframe: Keyframe,
    sources: Sequence[Keyframe],
    levels: list[Float[torch.Tensor, "1 _ _ _"]] | None,
) -> Surface:
    everyone = [keyframe, *sources]
    image = torch.from_numpy(keyframe.rgb).to(field.device).permute(2, 0, 1).unsqueeze(0) / 255.0
    levels = field.encoder.backbone(image) if levels is None else levels
    detail, _ = describe_view(field, image, levels)
    return matched_surface(
        field,
        levels,
        detail,
        torch.stack([k.match for k in everyone]).float(),
        torch.from_numpy(np.stack([k.K for k in everyone])).to(field.device),
        torch.from_numpy(np.stack([k.T_world_camera for k in everyone])).to(field.device),
        (keyframe.width, keyframe.height),
        0,
        list(range(1, len(everyone))),
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
