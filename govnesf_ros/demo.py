"""The demo: launch the real bringup on the demo room, ask three questions, print the answers.

    python3 -m govnesf_ros.demo            # asks, prints, stays up until Ctrl-C
    python3 -m govnesf_ros.demo --check    # headless: compares with the ground truth, then exits

`script/demo` calls this after setting everything up.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from govnesf_model.resources import resource_dir
from govnesf_ros.msg import MapStatus
from govnesf_ros.srv import QueryText

QUESTIONS = ("table", "chair", "potted plant")
ABSENT = "bicycle"  # no such thing in the room: the honest answer is "nothing"
TOLERANCE = 0.30  # metres between a found centre and the true one, beside half of the object's size
START_SECONDS = 120.0
PAGE_PORT = 8080  # of the web page, or the next free one
REPEATS = 20  # of one question, for the latency that --check reports
SETTLE_SECONDS = 4.0  # no new keyframe for so long: the room has been seen


@dataclass(frozen=True)
class Answer:
    """One row of the table."""

    text: str
    found: bool
    center: tuple[float, float, float] | None
    size: tuple[float, float, float] | None
    score: float
    milliseconds: float
    message: str


def main(argv: list[str] | None = None) -> int:
    options = _parse(argv)
    environment = dict(os.environ)
    if options.check:
        # A domain of our own: a robot or a second check on this network must not answer for us.
        environment["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
        os.environ["ROS_DOMAIN_ID"] = environment["ROS_DOMAIN_ID"]
    page = "" if options.check else _free_page()
    launch = _launch(options, environment, page)
    rclpy.init()
    node = rclpy.create_node("govnesf_demo")
    try:
        client = _Client(node, launch)
        status = client.wait_for_room()
        print(
            f"\nThe map holds {status.points} points from {status.keyframes} keyframes "
            f"({status.memory_mib:.0f} MiB), model {status.model} on {status.device}.\n"
        )
        questions = [*options.text, *([ABSENT] if options.check else [])]
        answers = [client.ask(text) for text in questions]
        print(format_table(answers))
        for answer in answers:
            print(answer.message)
        if options.check:
            latencies = [client.ask(options.text[0]).milliseconds for _ in range(REPEATS)]
            print(
                f"\nService up {client.seconds_to_service:.1f} s and first keyframe "
                f"{client.seconds_to_keyframe:.1f} s after launch; query latency median "
                f"{statistics.median(latencies):.0f} ms, worst {max(latencies):.0f} ms of "
                f"{REPEATS}; resident memory {status.resident_mib:.0f} MiB."
            )
            return _report_check(answers)
        if page:
            print(f"The map is at {page}: open it in a browser and ask there.")
        print(
            "The node stays up. Ask yourself, in a second terminal:\n"
            "  . script/env\n"
            "  ros2 service call /govnesf/query govnesf_ros/srv/QueryText "
            "\"{texts: ['picture']}\"\n"
            "Ctrl-C ends it."
        )
        launch.wait()
        return launch.returncode
    except KeyboardInterrupt:
        return 0
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        _stop(launch)


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


class _Client:
    """Asks the running node; notices when the launch dies meanwhile."""

    def __init__(self, node: Node, launch: subprocess.Popen) -> None:
        self._node = node
        self._launch = launch
        self._begin = time.monotonic()
        self._status: MapStatus | None = None
        self.seconds_to_service = self.seconds_to_keyframe = 0.0
        self._query = node.create_client(QueryText, "/govnesf/query")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(MapStatus, "/govnesf/status", self._remember, latched)

    def _remember(self, status: MapStatus) -> None:
        self._status = status

    def wait_for_room(self) -> MapStatus:
        """Wait until the player has shown the room and the node has taken it in."""
        deadline = time.monotonic() + START_SECONDS
        keyframes, since = 0, time.monotonic()
        while time.monotonic() < deadline:
            self._spin(0.2)
            now = time.monotonic()
            if not self.seconds_to_service and self._query.service_is_ready():
                self.seconds_to_service = now - self._begin
            if self._status and self._status.keyframes > keyframes:
                self.seconds_to_keyframe = self.seconds_to_keyframe or now - self._begin
                keyframes, since = self._status.keyframes, now
                deadline = max(deadline, now + START_SECONDS / 2)
                _show_progress(f"{keyframes} keyframes, {self._status.points} points")
            if keyframes >= 5 and now - since > SETTLE_SECONDS:
                return self._status
        if not self._query.service_is_ready():
            raise DemoError(
                f"the node did not come up within {START_SECONDS:.0f} s: see its output above"
            )
        raise DemoError(
            f"the node is up but took only {keyframes} keyframes in {START_SECONDS:.0f} s: "
            "ros2 topic echo /govnesf/status says where the frames went"
        )

    def ask(self, text: str) -> Answer:
        """Call the query service once and time it."""
        begin = time.monotonic()
        future = self._query.call_async(QueryText.Request(texts=[text]))
        while not future.done():
            self._spin(0.05)
            if time.monotonic() - begin > 30.0:
                raise DemoError(f"no answer to '{text}' within 30 s")
        milliseconds = 1e3 * (time.monotonic() - begin)
        reply = future.result()
        if not reply.success:
            raise DemoError(f"the query '{text}' failed: {reply.message}")
        return _answer_of(text, reply, milliseconds)

    def _spin(self, seconds: float) -> None:
        if self._launch.poll() is not None:
            raise DemoError(f"the launch ended with exit code {self._launch.returncode}")
        rclpy.spin_once(self._node, timeout_sec=seconds)


def _answer_of(text: str, reply: QueryText.Response, milliseconds: float) -> Answer:
    if not reply.detections.detections:
        return Answer(text, False, None, None, 0.0, milliseconds, reply.message)
    best = reply.detections.detections[0]  # the service lists the best first
    center, size = best.bbox.center.position, best.bbox.size
    return Answer(
        text=text,
        found=True,
        center=(center.x, center.y, center.z),
        size=(size.x, size.y, size.z),
        score=best.results[0].hypothesis.score,
        milliseconds=milliseconds,
        message=reply.message,
    )


def format_table(answers: list[Answer]) -> str:
    """Return the answers as a table in plain text; metres in the map frame."""
    lines = [f"{'text':<16}{'found':<7}{'box centre [m]':<24}{'size [m]':<22}{'score':<7}{'ms':>6}"]
    for answer in answers:
        center = _triple(answer.center) if answer.center else "-"
        size = _triple(answer.size) if answer.size else "-"
        score = f"{answer.score:.2f}" if answer.found else "-"
        lines.append(
            f"{answer.text:<16}{'yes' if answer.found else 'no':<7}{center:<24}{size:<22}"
            f"{score:<7}{answer.milliseconds:>6.0f}"
        )
    return "\n".join(lines)


def _triple(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values) + ")"


def true_objects(room: Path, text: str) -> list[dict]:
    """Return the instances of the room whose name, or colour and name, is the text."""
    instances = json.loads((room / "instances.json").read_text()).values()
    names = ("{class}", "{name}", "{color} {class}", "{material} {class}")
    return [item for item in instances if text in {name.format(**item) for name in names}]


def judge(answer: Answer, truth: list[dict]) -> str:
    """Return an empty string when the answer is right, else what is wrong with it."""
    if not truth:
        return f"'{answer.text}' is not in the room but was found" if answer.found else ""
    if not answer.found:
        return f"'{answer.text}' is in the room but was not found"
    misses = []
    for item in truth:
        offset = np.abs(np.subtract(answer.center, item["center"]))
        half = np.asarray(item["size"]) / 2
        misses.append(float(np.linalg.norm(np.maximum(offset - half, 0))))
        if np.linalg.norm(offset) <= TOLERANCE or misses[-1] <= TOLERANCE / 3:
            return ""
    return f"'{answer.text}' was found {min(misses):.2f} m outside the true box"


def _report_check(answers: list[Answer]) -> int:
    room = resource_dir("assets") / "demo_room"
    problems = [judge(answer, true_objects(room, answer.text)) for answer in answers]
    for problem in filter(None, problems):
        print(f"check: {problem}", file=sys.stderr)
    right = problems.count("")
    print(f"check: {right} of {len(answers)} answers agree with the room's ground truth")
    return 0 if right == len(answers) else 1


def _show_progress(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r  mapping: {text}   ", end="", flush=True)


def _free_page() -> str:
    """Return the address that the web page can have; empty where it cannot be served."""
    try:
        from govnesf_ros.viewer_server import ServerProblem, free_port
    except ModuleNotFoundError:
        return ""
    try:
        return f"http://127.0.0.1:{free_port('127.0.0.1', PAGE_PORT)}"
    except ServerProblem as problem:
        print(f"no web page: {problem}", file=sys.stderr)
        return ""


def _launch(
    options: argparse.Namespace, environment: dict[str, str], page: str
) -> subprocess.Popen:
    command = ["ros2", "launch", "govnesf_ros", "bringup.launch.py", f"source:={options.source}"]
    if page:
        command += ["viewer:=true", f"viewer_port:={page.rpartition(':')[2]}"]
    print("$ " + " ".join(command), flush=True)
    # A session of its own: Ctrl-C reaches us alone, and we pass it on once.
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _stop(launch: subprocess.Popen) -> None:
    for signal_number, seconds in ((signal.SIGINT, 15), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        if launch.poll() is not None:
            return
        os.killpg(launch.pid, signal_number) if signal_number == signal.SIGKILL else (
            launch.send_signal(signal_number)
        )
        try:
            launch.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the truth and exit")
    parser.add_argument("--source", default="demo", help="demo, folder:PATH, bag:PATH or live")
    parser.add_argument(
        "--text", action="append", help=f"a question; default: {', '.join(QUESTIONS)}"
    )
    options = parser.parse_args(argv)
    options.text = options.text or list(QUESTIONS)
    return options


if __name__ == "__main__":
    sys.exit(main())
