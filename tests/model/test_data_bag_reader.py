"""Bags stay open between images, and that never shows but in the time it takes."""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
from room_bags import PERIOD, START, record, room_messages
from rosbags.rosbag2 import StoragePlugin

from govnesf_model.data.posed_scene import SceneError, open_scene
from govnesf_model.data.readers import bag_reader
from govnesf_model.data.readers.bag_reader import MOST_OPEN, Bag

TOPIC = "/camera/color/image_raw"
STORAGES = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]


def time_of(number: int) -> int:
    return START + number * PERIOD + 40_000_000


def opened_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_is_opened_once(tmp_path, monkeypatch, storage):
    record(tmp_path / "bag", storage, room_messages(count=3))
    made = []
    opened = bag_reader._opened
    monkeypatch.setattr(bag_reader, "_opened", lambda path: made.append(path) or opened(path))
    bag = Bag(tmp_path / "bag")
    images = [np.asarray(bag.message(TOPIC, time_of(n)).data) for n in (2, 0, 1, 0)]
    assert (images[1] == images[3]).all()
    assert not (images[0] == images[1]).all()
    assert len(made) == 1


@pytest.mark.parametrize("storage", STORAGES)
def test_threads_and_processes_read_the_same(tmp_path, storage):
    record(tmp_path / "bag", storage, room_messages(count=3))
    scene = open_scene(tmp_path / "bag")
    wanted = [scene[number].rgb for number in range(3)]

    read = {}
    threads = [
        threading.Thread(target=lambda n=n: read.update({n: scene[n].rgb})) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((read[number] == wanted[number]).all() for number in range(3))

    with multiprocessing.get_context("fork").Pool(2) as pool:  # forked with the bag open
        for number, image in enumerate(pool.map(_image, [(scene, n) for n in (0, 1, 2)])):
            assert (image == wanted[number]).all()
    assert (scene[1].rgb == wanted[1]).all()


def _image(job):
    scene, number = job
    return scene[number].rgb


def test_a_bag_can_be_pickled(tmp_path):
    record(tmp_path / "bag", StoragePlugin.MCAP, room_messages(count=2))
    bag = Bag(tmp_path / "bag")
    bag.message(TOPIC, time_of(0))
    again = pickle.loads(pickle.dumps(bag))
    assert again.message(TOPIC, time_of(1)).width == 200


def test_many_bags_do_not_use_up_the_files(tmp_path):
    bags = []
    for number in range(MOST_OPEN + 4):
        record(tmp_path / f"bag{number}", StoragePlugin.MCAP, room_messages(count=1))
        bags.append(Bag(tmp_path / f"bag{number}"))
    before = opened_files()
    for bag in bags:
        bag.message(TOPIC, time_of(0))
    assert opened_files() - before <= MOST_OPEN
    assert bags[0].message(TOPIC, time_of(0)).width == 200


def test_a_bag_that_was_recorded_anew_is_read_anew(tmp_path):
    record(tmp_path / "bag", StoragePlugin.MCAP, room_messages(count=1))
    file = next((tmp_path / "bag").glob("*.mcap"))
    bag = Bag(file)
    bag.message(TOPIC, time_of(0))
    record(tmp_path / "other", StoragePlugin.MCAP, room_messages(count=3))
    os.replace(next((tmp_path / "other").glob("*.mcap")), file)
    assert bag.message(TOPIC, time_of(2)).width == 200


def test_what_is_lost_is_said(tmp_path):
    record(tmp_path / "bag", StoragePlugin.MCAP, room_messages(count=1))
    bag = Bag(tmp_path / "bag")
    with pytest.raises(SceneError, match=f"lost the message of {TOPIC}"):
        bag.message(TOPIC, time_of(7))
    next((tmp_path / "bag").glob("*.mcap")).unlink()
    with pytest.raises(SceneError, match="cannot be read as a bag"):
        Bag(tmp_path / "nowhere").message(TOPIC, 0)
