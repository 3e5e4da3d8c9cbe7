"""~/status once a second: what came in, what became of it, what the map holds."""

import resource
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType

from govnesf_ros import topics
from govnesf_ros.messages import header_message
from govnesf_ros.msg import MapStatus
from govnesf_ros.qos import latched_publisher

PERIOD = 1.0  # seconds


class StatusPublisher:
    """Publishes the state of a MapperNode, latched."""

    def __init__(self, node: Any) -> None:
        self._node = node
        group = MutuallyExclusiveCallbackGroup()
        self._publisher = latched_publisher(node, MapStatus, topics.STATUS)
        # A stopped simulation must not look like a dead node.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD, self.publish, callback_group=group, clock=clock)

    def publish(self, state: str | None = None) -> None:
        """Send the status now; the state is looked up unless a transition names it."""
        self._publisher.publish(self.message(state))

    def message(self, state: str | None = None) -> MapStatus:
        """Return the status as of now."""
        node, parts, camera = self._node, self._node.parts, self._node.camera
        now = node.get_clock().now().nanoseconds
        counts = node.ledger.counts()
        status = MapStatus(
            header=header_message(now, node.settings.map_frame),
            state=state or state_of(node),
            frames_received=counts.received,
            frames_used=counts.used,
            frames_skipped=counts.skipped,
            frames_dropped=counts.dropped,
            frames_waiting=counts.waiting,
            reasons=list(counts.reasons),
            reason_counts=list(counts.reasons.values()),
            resident_mib=resident_mib(),
            tf_age_ms=1e3 * camera.tf_age() if camera is not None else float("nan"),
        )
        if parts is None:
            return status
        held = parts.engine.scene_map.status()
        timings = parts.mapper.timings
        active = parts.answers.active
        status.model = parts.engine.model
        status.device = parts.engine.device
        status.keyframes = int(held["keyframes"])
        status.keyframes_evicted = int(held["evicted"])
        status.points = int(held["points"])
        status.corrections = parts.corrections.done.count
        status.last_correction_m = parts.corrections.done.meters
        status.memory_mib = float(held["memory_mib"])
        status.last_keyframe_ms = timings.total
        status.encode_ms = timings.encode
        status.integrate_ms = timings.integrate
        status.last_query_ms = parts.answers.last_milliseconds
        status.last_query = ", ".join(active.texts) if active else ""
        return status


def resident_mib() -> float:
    """Return the memory that this process holds, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def state_of(node: Any) -> str:
    """Return what a MapperNode does: unconfigured, inactive, active or paused."""
    if node.camera is not None:
        return "paused" if node.parts is not None and node.parts.mapper.paused else "active"
    return "inactive" if node.parts is not None else "unconfigured"
