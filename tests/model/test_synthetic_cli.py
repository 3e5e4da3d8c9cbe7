"""The commands make scenes, go on where they stopped, and say what is wrong."""

import argparse

import cv2
import pytest

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.data.synthetic import assets, generate
from govnesf_model.data.synthetic.cli import add_assets_parser, add_synth_parser


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(required=True)
    add_synth_parser(subparsers)
    add_assets_parser(subparsers)
    args = parser.parse_args(words)
    return args.run(args)


def test_synth_makes_scenes_and_a_contact_sheet(tmp_path, capsys):
    common = ["--size", "80x60", "--views", "5", "--workers", "1", "--assets", "procedural"]
    assert _run("synth", "--scenes", "2", "--out", str(tmp_path), "--seed", "3", *common) == 0
    scene = open_scene(tmp_path / "train_00003")
    assert (len(scene), scene.width, scene.height) == (5, 80, 60)
    assert scene.target == (4,)
    assert scene.reference == (0, 1, 2, 3)
    assert (scene[0].depth > 0).all()
    sheet = cv2.imread(str(tmp_path / "contact_sheet.png"))
    assert sheet.shape == (2 * 180, 6 * 240, 3)
    assert "2 rooms" in capsys.readouterr().out


def test_missing_catalogues_end_the_command_before_any_room(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "FOLDERS", (tmp_path,))
    generate._catalogues.cache_clear()
    with pytest.raises(FileNotFoundError, match="run `govnesf data assets`"):
        _run("synth", "--out", str(tmp_path / "rooms"), "--scenes", "50")
    assert not (tmp_path / "rooms").exists()


def test_a_run_goes_on_where_it_stopped_and_shows_its_progress(tmp_path, capsys):
    common = ["--size", "48x36", "--views", "2", "--workers", "1", "--assets", "procedural"]
    _run("synth", "--scenes", "1", "--out", str(tmp_path), *common)
    before = (tmp_path / "train_00000" / "scene.json").stat().st_mtime_ns
    (tmp_path / ".train_00001.123.part").mkdir()  # what a killed run left
    _run("synth", "--scenes", "2", "--out", str(tmp_path), *common)
    assert (tmp_path / "train_00000" / "scene.json").stat().st_mtime_ns == before
    assert (tmp_path / "train_00001" / "scene.json").is_file()
    assert not list(tmp_path.glob(".*"))
    assert "2/2" in capsys.readouterr().err


def test_synth_refuses_a_size_that_is_none(tmp_path):
    with pytest.raises(SystemExit, match="WIDTHxHEIGHT"):
        _run("synth", "--out", str(tmp_path), "--size", "320")


def test_assets_says_where_the_catalogues_are_or_how_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(assets, "FOLDERS", (tmp_path,))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _run("assets") == 1
    assert "sweethome3d-furniture" in capsys.readouterr().err
    for name in assets.CATALOGUES.values():
        (tmp_path / f"{name}.sh3f").touch()
    assert _run("assets") == 0
    assert str(tmp_path) in capsys.readouterr().out
