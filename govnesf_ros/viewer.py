"""A web page on the map: the node `viewer`, which viewer_node runs.

It listens to the mapper's topics and calls its services, as any other node could. This file
connects the parts: ROS on one side, page, scene and drawing on the other.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from nav_msgs.msg import Path as PathMessage
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from govnesf_ros import topics
from govnesf_ros.conversions import BadInput
from govnesf_ros.images import to_rgb
from govnesf_ros.msg import MapStatus
from govnesf_ros.parameter_values import declare
from govnesf_ros.parameters import ViewerSettings
from govnesf_ros.srv import MapFile, QueryText, SetVocabulary
from govnesf_ros.viewer_calls import Calls
from govnesf_ros.viewer_cloud import (
    MAX_LABEL,
    BadCloud,
    MapPoints,
    empty_points,
    read_cloud,
)
from govnesf_ros.viewer_drawing import CloudDrawing
from govnesf_ros.viewer_page import ASK_PLACE, MAP_PLACE, WORDS_PLACE, Page
from govnesf_ros.viewer_scene import Scene
from govnesf_ros.viewer_server import PageServer, open_server
from govnesf_ros.viewer_state import (
    Found,
    found_things,
    frustum_lines,
    marker_lines,
    near_view,
    path_poses,
    ply,
)

PICTURE_PERIOD = 0.5  # seconds between two live images on the page
SERVICES = {
    topics.QUERY: QueryText,
    topics.SET_VOCABULARY: SetVocabulary,
    topics.SAVE_MAP: MapFile,
    topics.LOAD_MAP: MapFile,
    topics.RESET: Trigger,
    topics.PAUSE: SetBool,
}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ViewerNode(Node):
    """The node; see the module. Callbacks of ROS run on one thread, those of the page on others.

    Raises:
        ParameterProblem: a parameter cannot be used.
        ServerProblem: the page cannot be served.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("viewer", **options)
        settings = self.settings = declare(self, ViewerSettings)
        self.server: PageServer = open_server(
            settings.host, settings.port, settings.allowed_hosts, label="Open-vocabulary map"
        )
        self._mapper = self.resolve_service_name(settings.mapper)
        self._lock = threading.RLock()
        self._status: MapStatus | None = None
        self._status_time = 0.0
        self._mode = "photo"
        self._map = empty_points()
        self._answer = empty_points()
        self._words: list[str] = []
        self._query: list[str] = []
        self._detections = Detection3DArray()
        self._overlay: Image | None = None
        self._overlay_shown: Image | None = None
        self._overlays: Any | None = None  # subscription, while somebody looks
        self._empty_for = 0
        self._frusta = False
        self._live: Any | None = None
        self._live_time = 0.0
        self._calls = Calls(self, self._mapper, SERVICES)
        self._scene = Scene(self.server)
        self._drawing = CloudDrawing(self.server, settings.max_points, self._drawing_failed)
        self._page = Page(self.server, self, self._mapper)
        for kind, name, callback in (
            (MapStatus, topics.STATUS, self._on_status),
            (PointCloud2, topics.SEMANTIC_CLOUD, self._on_map),
            (LabelInfo, topics.LABELS, self._on_words),
            (PointCloud2, topics.QUERY_CLOUD, self._on_answer),
            (LabelInfo, topics.QUERY_LABELS, self._on_query),
            (Detection3DArray, topics.QUERY_DETECTIONS, self._on_detections),
            (PathMessage, topics.KEYFRAMES, self._on_keyframes),
            (MarkerArray, topics.FRUSTA, self._on_frusta),
        ):
            self.create_subscription(kind, self._name(name), callback, LATCHED)
        # A stopped simulation must not look like a dead mapper.
        self._timer = self.create_timer(
            1.0, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        wanted = f"{settings.port} was taken; " if self.server.get_port() != settings.port else ""
        note = f" (port {wanted}this is the next free one)" if wanted and settings.port else ""
        self.get_logger().info(f"open {self.server.url} in a browser{note}")

    def close(self) -> None:
        """Stop drawing and serving."""
        self._drawing.stop()
        self.server.stop()

    # What the page asks for; called on threads of the page.

    def ask(self, texts: list[str], contrast: list[str]) -> None:
        """Ask the mapper; the answer comes on its topics, the message here."""

        def answered(reply: QueryText.Response) -> None:
            if not reply.success:
                self._page.say(ASK_PLACE, "bad", reply.message)
                return
            self._page.remember(texts, contrast)
            kind = "good" if reply.detections.detections else "info"
            self._page.say(ASK_PLACE, kind, reply.message)
            self.set_mode("relevancy")

        self._page.say(ASK_PLACE, "info", "Asking …")
        request = QueryText.Request(texts=texts, contrast=contrast)
        self._calls.call(topics.QUERY, request, answered, self._teller(ASK_PLACE))

    def end_query(self) -> None:
        """End the active query."""

        def ended(reply: QueryText.Response) -> None:
            self._page.say(ASK_PLACE, "info" if reply.success else "bad", reply.message)
            self.set_mode("photo")

        self._calls.call(topics.QUERY, QueryText.Request(), ended, self._teller(ASK_PLACE))

    def set_vocabulary(self, texts: list[str]) -> None:
        """Label the map with other words; none for the default ones."""

        def done(reply: SetVocabulary.Response) -> None:
            self._page.say(WORDS_PLACE, "good" if reply.success else "bad", reply.message)
            if reply.success:
                self.set_mode("words")

        self._page.say(WORDS_PLACE, "info", "Labelling …")
        request = SetVocabulary.Request(texts=texts)
        self._calls.call(topics.SET_VOCABULARY, request, done, self._teller(WORDS_PLACE))

    def save_map(self, name: str) -> None:
        """Have the mapper save its map."""
        self._on_file(topics.SAVE_MAP, name)

    def load_map(self, name: str) -> None:
        """Have the mapper load a map."""
        self._on_file(topics.LOAD_MAP, name)

    def reset(self) -> None:
        """Have the mapper forget its map."""
        self._simply(topics.RESET, Trigger.Request())

    def pause(self, paused: bool) -> None:
        """Have the mapper stop taking images, or go on."""
        self._simply(topics.PAUSE, SetBool.Request(data=paused))

    def set_mode(self, mode: str) -> None:
        """Colour the map in another way."""
        with self._lock:
            self._mode = mode
        self._draw()

    def fly_to(self, client: Any, found: Found) -> None:
        """Move one browser's camera to a box."""
        self._scene.fly(client, *near_view(found, client.camera.position))

    def whole_map(self, client: Any) -> None:
        """Move one browser's camera back to where it sees all."""
        self._scene.whole_map(client)

    def set_look(self, **look: float) -> None:
        """Change point size or ceiling."""
        self._drawing.set_look(**look)

    def set_cameras_visible(self, visible: bool) -> None:
        """Show or hide where keyframes were taken."""
        self._scene.set_cameras_visible(visible)

    def highlighted(self) -> tuple[str, bytes] | None:
        """Return name and content of a file with the found points, or None without any."""
        with self._lock:
            points, texts = self._answer, list(self._query)
        found = points.where(points.label > 0)
        return (f"found_{time.strftime('%H%M%S')}.ply", ply(found, texts)) if len(found) else None

    # What the mapper sends; called on the thread of ROS.

    def _on_status(self, status: MapStatus) -> None:
        self._status, self._status_time = status, time.monotonic()
        self._page.show_status(status, 0.0)
        # A mapper that was started anew sends no cloud until it has one. The second status counts:
        # the first may have overtaken, or been overtaken by, the first cloud.
        self._empty_for = 0 if status.points else self._empty_for + 1
        if self._empty_for == 2 and len(self._map):
            with self._lock:
                self._map = self._answer = empty_points()
            self._draw()

    def _on_map(self, message: PointCloud2) -> None:
        if (points := self._read(message)) is None:
            return
        with self._lock:
            self._map = points
        self._scene.frame(points.xyz)
        self._draw()

    def _on_answer(self, message: PointCloud2) -> None:
        if (points := self._read(message)) is None:
            return
        with self._lock:
            self._answer = points
            shown = self._mode == "relevancy"
        if shown:
            self._draw()

    def _on_words(self, message: LabelInfo) -> None:
        with self._lock:
            self._words = _texts(message)
        self._page.show_words(self._words)
        self._show_legend()

    def _on_query(self, message: LabelInfo) -> None:
        with self._lock:
            self._query = _texts(message)
        self._show_found()
        self._draw()
        self._show_overlay()

    def _on_detections(self, message: Detection3DArray) -> None:
        self._detections = message
        self._show_found()

    def _on_overlay(self, message: Image) -> None:
        # The last one of an earlier query is still there for those who come late.
        self._overlay = message
        if time.monotonic() - self._live_time >= PICTURE_PERIOD:
            self._show_overlay()

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        if now - self._live_time >= PICTURE_PERIOD:
            self._live_time = now
            self._show_image(message)

    def _on_keyframes(self, message: PathMessage) -> None:
        if not self._frusta:
            self._scene.show_cameras(frustum_lines(path_poses(message)))

    def _on_frusta(self, message: MarkerArray) -> None:
        self._frusta = True
        self._scene.show_cameras(*marker_lines(message))

    def _tick(self) -> None:
        age = None if self._status is None else time.monotonic() - self._status_time
        self._page.show_status(self._status, age)
        self._calls.give_up_late_ones()
        self._show_overlay()  # the last of a stream may have come too soon after the one before
        # Images are many and large: they are asked for only while they are looked at. The mapper
        # draws its overlay for those who listen; while a query is active it takes their place.
        looked_at = bool(self.server.get_clients())
        if looked_at and self._overlays is None:
            self._overlays = self.create_subscription(
                Image, self._name(topics.QUERY_OVERLAY), self._on_overlay, LATCHED
            )
        elif not looked_at and self._overlays is not None:
            self.destroy_subscription(self._overlays)
            self._overlays = None
        wanted = looked_at and not self._query
        if wanted and self._live is None:
            settings = self.settings
            raw = settings.image_transport == "raw"
            self._live = self.create_subscription(
                Image if raw else CompressedImage,
                topics.transport_topic(settings.image_topic, settings.image_transport),
                self._on_image,
                qos_profile_sensor_data,
            )
        elif not wanted and self._live is not None:
            self.destroy_subscription(self._live)
            self._live = None

    def _draw(self) -> None:
        """Send the map in the colours of the mode; without an answer there is no relevancy."""
        with self._lock:
            mode = self._mode
            asked = mode == "relevancy" and self._query and len(self._answer)
            points = self._answer if asked else self._map
            self._drawing.show(points, "photo" if mode == "relevancy" and not asked else mode)
        self._show_legend()

    def _show_legend(self) -> None:
        with self._lock:
            mode = self._mode
            texts = self._query if mode == "relevancy" else self._words
        self._page.show_mode(mode, texts)

    def _show_found(self) -> None:
        with self._lock:
            texts = list(self._query)
            found = found_things(self._detections, texts) if texts else []
        self._scene.show_boxes(found)
        self._page.show_found(found, texts)

    def _show_overlay(self) -> None:
        """Show the newest overlay of the active query, once."""
        if self._query and self._overlay is not self._overlay_shown:
            self._live_time, self._overlay_shown = time.monotonic(), self._overlay
            self._show_image(self._overlay)

    def _show_image(self, message: Image | CompressedImage) -> None:
        try:
            rgb = to_rgb(message)
        except BadInput as error:
            self.get_logger().warning(str(error), throttle_duration_sec=30.0)
            return
        self._page.show_picture(np.ascontiguousarray(rgb))

    def _read(self, message: PointCloud2) -> MapPoints | None:
        try:
            return read_cloud(message)
        except BadCloud as error:
            self.get_logger().warning(str(error), throttle_duration_sec=30.0)
            return None

    def _on_file(self, name: str, path: str) -> None:
        if not path:
            self._page.say(MAP_PLACE, "info", "Give the map a name first.")
            return
        self._simply(name, MapFile.Request(path=path))

    def _simply(self, name: str, request: Any) -> None:
        """Call a service whose reply is success and message."""

        def done(reply: Any) -> None:
            self._page.say(MAP_PLACE, "good" if reply.success else "bad", reply.message)

        self._page.say(MAP_PLACE, "info", "At work …")
        self._calls.call(name, request, done, self._teller(MAP_PLACE))

    def _teller(self, place: str) -> Callable[[str], None]:
        return lambda sentence: self._page.say(place, "bad", sentence)

    def _name(self, private: str) -> str:
        """Return the full name of what is private to the mapper."""
        return f"{self._mapper}/{private.removeprefix('~/')}"

    def _drawing_failed(self, error: Exception) -> None:
        self.get_logger().warning(
            f"the page was not drawn: {type(error).__name__}: {error}", throttle_duration_sec=10.0
        )


def _texts(message: LabelInfo) -> list[str]:
    """Return the names of the labels 1, 2, ... of a LabelInfo."""
    names = {
        entry.class_id: entry.class_name
        for entry in message.class_map
        if entry.class_id <= MAX_LABEL
    }
    return [names.get(number, "?") for number in range(1, max(names, default=0) + 1)]
