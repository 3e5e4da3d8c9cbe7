"""What was found, drawn into live images: in their own pose, at a bounded rate, for listeners."""

import time

import cv2
import numpy as np
import pytest
from furnished_room import room_frames, trace
from govnesf_ros.srv import QueryText
from robot_rig import STAMP

from govnesf_model.palette import label_colors
from govnesf_model.query import Query
from govnesf_ros.calibration import Intrinsics, Straightener
from govnesf_ros.frame_buffer import ReadyFrame
from govnesf_ros.live_overlay import MAX_WIDTH, LiveOverlay, live_picture
from govnesf_ros.messages import header_message, image_message

NEW = room_frames(12)[1]  # between two of the map's views
SECOND = 1_000_000_000


def live(stamp: int = STAMP + SECOND, scale: int = 1) -> ReadyFrame:
    """Return an image from a place where no keyframe was taken, `scale` times as large."""
    rgb = np.kron(NEW.rgb, np.ones((scale, scale, 1), np.uint8))
    K = NEW.K * [[scale], [scale], [1]]
    K[:2, 2] += (scale - 1) / 2
    height, width = rgb.shape[:2]
    message = image_message(header_message(stamp, "optical"), rgb, "rgb8")
    intrinsics = Intrinsics(K.astype(float), width, height)
    return ReadyFrame(0, stamp, "optical", message, intrinsics, None, NEW.T_world_camera)


def tinted(picture: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Return the pixels that are tinted in the first label's colour, bool [H, W]."""
    tint = rgb * 0.45 + label_colors(1)[1] * 0.55
    return np.abs(picture.astype(float) - tint).max(axis=2) < 3


@pytest.mark.parametrize("scale", [1, 5])
def test_the_table_is_where_the_live_image_shows_it(robot, scale) -> None:
    found = robot.answers.ask(Query(texts=("table",)))
    frame = live(scale=scale)
    picture = live_picture(found, frame, Straightener())
    width = min(MAX_WIDTH, 160 * scale)
    height = width * 3 // 4
    assert picture.shape[1] == width
    assert picture.shape[0] > height  # the legend is below
    rgb = np.frombuffer(frame.image.data, np.uint8).reshape(120 * scale, 160 * scale, 3)
    rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    shown = tinted(picture[:height], rgb)
    truth = trace(NEW.K, NEW.T_world_camera, 160, 120)[2] == 1
    truth = cv2.resize(truth.astype(np.uint8), (width, height)) > 0
    # The outline of the mask is in full colour and no tint.
    assert (shown & truth).sum() / (shown | truth).sum() > 0.75


class Live:
    """The thread on the parts of a node, and what a listener gets."""

    def __init__(self, robot) -> None:
        self.robot, self.failures = robot, []
        self.answered = None
        self.overlay = LiveOverlay(
            robot.node, robot.publishers, lambda: self.answered,
            lambda frame, error: self.failures.append(error),
        )  # fmt: skip

    def pictures(self) -> list:
        return self.robot.got["query/overlay"]


@pytest.fixture
def rig(robot):
    made = Live(robot)
    robot.graph.spin_until(lambda: robot.publishers.heard("~/query/overlay"))
    yield made
    assert made.overlay.stop(5.0)
    assert made.failures == []


def test_a_listener_gets_the_newest_image_under_its_own_header(rig) -> None:
    rig.answered = rig.robot.answers.ask(Query(texts=("table",)))
    assert not rig.overlay.flowing
    rig.overlay.offer(live())
    rig.robot.graph.spin_until(lambda: rig.pictures())
    header = rig.pictures()[0].header
    assert (header.frame_id, header.stamp.sec) == ("optical", (STAMP + SECOND) // SECOND)
    assert rig.overlay.flowing


def test_without_a_question_nothing_is_drawn(rig) -> None:
    rig.overlay.offer(live())
    time.sleep(0.3)
    assert not rig.overlay.flowing


def test_the_rate_is_kept_however_many_images_come(rig) -> None:
    rig.robot.node.settings = rig.robot.node.settings.__class__(overlay_rate=4.0)
    rig.answered = rig.robot.answers.ask(Query(texts=("table",)))
    begin = time.monotonic()
    while time.monotonic() - begin < 1.5:
        rig.overlay.offer(live(STAMP + round(1e9 * (time.monotonic() - begin))))
        rig.robot.graph.executor.spin_once(timeout_sec=0.005)
    seconds = time.monotonic() - begin
    rig.overlay.stop(5.0)
    assert 1 <= len(rig.pictures()) <= 4.0 * seconds + 1


def test_a_rate_of_zero_leaves_it_to_the_keyframes(rig) -> None:
    rig.robot.node.settings = rig.robot.node.settings.__class__(overlay_rate=0.0)
    rig.answered = rig.robot.answers.ask(Query(texts=("table",)))
    rig.overlay.offer(live())
    time.sleep(0.3)
    assert not rig.overlay.flowing


def test_nobody_listens_and_nothing_is_drawn(robot) -> None:
    robot.publishers.heard = lambda name: False
    rig = Live(robot)
    rig.answered = robot.answers.ask(Query(texts=("table",)))
    rig.overlay.offer(live())
    time.sleep(0.3)
    assert not rig.overlay.flowing
    assert rig.overlay.stop(5.0)


def test_keyframes_do_not_cut_in_while_live_images_flow(robot) -> None:
    """A new question is shown at once all the same: the picture of the old one must go."""
    sender = robot.sender
    sender._overlay_flows = lambda: True
    robot.call(QueryText, "query", texts=["table"])
    robot.wait("query/overlay", 1)
    robot.map.reset()
    robot.add(1)
    robot.refresh()
    robot.wait("query/mask", 2)
    assert len(robot.got["query/overlay"]) == 1
    robot.call(QueryText, "query", texts=["mug"])
    robot.wait("query/overlay", 2)
    assert sender.answered.query.texts == ("mug",)
    robot.call(QueryText, "query", texts=[])
    assert sender.answered is None
