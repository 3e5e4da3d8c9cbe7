"""/diagnostics once a second (REP 107): what a person looks at first when nothing happens.

One status each for the node, every camera, what became of the images, the map and the queries. OK
is as it should be, WARN needs a look, ERROR means that this part does nothing at the moment.
"""

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType

from govnesf_ros import topics
from govnesf_ros.ledger import Corrected, Counts
from govnesf_ros.messages import header_message
from govnesf_ros.status import resident_mib, state_of

PERIOD = 1.0  # seconds
WINDOW = 10.0  # seconds over which rates are taken
FULL = 0.8  # of a queue from which on it is worth a word
LOSSES = 0.1  # of the images from which on drops are worth a word

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes the health of a MapperNode."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._windows: dict[str, Window] = {}
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        self._timer = node.create_timer(
            PERIOD,
            self.publish,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def publish(self) -> None:
        """Send the health as of now."""
        self._publisher.publish(self.message())

    def message(self) -> DiagnosticArray:
        """Return the health as of now."""
        node = self._node
        name = node.get_fully_qualified_name()
        found = [node_health(state_of(node), node.settings, node.parts), self._frames()]
        cameras = node.camera
        found += [self._camera(camera) for camera in (cameras.inputs if cameras else ())]
        parts = node.parts
        if parts is not None:
            held, corrected = parts.engine.scene_map.status(), parts.corrections.done
            found += [map_health(held, corrected), query_health(parts.answers)]
        return DiagnosticArray(
            header=header_message(node.get_clock().now().nanoseconds, ""),
            status=[
                DiagnosticStatus(
                    name=f"{name}: {part.name}",
                    hardware_id=part.hardware or name,
                    level=part.level,
                    message=part.message,
                    values=[KeyValue(key=key, value=str(value)) for key, value in part.values],
                )
                for part in found
            ],
        )

    def _camera(self, camera: Any) -> "Health":
        window = self._window(f"camera {camera.topic}")
        window.add(camera.received)
        return camera_health(
            camera.name,
            camera.topic,
            window.rate(),
            len(camera.buffer),
            camera.buffer.config.capacity,
            camera.tf_age(),
            self._node.settings.tf_timeout,
            camera.rivals(),
        )

    def _frames(self) -> "Health":
        counts = self._node.ledger.counts()
        lost, received = self._window("dropped"), self._window("received")
        lost.add(counts.dropped)
        received.add(counts.received)
        return frames_health(counts, received.rate(), lost.rate())

    def _window(self, name: str) -> "Window":
        return self._windows.setdefault(name, Window())


@dataclass(frozen=True)
class Health:
    """One status before it is a message.

    Attributes:
        hardware: what it stands for outside of the node, e.g. a topic; empty for the node.
    """

    name: str
    level: bytes
    message: str
    values: list[tuple[str, object]] = field(default_factory=list)
    hardware: str = ""


class Window:
    """A counter looked at now and then, for its rate over the last seconds."""

    def __init__(self, steady: Any = time.monotonic) -> None:
        self._steady = steady
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, count: int) -> None:
        """Note the counter's value as of now; a smaller one than before starts anew."""
        now = self._steady()
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()

    def rate(self) -> float:
        """Return events a second [Hz]; NaN before there are two values."""
        if len(self._seen) < 2:
            return math.nan
        (begin, first), (end, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(end - begin, 1e-3)


def node_health(state: str, settings: Any, parts: Any) -> Health:
    """Return whether the node does what it is for."""
    level = OK if state == "active" else WARN
    return Health(
        "node",
        level,
        state,
        [
            ("state", state),
            ("model", parts.engine.model if parts else "none"),
            ("device", parts.engine.device if parts else "none"),
            ("map frame", settings.map_frame),
            ("resident [MiB]", f"{resident_mib():.0f}"),
        ],
    )


def camera_health(
    name: str,
    topic: str,
    rate: float,
    waiting: int,
    capacity: int,
    tf_age: float,
    tf_timeout: float,
    rivals: dict[str, list[str]],
) -> Health:
    """Return whether a camera and the poses for it come in.

    Args:
        rate: images a second, NaN while it is not known.
        waiting, capacity: of the buffer.
        tf_age: seconds that TF lags behind the newest image, NaN without any.
        tf_timeout: seconds that images wait for TF.
        rivals: topics with several publishers.
    """
    level, message = OK, f"{rate:.1f} images a second"
    if math.isnan(rate):
        message = "just started"
    elif rate == 0:
        level, message = ERROR, f"no images on {topic} for {WINDOW:.0f} s"
    elif rivals:
        # Before what it causes: TF of the other node's frame may be missing and no loss.
        level, message = WARN, f"several nodes publish {', '.join(rivals)}"
    elif math.isnan(tf_age):
        level, message = ERROR, "no transform for the images"
    elif tf_age > tf_timeout:
        level, message = WARN, f"TF is {tf_age:.2f} s behind the images"
    elif waiting >= FULL * capacity:
        level, message = WARN, f"{waiting} of {capacity} images wait"
    values = [
        ("image topic", topic),
        ("images [Hz]", f"{rate:.2f}"),
        ("waiting", waiting),
        ("queue size", capacity),
        ("TF age [s]", f"{tf_age:.3f}"),
        *((f"publishers of {key}", ", ".join(names)) for key, names in rivals.items()),
    ]
    return Health(f"camera {name}".rstrip(), level, message, values, hardware=topic)


def frames_health(counts: Counts, received: float, dropped: float) -> Health:
    """Return what became of the images.

    Args:
        counts: since start or reset.
        received, dropped: a second, NaN while it is not known.
    """
    level, message = OK, "nothing is lost"
    if dropped > 0:
        share = dropped / received if received > 0 else 1.0
        level = WARN if share > LOSSES else OK
        if share > 0.99:
            level = ERROR
        main = max(counts.reasons.items(), key=lambda item: item[1], default=("", 0))[0]
        message = f"{100 * min(share, 1):.0f} % of the images are dropped (most: {main})"
    values = [
        ("received", counts.received),
        ("used", counts.used),
        ("skipped", counts.skipped),
        ("dropped", counts.dropped),
        ("waiting", counts.waiting),
        ("received [Hz]", f"{received:.2f}"),
        ("dropped [Hz]", f"{dropped:.2f}"),
        *((f"because {reason}", number) for reason, number in counts.reasons.items()),
    ]
    return Health("images", level, message, values)


def map_health(held: dict[str, Any], corrected: Corrected) -> Health:
    """Return how large the map is against its bound, and how often loop closures moved it.

    Args:
        held: that of `SceneMap.status`.
        corrected: corrections so far.
    """
    memory, bound = float(held["memory_mib"]), float(held["memory_bound_mib"])
    level, message = OK, f"{held['keyframes']} keyframes, {held['points']} points"
    if not held["keyframes"]:
        message = "empty"
    elif memory > bound:
        level, message = ERROR, f"{memory:.0f} MiB are more than the bound of {bound:.0f} MiB"
    values = [
        ("keyframes", held["keyframes"]),
        ("given up", held["evicted"]),
        ("points", held["points"]),
        ("memory [MiB]", f"{memory:.1f}"),
        ("bound [MiB]", f"{bound:.0f}"),
        ("corrections", corrected.count),
        ("keyframes moved last", corrected.keyframes),
        ("moved last [m]", f"{corrected.meters:.3f}"),
    ]
    return Health("map", level, message, values)


def query_health(answers: Any) -> Health:
    """Return what is asked at the moment and how long answers take."""
    active = answers.active
    texts = ", ".join(active.texts) if active else ""
    values = [("active query", texts), ("last answer [ms]", f"{answers.last_milliseconds:.1f}")]
    return Health("queries", OK, texts[:100] or "no active query", values)
