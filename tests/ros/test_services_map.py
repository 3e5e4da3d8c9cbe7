"""Saving and loading by service: confined, refused with sentences, never a map lost."""

import os
from pathlib import Path

import numpy as np
import pytest
from govnesf_ros.srv import MapFile, QueryText
from std_srvs.srv import SetBool, Trigger

from govnesf_model.map_files import save_map
from govnesf_ros.parameters import MapperSettings
from govnesf_ros.service_group import Refusal
from govnesf_ros.services_map import map_folder


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "maps"


@pytest.fixture
def robot(make_robot, home):
    return make_robot(3, maps_dir=str(home))


def test_a_saved_map_comes_back_after_a_reset(robot, home) -> None:
    before = robot.map.snapshot()
    saved = robot.call(MapFile, "save_map", path="house/kitchen")
    assert saved.success, saved.message
    assert saved.message.startswith(f"saved {len(before.xyz)} points and 3 keyframes to {home}")
    assert robot.call(Trigger, "reset").success
    assert "the map is empty" in robot.call(QueryText, "query", texts=["table"]).message
    loaded = robot.call(MapFile, "load_map", path="house/kitchen")
    assert loaded.success, loaded.message
    assert f"loaded {len(before.xyz)} points and 3 keyframes" in loaded.message
    after = robot.map.snapshot()
    assert np.array_equal(before.xyz, after.xyz)
    # Queries and topics follow at once.
    reply = robot.call(QueryText, "query", texts=["table"], return_cloud=True)
    assert reply.message.startswith("table: 1 found")
    assert reply.cloud.width == len(before.xyz)
    robot.graph.spin_until(
        lambda: robot.got["keyframes"] and len(robot.got["keyframes"][-1].poses) == 3
    )


def test_the_map_grows_on_after_loading(robot) -> None:
    robot.call(MapFile, "save_map", path="kitchen")
    robot.call(Trigger, "reset")
    robot.call(MapFile, "load_map", path="kitchen")
    robot.add(3)
    assert robot.map.status()["keyframes"] == 4


def test_a_map_of_another_frame_is_told_of(make_robot, robot, home) -> None:
    robot.call(MapFile, "save_map", path="kitchen")
    other = make_robot(0, "/other", maps_dir=str(home), map_frame="odom")
    reply = other.call(MapFile, "load_map", path="kitchen")
    assert reply.success
    assert "saved in the frame 'map' and are taken for 'odom'" in reply.message


ELSEWHERE = {
    "": "give the map a name",
    "  ": "give the map a name",
    "/tmp/kitchen": "is not a folder inside maps_dir",
    "../kitchen": "is not a folder inside maps_dir",
    "a/../../kitchen": "is not a folder inside maps_dir",
    "~/kitchen": "is not a folder inside maps_dir",
    ".": "is not a folder inside maps_dir",
    "x" * 5000: "has 5000 characters",
    "x" * 300: "File name too long",
    "kit\nchen": "control characters",
    "link/kitchen": "is not a folder inside maps_dir",
}


@pytest.mark.parametrize("service", ["save_map", "load_map"])
def test_paths_that_lead_elsewhere_are_refused(robot, home, tmp_path, service) -> None:
    home.mkdir()
    (tmp_path / "outside").mkdir()
    (home / "link").symlink_to(tmp_path / "outside")
    before = robot.map.snapshot()
    for path, words in ELSEWHERE.items():
        reply = robot.call(MapFile, service, path=path)
        assert not reply.success, path[:50]
        assert words in reply.message
    assert robot.map.snapshot() is before
    assert [entry.name for entry in home.iterdir()] == ["link"]
    assert not any((tmp_path / "outside").iterdir())


def test_any_folder_is_taken_where_the_parameter_allows(tmp_path) -> None:
    settings = MapperSettings(maps_dir=str(tmp_path / "maps"), maps_anywhere=True)
    assert map_folder("../else", settings) == tmp_path / "else"
    assert map_folder("/srv/kitchen", settings) == Path("/srv/kitchen")
    with pytest.raises(Refusal):
        map_folder("", settings)


def test_what_cannot_be_loaded_or_saved_is_said(robot, home) -> None:
    reply = robot.call(MapFile, "load_map", path="nowhere")
    assert not reply.success
    assert "there is no map at" in reply.message
    folder = save_map(robot.map, home / "kitchen").path
    (folder / "map.json").write_bytes(os.urandom(100))
    before = robot.map.snapshot()
    reply = robot.call(MapFile, "load_map", path="kitchen")
    assert not reply.success
    assert "damaged" in reply.message
    assert robot.map.snapshot() is before
    robot.call(Trigger, "reset")
    reply = robot.call(MapFile, "save_map", path="empty")
    assert not reply.success
    assert "the map is empty: there is nothing to save" in reply.message


def test_a_busy_mapping_thread_is_waited_for_and_named(robot, monkeypatch) -> None:
    import threading

    monkeypatch.setattr("govnesf_ros.services_map.BUSY_TIMEOUT", 0.2)
    robot.call(MapFile, "save_map", path="kitchen")
    done = threading.Event()
    thread = threading.Thread(target=robot.map_worker.call, args=(done.wait,))
    thread.start()
    try:
        before = robot.map.snapshot()
        reply = robot.call(MapFile, "load_map", path="kitchen")
        assert not reply.success
        assert "the map was not loaded: the thread was busy" in reply.message
        assert robot.map.snapshot() is before
        assert robot.call(SetBool, "pause", data=True).success
    finally:
        done.set()
        thread.join()
