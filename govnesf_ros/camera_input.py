"""The subscriptions of the cameras: images, camera_info, depth and TF into one buffer each.

cameras = Cameras(node, settings, ledger, submit=worker.submit)
cameras.destroy()
"""

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from govnesf_ros.calibration import Intrinsics, is_rectified, to_intrinsics
from govnesf_ros.conversions import BadInput, stamp_to_ns
from govnesf_ros.frame_buffer import BufferConfig, FrameBuffer, ReadyFrame
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.parameters import MapperSettings
from govnesf_ros.topics import camera_topic, transport_topic
from govnesf_ros.transforms import TfSource

POLL_PERIOD = 0.02  # seconds between two looks at the images that wait
WATCH_PERIOD = 1.0  # seconds between two looks at who else publishes
QUEUE_DEPTH = 10
# Reliability is the parameter reliable_images, which may change while the node lives.
_OVERRIDABLE = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY)
)


class Cameras:
    """All cameras of the parameter `cameras`, or the one without a namespace of its own.

    Args:
        node: that the subscriptions belong to.
        settings: topics, bounds and the map frame.
        ledger: takes the outcome of images that never become complete.
        submit: called with each complete frame; must not block.
    """

    def __init__(
        self,
        node: Any,
        settings: MapperSettings,
        ledger: FrameLedger,
        submit: Callable[[ReadyFrame], object],
    ) -> None:
        self._node, self._ledger = node, ledger
        self._tf = TfSource(node, settings.map_frame, settings.tf_cache)
        self.lookup = self._tf.lookup
        self.inputs = [
            CameraInput(node, settings, ledger, submit, self._tf, name)
            for name in settings.cameras or ("",)
        ]
        self._watch = node.create_timer(
            WATCH_PERIOD, self._look_for_rivals, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def destroy(self) -> None:
        """Stop listening; images that still wait are dropped as `deactivated`."""
        self._node.destroy_timer(self._watch)
        for camera in self.inputs:
            camera.destroy()
        self._tf.destroy()

    def tf_age(self) -> float:
        """Return the lag [s] of TF behind the newest image, the worst of all; NaN if unknown."""
        return max((camera.tf_age() for camera in self.inputs), key=_nan_first)

    def _look_for_rivals(self) -> None:
        for camera in self.inputs:
            for topic, names in camera.rivals().items():
                self._ledger.complain(
                    f"rivals {topic}",
                    f"{len(names)} nodes publish {topic} ({', '.join(sorted(names))}): images and "
                    "calibrations get mixed up; stop all but one",
                )


class CameraInput:
    """One camera; arguments as of `Cameras`, and

    Args:
        tf: shared by all cameras.
        name: the camera's namespace, put before its topics; empty for none.

    Attributes:
        received: images that have arrived.
    """

    def __init__(
        self,
        node: Any,
        settings: MapperSettings,
        ledger: FrameLedger,
        submit: Callable[[ReadyFrame], object],
        tf: TfSource,
        name: str = "",
    ) -> None:
        self._node, self._submit, self._tf, self._ledger = node, submit, tf, ledger
        self.name = name
        self.received = 0
        self._distorted = settings.undistort != "off"
        self._rectified = settings.undistort == "auto" and is_rectified(settings.image_topic)
        self._depth_topic = camera_topic(
            name, transport_topic(settings.depth_topic, settings.depth_transport)
        )
        self._frame_id = ""
        self.buffer = FrameBuffer(
            BufferConfig(
                capacity=settings.queue_size,
                timeout=settings.tf_timeout,
                depth=settings.depth,
                depth_slop=settings.depth_slop,
            ),
            tf.lookup,
            _NodeClock(node),
            ledger,
            depth_expected=self._depth_is_published,
            on_time_jump=tf.clear,
        )
        self._group = MutuallyExclusiveCallbackGroup()
        image_topic = camera_topic(
            name, transport_topic(settings.image_topic, settings.image_transport)
        )
        info_topic = camera_topic(name, settings.camera_info_topic)
        self._subscriptions = [
            self._subscribe(settings, settings.image_transport, image_topic, self._on_image),
            self._subscribe(settings, "info", info_topic, self._on_camera_info),
        ]
        if settings.depth != "off":
            self._subscriptions.append(
                self._subscribe(
                    settings, settings.depth_transport, self._depth_topic, self._on_depth
                )
            )
        # A simulated clock may stop; what waits must be looked at all the same.
        self._timer = node.create_timer(
            POLL_PERIOD,
            self._poll,
            callback_group=self._group,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        backward = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        self._jump = node.get_clock().create_jump_callback(backward, post_callback=self._on_jump)
        names = ", ".join(subscription.topic_name for subscription in self._subscriptions)
        node.get_logger().info(f"listening to {names} and TF into '{settings.map_frame}'")

    def destroy(self) -> None:
        """Stop listening; images that still wait are dropped as `deactivated`."""
        self._jump.unregister()
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self.buffer.flush("deactivated", "the node was deactivated, waiting images are dropped")

    def tf_age(self) -> float:
        """Return the lag of the newest transform behind the newest image [s], NaN if unknown."""
        stamp = self.buffer.newest_stamp
        age = None if stamp is None else self._tf.lookup.age(self._frame_id, stamp)
        return float("nan") if age is None else age

    @property
    def topic(self) -> str:
        """The full name of the image topic."""
        return self._subscriptions[0].topic_name

    def rivals(self) -> dict[str, list[str]]:
        """Return the topics that several publish, with the names of the nodes."""
        found = {}
        for subscription in self._subscriptions:
            topic = subscription.topic_name
            if self._node.count_publishers(topic) > 1:
                sources = self._node.get_publishers_info_by_topic(topic)
                found[topic] = [
                    f"{source.node_namespace.rstrip('/')}/{source.node_name}" for source in sources
                ]
        return found

    def _subscribe(
        self, settings: MapperSettings, transport: str, topic: str, callback: Callable
    ) -> Any:
        kind = {"raw": Image, "info": CameraInfo}.get(transport, CompressedImage)
        reliable = settings.reliable_images
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        return self._node.create_subscription(
            kind,
            topic,
            callback,
            QoSProfile(depth=QUEUE_DEPTH, reliability=policy),
            callback_group=self._group,
            qos_overriding_options=_OVERRIDABLE,
        )

    def _on_image(self, message: Image | CompressedImage) -> None:
        header = message.header
        self.received += 1
        self._frame_id = header.frame_id
        size = None if hasattr(message, "format") else (message.width, message.height)
        self.buffer.add_image(stamp_to_ns(header.stamp), header.frame_id, message, size)
        self._poll()

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            info: Intrinsics | BadInput = to_intrinsics(message, self._rectified, self._distorted)
        except BadInput as error:
            info = error
        self.buffer.add_camera_info(
            stamp_to_ns(message.header.stamp), message.header.frame_id, info
        )

    def _on_depth(self, message: Image | CompressedImage) -> None:
        self.buffer.add_depth(stamp_to_ns(message.header.stamp), message)

    def _poll(self) -> None:
        for frame in self.buffer.take_ready():
            self._submit(frame)

    def _on_jump(self, jump: Any) -> None:
        self.buffer.flush(
            "clock_jump",
            "the clock jumped back: images and transforms of the old time are dropped",
        )
        self._tf.clear()

    def _depth_is_published(self) -> bool:
        return self._node.count_publishers(self._depth_topic) > 0


def _nan_first(age: float) -> tuple[bool, float]:
    return age != age, age


class _NodeClock:
    """`frame_buffer.Clock` on a node."""

    def __init__(self, node: Any) -> None:
        self._clock = node.get_clock()

    def now(self) -> float:
        return self._clock.now().nanoseconds / 1e9

    steady = staticmethod(time.monotonic)
