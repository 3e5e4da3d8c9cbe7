"""What stands in the scene beside the cloud, and where each browser looks from.

scene = Scene(server)
scene.show_boxes(found)          # all browsers
scene.show_cameras(lines)
scene.frame(xyz)                 # browsers whose camera nobody has moved yet
scene.fly(client, position, target)
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from govnesf_model.palette import label_colors
from govnesf_ros.viewer_html import shortened
from govnesf_ros.viewer_state import Found, box_lines, first_view

FLIGHT_SECONDS = 0.7
MAX_BOXES = 200
CAPTIONS_PER_TEXT = 3  # the best ones: more would cover each other and the map
_CAMERA_COLOR = (120, 160, 205)
_GROWN = 1.25  # a map that became so much larger is framed again


class Scene:
    """Boxes, captions, cameras and views of a viser server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._captions: list[Any] = []
        self._boxes: Any | None = None
        self._cameras: Any | None = None
        self._cameras_visible = True
        self._view: tuple[np.ndarray, np.ndarray] | None = None
        self._extent = 0.0
        self._framed: dict[int, np.ndarray] = {}
        server.scene.set_up_direction("+z")
        server.scene.world_axes.visible = False
        server.on_client_connect(self._join)
        server.on_client_disconnect(lambda client: self._framed.pop(client.client_id, None))

    def show_boxes(self, found: Sequence[Found]) -> None:
        """Replace the boxes and the captions of the best; colours are those of the labels."""
        found = found[:MAX_BOXES]
        with self._lock, self._server.atomic():
            for handle in (self._boxes, *self._captions):
                if handle is not None:
                    handle.remove()
            self._boxes, self._captions = None, []
            if not found:
                return
            colors = label_colors(max(one.number for one in found))
            self._boxes = self._server.scene.add_line_segments(
                "/boxes",
                np.concatenate([box_lines(one) for one in found]),
                line_paint(
                    np.concatenate([np.tile(colors[one.number], (12, 2, 1)) for one in found])
                ),
                thickness=2.5,
                thickness_units="screen",
            )
            for index, one in enumerate(_captioned(found)):
                top = np.add(one.center, (0, 0, one.size[2] / 2 + 0.03))
                self._captions.append(
                    self._server.scene.add_label(
                        f"/captions/{index}",
                        f"{shortened(one.text)} {one.score:.2f}",
                        position=top,
                        anchor="bottom-center",
                        font_screen_scale=0.9,
                    )
                )

    def show_cameras(self, lines: np.ndarray, colors: np.ndarray | None = None) -> None:
        """Replace the cameras' lines, float32 [N, 2, 3], map frame; colours uint8 [N, 2, 3]."""
        with self._lock:
            if self._cameras is not None:
                self._cameras.remove()
                self._cameras = None
            if len(lines):
                self._cameras = self._server.scene.add_line_segments(
                    "/cameras",
                    lines,
                    line_paint(np.asarray(_CAMERA_COLOR if colors is None else colors, np.uint8)),
                    thickness=1.0,
                    thickness_units="screen",
                    visible=self._cameras_visible,
                )

    def set_cameras_visible(self, visible: bool) -> None:
        """Show or hide the cameras."""
        with self._lock:
            self._cameras_visible = visible
            if self._cameras is not None:
                self._cameras.visible = visible

    def frame(self, xyz: np.ndarray) -> None:
        """Make a map fill the view, where the user has not chosen one, and when it has grown."""
        if len(xyz) < 100:
            return
        position, target = first_view(xyz)
        extent = float(np.linalg.norm(position - target))
        if self._extent / _GROWN <= extent <= self._extent * _GROWN:
            return
        self._extent, self._view = extent, (position, target)
        self._server.initial_camera.position = position
        self._server.initial_camera.look_at = target
        for client in self._server.get_clients().values():
            before = self._framed.get(client.client_id)
            if before is None or np.allclose(client.camera.position, before, atol=1e-2):
                self._look(client, position, target)

    def whole_map(self, client: Any) -> None:
        """Bring one browser back to the view of the whole map."""
        if self._view is not None:
            self.fly(client, *self._view)
            self._framed[client.client_id] = self._view[0]

    def fly(self, client: Any, position: np.ndarray, target: np.ndarray) -> None:
        """Move one browser's camera smoothly; takes FLIGHT_SECONDS on the calling thread."""
        start, aim = np.array(client.camera.position), np.array(client.camera.look_at)
        begin = time.monotonic()
        part = 0.0
        while part < 1.0:
            part = min((time.monotonic() - begin) / FLIGHT_SECONDS, 1.0)
            ease = part * part * (3 - 2 * part)
            self._look(client, start + ease * (position - start), aim + ease * (target - aim))
            client.flush()
            time.sleep(1 / 40)

    def _join(self, client: Any) -> None:
        if self._view is not None:
            self._framed[client.client_id] = self._view[0]
            self._look(client, *self._view)

    def _look(self, client: Any, position: np.ndarray, target: np.ndarray) -> None:
        with client.atomic():
            client.camera.position = position
            client.camera.look_at = target
        if self._view is not None and position is self._view[0]:
            self._framed[client.client_id] = position


def line_paint(colors: np.ndarray) -> np.ndarray:
    """Return what to give viser so that lines have colours, uint8 of any shape.

    It takes the colours of lines, and of nothing else, for linear light: an orange would be cream.
    """
    value = colors.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return (255 * linear).round().astype(np.uint8)


def _captioned(found: Sequence[Found]) -> list[Found]:
    """Return the first few boxes of each text."""
    counts: Counter[str] = Counter()
    chosen = []
    for one in found:
        counts[one.text] += 1
        if counts[one.text] <= CAPTIONS_PER_TEXT:
            chosen.append(one)
    return chosen
