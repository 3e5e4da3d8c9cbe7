"""`~/query/overlay` on live images: what was found, drawn where the camera looks now.

    live = LiveOverlay(node, publishers, answered=lambda: sender.answered, failed=complain)
    live.offer(frame)       # with each complete image; never blocks
    live.stop()

The labelled points of the newest answer are drawn into the image's own pose, so that no network
runs. A thread of its own draws at most `overlay_rate` pictures a second, rests three times as long
as it works, and does nothing while nobody listens or nothing is asked for.
"""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from govnesf_model.label_view import labels_in_view
from govnesf_ros import topics
from govnesf_ros.answers import Answered, overlay_of
from govnesf_ros.calibration import Straight, Straightener
from govnesf_ros.frame_buffer import ReadyFrame
from govnesf_ros.images import to_rgb
from govnesf_ros.publishers import Publishers
from govnesf_ros.worker import NewestWorker

MAX_WIDTH = 640  # pixels of a picture; larger images are reduced
FLOWING = 1.5  # seconds since the last picture up to which live images are said to flow
_REST = 3.0  # times as long as a picture took: a quarter of a core at most


class LiveOverlay:
    """The thread that draws; see the module.

    Args:
        node: whose settings are read with every image.
        publishers: of the node.
        answered: returns the newest answer to the active query, None without one.
        failed: told of an image and of the exception that it raised.
    """

    def __init__(
        self,
        node: Any,
        publishers: Publishers,
        answered: Callable[[], Answered | None],
        failed: Callable[[ReadyFrame, Exception], object] = lambda frame, error: None,
    ) -> None:
        self._node, self._publishers, self._answered = node, publishers, answered
        self._straighten = Straightener()
        self._next = 0.0  # monotonic time before which no image is taken
        self._last = -FLOWING
        self._worker = NewestWorker("overlay", self._draw, failed=failed)

    @property
    def flowing(self) -> bool:
        """Whether live pictures are being sent: those of keyframes would jump back in time."""
        return time.monotonic() - self._last < FLOWING

    def offer(self, frame: ReadyFrame) -> None:
        """Take an image if it is time for one and somebody wants it."""
        rate = self._node.settings.overlay_rate
        now = time.monotonic()
        if rate <= 0 or now < self._next or self._answered() is None:
            return
        if self._publishers.heard(topics.QUERY_OVERLAY):
            self._next = now + 1 / rate
            self._worker.submit(frame)

    def stop(self, timeout: float | None = None) -> bool:
        """End the thread; return whether it ended in time."""
        return self._worker.stop(timeout)

    def _draw(self, frame: ReadyFrame) -> None:
        found = self._answered()
        if found is None:
            return
        begin = time.monotonic()
        picture = live_picture(found, frame, self._straighten)
        # The query may have been ended meanwhile.
        if self._answered() is not None:
            self._publishers.overlay(frame.stamp, frame.frame_id, picture)
            self._last = time.monotonic()
        rest = _REST * (time.monotonic() - begin)
        self._next = max(self._next, time.monotonic() + rest)


def live_picture(found: Answered, frame: ReadyFrame, straighten: Straightener) -> np.ndarray:
    """Return an image with what was found in the map drawn over it and a legend, uint8 [H, W, 3].

    Raises:
        BadInput: the image or its calibration cannot be used.
    """
    straight = straighten(to_rgb(frame.image), None, frame.intrinsics)
    rgb, K = _reduced(straight)
    snapshot = found.snapshot
    mask = labels_in_view(
        snapshot.xyz,
        found.answer.label,
        K,
        frame.T_map_camera,
        (rgb.shape[1], rgb.shape[0]),
        snapshot.voxel_size,
    )
    return overlay_of(rgb, mask, found)


def _reduced(straight: Straight) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of MAX_WIDTH at most and its intrinsics."""
    height, width = straight.rgb.shape[:2]
    if width <= MAX_WIDTH:
        return straight.rgb, straight.K
    size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    scale = np.array([size[0] / width, size[1] / height])
    K = straight.K.copy()
    K[:2, :2] *= scale[:, None]
    K[:2, 2] = (straight.K[:2, 2] + 0.5) * scale - 0.5  # pixel centres lie at integers
    return cv2.resize(straight.rgb, size, interpolation=cv2.INTER_AREA), K
