"""The subscriptions of one camera: images, camera_info, depth and TF into a FrameBuffer.

camera = CameraInput(node, settings, ledger, submit=worker.submit)
camera.destroy()
"""

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_ros import Buffer, TransformListener

from govnesf_ros.conversions import BadInput, stamp_to_ns, to_intrinsics
from govnesf_ros.frame_buffer import BufferConfig, FrameBuffer, ReadyFrame
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.parameters import MapperSettings
from govnesf_ros.topics import transport_topic
from govnesf_ros.transforms import TfLookup

POLL_PERIOD = 0.02  # seconds between two looks at the images that wait
QUEUE_DEPTH = 10


class CameraInput:
    """Feeds complete frames to `submit`.

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
        self._node = node
        self._submit = submit
        self._tf_buffer = Buffer(cache_time=Duration(seconds=settings.tf_cache))
        self._listener = TransformListener(self._tf_buffer, node, spin_thread=False)
        self._lookup = TfLookup(self._tf_buffer, settings.map_frame)
        self._depth_topic = transport_topic(settings.depth_topic, settings.depth_transport)
        self._frame_id = ""
        self.buffer = FrameBuffer(
            BufferConfig(
                capacity=settings.queue_size,
                timeout=settings.tf_timeout,
                depth=settings.depth,
                depth_slop=settings.depth_slop,
            ),
            self._lookup,
            _NodeClock(node),
            ledger,
            depth_expected=self._depth_is_published,
            on_time_jump=self._tf_buffer.clear,
        )
        self._group = MutuallyExclusiveCallbackGroup()
        image_topic = transport_topic(settings.image_topic, settings.image_transport)
        self._subscriptions = [
            self._subscribe(settings, settings.image_transport, image_topic, self._on_image),
            self._subscribe(settings, "info", settings.camera_info_topic, self._on_camera_info),
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
        self._listener.unregister()
        self.buffer.flush("deactivated", "the node was deactivated, waiting images are dropped")

    def tf_age(self) -> float:
        """Return the lag of the newest transform behind the newest image [s], NaN if unknown."""
        stamp = self.buffer.newest_stamp
        age = None if stamp is None else self._lookup.age(self._frame_id, stamp)
        return float("nan") if age is None else age

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
        )

    def _on_image(self, message: Image | CompressedImage) -> None:
        header = message.header
        self._frame_id = header.frame_id
        size = None if hasattr(message, "format") else (message.width, message.height)
        self.buffer.add_image(stamp_to_ns(header.stamp), header.frame_id, message, size)
        self._poll()

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            info = to_intrinsics(message)
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
        self._tf_buffer.clear()

    def _depth_is_published(self) -> bool:
        return self._node.count_publishers(self._depth_topic) > 0


class _NodeClock:
    """`frame_buffer.Clock` on a node."""

    def __init__(self, node: Any) -> None:
        self._clock = node.get_clock()

    def now(self) -> float:
        return self._clock.now().nanoseconds / 1e9

    steady = staticmethod(time.monotonic)
