"""Rooms are what their seed says, from assets that their split may use, and sensibly furnished."""

import json

import numpy as np
import pytest

from govnesf_model.data.synthetic import materials
from govnesf_model.data.synthetic.assets import Catalogues
from govnesf_model.data.synthetic.generate import Settings, generate_scene
from govnesf_model.data.synthetic.layout import build_room
from govnesf_model.data.synthetic.mesh import Material
from govnesf_model.data.synthetic.names import (
    DEMO_MODELS,
    SPLITS,
    model_splits,
    models_of,
    object_classes,
)
from govnesf_model.data.synthetic.recolor import tinted
from govnesf_model.data.synthetic.shapes import box
from govnesf_model.data.synthetic.things import PROCEDURAL, make

SMALL = Settings(views=3, width=80, height=60, assets="procedural")


def _files(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_a_seed_is_a_scene(tmp_path):
    a = _files(generate_scene(tmp_path / "a" / "s", 5, "train", SMALL))
    b = _files(generate_scene(tmp_path / "b" / "s", 5, "train", SMALL))
    c = _files(generate_scene(tmp_path / "c" / "s", 6, "train", SMALL))
    assert a == b
    assert a["rgb/0000.jpg"] != c["rgb/0000.jpg"]


def test_a_scene_holds_what_the_format_promises(tmp_path):
    folder = generate_scene(tmp_path / "s", 8, "val", SMALL)
    assert not list(tmp_path.glob(".*"))
    meta = json.loads((folder / "scene.json").read_text())
    assert (meta["split"], meta["seed"], meta["gravity"]) == ("val", 8, [0, 0, -1])
    classes = set(json.loads((folder / "classes.json").read_text())["classes"].values())
    assert set(json.loads((folder / "texts.json").read_text())) == classes
    instances = json.loads((folder / "instances.json").read_text())
    assert {i["class"] for i in instances.values()} == classes
    assert all(
        {"name", "color", "material", "asset", "license"} <= set(i) for i in instances.values()
    )
    assert any(i["color"] for i in instances.values())
    assert any(i["material"] for i in instances.values())
    assert "Sweet Home 3D" in (folder / "ATTRIBUTION.md").read_text()


def test_a_complete_scene_is_not_made_again(tmp_path):
    folder = generate_scene(tmp_path / "s", 8, "val", SMALL)
    before = (folder / "scene.json").stat().st_mtime_ns
    generate_scene(folder, 8, "val", SMALL)
    assert (folder / "scene.json").stat().st_mtime_ns == before


def test_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown split 'trian'"):
        generate_scene(tmp_path / "s", 0, "trian", SMALL)


def test_splits_share_no_model():
    every = [m for row in object_classes().values() for m in row.models]
    assert len(every) == len(set(every))
    by_split = {s: {m for n in object_classes() for m in models_of(n, s)} for s in SPLITS}
    assert sum(map(len, by_split.values())) == len(every)
    assert by_split["demo"] == DEMO_MODELS
    share = len(by_split["train"]) / len(every)
    assert 0.75 < share < 0.95
    families = {m for m in every if m.startswith("s:beige_sofa")}
    assert len({model_splits()[m] for m in families}) == 1


def test_every_class_is_taught():
    """A class has training assets: catalogue models or parametric shapes."""
    for name, row in object_classes().items():
        taught = row.place == "structure" or name in PROCEDURAL or models_of(name, "train")
        assert taught, name


def test_demo_models_are_free_and_taught_by_others():
    splits = model_splits()
    for model in DEMO_MODELS:
        assert model.startswith("b:")
        (name,) = [n for n, row in object_classes().items() if model in row.models]
        assert any(splits[m] == "train" for m in object_classes()[name].models)


def test_no_forbidden_catalogue_is_named():
    assert {m[0] for row in object_classes().values() for m in row.models} == {"s", "b", "k"}


@pytest.mark.parametrize("split", SPLITS)
def test_a_room_shows_models_of_its_split_alone(split):
    library = Catalogues.find()
    if library is None:
        pytest.skip("the furniture catalogues are not installed: govnesf data assets")
    room = build_room(1, split, library)
    shown = {t.asset for t in room.things if t.asset[1] == ":"}
    assert shown
    assert {model_splits()[asset] for asset in shown} == {split}
    parametric = [t.asset.split(":")[2] for t in room.things if t.asset.count(":") == 2]
    assert all(name.startswith(split) for name in parametric)


@pytest.mark.parametrize("seed", range(4))
def test_things_are_in_the_room_and_apart(seed):
    room = build_room(seed, "train", None)
    assert len(room.things) > 15
    for thing in room.things:
        low, high = thing.mesh.low, thing.mesh.high
        if thing.name not in ("door", "window"):
            assert (low > -0.03).all(), thing.name
            assert (high < np.array([room.width, room.depth, room.height]) + 0.03).all(), thing.name
    small = [t for t in room.things if object_classes()[t.name].place == "top"]
    for i, a in enumerate(small):
        for b in small[:i]:
            gap = np.maximum(a.mesh.low - b.mesh.high, b.mesh.low - a.mesh.high).max()
            assert gap > -1e-3, (a.name, b.name)


@pytest.mark.parametrize("name", sorted(PROCEDURAL))
def test_parametric_things_stand_on_the_floor_and_face_forward(name):
    for seed in range(3):
        shape = make(name, np.random.default_rng(seed))
        mesh = shape.mesh
        assert np.isfinite(mesh.points).all()
        assert np.isfinite(mesh.uv).all()
        assert abs(float(mesh.low[2])) < 4e-3
        assert 1e-3 < float(mesh.size.max()) < 3.0
        lengths = np.linalg.norm(mesh.normals, axis=-1)
        assert (np.abs(lengths - 1) < 1e-3).mean() > 0.98


def test_a_named_colour_is_that_colour():
    rng = np.random.default_rng(0)
    for name in materials.COLORS:
        found = [
            materials.color_name(np.array(materials.named_color(name, rng))) for _ in range(20)
        ]
        assert sum(f in (name, None) for f in found) >= 19, (name, found)


def test_tint_keeps_light_and_dark_and_takes_the_hue():
    mesh = box((1, 1, 1), material=Material(color=(0.1, 0.4, 0.9)))
    red = materials.named_color("red", np.random.default_rng(1))
    color = tinted(mesh, red).materials[0].color
    assert materials.color_name(np.array(color)) == "red"
