"""The pictures of a report: where each thing is seen best, and the map from above.

sight = best_view(snapshot, instance.indices, config)
photo = photo_with_box(rgb, K, sight.keyframe.T_world_camera, mask, instances, color)
plan = map_drawing(snapshot, result, path, elevation=90.0)      # SVG text
"""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from govnesf_model.cameras import invert_pose, project, scale_intrinsics, transform
from govnesf_model.instances import Instance
from govnesf_model.keyframes import Keyframe, MapConfig, MapSnapshot
from govnesf_model.map_points import rows_seen
from govnesf_model.palette import heat_colors, label_colors, overlay
from govnesf_model.pictures import BOX_EDGES, CloudView, paint_cloud, tint, without_ceiling
from govnesf_model.query import QueryAnswer

PHOTO_WIDTH = 720  # pixels
MAP_WIDTH = 1000  # units of the drawing
_NEAR = 0.05  # metres; what is nearer to the camera has no place in a photo
_ENOUGH = 0.12  # part of a photo that shows a thing well
_PALE = 0.5  # how far points without a label fade to white


@dataclass(frozen=True)
class Sight:
    """A keyframe that sees something.

    Attributes:
        keyframe: that sees it best.
        share: part of the points that this keyframe sees.
        views: how many keyframes see it at all.
    """

    keyframe: Keyframe
    share: float
    views: int


def best_view(snapshot: MapSnapshot, rows: Int[np.ndarray, "n"], config: MapConfig) -> Sight | None:
    """Return where points are seen best: many of them, large, and not at the border.

    Args:
        snapshot: the map.
        rows: of the points in it.
        config: tolerances of the map.

    Returns:
        None when no keyframe sees any of the points.
    """
    xyz = snapshot.xyz[rows]
    best, most, views = None, 0.0, 0
    for keyframe in snapshot.keyframes:
        size = (keyframe.width, keyframe.height)
        pose = keyframe.T_world_camera
        seen = rows_seen(
            xyz,
            keyframe.K,
            pose,
            size,
            keyframe.depth,
            config.depth_tolerance,
            1.2 * config.max_depth,
        ).seen
        if len(seen) == 0:
            continue
        views += 1
        uv = _pixels(xyz[seen], keyframe.K, pose) / size
        extent = np.clip(uv.max(axis=0) - uv.min(axis=0), 0, 1)
        off_centre = np.abs(np.median(uv, axis=0) - 0.5).max()
        share = len(seen) / len(xyz)
        worth = share * min(np.prod(extent) / _ENOUGH, 1.0) ** 0.5 * (1.2 - off_centre)
        if worth > most:
            best, most = Sight(keyframe, share, 0), worth
    return None if best is None else Sight(best.keyframe, best.share, views)


def photo_with_box(
    rgb: UInt8[np.ndarray, "h w 3"],
    K: Float[np.ndarray, "3 3"],
    T_world_camera: Float[np.ndarray, "4 4"],
    mask: Bool[np.ndarray, "h w"],
    instances: Sequence[Instance],
    number: int,
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a photo with a text's pixels tinted and its boxes drawn, `PHOTO_WIDTH` wide.

    Args:
        rgb, K, T_world_camera: the photo.
        mask: pixels that show the text.
        instances: its boxes, best first; the best is drawn bolder.
        number: of the text, from 1: chooses the colour.
    """
    full_width = rgb.shape[1]
    rgb = _fitted(rgb)
    scale = rgb.shape[1] / full_width
    K = scale_intrinsics(torch.from_numpy(np.array(K, np.float64)), scale, scale).numpy()
    mask = _fitted(mask.astype(np.uint8), cv2.INTER_NEAREST)
    picture = overlay(rgb, mask * number, strength=0.4)
    color = tuple(int(c) for c in label_colors(number)[number])
    for instance in reversed(instances):
        bold = instance is instances[0]
        for start, end in _edges_in_photo(instance, K, T_world_camera):
            cv2.line(picture, start, end, (20, 20, 20), 5 if bold else 4, cv2.LINE_AA)
            cv2.line(picture, start, end, color, 3 if bold else 2, cv2.LINE_AA)
    return picture


def photo_with_heat(
    rgb: UInt8[np.ndarray, "h w 3"], scores: Float[np.ndarray, "hs ws"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a photo, dim, and bright where a text is likeliest, `PHOTO_WIDTH` wide.

    Args:
        rgb: the photo.
        scores: probabilities of the text at any resolution; the highest one shines brightest,
            however low it is.
    """
    rgb = _fitted(rgb)
    scores = cv2.resize(scores.astype(np.float32), rgb.shape[1::-1])
    relative = np.clip(scores / max(float(scores.max()), 1e-6), 0, 1)
    opaque = 0.75 * relative[..., None] ** 2
    heat = heat_colors(0.35 + 0.65 * relative)
    return (0.55 * rgb * (1 - opaque) + heat * opaque).round().clip(0, 255).astype(np.uint8)


def map_drawing(
    snapshot: MapSnapshot,
    result: QueryAnswer,
    path: Float[np.ndarray, "n 3"],
    elevation: float,
    title: str,
) -> str:
    """Return a drawing of the map as SVG: the cloud, boxes with names, the camera's path, a scale.

    Args:
        snapshot, result: the map, not empty, and what was found in it.
        path: camera centres in order of time, metres.
        elevation: of the eye above the horizon, degrees; 90 for a plan.
        title: what the drawing shows, for those who cannot see it.
    """
    colors = snapshot.rgb.astype(np.float32)
    colors = (colors * (1 - _PALE) + 255 * _PALE).round().astype(np.uint8)
    labelled = result.label > 0
    colors[labelled] = tint(snapshot.rgb[labelled], result.label[labelled], strength=0.85)
    xyz, colors = without_ceiling(snapshot.xyz, colors)
    path = np.asarray(path, np.float64)
    view = _fitting_view(xyz, path, elevation)
    canvas = np.full((view.height, view.width, 3), 255, np.uint8)
    paint_cloud(canvas, view, xyz, colors)
    parts = [
        f'<svg viewBox="0 0 {view.width} {view.height}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}">',
        f'<image width="{view.width}" height="{view.height}" href="{jpeg_uri(canvas, 88)}"/>',
        *_path_drawing(view, path, snapshot.keyframes),
        *_box_drawing(view, result),
        *_scale_drawing(view, elevation),
        "</svg>",
    ]
    return "\n".join(parts)


def jpeg_uri(rgb: UInt8[np.ndarray, "h w 3"], quality: int = 84) -> str:
    """Return a picture as a data URI, so that the page needs no other file."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def css_color(number: int) -> str:
    """Return the colour of label `number` as CSS knows it."""
    return "#{:02x}{:02x}{:02x}".format(*label_colors(number)[number])


def _fitted(image: np.ndarray, method: int | None = None) -> np.ndarray:
    """Return an image `PHOTO_WIDTH` wide, so that lines look alike in all of them."""
    if method is None:
        method = cv2.INTER_AREA if image.shape[1] > PHOTO_WIDTH else cv2.INTER_CUBIC
    height = max(1, round(image.shape[0] * PHOTO_WIDTH / image.shape[1]))
    return cv2.resize(image, (PHOTO_WIDTH, height), interpolation=method)


def _pixels(xyz: np.ndarray, K: np.ndarray, T_world_camera: np.ndarray) -> np.ndarray:
    uv, _ = project(*(torch.from_numpy(np.array(a, np.float64)) for a in (xyz, K, T_world_camera)))
    return uv.numpy()


def _edges_in_photo(
    instance: Instance, K: np.ndarray, T_world_camera: np.ndarray
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the edges of a box in pixels, cut off where they pass behind the camera."""
    T_camera_world = invert_pose(torch.from_numpy(np.array(T_world_camera, np.float64)))
    corners = transform(T_camera_world, torch.from_numpy(instance.corners())).numpy()
    found = []
    for a, b in BOX_EDGES:
        p, q = corners[a], corners[b]
        if p[2] < _NEAR and q[2] < _NEAR:
            continue
        if p[2] < _NEAR:
            p = q + (p - q) * (q[2] - _NEAR) / (q[2] - p[2])
        elif q[2] < _NEAR:
            q = p + (q - p) * (p[2] - _NEAR) / (p[2] - q[2])
        ends = _pixels(np.stack([p, q]), K, np.eye(4))
        first, second = (tuple(int(v) for v in np.clip(np.rint(e), -9999, 9999)) for e in ends)
        found.append((first, second))
    return found


def _fitting_view(xyz: np.ndarray, path: np.ndarray, elevation: float) -> CloudView:
    """Return the view that shows cloud and path, as high as they need."""
    square = CloudView.fitting(xyz, MAP_WIDTH, MAP_WIDTH, elevation, also=path)
    ends = np.percentile(square.project(xyz)[:, :2], (0.5, 99.5), axis=0)
    extent = np.ptp(np.concatenate([ends, square.project(path)[:, :2]]), axis=0)
    aspect = float(np.clip(extent[1] / max(extent[0], 1.0), 0.45, 0.9))
    return CloudView.fitting(xyz, MAP_WIDTH, round(MAP_WIDTH * aspect), elevation, also=path)


def _path_drawing(view: CloudView, path: np.ndarray, keyframes: Sequence[Keyframe]) -> list[str]:
    line = " ".join(f"{u:.1f},{v:.1f}" for u, v, _ in view.project(path))
    parts = [f'<polyline class="path" points="{line}"/>']
    for keyframe in keyframes:
        pose = np.asarray(keyframe.T_world_camera, np.float64)
        # The camera as a small wedge that opens to where it looks.
        half = np.arctan2(keyframe.width / 2, keyframe.K[0, 0])
        away = [[0, 0, 0], [-np.tan(half), 0, 1], [np.tan(half), 0, 1]]
        corners = np.array(away, np.float64) * 0.14 @ pose[:3, :3].T + pose[:3, 3]
        wedge = " ".join(f"{u:.1f},{v:.1f}" for u, v, _ in view.project(corners))
        parts.append(f'<polygon class="camera" points="{wedge}"/>')
    return parts


def _box_drawing(view: CloudView, result: QueryAnswer) -> list[str]:
    boxes, tags, taken = [], [], []
    for number, found in enumerate(result.instances, start=1):
        color = css_color(number)
        for rank, instance in enumerate(found, start=1):
            corners = view.project(instance.corners())
            edges = " ".join(
                f"M{corners[a, 0]:.1f} {corners[a, 1]:.1f}L{corners[b, 0]:.1f} {corners[b, 1]:.1f}"
                for a, b in BOX_EDGES
            )
            boxes.append(f'<path class="rim" d="{edges}"/>')
            boxes.append(f'<path class="box" d="{edges}" stroke="{color}"/>')
            name = result.texts[number - 1] + (f" {rank}" if len(found) > 1 else "")
            name = name if len(name) <= 40 else name[:39] + "…"
            width = 7.6 * len(name) + 14
            u = float(np.clip(corners[:, 0].mean(), width / 2 + 4, view.width - width / 2 - 4))
            v = _free_height(u, float(corners[:, 1].min()) - 6, width, taken, view.height)
            taken.append((u, v, width))
            ink = "#10161d" if _is_light(number) else "#ffffff"
            tags.append(
                f'<g transform="translate({u:.1f} {v:.1f})"><rect x="{-width / 2:.1f}" y="-16" '
                f'width="{width:.1f}" height="20" rx="4" fill="{color}"/>'
                f'<text class="tag" y="-1.5" fill="{ink}">{html.escape(name)}</text></g>'
            )
    return boxes + tags


def _is_light(number: int) -> bool:
    """Tell whether dark letters read better than white ones on the colour of a label."""
    return float(label_colors(number)[number] @ (0.299, 0.587, 0.114)) > 140


def _free_height(
    u: float, v: float, width: float, taken: Sequence[tuple[float, float, float]], height: int
) -> float:
    """Return where a tag hides no earlier one: at its place or the next below."""
    v = max(v, 20.0)
    for _ in range(len(taken) + 1):
        hit = [t for t in taken if abs(t[0] - u) < (t[2] + width) / 2 and abs(t[1] - v) < 21]
        if not hit or v > height - 30:
            break
        v = max(t[1] for t in hit) + 21.5
    return min(v, height - 6.0)


def _scale_drawing(view: CloudView, elevation: float) -> list[str]:
    metres = next((m for m in (5.0, 2.0, 1.0, 0.5, 0.2) if m * view.scale < view.width / 4), 0.1)
    right, bottom = view.width - 20, view.height - 18
    left = right - metres * view.scale
    parts = [
        f'<path class="scale" d="M{left:.1f} {bottom - 5}V{bottom}H{right}V{bottom - 5}"/>',
        f'<text class="scale" x="{(left + right) / 2:.1f}" y="{bottom - 7}">{metres:g} m</text>',
    ]
    if elevation >= 89:
        x, y = 26, view.height - 26
        parts += [
            f'<path class="scale" d="M{x} {y - 34}V{y}H{x + 34}"/>',
            f'<text class="scale" x="{x + 42}" y="{y + 4}">x</text>',
            f'<text class="scale" x="{x}" y="{y - 39}">y</text>',
        ]
    return parts
