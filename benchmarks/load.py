"""A robot for minutes: a 30 Hz camera drives through a room, and clients keep asking.

    python -m benchmarks.load --minutes 15 --clients 10

Starts the mapper as a process of its own, on a ROS domain of its own. Prints what came in and what
became of it, the latency of the answers, lost requests, and how the mapper's memory went: the first
fifth of the time is warm-up, growth is from the median of the next fifth to that of the last.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import yaml

TEXTS = ("chair", "table", "lamp", "book", "plant", "screen", "door", "cabinet", "sofa", "mug")
TIMEOUT = 30.0  # seconds after which a request counts as lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rate", type=float, default=30.0, help="images a second")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two questions")
    parser.add_argument("--parameters", default="{}", help="of the mapper, as YAML")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
    with tempfile.TemporaryDirectory() as folder:
        figures = run(arguments, Path(folder))
    for name, value in figures.items():
        print(f"{name:28} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["requests lost"] == 0 else 1


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Drive, ask and watch; return the figures."""
    import rclpy
    from rclpy.executors import MultiThreadedExecutor

    parameters = {"min_interval": 0.5, **yaml.safe_load(arguments.parameters)}
    file = folder / "load.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    command = [sys.executable, "-m", "govnesf_ros.mapper_node", "--ros-args", "--params-file", file]
    with (folder / "log").open("w") as log:
        mapper = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    rclpy.init()
    node = rclpy.create_node("load")
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    watch = Watch(node, mapper.pid)
    try:
        watch.until_active(mapper)
        end = time.monotonic() + 60 * arguments.minutes
        camera = Camera(node)
        asked = [Client(node, number, end, arguments.pause) for number in range(arguments.clients)]
        threads = [threading.Thread(target=client.ask) for client in asked]
        for thread in threads:
            thread.start()
        sent = camera.drive(end, arguments.rate, watch)
        for thread in threads:
            thread.join()
        return summary(arguments, sent, asked, watch)
    finally:
        mapper.terminate()
        mapper.wait(20.0)
        executor.shutdown(timeout_sec=2.0)
        rclpy.try_shutdown()


class Camera:
    """The demo room again and again, six images a pose, as a slow robot sees it."""

    def __init__(self, node) -> None:
        from sensor_msgs.msg import CameraInfo, Image
        from tf2_ros import TransformBroadcaster

        from govnesf_ros.player_node import find_scene

        self.scene = find_scene("demo")
        self.image = node.create_publisher(Image, "camera/color/image_raw", 10)
        self.info = node.create_publisher(CameraInfo, "camera/color/camera_info", 10)
        self.depth = node.create_publisher(Image, "camera/depth/image_raw", 10)
        self.tf = TransformBroadcaster(node)

    def drive(self, end: float, rate: float, watch: "Watch") -> int:
        """Send images until the end; return how many."""
        from govnesf_ros import messages

        frames = [self.scene[index] for index in range(min(len(self.scene), 40))]
        begin, sent = time.monotonic(), 0
        while (now := time.monotonic()) < end:
            frame = frames[(sent // 6) % len(frames)]
            stamp = time.time_ns()
            header = messages.header_message(stamp, "optical")
            height, width = frame.rgb.shape[:2]
            self.info.publish(messages.camera_info_message(header, frame.K, width, height))
            if frame.depth is not None:
                self.depth.publish(messages.image_message(header, frame.depth, "32FC1"))
            self.image.publish(messages.image_message(header, frame.rgb, "rgb8"))
            in_map = messages.header_message(stamp, "map")
            pose = messages.transform_message(in_map, "optical", frame.T_world_camera)
            self.tf.sendTransform(pose)
            sent += 1
            watch.look(now - begin)
            time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
        return sent


class Client:
    """Asks one question after the other."""

    def __init__(self, node, number: int, end: float, pause: float) -> None:
        from govnesf_ros.srv import QueryText

        self._request = QueryText.Request
        self._client = node.create_client(QueryText, "govnesf/query")
        self._random, self._end, self._pause = random.Random(number), end, pause
        self.milliseconds: list[float] = []
        self.lost = self.refused = 0

    def ask(self) -> None:
        """Ask until the end."""
        while time.monotonic() < self._end:
            texts = self._random.sample(TEXTS, self._random.randint(1, 3))
            done = threading.Event()
            begin = time.perf_counter()
            future = self._client.call_async(self._request(texts=texts))
            future.add_done_callback(lambda _, done=done: done.set())
            if not done.wait(TIMEOUT):
                self.lost += 1
                continue
            self.milliseconds.append(1e3 * (time.perf_counter() - begin))
            self.refused += not future.result().success
            time.sleep(self._pause)


class Watch:
    """The mapper's status, and its memory over time."""

    def __init__(self, node, number: int) -> None:
        from govnesf_ros.msg import MapStatus
        from rclpy.qos import DurabilityPolicy, QoSProfile

        self.status = None
        self.memory: list[tuple[float, float]] = []
        self._number = number
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(MapStatus, "govnesf/status", self._remember, latched)

    def _remember(self, status) -> None:
        self.status = status

    def until_active(self, mapper: subprocess.Popen) -> None:
        """Wait until the mapper listens to its camera."""
        while self.status is None or self.status.state != "active":
            if mapper.poll() is not None:
                raise SystemExit("the mapper has ended: does it start by itself?")
            time.sleep(0.1)

    def look(self, at: float) -> None:
        """Note the memory of the mapper [MiB], once a second; `at` in seconds."""
        if self.memory and at - self.memory[-1][0] < 1.0:
            return
        text = Path(f"/proc/{self._number}/status").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("RssAnon"))
        self.memory.append((at, int(line.split()[1]) / 1024))


def summary(
    arguments: argparse.Namespace, sent: int, clients: list[Client], watch: Watch
) -> dict[str, object]:
    """Return the figures in the order of reading."""
    latency = np.array([value for client in clients for value in client.milliseconds])
    fifth = len(watch.memory) // 5
    values = [value for _, value in watch.memory]
    first = statistics.median(values[fifth : 2 * fifth])
    last = statistics.median(values[-fifth:])
    status = watch.status
    return {
        "minutes": arguments.minutes,
        "cores": len(os.sched_getaffinity(0)),
        "images sent": sent,
        "images received": status.frames_received,
        "keyframes used": status.frames_used,
        "images dropped": status.frames_dropped,
        "queries answered": len(latency),
        "requests lost": sum(client.lost for client in clients),
        "requests refused": sum(client.refused for client in clients),
        "p50 [ms]": round(float(np.percentile(latency, 50)), 1),
        "p99 [ms]": round(float(np.percentile(latency, 99)), 1),
        "slowest [ms]": round(float(latency.max()), 1),
        "memory after warm-up [MiB]": round(first, 1),
        "memory at the end [MiB]": round(last, 1),
        "growth [%]": round(100 * (last / first - 1), 2),
        "points at the end": status.points,
    }


if __name__ == "__main__":
    sys.exit(main())
