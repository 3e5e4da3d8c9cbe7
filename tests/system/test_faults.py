"""What a robot does wrong all day, to one launched node: it says so, counts it and goes on.

The cases run in order; docs/reliability.md has a row for each.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from furnished_room import room_frames
from launched import reasons
from robot import FRAMES, Case, launched_case
from sensor_msgs.msg import Image

from govnesf_ros import messages

SECOND = 1_000_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(domain, tmp_path_factory):
    parameters = {"tf_timeout": 0.5, "image_width": 160, "min_interval": 0.0}
    with launched_case(domain, tmp_path_factory.mktemp("faults"), **parameters) as found:
        yield found


@pytest.fixture(autouse=True)
def alive_and_nothing_lost(case):
    """After every case the node lives, answers, and has at least the keyframes of before."""
    before = case.last or case.status()
    yield
    assert case.launched.alive(), case.launched.output
    case.until_settled()
    assert case.status().keyframes >= before.keyframes
    assert case.query(texts=["table"]).success
    assert "Traceback" not in case.launched.output


def counted(case: Case, reason: str) -> int:
    return reasons(case.status()).get(reason, 0)


def until_used(case: Case, number: int) -> None:
    case.client.until(lambda: case.status().frames_used == number, 120.0)


def test_tf_never_comes(case) -> None:
    case.robot.send(0, move=False)
    case.client.until(lambda: counted(case, "no_transform") == 1)
    case.heard("is your SLAM")


def test_tf_comes_late(case) -> None:
    stamp = case.robot.send(0, move=False)
    case.client.spin(0.2)
    case.robot.move(0, stamp)
    until_used(case, 1)


def test_localisation_has_another_clock(case) -> None:
    before = counted(case, "no_transform") + counted(case, "transform_too_old")
    stamp = case.robot.send(1, move=False)
    case.robot.move(1, stamp - 100 * SECOND)
    case.client.until(
        lambda: counted(case, "no_transform") + counted(case, "transform_too_old") == before + 1
    )
    case.heard("do clocks differ")


def test_images_and_tf_jump_back_as_when_a_bag_starts_again(case) -> None:
    case.robot.send(1)
    case.until_settled()
    used, long_ago = case.status().frames_used, time.time_ns() - 5000 * SECOND
    # The pose of the first image may come before it and be forgotten with those of the old time.
    for index in (2, 2, 3, 4):
        case.robot.send(index, stamp=long_ago + index * SECOND)
        case.until_settled()
    case.heard("image stamps jumped back by")
    assert case.status().frames_used >= used + 3


def test_camera_info_changes_its_resolution_midway(case) -> None:
    used = case.status().frames_used
    for index, size in ((5, (320, 240)), (6, (160, 120)), (7, (320, 180))):
        source = room_frames(12, *size)[index]
        case.robot.send(index, source=source)
        used += 1
        until_used(case, used)
    case.heard("images of 320x180 are cropped")


def test_depth_is_missing_of_another_size_or_nothing_but_nan(case) -> None:
    used = case.status().frames_used
    nothing = np.full((120, 160), np.nan, np.float32)
    for index, depth in ((8, None), (9, FRAMES[9].depth[::2, ::2]), (10, nothing)):
        case.robot.send(index, depth=depth)
        used += 1
        until_used(case, used)
    case.heard("used without depth")
    case.robot.send(11, depth=FRAMES[11].depth[:, :60])
    until_used(case, used + 1)
    case.heard("take the depth topic that is registered to colour")


def test_depth_of_noise_adds_no_damage(case) -> None:
    noise = np.random.default_rng(0).uniform(-1e30, 1e30, (120, 160)).astype(np.float32)
    source = replace(FRAMES[0], depth=noise)
    before = case.status()
    case.robot.send(0, source=source, stamp=time.time_ns() + 40 * SECOND)
    case.client.spin(1.0)
    assert case.status().points >= 0.5 * before.points


def test_a_second_publisher_is_named_and_shown_in_the_diagnostics(case) -> None:
    got = []
    case.client.node.create_subscription(DiagnosticArray, "/diagnostics", got.append, 10)
    rival = rclpy.create_node("rival", context=case.client.context)
    try:
        publisher = rival.create_publisher(Image, "/camera/color/image_raw", 10)

        def warned() -> bool:
            case.robot.send(0)
            # Images of another frame and without calibration.
            header = messages.header_message(time.time_ns(), "elsewhere")
            publisher.publish(messages.image_message(header, FRAMES[0].rgb, "rgb8"))
            case.client.spin(0.2)
            return any(
                status.level == DiagnosticStatus.WARN and "several nodes" in status.message
                for message in got
                for status in message.status
                if status.name == "/govnesf: camera"
            )

        case.client.until(warned)
        case.heard("2 nodes publish /camera/color/image_raw (/rival, /tester)")
    finally:
        rival.destroy_node()


def test_a_storm_of_images_costs_no_memory_and_no_answer(case) -> None:
    case.client.until(lambda: case.robot.image.get_subscription_count() == 1)
    source = room_frames(1, 320, 240)[0]
    image = messages.image_message(messages.header_message(1, "optical"), source.rgb, "rgb8")
    memory, before = case.status().resident_mib, case.status().frames_received
    begin, sent, slowest, pending = time.monotonic(), 0, 0.0, None
    while (now := time.monotonic() - begin) < 5.0:
        image.header.stamp = messages.time_message(time.time_ns())
        case.robot.image.publish(image)
        sent += 1
        if pending is None or pending[1].done():
            pending = (time.monotonic(), ask(case))
        case.client.executor.spin_once(timeout_sec=0)
        slowest = max(slowest, time.monotonic() - pending[0])
        time.sleep(max(0.0, sent / 200 - now))
    case.client.until(pending[1].done)
    assert pending[1].result().success
    case.until_settled()
    arrived = case.status().frames_received - before
    print(f"{sent} images in 5 s, {arrived} arrived, slowest answer {slowest:.2f} s")
    assert sent > 500
    assert slowest < 5.0
    # Every image that arrived has an outcome; the queue in front of them is bounded.
    assert case.status().resident_mib < memory + 200


def test_a_thousand_questions_back_to_back_are_answered_and_cost_no_memory(case) -> None:
    things = ("table", "chair", "red box", "plant", "wall")
    milliseconds, memory = [], []
    for number in range(1000):
        begin = time.perf_counter()
        answer = case.query(texts=[things[number % len(things)], things[number // 7 % len(things)]])
        milliseconds.append(1e3 * (time.perf_counter() - begin))
        assert answer.success, answer.message
        if number % 100 == 99:
            memory.append(case.status().resident_mib)
    p50, p99 = np.percentile(milliseconds, (50, 99))
    print(f"{p50:.0f} ms in the median, p99 {p99:.0f} ms; resident MiB {memory}")
    # The first two hundred warm caches up.
    assert max(memory[5:]) < 1.03 * max(memory[1:3])


def ask(case: Case):
    from govnesf_ros.srv import QueryText

    client = case.client._clients["query"]
    return client.call_async(QueryText.Request(texts=["table"]))
