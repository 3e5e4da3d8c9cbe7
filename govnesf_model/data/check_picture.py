"""One picture of a scene: its images, depth and labels, the camera's path from above, the figures.

cv2.imwrite("check.png", draw_check(scene, report)[..., ::-1])
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from govnesf_model.data.check import Report
from govnesf_model.data.posed_scene import Frame, PosedScene, SceneError
from govnesf_model.palette import colorize, legend, text_line

WIDTH = 1600
COLUMNS = 8
PLAN = (880, 660)  # of the view from above, pixels
HEAD_ROOM = 0.25  # metres; what lies higher above the cameras is ceiling and hides the room
MAX_POINTS = 300_000
MAX_CLOUD_FRAMES = 60
_DARK = 28
_REFERENCE, _TARGET, _START = (70, 200, 255), (255, 150, 40), (90, 255, 120)


def draw_check(scene: PosedScene, report: Report) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture, RGB."""
    frames = _readable(scene, np.linspace(0, len(scene) - 1, min(COLUMNS, len(scene))))
    rows = [_strip([frame.rgb for frame in frames], [frame.name for frame in frames])]
    if scene.has_depth:
        far = max((float(np.percentile(f.depth, 98)) for f in frames), default=0.0) or 1.0
        rows.append(
            _strip([_depth_colors(f.depth, far) for f in frames], [f"depth 0..{far:.1f} m"])
        )
    shown = [frame for frame in frames if frame.label is not None]
    if shown:
        rows.append(_labels(scene, shown))
    plan = draw_plan(scene)
    rows.append(np.concatenate([plan, _figures(scene, report, plan.shape[0])], axis=1))
    return np.concatenate(rows)


def draw_plan(scene: PosedScene) -> UInt8[np.ndarray, "h w 3"]:
    """Return the view from above: the surface that depth shows, and every camera."""
    width, height = PLAN
    canvas = np.full((height, width, 3), _DARK, np.uint8)
    eyes = scene.poses[:, :3, 3]
    points, colors = _cloud(scene)
    shown = np.concatenate([points[:, :2], eyes[:, :2]])
    low, high = np.percentile(shown, (0.5, 99.5), axis=0)
    low, high = np.minimum(low, eyes[:, :2].min(axis=0)), np.maximum(high, eyes[:, :2].max(axis=0))
    scale = 0.9 * min(width / max(high[0] - low[0], 0.2), height / max(high[1] - low[1], 0.2))
    middle = (low + high) / 2

    def place(xy: np.ndarray) -> np.ndarray:
        return (xy - middle) * [scale, -scale] + [width / 2, height / 2]

    if len(points):
        order = np.argsort(points[:, 2], kind="stable")  # the highest on top
        x, y = np.rint(place(points[order, :2])).astype(int).T
        colors = (colors[order] * 0.6).astype(np.uint8)  # so that the path stands out
        for dx in (0, 1):
            for dy in (0, 1):
                inside = (x + dx >= 0) & (x + dx < width) & (y + dy >= 0) & (y + dy < height)
                canvas[y[inside] + dy, x[inside] + dx] = colors[inside]
    _draw_cameras(canvas, scene, place, scale)
    metre = max(1, round(0.2 * width / scale))
    bar = int(metre * scale)
    cv2.line(canvas, (20, height - 20), (20 + bar, height - 20), (235, 235, 235), 2)
    text_line(canvas, f"{metre} m", (24 + bar, height - 16))
    text_line(canvas, "from above; blue: references, orange: targets, green: first", (10, 20))
    return canvas


def _draw_cameras(canvas: np.ndarray, scene: PosedScene, place, scale: float) -> None:
    at = place(scene.poses[:, :2, 3])
    cv2.polylines(canvas, [np.rint(at).astype(np.int32)], False, (150, 150, 150), 1, cv2.LINE_AA)
    targets = set(scene.target)
    length = max(9.0, 0.12 * scale)
    for index in range(len(scene)):
        color = _TARGET if index in targets else _REFERENCE
        start = at[index]
        ahead = scene.poses[index, :2, 2] * [1, -1]  # shorter when it looks up or down
        _line(canvas, start, start + ahead * length, color)
        cv2.circle(canvas, _pixel(start), 3, color, -1, cv2.LINE_AA)
    cv2.circle(canvas, _pixel(at[0]), 7, _START, 2, cv2.LINE_AA)


def _cloud(scene: PosedScene) -> tuple[np.ndarray, np.ndarray]:
    """Return points and colours of the depth of frames spread over the scene, no ceiling."""
    points, colors = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint8)]
    if scene.has_depth:
        count = min(MAX_CLOUD_FRAMES, len(scene))
        step = math.ceil(math.sqrt(count * scene.width * scene.height / MAX_POINTS))
        for frame in _readable(scene, np.linspace(0, len(scene) - 1, count)):
            height, width = frame.depth.shape
            v, u = np.mgrid[0:height:step, 0:width:step].reshape(2, -1)
            z = frame.depth[v, u]
            v, u, z = v[z > 0], u[z > 0], z[z > 0]
            x = (u - frame.K[0, 2]) / frame.K[0, 0] * z
            y = (v - frame.K[1, 2]) / frame.K[1, 1] * z
            T = frame.T_world_camera
            points.append(np.stack([x, y, z], axis=1) @ T[:3, :3].T + T[:3, 3])
            colors.append(frame.rgb[v, u])
    points, colors = np.concatenate(points), np.concatenate(colors)
    low_enough = points[:, 2] < np.median(scene.poses[:, 2, 3]) + HEAD_ROOM
    return points[low_enough], colors[low_enough]


def _labels(scene: PosedScene, frames: Sequence[Frame]) -> np.ndarray:
    """Return the label images in colours, and a legend of the classes that they show."""
    counts = np.bincount(np.concatenate([f.label.reshape(-1) for f in frames]), minlength=256)
    uncounted = {*scene.ignore, scene.other}
    seen = [i for i in np.argsort(-counts) if counts[i] and i in scene.classes]
    seen = [int(i) for i in seen if i not in uncounted][:40]
    number = np.zeros(256, np.int64)
    number[seen] = np.arange(1, len(seen) + 1)
    tiles = [colorize(number[f.label]) for f in frames]
    names = legend([scene.classes[i] for i in seen], WIDTH) if seen else None
    strip = _strip(tiles, ["labels"])
    return strip if names is None else np.concatenate([strip, names])


def _figures(scene: PosedScene, report: Report, height: int) -> np.ndarray:
    """Return the report as text."""
    panel = np.full((height, WIDTH - PLAN[0], 3), _DARK, np.uint8)
    lines = [(scene.name, (245, 245, 245))]
    for sentences, color in (
        (report.problems, (255, 110, 90)),
        (report.warnings, (255, 205, 90)),
        (report.facts, (205, 205, 205)),
    ):
        for sentence in sentences:
            lines += [(part, color) for part in _wrapped(sentence, 100)]
    if not report.problems:
        lines.insert(1, ("nothing is wrong", (120, 235, 130)))
    for row, (line, color) in enumerate(lines):
        y = 26 + 19 * row
        if y > height - 8:
            break
        printable = line.encode("ascii", "replace").decode()
        cv2.putText(
            panel, printable, (14, y), cv2.FONT_HERSHEY_SIMPLEX, 0.44, color, 1, cv2.LINE_AA
        )
    return panel


def _wrapped(sentence: str, width: int) -> list[str]:
    lines, line = [], "-"
    for word in sentence.split():
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = " "
        line += f" {word}"
    return [*lines, line]


def _strip(images: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return images in a row of the picture's width, the first ones named."""
    wide = WIDTH // COLUMNS
    if not images:
        return np.full((1, WIDTH, 3), _DARK, np.uint8)
    tall = max(1, round(images[0].shape[0] * wide / images[0].shape[1]))
    row = np.full((tall, WIDTH, 3), _DARK, np.uint8)
    for number, image in enumerate(images):
        tile = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA)
        row[:, number * wide : (number + 1) * wide] = tile
    for number, name in enumerate(names):
        text_line(row, name[-26:], (number * wide + 6, 16))
    return row


def _depth_colors(depth: np.ndarray, far: float) -> np.ndarray:
    levels = np.clip(depth / far * 255, 0, 255).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1].copy()
    colors[depth <= 0] = 0
    return colors


def _readable(scene: PosedScene, indices: np.ndarray) -> list[Frame]:
    frames = []
    for index in np.unique(np.rint(indices).astype(int)):
        try:
            frames.append(scene[int(index)])
        except SceneError:  # the report says so
            continue
    return frames


def _pixel(at: np.ndarray) -> tuple[int, int]:
    return int(np.clip(round(at[0]), -9999, 9999)), int(np.clip(round(at[1]), -9999, 9999))


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, color: tuple) -> None:
    cv2.line(canvas, _pixel(start), _pixel(end), (15, 15, 15), 3, cv2.LINE_AA)
    cv2.line(canvas, _pixel(start), _pixel(end), color, 1, cv2.LINE_AA)
