"""Pictures of a map and of what was found in it.

sheet = contact_sheet(frames_and_masks, xyz, rgb, label, instances, names, notes)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8

from govnesf_model.instances import Instance
from govnesf_model.palette import label_colors, legend, overlay, text_line

CEILING = 1.9  # metres above the floor from which on a cloud is cut, so that one can look in
_DARK = 28  # grey of the background
# Corners of a box differ in one bit along an edge.
BOX_EDGES = [(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit]


def contact_sheet(
    photos: Sequence[tuple[str, UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]],
    xyz: Float[np.ndarray, "n 3"],
    rgb: UInt8[np.ndarray, "n 3"],
    label: Integer[np.ndarray, "n"],
    instances: Sequence[Sequence[Instance]],
    names: Sequence[str],
    notes: Sequence[str],
    width: int = 1600,
) -> UInt8[np.ndarray, "H W 3"]:
    """Return photos with coloured masks above two views of the cloud with boxes, and a legend.

    Args:
        photos: name, image and mask each; at most eight look well.
        xyz, rgb, label: the map's points, metres and 0..255; label i + 1 = names[i].
        instances: boxes per text.
        names: the texts.
        notes: what to write beside each text in the legend.
    """
    columns = min(4, max(1, len(photos)))
    tile_width = width // columns
    tiles = []
    for name, image, mask in photos:
        height = round(image.shape[0] * tile_width / image.shape[1])
        image = cv2.resize(image, (tile_width, height), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, (tile_width, height), interpolation=cv2.INTER_NEAREST)
        tile = overlay(image, mask)
        text_line(tile, name, (8, 18))
        tiles.append(tile)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    parts = [_side_by_side(row, columns * tile_width) for row in rows]
    colors = tint(rgb, label)
    half = columns * tile_width // 2
    full = 2 * half  # views and legend; the photos may be a pixel wider
    tall = round(half * 0.72)
    views = [
        draw_cloud(xyz, colors, instances, names, half, tall, elevation=90.0),
        draw_cloud(xyz, colors, instances, names, half, tall, elevation=42.0),
    ]
    text_line(views[0], "from above, without the ceiling", (10, 20))
    text_line(views[1], "from the side", (10, 20))
    parts.append(np.concatenate(views, axis=1))
    parts.append(legend(list(names), full, list(notes), scale=0.55))
    return np.concatenate([part[:, :full] for part in parts])


@dataclass(frozen=True)
class CloudView:
    """A parallel projection of the world into a picture.

    Attributes:
        turn: [3, 3] world to view: x right, y down, z away from the eye.
        scale: pixels per metre.
        offset: [2] pixel of the world's origin.
        width, height: of the picture.
    """

    turn: Float[np.ndarray, "3 3"]
    scale: float
    offset: Float[np.ndarray, "2"]
    width: int
    height: int

    @classmethod
    def fitting(
        cls,
        xyz: Float[np.ndarray, "n 3"],
        width: int,
        height: int,
        elevation: float,
        azimuth: float = -60.0,
        also: Float[np.ndarray, "m 3"] | None = None,
    ) -> "CloudView":
        """Return the view that shows a cloud without its outermost stray points.

        Args:
            xyz: metres, z up; at least one point.
            width, height: of the picture.
            elevation: of the eye above the horizon, degrees; 90 looks straight down, y up.
            azimuth: from where the eye looks, degrees; not used from straight above.
            also: points that are shown whatever the cloud is.
        """
        turn = _view_rotation(elevation, 0.0 if elevation >= 89 else azimuth)
        low, high = np.percentile((xyz @ turn.T)[:, :2], (0.5, 99.5), axis=0)
        if also is not None and len(also):
            more = (also @ turn.T)[:, :2]
            low, high = np.minimum(low, more.min(axis=0)), np.maximum(high, more.max(axis=0))
        scale = 0.92 * min(width / max(high[0] - low[0], 0.1), height / max(high[1] - low[1], 0.1))
        offset = np.array([width, height]) / 2 - (low + high) / 2 * scale
        return cls(turn, float(scale), offset, width, height)

    def project(self, xyz: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return pixels (u, v) and the distance from the eye in metres, of any origin."""
        seen = xyz @ self.turn.T
        return np.concatenate([seen[:, :2] * self.scale + self.offset, seen[:, 2:]], axis=1)


def paint_cloud(
    canvas: UInt8[np.ndarray, "h w 3"],
    view: CloudView,
    xyz: Float[np.ndarray, "n 3"],
    colors: UInt8[np.ndarray, "n 3"],
) -> None:
    """Paint points into a picture of the view's size, the nearest on top."""
    at = view.project(xyz)
    _splat(canvas, at[:, :2], at[:, 2], colors, radius=0.022 * view.scale)


def tint(
    rgb: UInt8[np.ndarray, "n 3"], label: Integer[np.ndarray, "n"], strength: float = 0.75
) -> UInt8[np.ndarray, "n 3"]:
    """Return the points' colours with those that carry a label tinted."""
    colors = rgb.astype(np.float32)
    chosen = label > 0
    wanted = label_colors(int(label.max(initial=0)))[label[chosen]]
    colors[chosen] = colors[chosen] * (1 - strength) + wanted * strength
    return colors.round().astype(np.uint8)


def draw_cloud(
    xyz: Float[np.ndarray, "n 3"],
    colors: UInt8[np.ndarray, "n 3"],
    instances: Sequence[Sequence[Instance]],
    names: Sequence[str],
    width: int,
    height: int,
    elevation: float,
    azimuth: float = -60.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a parallel view of a cloud with its boxes.

    Args:
        xyz: metres, z up.
        colors: of the points.
        instances: boxes per text.
        names: the texts.
        width, height: of the picture.
        elevation: of the eye above the horizon, degrees; 90 looks straight down.
        azimuth: from where the eye looks, degrees; not used from straight above.
    """
    canvas = np.full((height, width, 3), _DARK, np.uint8)
    if len(xyz) == 0:
        text_line(canvas, "the map is empty", (width // 2 - 50, height // 2))
        return canvas
    xyz, colors = without_ceiling(xyz, colors)
    view = CloudView.fitting(xyz, width, height, elevation, azimuth)
    paint_cloud(canvas, view, xyz, colors)
    palette = label_colors(len(names))
    tags = []
    for number, found in enumerate(instances, start=1):
        color = tuple(int(c) for c in palette[number])
        for instance in found:
            corners = view.project(instance.corners())[:, :2]
            for a, b in BOX_EDGES:
                _line(canvas, corners[a], corners[b], color)
            if instance is found[0]:
                anchor = corners[corners[:, 1].argmin()].astype(int)
                at = (int(np.clip(anchor[0] - 10, 2, width - 80)), int(max(anchor[1] - 5, 12)))
                tags.append((f"{names[number - 1]} {instance.score:.2f}", at))
    for text, at in tags:
        text_line(canvas, text, at)
    return canvas


def without_ceiling(
    xyz: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], height: float = CEILING
) -> tuple[Float[np.ndarray, "m 3"], UInt8[np.ndarray, "m 3"]]:
    """Return the points up to a height in metres above the lowest, so that one can look in."""
    floor = np.percentile(xyz[:, 2], 1)
    kept = xyz[:, 2] < floor + height
    return xyz[kept], colors[kept]


def _view_rotation(elevation: float, azimuth: float) -> np.ndarray:
    e, a = np.radians([elevation, azimuth])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    forward = -np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    if elevation >= 89:
        right, forward = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])
    return np.stack([right, np.cross(forward, right), forward])


def _splat(
    canvas: np.ndarray, at: np.ndarray, away: np.ndarray, colors: np.ndarray, radius: float
) -> None:
    """Paint points as little squares, the nearest on top."""
    order = np.argsort(-away, kind="stable")
    x, y = np.rint(at[order]).astype(int).T
    colors = colors[order]
    height, width = canvas.shape[:2]
    reach = int(np.clip(round(radius), 1, 5))
    depth = np.full((height, width), np.inf, np.float32)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            u, v = x + dx, y + dy
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            u, v, near, paint = u[inside], v[inside], away[order][inside], colors[inside]
            # Numpy keeps the last of repeated indices, and the points come from far to near.
            layer = np.full((height, width), np.inf, np.float32)
            layer[v, u] = near
            shown = np.zeros_like(canvas)
            shown[v, u] = paint
            better = layer < depth
            depth[better] = layer[better]
            canvas[better] = shown[better]


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, color: tuple) -> None:
    a, b = (tuple(int(v) for v in np.clip(np.rint(p), -9999, 9999)) for p in (start, end))
    cv2.line(canvas, a, b, (15, 15, 15), 4, cv2.LINE_AA)
    cv2.line(canvas, a, b, color, 2, cv2.LINE_AA)


def _side_by_side(tiles: list[np.ndarray], width: int) -> np.ndarray:
    height = max(tile.shape[0] for tile in tiles)
    row = np.full((height, width, 3), _DARK, np.uint8)
    x = 0
    for tile in tiles:
        row[: tile.shape[0], x : x + tile.shape[1]] = tile
        x += tile.shape[1]
    return row
