"""`govnesf evaluate` from files on disk to JSON, and what it keeps between runs."""

import json
from argparse import ArgumentParser

import numpy as np
import pytest
from box_field import tiny_field
from furnished_room import NAMES, ColorEncoder, room_frames, write_scene

from govnesf_model import evaluate
from govnesf_model.checkpoint import save_field
from govnesf_model.cluster import TasksFailed
from govnesf_model.evaluation import models as models_module
from govnesf_model.evaluation.report import build_report


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "room"
    write_scene(root, room_frames(4, 80, 60), target=(2,))
    return root


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    distilled = tiny_field(use_mjf=False, distill_dim=ColorEncoder.dim)
    return {
        "ours": save_field(tiny_field(), folder / "ours.safetensors"),
        "distilled": save_field(distilled, folder / "distilled.safetensors"),
    }


@pytest.fixture
def command(checkpoints, monkeypatch, tmp_path):
    """Run the command with the encoder that knows colours; return its report."""
    models_module._encoder.cache_clear()
    monkeypatch.setattr(models_module, "load_vlm", lambda spec, device: ColorEncoder())

    def call(*words: object, json_file: str = "result.json") -> dict:
        parser = ArgumentParser()
        evaluate.add_parser(parser.add_subparsers())
        file = tmp_path / "out" / json_file
        common = ("--width", 80, "--device", "cpu", "--checkpoint", checkpoints["ours"])
        words = ("evaluate", *words, *common, "--json", file)
        arguments = parser.parse_args(list(map(str, words)))
        assert arguments.run(arguments) == 0
        return json.loads(file.read_text())

    yield call
    models_module._encoder.cache_clear()


def test_json_keeps_its_names(command, scene, capsys):
    report = command(scene, "--task", "3d", "--method", "govnesf_dgm")
    assert set(report["scenes"]) == {"room"}
    for row in (report["scenes"]["room"], report["mean"]):
        assert {"miou", "oacc", "macc", "per_class", "seconds", "peak_mib"} <= set(row)
        assert 0 < row["miou"] <= 1
        assert row["peak_mib"] > 50
    assert set(report["mean"]["per_class"]) <= set(NAMES)
    assert report["pooled"]["miou"] == pytest.approx(report["mean"]["miou"])
    assert report["settings"]["method"] == ["govnesf_dgm"]
    assert "confusion" not in report["scenes"]["room"]
    assert "miou" in capsys.readouterr().out


def test_several_methods_each_have_a_report(command, scene, checkpoints, capsys):
    report = command(
        *(scene, "--task", "3d", "--method", "average", "--method", "distill"),
        *("--distill-checkpoint", checkpoints["distilled"]),
    )
    assert list(report["methods"]) == ["average", "distill"]
    for one in report["methods"].values():
        assert {"scenes", "mean", "pooled"} == set(one)
    shown = capsys.readouterr().out
    assert "distill pooled" in shown
    assert "average mean" in shown


def test_what_is_done_is_kept_and_what_changed_is_measured_again(command, scene, capsys, tmp_path):
    words = (scene, "--task", "2d", "--method", "vlm_view")
    first = command(*words)
    assert "there already" not in capsys.readouterr().out
    second = command(*words)
    assert "1 of 1 results are there already" in capsys.readouterr().out
    assert second["scenes"] == first["scenes"]  # seconds and all
    # One more method: only that one is measured.
    both = command(*words, "--method", "average")
    assert "1 of 2 results" in capsys.readouterr().out
    assert both["methods"]["vlm_view"]["scenes"] == first["scenes"]
    # Other settings, a fresh run, a damaged file: measured anew.
    command(*words, "--rays-per-view", "100")
    assert "pixels of each view, drawn with seed 0" in capsys.readouterr().out
    assert "there already" not in capsys.readouterr().out
    command(*words, "--fresh")
    assert "there already" not in capsys.readouterr().out
    for file in (tmp_path / "out" / "result.json.scenes").iterdir():
        file.write_text(file.read_text()[:-9])
    command(*words)
    assert "there already" not in capsys.readouterr().out


def test_a_changed_scene_is_measured_again(command, tmp_path, capsys):
    root = tmp_path / "changing"
    write_scene(root, room_frames(3, 80, 60), target=(1,))
    words = (root, "--task", "2d", "--method", "vlm_view")
    before = command(*words)["mean"]["miou"]
    classes = json.loads((root / "classes.json").read_text())
    classes["classes"]["4"] = "no such colour"
    (root / "classes.json").write_text(json.dumps(classes))
    after = command(*words)["mean"]["miou"]
    assert "there already" not in capsys.readouterr().out
    assert after < before


def test_a_scene_that_fails_leaves_the_others_their_results(command, scene, tmp_path, capsys):
    broken = tmp_path / "broken"
    write_scene(broken, room_frames(3, 80, 60), target=(1,))
    (broken / "label" / "0001.png").write_bytes(b"no image")
    words = ("--task", "2d", "--method", "vlm_view")
    with pytest.raises(TasksFailed, match=r"1 of 2 scenes failed.*broken.*not a readable image"):
        command(broken, scene, *words)
    command(scene, *words)
    assert "1 of 1 results are there already" in capsys.readouterr().out


def test_scenes_of_one_name_keep_their_paths(command, scene, tmp_path):
    other = tmp_path / "elsewhere" / "room"
    write_scene(other, room_frames(3, 80, 60), target=(1,))
    report = command(scene, other, "--task", "2d", "--method", "vlm_view")
    assert set(report["scenes"]) == {str(scene), str(other)}


def test_a_folder_of_scenes_is_all_of_them(command, tmp_path):
    for name in ("a", "b"):
        write_scene(tmp_path / "rooms" / name, room_frames(3, 80, 60), target=(1,))
    report = command(tmp_path / "rooms", "--task", "2d", "--method", "vlm_view")
    assert list(report["scenes"]) == ["a", "b"]


def test_models_that_do_not_fit_are_refused_before_any_work(command, scene, checkpoints):
    with pytest.raises(ValueError, match="--distill-checkpoint"):
        command(scene, "--task", "3d", "--method", "distill")
    ours = checkpoints["ours"]
    with pytest.raises(ValueError, match="no Distill baseline"):
        command(scene, "--task", "3d", "--method", "distill", "--distill-checkpoint", ours)
    with pytest.raises(ValueError, match="use 2d"):
        command(scene, "--task", "3d", "--method", "vlm_view")


def test_pooling_matches_classes_by_name_and_is_no_mean():
    def row(matrix, names):
        scores = np.array(matrix)
        return {"confusion": scores.tolist(), "classes": names, "per_class": {}, "miou": 0.5}

    one = row([[8, 2, 0], [0, 0, 0], [0, 0, 0]], ["mug", "table"])
    two = row([[30, 10, 0], [0, 5, 0], [0, 0, 0]], ["table", "mug"])
    pooled = build_report({"a": one, "b": two})["pooled"]
    # mug: 8 + 5 hits, 2 missed, 10 wrongly called mug; table: 30 hits, 10 missed, 2 wrongly.
    assert pooled["per_class"] == pytest.approx({"mug": 13 / 25, "table": 30 / 42})
    assert pooled["oacc"] == pytest.approx(43 / 55)
    assert pooled["macc"] == pytest.approx((13 / 15 + 30 / 40) / 2)
