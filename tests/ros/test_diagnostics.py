"""Levels of the diagnostics, and the messages of a real node on a real graph."""

import math

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter

from govnesf_ros.diagnostics import Window, camera_health, frames_health, map_health
from govnesf_ros.ledger import Corrected, Counts
from govnesf_ros.mapper_node import MapperNode

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
HELD = {"keyframes": 3, "evicted": 1, "points": 900, "memory_mib": 40.0, "memory_bound_mib": 64.0}


def camera(**changes):
    values = {"rate": 30.0, "waiting": 1, "capacity": 30, "tf_age": -0.01, "rivals": {}, **changes}
    return camera_health("front", "/front/image", tf_timeout=1.0, **values)


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, OK, "30.0 images a second"),
        ({"rate": math.nan}, OK, "just started"),
        ({"rate": 0.0}, ERROR, "no images on /front/image"),
        ({"tf_age": math.nan}, ERROR, "no transform"),
        ({"tf_age": 1.5}, WARN, "TF is 1.50 s behind"),
        ({"waiting": 25}, WARN, "25 of 30 images wait"),
        ({"rivals": {"/front/image": ["/a", "/b"]}}, WARN, "several nodes publish /front/image"),
        ({"rivals": {"/front/image": ["/a", "/b"]}, "tf_age": math.nan}, WARN, "several nodes"),
    ],
)
def test_a_camera_is_judged_by_its_images_and_poses(changes, level, words) -> None:
    found = camera(**changes)
    assert (found.level, found.name) == (level, "camera front")
    assert words in found.message


@pytest.mark.parametrize(
    ("dropped", "level", "words"),
    [(0.0, OK, "nothing"), (1.0, OK, "5 %"), (4.0, WARN, "20 %"), (20.0, ERROR, "100 %")],
)
def test_losses_are_judged_by_their_share(dropped, level, words) -> None:
    counts = Counts(100, 50, 30, 19, 1, {"static": 30, "no_transform": 19})
    found = frames_health(counts, 20.0, dropped)
    assert found.level == level
    assert words in found.message
    assert ("because no_transform", 19) in found.values


def test_a_map_beyond_its_bound_is_an_error() -> None:
    never = Corrected()
    assert map_health(HELD, never).level == OK
    assert map_health({**HELD, "memory_mib": 65.0}, never).level == ERROR
    assert map_health({**HELD, "keyframes": 0}, never).message == "empty"


def test_corrections_are_told() -> None:
    values = dict(map_health(HELD, Corrected(2, 5, 0.25)).values)
    assert (values["corrections"], values["keyframes moved last"]) == (2, 5)
    assert values["moved last [m]"] == "0.250"


def test_rates_are_those_of_the_last_seconds_and_survive_a_reset() -> None:
    now = [0.0]
    window = Window(lambda: now[0])
    assert math.isnan(window.rate())
    for second in range(60):
        now[0] = float(second)
        window.add(5 * second if second < 40 else 200)
    assert window.rate() == 0.0
    window.add(10)
    assert math.isnan(window.rate())
    now[0] += 2.0
    window.add(14)
    assert window.rate() == pytest.approx(2.0)


def test_a_node_tells_its_health_from_the_first_second_on(graph) -> None:
    graph.add(
        MapperNode(context=graph.context, parameter_overrides=[Parameter("autostart", value=False)])
    )
    got, listener = [], graph.node("monitor")
    listener.create_subscription(DiagnosticArray, "/diagnostics", got.append, 10)
    graph.spin_until(lambda: got)
    statuses = {status.name: status for status in got[0].status}
    assert set(statuses) == {"/govnesf: node", "/govnesf: images"}
    assert statuses["/govnesf: node"].level == WARN
    assert statuses["/govnesf: node"].message == "unconfigured"
    assert got[0].header.stamp.sec > 0
    assert all(isinstance(value.value, str) for s in got[0].status for value in s.values)
