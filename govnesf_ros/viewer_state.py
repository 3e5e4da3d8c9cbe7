"""What the page knows, as plain values: found things, camera lines, and what to tell the user.

Pure functions from the mapper's messages; no node, no browser.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from govnesf_ros.conversions import BadInput, to_matrix
from govnesf_ros.viewer_cloud import MapPoints

SILENT_SECONDS = 3.0  # the status comes once a second
_UNCOVERED = "not covered by"  # in the mapper's warnings about words

# The corners of an image in a camera of 60 degrees, at a depth of 1, optical frame.
_CORNERS = np.array([[-0.58, -0.43, 1], [0.58, -0.43, 1], [0.58, 0.43, 1], [-0.58, 0.43, 1]])
_EDGES = [(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit]
_LINE_STRIP, _LINE_LIST, _DELETE, _DELETE_ALL = 4, 5, 2, 3  # of visualization_msgs/Marker


@dataclass(frozen=True)
class Found:
    """One box of an answer, map frame, metres.

    Attributes:
        number: the label of its text, 1 for the first.
    """

    text: str
    number: int
    score: float
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float


def split_words(text: str) -> list[str]:
    """Return the words of an input: between commas, semicolons and ends of lines."""
    return [word for word in (part.strip() for part in re.split(r"[,;\n]", text)) if word]


def split_message(message: str) -> tuple[list[str], list[str]]:
    """Return a message's sentences: what is the case, and what to be careful about."""
    parts = [part for part in message.split("; ") if part]
    warnings = [part for part in parts if _UNCOVERED in part]
    return [part for part in parts if _UNCOVERED not in part], warnings


def found_things(message: Any, texts: Sequence[str]) -> list[Found]:
    """Return the boxes of a Detection3DArray, best first.

    Args:
        message: as the mapper sends it.
        texts: of the active query, in the order of its labels; unknown ones come after them.
    """
    numbers = {text: number for number, text in enumerate(texts, start=1)}
    found = []
    for detection in message.detections:
        if not detection.results:
            continue
        result = max(detection.results, key=lambda one: one.hypothesis.score)
        text = result.hypothesis.class_id
        number = numbers.setdefault(text, len(numbers) + 1)
        turn = detection.bbox.center.orientation
        yaw = np.arctan2(2 * (turn.w * turn.z + turn.x * turn.y), 1 - 2 * (turn.y**2 + turn.z**2))
        place, size = detection.bbox.center.position, detection.bbox.size
        values = np.array([place.x, place.y, place.z, size.x, size.y, size.z, yaw])
        if np.isfinite(values).all():
            center, extent = tuple(values[:3].tolist()), tuple(values[3:6].tolist())
            found.append(
                Found(text, number, result.hypothesis.score, center, extent, float(values[6]))
            )
    return sorted(found, key=lambda one: -one.score)


def box_lines(found: Found) -> np.ndarray:
    """Return the 12 edges of a box, float32 [12, 2, 3], map frame."""
    signs = ((np.arange(8)[:, None] >> np.arange(3)) & 1) * 2 - 1
    corners = signs * np.asarray(found.size) / 2
    cosine, sine = np.cos(found.yaw), np.sin(found.yaw)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    corners = corners @ turn.T + found.center
    return corners[np.array(_EDGES)].astype(np.float32)


def path_poses(message: Any) -> np.ndarray:
    """Return T_map_camera of a nav_msgs/Path, float64 [N, 4, 4]; those not finite are left out."""
    poses = [_matrix(stamped.pose) for stamped in message.poses]
    return np.array([T for T in poses if T is not None]).reshape(-1, 4, 4)


def frustum_lines(poses: np.ndarray, depth: float = 0.12) -> np.ndarray:
    """Return small pyramids for cameras, float32 [8 N, 2, 3], map frame.

    Args:
        poses: [N, 4, 4], T_map_camera.
        depth: from the camera's centre to its image, metres.
    """
    corners = _CORNERS * depth
    edges = [(np.zeros(3), corner) for corner in corners]
    edges += [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
    local = np.array(edges)  # [8, 2, 3]
    lines = np.einsum("nij,abj->nabi", poses[:, :3, :3], local) + poses[:, None, None, :3, 3]
    return lines.reshape(-1, 2, 3).astype(np.float32)


def marker_lines(message: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines of a MarkerArray in the markers' own frame, and their colours.

    LINE_LIST and LINE_STRIP count; markers that delete and all other shapes do not.

    Returns:
        float32 [N, 2, 3] metres, and uint8 [N, 2, 3].
    """
    lines, colors = [np.zeros((0, 2, 3))], [np.zeros((0, 2, 3))]
    for marker in message.markers:
        lists = {_LINE_LIST: slice(None, None, 2), _LINE_STRIP: slice(None)}
        T = _matrix(marker.pose)
        if marker.action in (_DELETE, _DELETE_ALL) or marker.type not in lists or T is None:
            continue
        points = np.array([(point.x, point.y, point.z) for point in marker.points]).reshape(-1, 3)
        each = marker.colors if len(marker.colors) == len(points) else [marker.color] * len(points)
        paint = np.array([(color.r, color.g, color.b) for color in each]).reshape(-1, 3)
        starts = np.arange(max(len(points) - 1, 0))[lists[marker.type]]
        pairs = np.stack([starts, starts + 1], axis=1)
        lines.append((points @ T[:3, :3].T + T[:3, 3])[pairs])
        colors.append(paint[pairs])
    places, paints = np.concatenate(lines), np.concatenate(colors)
    keep = np.isfinite(places).all(axis=(1, 2)) & np.isfinite(paints).all(axis=(1, 2))
    return (
        places[keep].astype(np.float32),
        (255 * paints[keep].clip(0, 1)).round().astype(np.uint8),
    )


def ply(points: MapPoints, texts: Sequence[str]) -> bytes:
    """Return a cloud as a binary PLY with colour, label and relevancy; the words as comments."""
    columns = {
        "x": "<f4", "y": "<f4", "z": "<f4", "red": "u1", "green": "u1", "blue": "u1",
        "label": "<u4", "relevancy": "<f4",
    }  # fmt: skip
    kinds = {"<f4": "float", "u1": "uchar", "<u4": "uint"}
    rows = np.empty(len(points), list(columns.items()))
    rows["x"], rows["y"], rows["z"] = points.xyz.T
    rows["red"], rows["green"], rows["blue"] = points.photo.T
    rows["label"], rows["relevancy"] = points.label, points.value
    words = [f"comment label {i} {_one_line(text)}" for i, text in enumerate(texts, start=1)]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment frame {_one_line(points.frame_id)}",
        f"comment stamp {points.stamp} ns",
        *words,
        f"element vertex {len(points)}",
        *[f"property {kinds[kind]} {name}" for name, kind in columns.items()],
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode("ascii") + rows.tobytes()


def hint(status: Any | None, age: float | None, mapper: str) -> tuple[str, str]:
    """Return what a user should know about the mapper now: kind and sentence, or empty strings.

    Args:
        status: newest MapStatus, if any.
        age: seconds since it came.
        mapper: full name of the mapper, e.g. /govnesf.
    """
    if status is None or age is None:
        return "bad", (
            f"No mapper: nothing has come on {mapper}/status. Start one with ros2 launch "
            "govnesf_ros bringup.launch.py, or name yours with the parameter mapper. Is "
            "ROS_DOMAIN_ID the same?"
        )
    if age > SILENT_SECONDS:
        return "bad", (
            f"{mapper} has been silent for {age:.0f} s: it has ended or hangs. What you see is "
            "what it sent last."
        )
    if status.state == "unconfigured":
        return "info", f"{mapper} is loading its models, or waits to be configured."
    if status.points > 0:
        return "", ""
    if status.frames_received == 0:
        return "info", (
            "The map is empty: no image has come yet. Is the camera running, and image_topic right?"
        )
    reasons = sorted(zip(status.reason_counts, status.reasons, strict=False), reverse=True)
    because = ", ".join(f"{reason.replace('_', ' ')} ({count})" for count, reason in reasons[:3])
    return "warn", (
        f"The map is empty: {status.frames_received} images have come, none was used"
        + (f": {because}." if because else ".")
        + " The mapper's log says more."
    )


def first_view(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where to look at a map from, and the point to look at, map frame.

    From above at an angle, over the side where the least stands in the way.
    """
    step = max(len(xyz) // 5000, 1)
    sample = xyz[::step].astype(np.float64)
    low, high = np.percentile(sample, [2, 98], axis=0)
    target = (low + high) / 2
    target[2] = low[2] + 0.35 * (high[2] - low[2])
    radius = max(float(np.linalg.norm(high - low)) / 2, 0.5)
    offset = sample - target
    tall = np.clip(offset[:, 2], 0, None)
    angles = np.deg2rad(np.arange(22.5, 382.5, 45.0))
    sides = np.stack([np.cos(angles), np.sin(angles)])  # [2, 8]
    in_the_way = (np.clip(offset[:, :2] @ sides, 0, None) * tall[:, None]).sum(axis=0)
    x, y = sides[:, int(np.argmin(in_the_way))]
    direction = np.array([0.64 * x, 0.64 * y, 0.77])
    return target + 1.5 * radius * direction, target


def near_view(found: Found, eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where to look at a box from: nearer, from the side where the eye is now, and above.

    Args:
        found: the box.
        eye: [3], where the camera is, map frame.

    Returns:
        Position and the point to look at.
    """
    center = np.asarray(found.center, float)
    away = np.asarray(eye, float)[:2] - center[:2]
    length = np.linalg.norm(away)
    away = away / length if length > 1e-3 else np.array([1.0, 0.0])
    distance = max(1.1, 1.35 * float(np.linalg.norm(found.size)))
    return center + distance * np.array([0.75 * away[0], 0.75 * away[1], 0.66]), center


def _matrix(pose: Any) -> np.ndarray | None:
    """Return a geometry_msgs/Pose as a matrix [4, 4]; None for one that is no pose."""
    turn = pose.orientation
    if not any((turn.x, turn.y, turn.z, turn.w)):
        turn = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)  # never filled in: none is meant
    try:
        return to_matrix(SimpleNamespace(translation=pose.position, rotation=turn))
    except BadInput:
        return None


def _one_line(text: str) -> str:
    """Return a text for the header of a PLY: ASCII, one line."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
