import argparse
import pickle

import pytest
from furnished_room import room_frames, write_scene

from govnesf_model.data.posed_scene import SceneError
from govnesf_model.extract import add_parser, extract_scene

SIZE = (64, 48)


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        write_scene(tmp_path / "scenes" / name, room_frames(3, width=64, height=48))
    return tmp_path / "scenes"


def extract(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["extract", *map(str, words)])
    return arguments.run(arguments)


def test_the_command_fills_the_cache_and_goes_on_where_it_stopped(scenes, capsys):
    words = (scenes, "--vlm", "embedded", "--size", 64, 48, "--device", "cpu")
    assert extract(*words, "--views", 2) == 0
    # The two scenes show the same, but each has files of its own.
    assert "4 frames computed, 0 were there" in capsys.readouterr().out
    assert extract(*words) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 scenes")
    assert f"{scenes.parent}/cache/ov/" in said
    assert "2 frames computed, 4 were there" in said
    assert extract(*words) == 0
    assert "0 frames computed, 6 were there" in capsys.readouterr().out


def test_a_scene_that_cannot_be_read_is_named_and_left_out(scenes, capsys):
    next((scenes / "one/pose").iterdir()).write_text("no numbers")
    assert extract(scenes, "--vlm", "embedded", "--size", 64, 48, "--device", "cpu") == 1
    said = capsys.readouterr().out
    assert "3 frames computed" in said
    assert "left out" in said
    assert "one" in said


def test_a_scene_is_a_job_that_another_process_can_do(scenes):
    job = pickle.loads(pickle.dumps(extract_scene))
    report = job(str(scenes / "one"), "embedded", SIZE, device="cpu")
    assert (report.scene, report.computed) == ("one", 3)
    assert pickle.loads(pickle.dumps(report)) == report
    with pytest.raises(SceneError):
        job(str(scenes / "none"), "embedded", SIZE, device="cpu")
