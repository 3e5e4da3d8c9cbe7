"""The web page in a real browser, on the real bringup: what is typed, found, seen and saved."""

import os
import re
import subprocess
import time

import numpy as np
import pytest
from browser import PATIENCE, brightened, field, opened, painted, scene_picture, share, started
from launched import LATCHED, Client, Launched
from std_srvs.srv import SetBool
from vision_msgs.msg import Detection3DArray

from govnesf_model.palette import label_colors

pytestmark = pytest.mark.slow
TABLE = label_colors(1)[1]  # colour of the only text of a query
NASTY = "<img src=x onerror=window.bitten=1>"


def address(log: str) -> str | None:
    found = re.search(r"open (http://\S+) in a browser", log)
    return found[1] if found else None


class Shown:
    """The bringup on the demo room with the page open; the cases use it in order."""

    def __init__(self, domain: int, log, home) -> None:
        self.home = home
        before = os.environ.get("HOME")
        os.environ["HOME"] = str(home)  # maps are saved below it
        # A coarse map: without a graphics card, drawing is what takes the time here.
        settings = home / "mapper.yaml"
        settings.write_text("/**:\n  ros__parameters: {voxel_size: 0.06, tf_timeout: 20.0}\n")
        self.launched = Launched(
            log, "source:=demo", "rate:=1.0", "viewer:=true", "viewer_port:=0",
            f"params_file:={settings}",
        )  # fmt: skip
        if before is not None:
            os.environ["HOME"] = before
        self.client = Client(domain)
        self.detections: list[Detection3DArray] = []
        self.client.node.create_subscription(
            Detection3DArray, "/govnesf/query/detections", self.detections.append, LATCHED
        )

    def wait_for_map(self) -> None:
        self.client.until_active(self.launched)
        self.client.until(lambda: self.client.status.keyframes >= 6, 240.0)
        # What is compared must not change meanwhile.
        assert self.client.call(SetBool, "pause", data=True).success
        self.client.until(lambda: address(self.launched.output))

    def note(self, page) -> str:
        """Return the message that a press of a button has brought."""
        said = page.locator(".gov-note:visible:not(:has-text('At work'))").last
        said.wait_for()
        return said.inner_text()


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def shown(domain, browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    shown = Shown(domain, folder / "log", folder)
    try:
        shown.wait_for_map()
        with opened(browser, address(shown.launched.output)) as page:
            shown.page = page
            yield shown
    finally:
        shown.client.close()
        shown.launched.stop()


def until(done, seconds: float = PATIENCE / 1000):
    """Wait for a picture to be as it should; return what `done` returns."""
    deadline = time.monotonic() + seconds
    while not (result := done()):
        assert time.monotonic() < deadline, "the page does not show what it should"
        time.sleep(0.3)
    return result


def ask(page, texts: str) -> None:
    page.get_by_role("tab", name="Ask").click()
    field(page, "Find").fill(texts)
    page.keyboard.press("Enter")


def test_the_map_is_there_in_the_colours_of_the_camera(shown) -> None:
    page = shown.page
    page.get_by_text(re.compile(r"\d+ keyframes")).first.wait_for()
    # The room has a colour everywhere; the empty scene is one dark grey.
    until(lambda: (scene_picture(page).max(axis=2) > 60).mean() > 0.1)


def test_a_question_is_answered_with_a_box_in_the_list(shown) -> None:
    page, client = shown.page, shown.client
    ask(page, "table")
    first = page.locator(".gov-found:visible").first
    first.wait_for()
    client.until(lambda: shown.detections and shown.detections[-1].detections)
    best = shown.detections[-1].detections[0]
    text = first.inner_text()
    score, center, size = (
        best.results[0].hypothesis.score,
        best.bbox.center.position,
        best.bbox.size,
    )
    assert text.startswith(f"table {score:.2f}")
    assert f"({center.x:.2f}, {center.y:.2f}, {center.z:.2f})" in text
    assert f"{size.x:.2f} × {size.y:.2f} × {size.z:.2f} m" in text
    assert page.locator(".gov-note:visible").last.inner_text().startswith("table:")
    until(lambda: painted(scene_picture(page), TABLE).mean() > 0.003)


def test_fly_to_brings_the_highlighted_points_into_the_middle(shown) -> None:
    page = shown.page
    page.get_by_role("button", name="Fly to").first.click()

    def in_the_middle() -> bool:
        found = painted(scene_picture(page), TABLE)
        height, width = found.shape
        # Right of the camera's window.
        middle = found[int(0.3 * height) : int(0.7 * height), int(0.45 * width) : int(0.65 * width)]
        # Points are dots on dark: the label's colour is denser in the middle than elsewhere.
        return middle.mean() > 0.03 and middle.mean() > 2 * found.mean()

    until(in_the_middle)


def test_the_found_points_can_be_taken_home(shown) -> None:
    with shown.page.expect_download(timeout=PATIENCE) as download:
        shown.page.get_by_role("button", name="Download the found points").click()
    content = download.value.path().read_bytes()
    header, _, body = content.partition(b"end_header\n")
    count = int(re.search(rb"element vertex (\d+)", header)[1])
    assert b"comment label 1 table" in header
    rows = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("label", "<u4"),
                                         ("relevancy", "<f4")]))  # fmt: skip
    assert len(rows) == count > 100
    assert set(rows["label"]) == {1}
    assert rows["relevancy"].min() > 0.3


def test_texts_are_shown_as_they_are_and_never_run(shown) -> None:
    page = shown.page
    ask(page, NASTY)
    # In the answer, and in the legend.
    page.locator(".gov-note:visible", has_text=NASTY).first.wait_for()
    page.locator(".gov-legend", has_text=NASTY).first.wait_for()
    assert page.evaluate("window.bitten") is None
    assert page.locator("img[src=x]").count() == 0


def test_the_end_of_the_question_clears_list_and_colours(shown) -> None:
    page = shown.page
    ask(page, "table")
    page.locator(".gov-found:visible").first.wait_for()
    until(lambda: painted(scene_picture(page), TABLE).mean() > 0.003)
    asked = scene_picture(page)
    page.get_by_role("button", name="Stop asking").click()
    page.get_by_text("the active query has ended").wait_for()
    until(lambda: page.locator(".gov-found:visible").count() == 0)
    # The found points lose their colour, and what was dim while a question was active is not.
    until(lambda: painted(scene_picture(page), TABLE).mean() < 0.3 * painted(asked, TABLE).mean())
    until(lambda: brightened(asked, scene_picture(page)) > 1.6)


def test_words_that_were_never_taught_are_used_with_a_warning(shown) -> None:
    page, floor = shown.page, label_colors(1)[1]
    page.get_by_role("tab", name="View").click()
    page.get_by_role("button", name="Show the whole map").click()
    before = share(scene_picture(page), floor)
    page.get_by_role("tab", name="Words").click()
    field(page, "Words").fill("floor\nwall\nxylophone quux")
    page.get_by_role("button", name="Label the map with these").click()
    page.locator(".gov-warn:visible", has_text="'xylophone quux' is not covered").wait_for()
    page.locator(".gov-legend", has_text="xylophone quux").wait_for()
    # How much floor is in sight depends on which images became keyframes.
    until(lambda: share(scene_picture(page), floor) > max(0.01, 20 * before))


def test_a_map_is_saved_forgotten_and_loaded(shown) -> None:
    page, client = shown.page, shown.client
    points = client.status.points
    page.get_by_role("tab", name="Map").click()
    field(page, "Name").fill("kitchen")
    page.get_by_role("button", name="Save").click()
    page.locator(".gov-good:visible").wait_for()
    page.get_by_role("button", name="Forget the map").click()
    page.get_by_role("button", name="Forget it").click()
    client.until(lambda: client.status.points == 0)
    page.get_by_text("The map is empty").first.wait_for()
    page.get_by_role("button", name="Load").click()
    client.until(lambda: client.status.points == points)
    field(page, "Name").fill("no such map")
    page.get_by_role("button", name="Load").click()
    page.locator(".gov-bad:visible", has_text="no such map").wait_for()


def test_it_ends_with_the_launch_and_without_a_traceback(shown) -> None:
    code, _ = shown.launched.stop()
    assert code == 0
    assert "Traceback" not in shown.launched.output
    shown.page.locator(".gov-note:visible").first.wait_for()  # the page stays as it was


@pytest.fixture
def viewers(domain, tmp_path):
    """Start viewers without a mapper; return their logs."""
    started = []

    def start(*parameters: str):
        log = tmp_path / f"log{len(started)}"
        command = ["ros2", "run", "govnesf_ros", "viewer_node", "--ros-args", *parameters]
        with log.open("w") as output:
            started.append(subprocess.Popen(command, stdout=output, stderr=output))
        until(lambda: address(log.read_text()))
        return log

    yield start
    for process in started:
        process.send_signal(2)
        assert process.wait(20) in (0, 130, -2)


def test_without_a_mapper_the_page_says_what_to_do(viewers, browser) -> None:
    log = viewers("-p", "port:=0", "-p", "mapper:=/robot_7/govnesf")
    with opened(browser, address(log.read_text())) as page:
        page.get_by_text("No mapper: nothing has come on /robot_7/govnesf/status").wait_for()
        ask(page, "mug")
        page.get_by_text("There is no mapper that offers /robot_7/govnesf/query").wait_for()
        ask(page, " , ")
        page.get_by_text("Type what to look for").wait_for()
    assert "Traceback" not in log.read_text()


def test_a_taken_port_is_told_and_gone_round(viewers) -> None:
    first = address(viewers("-p", "port:=0").read_text())
    port = first.rpartition(":")[2]
    second = viewers("-p", f"port:={port}").read_text()
    assert address(second) != first
    assert f"port {port} was taken" in second


def test_an_address_that_is_not_ours_ends_the_viewer_with_a_sentence(domain) -> None:
    command = ["ros2", "run", "govnesf_ros", "viewer_node", "--ros-args", "-p", "host:=203.0.113.9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 2
    assert "viewer: cannot listen at '203.0.113.9'" in done.stderr
    assert "Traceback" not in done.stderr
