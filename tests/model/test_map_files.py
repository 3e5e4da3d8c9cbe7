"""Saved maps: what comes back is what was saved, and nothing breaks the map that is there."""

import dataclasses
import json
import os
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from furnished_room import NAMES, ColorEncoder, room_frames

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.keyframes import Keyframe
from govnesf_model.map_files import (
    MapFileError,
    _digest,
    field_key,
    load_map,
    read_map_info,
    save_map,
)
from govnesf_model.query import Query, answer
from govnesf_model.scene_map import MapConfig, SceneMap


def make_field(seed: int = 0) -> GovNesf:
    torch.manual_seed(seed)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    return GovNesf(config).eval()


def make_map(field: GovNesf, encoder=None, **changes) -> SceneMap:
    config = {"image_width": 160, "min_opacity": 0.02, **changes}
    return SceneMap(field, encoder or ColorEncoder(), MapConfig(**config))


def filled(field: GovNesf, count: int = 4, depth: bool = True, **changes) -> SceneMap:
    scene_map = make_map(field, **changes)
    for frame in room_frames(6, depth=depth)[:count]:
        scene_map.add(frame)
    return scene_map


@pytest.fixture(scope="module")
def field() -> GovNesf:
    return make_field()


@pytest.fixture(scope="module")
def full(field) -> SceneMap:
    return filled(field)


@pytest.fixture
def saved(full, tmp_path) -> Path:
    return save_map(full, tmp_path / "room").path


def assert_same(one: SceneMap, two: SceneMap) -> None:
    mine, its = one.snapshot(), two.snapshot()
    assert np.array_equal(mine.xyz, its.xyz)
    assert np.array_equal(mine.rgb, its.rgb)
    assert torch.equal(mine.features.tensor(), its.features.tensor())
    assert np.array_equal(mine.confidence, its.confidence)
    assert mine.stamp == its.stamp
    assert len(mine.keyframes) == len(its.keyframes)
    for left, right in zip(mine.keyframes, its.keyframes, strict=True):
        for item in dataclasses.fields(Keyframe):
            a, b = getattr(left, item.name), getattr(right, item.name)
            assert type(a) is type(b), item.name
            same = a == b
            assert bool(np.asarray(same).all()), item.name


@pytest.mark.parametrize("depth", [True, False], ids=["depth", "colour alone"])
def test_a_loaded_map_is_the_saved_one_and_grows_like_it(field, tmp_path, depth) -> None:
    scene_map = filled(field, depth=depth)
    assert len(scene_map.snapshot().xyz) > 300
    info = save_map(scene_map, tmp_path / "room", {"map_frame": "map"})
    assert (info.keyframes, info.points) == (4, len(scene_map.snapshot().xyz))
    loaded = make_map(field)
    again = load_map(loaded, tmp_path / "room")
    assert again == info
    assert again.notes == {"map_frame": "map"}
    assert_same(scene_map, loaded)
    assert loaded.status()["evicted"] == scene_map.status()["evicted"]
    # The volume lies where the keyframes look that are left, which may be another lattice.
    held = scene_map.status()["memory_mib"]
    assert loaded.status()["memory_mib"] == pytest.approx(held, rel=0.3)
    frame = room_frames(6, depth=depth)[4]
    assert scene_map.wants(frame.T_world_camera, 3.01) == loaded.wants(frame.T_world_camera, 3.01)
    reports = scene_map.add(frame), loaded.add(frame)
    assert reports[0].id == reports[1].id == 4
    # The volume is filled anew, view by view: sums differ in their last digits. What is rendered
    # from it depends on the lattice as well.
    near = {"rel": 0.0 if depth else 0.3}
    assert reports[0].points_added == pytest.approx(reports[1].points_added, **near)
    one, two = scene_map.snapshot(), loaded.snapshot()
    assert len(one.xyz) == pytest.approx(len(two.xyz), **near)
    if depth:
        assert torch.allclose(
            one.features.tensor().float(), two.features.tensor().float(), atol=2e-2
        )


def test_a_camera_whose_depth_fails_now_and_then_leaves_a_map_that_loads(field, tmp_path) -> None:
    scene_map = make_map(field)
    for index, frame in enumerate(room_frames(4)):
        scene_map.add(dataclasses.replace(frame, depth=None) if index % 2 else frame)
    save_map(scene_map, tmp_path / "room")
    loaded = make_map(field)
    load_map(loaded, tmp_path / "room")
    assert_same(scene_map, loaded)


def test_a_loaded_map_answers_as_before(full, saved, field) -> None:
    loaded = make_map(field)
    load_map(loaded, saved)
    before = answer(full.snapshot(), ColorEncoder(), Query(texts=NAMES))
    after = answer(loaded.snapshot(), ColorEncoder(), Query(texts=NAMES))
    assert np.array_equal(before.label, after.label)
    assert before.message == after.message


def test_versions_grow_so_that_readers_notice_a_loaded_map(saved, field) -> None:
    scene_map = filled(field, 2)
    version = scene_map.snapshot().version
    load_map(scene_map, saved)
    assert scene_map.snapshot().version > version
    assert scene_map.status()["keyframes"] == 4


def test_there_is_no_pickle_and_no_array_twice(full, saved) -> None:
    files = sorted(path.name for path in saved.iterdir())
    assert files[0] == ".lock"
    assert files[-1] == "map.json"
    assert all(name.endswith(".safetensors") for name in files[1:-1])
    held = full.status()["memory_mib"]
    # Depth is known as the keyframe's own and as the surface that it sees; the volume is not saved.
    assert read_map_info(saved).mebibytes < held


def test_saving_again_replaces_the_map_and_leaves_nothing_behind(full, saved, field) -> None:
    (saved / "tmpkilled.tmp").write_text("half")
    (saved / "00ff-00000.safetensors").write_bytes(b"of a save that was killed")
    small = filled(field, 1)
    save_map(small, saved)
    assert len(list(saved.iterdir())) == 3
    loaded = make_map(field)
    load_map(loaded, saved)
    assert_same(small, loaded)


def data_file(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def flip(path: Path, position: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(position * (len(data) - 1))] ^= 0x40
    path.write_bytes(data)


def edit(folder: Path, change) -> None:
    """Change the description and make its digest right, as somebody with an editor could."""
    described = json.loads((folder / "map.json").read_text())
    del described["sha256"]
    change(described)
    described["sha256"] = _digest(described)
    (folder / "map.json").write_text(json.dumps(described))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


HARM = {
    "data damaged": (lambda f: flip(data_file(f), 0.5), "has changed since it was written"),
    "data cut": (lambda f: cut(data_file(f)), "bytes instead of"),
    "data missing": (lambda f: data_file(f).unlink(), "is missing"),
    "description damaged": (lambda f: flip(f / "map.json", 0.7), "damaged or no description"),
    "description cut": (lambda f: cut(f / "map.json"), "damaged or no description"),
    "description missing": (lambda f: (f / "map.json").unlink(), "holds no map"),
    "description no JSON": (lambda f: (f / "map.json").write_bytes(b"\xff\x00"), "damaged or no"),
    "description deep": (lambda f: (f / "map.json").write_text("[" * 100_000), "damaged or no"),
    "foreign": (lambda f: (f / "map.json").write_text('{"format": "x"}'), "damaged or no"),
    "newer": (lambda f: edit(f, lambda d: d.update(version=2)), "version 2 and this code reads"),
    "other encoder": (lambda f: edit(f, lambda d: d.update(encoder="x")), "by the encoder x"),
    "other field": (lambda f: edit(f, lambda d: d.update(field="x-1")), "by the field x-1"),
    "path in it": (
        lambda f: edit(f, lambda d: d["files"].update({"../x": {"bytes": 1, "sha256": ""}})),
        "no name of a data file",
    ),
    "huge": (
        lambda f: edit(f, lambda d: next(iter(d["files"].values())).update(bytes=2**50)),
        "raise memory_mib",
    ),
    "no state": (lambda f: edit(f, lambda d: d.update(state=None)), "and this does not"),
    "nonsense": (lambda f: edit(f, lambda d: d.update(state={"dict": 3})), "does not fit its data"),
    "wrong arrays": (
        lambda f: edit(f, lambda d: d.update(state=_with_keyframe_value(d, "rgb", None))),
        "cannot be loaded",
    ),
    "unknown part": (
        lambda f: edit(f, lambda d: d.update(state=_with_keyframe_value(d, "wheels", 4))),
        "another version of this code",
    ),
}


def _with_keyframe_value(described, name, value):
    state = described["state"]
    keyframes = dict(state["dict"])["keyframes"]["list"]
    entries = keyframes[0]["dict"]
    entries[:] = [[key, old] for key, old in entries if key != name] + [[name, value]]
    return state


@pytest.mark.parametrize("harm", HARM)
def test_what_cannot_be_used_gets_a_sentence_and_the_map_stays(saved, field, harm) -> None:
    spoil, words = HARM[harm]
    spoil(saved)
    scene_map = filled(field, 1)
    before = scene_map.snapshot()
    with pytest.raises(MapFileError) as caught:
        load_map(scene_map, saved)
    assert words in str(caught.value)
    assert str(saved) in str(caught.value)
    assert scene_map.snapshot() is before
    scene_map.add(room_frames(6)[3])
    assert scene_map.status()["keyframes"] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"voxel_size": 0.05}, "voxel_size 0.03 and here it is 0.05: set voxel_size to 0.03"),
        ({"image_width": 320}, "set image_width to 160"),
        ({"max_keyframes": 2}, "holds 4 keyframes and max_keyframes is 2"),
        ({"memory_mib": 1.0}, "raise memory_mib"),
    ],
)
def test_other_settings_are_named(saved, field, changes, words) -> None:
    with pytest.raises(MapFileError, match=words):
        load_map(make_map(field, **changes), saved)


def test_the_field_and_the_encoder_are_known_by_their_weights(saved, field) -> None:
    assert field_key(field) == field_key(make_field())
    with pytest.raises(MapFileError, match="by the field field-"):
        load_map(make_map(make_field(1)), saved)
    other = ColorEncoder()
    other.key = "colour-of-tomorrow"
    with pytest.raises(MapFileError, match="colour-of-tomorrow is running"):
        load_map(make_map(field, other), saved)


@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_bit_anywhere_gets_through(saved, field, seed) -> None:
    chance = random.Random(seed)
    scene_map = make_map(field)
    files = [path for path in saved.iterdir() if path.name != ".lock"]
    for _ in range(40):
        path = chance.choice(files)
        whole = path.read_bytes()
        flip(path, chance.random())
        with pytest.raises(MapFileError):
            load_map(scene_map, saved)
        path.write_bytes(whole)
    load_map(scene_map, saved)


def test_an_empty_map_and_a_foreign_folder_are_refused(full, field, tmp_path) -> None:
    with pytest.raises(MapFileError, match="the map is empty"):
        save_map(make_map(field), tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MapFileError, match=r"no map \(notes.txt\): give another name"):
        save_map(full, tmp_path)
    with pytest.raises(MapFileError, match="there is no map at"):
        load_map(full, tmp_path / "nowhere")
    with pytest.raises(MapFileError, match="could not be saved"):
        save_map(full, tmp_path / "notes.txt" / "room")


def test_two_writers_do_not_mix(full, saved) -> None:
    import fcntl

    with (saved / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for action in (save_map, load_map):
            with pytest.raises(MapFileError, match="try again later"):
                action(full, saved)


def test_a_full_disk_leaves_the_old_map(full, saved, field) -> None:
    small = filled(field, 1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The same errno path as ENOSPC: the write itself fails, half-way.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(MapFileError, match=r"could not be saved.* is as it was"):
            save_map(small, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    loaded = make_map(field)
    load_map(loaded, saved)
    assert_same(full, loaded)
    assert len(list(saved.iterdir())) == 3


def test_a_map_that_cannot_fit_is_not_begun(full, tmp_path, monkeypatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(MapFileError, match="has 0 MiB free: make room"):
        save_map(full, tmp_path / "room")
    assert [path.name for path in (tmp_path / "room").iterdir()] == [".lock"]


def test_kill_9_while_saving_leaves_a_whole_map(field, tmp_path) -> None:
    maps = {count: filled(field, count) for count in (1, 3)}
    folder = tmp_path / "room"
    save_map(maps[1], folder)
    chance = random.Random(0)
    found = []
    longest, deadline = 0.05, time.monotonic() + 300
    # Until both maps were met: else no save got through, and nothing is proved.
    while len(found) < 20 or set(found) != {1, 3}:
        assert time.monotonic() < deadline, found
        child = os.fork()
        if child == 0:
            try:
                while True:
                    for count in (3, 1):
                        save_map(maps[count], folder)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.0, longest))
        if 3 not in found:  # a busy machine needs longer for a save
            longest *= 1.3
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded = make_map(field)
        found.append(load_map(loaded, folder).keyframes)
        assert_same(maps[found[-1]], loaded)
