"""A posed folder as a live camera: images, camera_info, depth, TF, and a clock if wanted.

    ros2 run govnesf_ros player_node --ros-args -p scene:=demo -p rate:=5.0 -p loop:=true

Names and frames are those of a common RGB-D camera. Every image has the stamp at which it was due;
jitter, late and lost transforms are made on purpose, to test what listens.
"""

import heapq
import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from govnesf_model.data.posed_scene import Frame, PosedScene, SceneError, open_scene
from govnesf_model.resources import resource_dir
from govnesf_ros import messages, topics
from govnesf_ros.parameter_values import ParameterProblem, declare
from govnesf_ros.parameters import PlayerSettings
from govnesf_ros.topics import transport_topic

CLOCK_PERIOD = 0.01  # seconds between two messages on /clock
SIMULATED_START = 1000.0  # seconds; a clock that starts at zero would be taken for no clock

# The optical frame in the camera's body frame (REP 103): z forward is x, x right is -y, y down -z.
T_LINK_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


class PlayerNode(Node):
    """The node; `play` does the work on the caller's thread.

    Raises:
        ParameterProblem: a parameter cannot be used.
        SceneError: the scene cannot be used.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("player", **options)
        self.settings = declare(self, PlayerSettings)
        self.scene = find_scene(self.settings.scene)
        settings = self.settings
        self._random = random.Random(settings.seed)
        self._stop = threading.Event()
        self._order = itertools.count()
        kind = Image if settings.image_transport == "raw" else CompressedImage
        transport = settings.image_transport
        reliable = QoSProfile(depth=10)  # readers may choose best effort, writers may not
        self._image = self.create_publisher(
            kind, transport_topic(settings.image_topic, transport), reliable
        )
        self._info = self.create_publisher(CameraInfo, settings.camera_info_topic, reliable)
        self._depth = None
        if settings.depth and self.scene.has_depth:
            self._depth = self.create_publisher(
                kind, transport_topic(settings.depth_topic, transport), reliable
            )
        self._clock = self.create_publisher(Clock, "/clock", 10) if settings.clock else None
        self._tf = TransformBroadcaster(self)
        self._static_tf = StaticTransformBroadcaster(self)

    def play(self) -> int:
        """Play the scene until its end or `stop`; return the number of images sent."""
        settings = self.settings
        self._send_static_transform()
        if settings.wait_for_subscriber and not self._wait_for_subscriber():
            return 0
        self.get_logger().info(
            f"playing {len(self.scene)} images of {self.scene.root} at {settings.rate:g} Hz"
            + (", again and again" if settings.loop else "")
        )
        begin = time.monotonic() + settings.start_delay
        epoch = SIMULATED_START if settings.clock else time.time() + settings.start_delay
        sent = 0
        events: list[tuple[float, int, Callable[[], None]]] = []
        for index in self._indices():
            due = sent / settings.rate
            # Read before it is due, so that reading makes nothing late.
            for delay, send in self._events(self.scene[index], epoch + due):
                heapq.heappush(events, (due + delay, next(self._order), send))
            if not self._run(events, begin, epoch, until=due):
                return sent
            sent += 1
        self._run(events, begin, epoch, until=float("inf"))
        self.get_logger().info(f"played {sent} images")
        return sent

    def stop(self) -> None:
        """End `play` soon; from any thread."""
        self._stop.set()

    def _indices(self) -> Iterator[int]:
        turns = itertools.count() if self.settings.loop else range(1)
        return (index for _ in turns for index in range(len(self.scene)))

    def _events(self, frame: Frame, stamp: float) -> list[tuple[float, Callable[[], None]]]:
        """Return what one frame sends, and how long after its stamp."""
        settings = self.settings
        ns = int(stamp * 1e9)
        late = abs(self._random.gauss(0.0, settings.jitter)) if settings.jitter else 0.0
        events = [(late, lambda: self._send_images(frame, ns))]
        if self._random.random() >= settings.drop_tf:
            events.append((settings.tf_delay, lambda: self._send_transform(frame, ns)))
        return events

    def _run(self, events: list, begin: float, epoch: float, until: float) -> bool:
        """Send all events up to a time, each when it is due; return False when stopped."""
        while events and events[0][0] <= until:
            due, _, send = heapq.heappop(events)
            if not self._sleep_until(begin + due, begin, epoch):
                return False
            send()
        return True

    def _sleep_until(self, when: float, begin: float, epoch: float) -> bool:
        while not self._stop.is_set() and self.context.ok():
            now = time.monotonic()
            if self._clock is not None:
                simulated = int((epoch + min(now, when) - begin) * 1e9)
                self._clock.publish(Clock(clock=messages.time_message(simulated)))
            if now >= when:
                return True
            self._stop.wait(min(when - now, CLOCK_PERIOD if self._clock is not None else 0.2))
        return False

    def _wait_for_subscriber(self) -> bool:
        told = False
        while self.context.ok() and not self._stop.wait(0.1):
            if self._image.get_subscription_count() > 0:
                # Discovery of the other topics follows within a moment.
                return not self._stop.wait(0.5)
            if not told:
                self.get_logger().info(f"waiting for a subscriber of {self._image.topic_name}")
                told = True
        return False

    def _send_static_transform(self) -> None:
        header = messages.header_message(time.time_ns(), topics.CAMERA_LINK)
        self._static_tf.sendTransform(
            messages.transform_message(header, topics.OPTICAL_FRAME, T_LINK_OPTICAL)
        )

    def _send_transform(self, frame: Frame, ns: int) -> None:
        T_map_link = frame.T_world_camera @ np.linalg.inv(T_LINK_OPTICAL)
        header = messages.header_message(ns, self.settings.map_frame)
        self._tf.sendTransform(messages.transform_message(header, topics.CAMERA_LINK, T_map_link))

    def _send_images(self, frame: Frame, ns: int) -> None:
        header = messages.header_message(ns, topics.OPTICAL_FRAME)
        raw = self.settings.image_transport == "raw"
        build = messages.image_message if raw else messages.compressed_message
        height, width = frame.rgb.shape[:2]
        self._info.publish(messages.camera_info_message(header, frame.K, width, height))
        if self._depth is not None and frame.depth is not None:
            millimetres = np.rint(frame.depth * 1000).clip(0, 65535).astype(np.uint16)
            self._depth.publish(build(header, millimetres, "16UC1"))
        self._image.publish(build(header, frame.rgb, "rgb8"))


def find_scene(name: str) -> PosedScene:
    """Open a posed folder, or the demo room for the name `demo`.

    Raises:
        SceneError: there is none, or it cannot be used.
    """
    if name != "demo":
        return open_scene(name)
    try:
        return open_scene(resource_dir("assets") / "demo_room")
    except FileNotFoundError as error:
        raise SceneError(str(error)) from error


def _spin(node: Node) -> None:
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass
    except Exception:
        if node.context.ok():
            raise
        # The context may end while the executor is about to wait for it.


def main(arguments: list[str] | None = None) -> int:
    """Play until the end or until asked to end; return the exit code."""
    node = thread = None
    try:
        rclpy.init(args=arguments)
        node = PlayerNode()
        # Parameters and late subscribers of the latched transform are served meanwhile.
        thread = threading.Thread(target=_spin, args=(node,), daemon=True)
        thread.start()
        node.play()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ParameterProblem, SceneError) as error:
        print(f"player: {error}", file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        # Asked to end while something was being sent or asked for.
    finally:
        if node is not None:
            node.stop()
        rclpy.try_shutdown()
        if thread is not None:
            thread.join(2.0)
        if node is not None:
            node.destroy_node()
    if thread is not None and thread.is_alive():
        # Python would end under the feet of what waits in C++, and the process would abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
