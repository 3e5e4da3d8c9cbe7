"""`govnesf map` as a user meets it: bags of both kinds in, a report out, sentences for the rest."""

import json

import pytest
from furnished_room import room_frames, write_scene
from room_bags import record, room_messages
from rosbags.rosbag2 import StoragePlugin

from govnesf_model.cli import main
from govnesf_model.map_cli import describe_speed
from govnesf_model.map_recording import RecordingRun, Seen
from govnesf_model.pointcloud_io import read_ply

QUICK = ("--voxel-size", "0.1", "--min-translation", "0.5", "--min-rotation", "30")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("map") / "room"
    write_scene(root, room_frames(4))
    return root


@pytest.mark.parametrize(
    ("storage", "squeeze"), [(StoragePlugin.MCAP, False), (StoragePlugin.SQLITE3, True)]
)
def test_a_bag_becomes_a_report(tmp_path, capsys, storage, squeeze):
    record(tmp_path / "drive", storage, room_messages(count=3, squeeze=squeeze))
    out = tmp_path / "out"
    words = ["map", str(tmp_path / "drive"), "--text", "table", "--text", "wall", "--out", str(out)]
    assert main([*words, *QUICK]) == 0
    printed = capsys.readouterr().out
    assert f"look at {out / 'report.html'}" in printed
    assert "x real time (0.3 s recorded)" in printed
    answers = json.loads((out / "answers.json").read_text())
    assert answers["scene"]["name"] == "drive"
    assert answers["scene"]["depth"] is True
    assert answers["scene"]["recorded_seconds"] == pytest.approx(0.3, abs=0.001)
    assert sum(answers["images"]["reasons"].values()) == 3
    assert answers["images"]["reasons"]["accepted"] >= 2
    assert answers["settings"]["min_translation"] == 0.5
    assert len(read_ply(out / "cloud.ply")["x"]) == answers["map"]["points"] > 100
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_any_scene_can_be_mapped_and_without_depth(room, tmp_path, capsys):
    words = ["map", str(room), "--text", "table", "--out", str(tmp_path / "out"), "--no-depth"]
    assert main([*words, *QUICK, "--contrast", "banana", "--rate", "2"]) == 0
    assert "real time" not in capsys.readouterr().out
    answers = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert answers["scene"]["depth"] is False
    assert answers["settings"]["contrast"] == ["banana"]
    assert [stamp for _, stamp, _ in answers["images"]["outcomes"]] == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"recording": "/nowhere"}, "/nowhere is not a folder or file"),
        ({"--text": " "}, "text 1 is empty"),
        ({"--out": "FILE"}, "is a file: give a folder"),
        ({"--min-score": "1.5"}, "min_score is 1.5"),
        ({"--voxel-size": "0"}, "--voxel-size is 0: it must be more than 0"),
        ({"--rate": "nan"}, "--rate is nan: it must be more than 0"),
        ({"--max-keyframes": "1"}, "--max-keyframes is 1: it must be 2 or more"),
        ({"--memory": "10"}, "--memory is 10: it must be 64 or more"),
        ({"--vlm": "magic"}, "no encoder 'magic'"),
        ({"--checkpoint": "huge"}, "no field checkpoint named 'huge'"),
        ({"recording": "ROOM?colour=1"}, "has no option 'colour'"),
    ],
)
def test_bad_input_gets_a_sentence_and_leaves_nothing(room, tmp_path, capsys, changes, what):
    file = tmp_path / "file"
    file.write_text("")
    given = {"--text": "mug", "--out": str(tmp_path / "out"), **changes}
    recording = given.pop("recording", "ROOM").replace("ROOM", str(room))
    words = [part for pair in given.items() for part in pair]
    words = [str(file) if word == "FILE" else word for word in words]
    assert main(["map", recording, *words]) == 2
    shown = capsys.readouterr().err
    assert what in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == [file]


def test_a_bag_that_was_cut_off_is_refused_with_advice(tmp_path, capsys):
    record(tmp_path / "drive", StoragePlugin.MCAP, room_messages(count=2))
    file = next((tmp_path / "drive").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:20_000])
    words = ["map", str(file), "--text", "mug", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "ros2 bag reindex" in capsys.readouterr().err


def test_the_speed_is_said_where_there_is_one():
    images = (Seen(0, 0.0, "accepted"), Seen(1, 0.1, "static"))
    run = RecordingRun(images, {}, 10.0, 4.0)
    assert describe_speed(run) == (
        "1 keyframes of 2 images in 4.0 s: 2.50 x real time (10.0 s recorded)"
    )
    assert describe_speed(RecordingRun(images, {}, None, 4.0)).endswith("in 4.0 s")


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["map", "--help"])
    assert left.value.code == 0
    assert "--min-translation" in capsys.readouterr().out
