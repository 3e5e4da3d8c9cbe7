"""Photographs have their size, their licence stands beside renders, nothing else moves."""

import argparse
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from govnesf_model.data.synthetic import assets, generate, photos
from govnesf_model.data.synthetic.cli import add_assets_parser
from govnesf_model.data.synthetic.generate import Settings, render_room
from govnesf_model.data.synthetic.layout import build_room
from govnesf_model.data.synthetic.photos import CATALOGUE, Photos, fetched_jar

SMALL = Settings(views=2, width=48, height=36, assets="procedural")
PROPERTIES = """license=GNU GPL / CC-BY 3.0
image#1=/textures/woodenFloor.jpg
width#1=60
height#1=40
image#2=/textures/oldWoodenFloor.jpg
width#2=30
height#2=30
image#3=/textures/veryCloudy.jpg
width#3=100
height#3=50
"""


def _jar(path: Path, properties: str = PROPERTIES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (20, 60, 200)  # BGR: the left half is red
    data = cv2.imencode(".png", image)[1].tobytes()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(CATALOGUE, properties)
        for name in ("woodenFloor", "oldWoodenFloor", "veryCloudy"):
            file.writestr(f"textures/{name}.jpg", data)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))
    monkeypatch.setattr(photos, "INSTALLED", tmp_path / "nowhere.jar")
    generate._photos.cache_clear()
    yield tmp_path
    generate._photos.cache_clear()


def test_a_photograph_covers_what_its_catalogue_says(tmp_path):
    found = Photos(_jar(tmp_path / "a.jar"))
    assert set(found.images) == {"woodenFloor", "oldWoodenFloor"}  # no use for a sky
    texture, edge = found.square("woodenFloor")
    # 60 x 40 cm twice across and three times down are a square of 1.2 m.
    assert edge == pytest.approx(1.2)
    assert texture.shape[0] == texture.shape[1]
    red = texture[10, :, 0] > 100
    assert red.mean() == pytest.approx(0.5, abs=0.05)
    assert np.count_nonzero(np.diff(red.astype(int))) == 3  # red, black, red, black
    np.testing.assert_allclose(texture[10, 5, :3], [200, 60, 20], atol=3)


def test_a_drawn_photograph_is_named(tmp_path):
    found = Photos(_jar(tmp_path / "a.jar"))
    drawn = found.draw("parquet", np.random.default_rng(0))
    assert (drawn.photo, drawn.word) == ("woodenFloor", "wooden")
    assert 1.0 < drawn.scale < 1.5
    assert found.draw("brick", np.random.default_rng(0)) is None


def test_textures_without_the_licence_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"do not state the licence CC-BY 3\.0"):
        Photos(_jar(tmp_path / "a.jar", PROPERTIES.replace(" / CC-BY 3.0", "")))


def test_rooms_with_photographs_say_whose_they_are(cache):
    _jar(fetched_jar())
    settings = Settings(**{**SMALL.__dict__, "photos": True})
    for seed in range(8):
        room = render_room(seed, "train", settings)[0].room
        if "woodenFloor" in room.attribution:
            break
    assert "| woodenFloor |" in room.attribution
    assert "Emmanuel Puybaret" in room.attribution
    assert "CC-BY-3.0" in room.attribution
    assert "photograph" not in render_room(seed, "train", SMALL)[0].room.attribution


def test_photographs_are_only_taken_when_asked_for(cache):
    before = build_room(3, "train", None)
    _jar(fetched_jar())
    after = build_room(3, "train", None)
    assert [t.name for t in before.things] == [t.name for t in after.things]
    assert not any(m.photo for t in after.things for m in t.mesh.materials)


def test_missing_photographs_say_what_to_run(cache):
    with pytest.raises(FileNotFoundError, match="govnesf data assets --photos"):
        render_room(0, "train", Settings(**{**SMALL.__dict__, "photos": True}))


def test_the_command_says_what_to_do_without_apt(cache, monkeypatch):
    for name in assets.CATALOGUES.values():
        (cache / f"{name}.sh3f").touch()
    monkeypatch.setattr(assets, "FOLDERS", (cache,))
    monkeypatch.setenv("PATH", str(cache))
    parser = argparse.ArgumentParser()
    add_assets_parser(parser.add_subparsers())
    args = parser.parse_args(["assets", "--photos"])
    with pytest.raises(
        FileNotFoundError, match=r"apt-get .* unpack the Debian package sweethome3d"
    ):
        args.run(args)
    assert not os.path.exists(fetched_jar())
