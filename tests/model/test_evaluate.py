"""Evaluation on a room where the encoder is right by construction."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch
from box_field import tiny_field
from furnished_room import NAMES, ColorEncoder, room_frames, write_scene

from govnesf_model import evaluate as module
from govnesf_model.baselines import METHODS, as_label, masking_of, with_method
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.evaluate import (
    evaluate_scene,
    reference_views,
    run,
    scored_classes,
    spread,
    truth_points,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "room"
    write_scene(root, room_frames(7), target=(3,))
    return open_scene(root)


@pytest.fixture(scope="module")
def field():
    return tiny_field()


def settings(**changes) -> Namespace:
    values = {
        "task": "3d",
        "method": "govnesf",
        "reference_views": 0,
        "width": 160,
        "voxel": 0.05,
        "depth_tolerance": 0.05,
        "vlm": "embedded",
        "checkpoint": "small",
        "device": "cpu",
    }
    return Namespace(**{**values, **changes})


def test_truth_points_are_one_per_voxel_with_the_majority_label(scene):
    xyz, label = truth_points(scene, 0.1)
    cells = np.floor(xyz / 0.1).astype(int)
    assert len(np.unique(cells, axis=0)) == len(xyz)
    floor = label == NAMES.index("floor") + 1
    assert np.abs(xyz[floor, 2]).max() < 0.06
    assert floor.mean() > 0.2
    assert set(np.unique(label)) <= set(range(1, 7))


@pytest.mark.parametrize(
    ("method", "least"), [("govnesf_dgm", 0.9), ("average_depth", 0.9), ("average", 0.5)]
)
def test_points_are_labelled(scene, field, method, least):
    torch.manual_seed(0)
    metrics, (classes, matrix) = evaluate_scene(
        scene, field, ColorEncoder(), settings(method=method)
    )
    assert metrics["miou"] > least
    assert metrics["oacc"] > least
    assert metrics["references"] == 6
    assert list(classes.values()) == list(NAMES)
    assert matrix.sum() == len(truth_points(scene, 0.05)[0])


def test_masking_by_depth_beats_looking_through_things(scene, field):
    scores = {
        method: evaluate_scene(scene, field, ColorEncoder(), settings(method=method))[0]["miou"]
        for method in ("average", "average_depth")
    }
    assert scores["average_depth"] > scores["average"] + 0.02


def test_the_encoder_on_the_view_itself_is_right_up_to_its_stride(scene, field):
    metrics, _ = evaluate_scene(
        scene, field, ColorEncoder(), settings(task="2d", method="vlm_view")
    )
    assert metrics["oacc"] > 0.95
    assert metrics["miou"] > 0.8


@pytest.mark.parametrize("method", ["govnesf", "average", "vlm_rendered"])
def test_novel_labels_run_for_every_method(scene, field, method):
    arguments = settings(task="2d", method=method, width=80)
    metrics, (_, matrix) = evaluate_scene(scene, field, ColorEncoder(), arguments)
    assert matrix.sum() == 120 * 160  # every pixel of the one target frame
    assert 0.0 <= metrics["miou"] <= 1.0


def test_novel_views_give_psnr_ssim_and_depth(scene, field):
    metrics, matrix = evaluate_scene(scene, field, ColorEncoder(), settings(task="nvs", width=80))
    assert matrix is None
    assert 5 < metrics["psnr"] < 40
    assert -1 <= metrics["ssim"] <= 1
    assert metrics["depth_median_error"] > 0


def test_equal_weights_are_equal_and_leave_the_density_alone(scene, field):
    views, volume = reference_views(
        scene, [0, 1, 2], field, ColorEncoder(), settings(method="govnesf_dgm")
    )
    points = torch.from_numpy(truth_points(scene, 0.2)[0])
    average = with_method(field, "average_depth")
    blend = average.blend(points, views, volume, masking="depth")
    weights = blend.w_semantic[blend.valid.any(1)]
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))
    for row, valid in zip(blend.w_semantic, blend.valid, strict=True):
        assert len(torch.unique(row[valid])) <= 1
    assert torch.equal(average.density(points, volume), field.density(points, volume))
    assert with_method(field, "govnesf") is field
    with pytest.raises(ValueError, match="choose one of"):
        with_method(field, "magic")
    assert {masking_of(method) for method in METHODS} == {"none", "depth"}


def test_methods_without_depth_do_not_see_any(scene, field):
    views, _ = reference_views(scene, [0, 1], field, ColorEncoder(), settings(method="average"))
    assert views.depth is None


def test_references_are_limited_evenly():
    assert spread(range(10), 3) == [0, 4, 9]
    assert spread([5, 7], 9) == [5, 7]
    assert spread([5, 7], 0) == [5, 7]


def test_nothing_seen_is_no_class():
    scores = torch.tensor([[0.1, 0.3], [0.0, 0.0]])
    assert as_label(scores, [4, 9]).tolist() == [9, -1]


def test_json_keeps_its_names(scene, field, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "load_field", lambda name, device: field)
    monkeypatch.setattr(module, "load_vlm", lambda name, device: ColorEncoder())
    file = tmp_path / "out" / "result.json"
    arguments = settings(method="govnesf_dgm", scenes=[scene.root, scene.root], json=file)
    assert run(arguments) == 0
    report = json.loads(file.read_text())
    assert set(report["scenes"]) == {str(scene.root)}
    for row in (report["scenes"][str(scene.root)], report["mean"]):
        assert {"miou", "oacc", "macc", "per_class", "seconds", "peak_mib"} <= set(row)
        assert 0 < row["miou"] <= 1
        assert row["peak_mib"] > 50
    assert set(report["mean"]["per_class"]) <= set(NAMES)
    assert report["pooled"]["miou"] == pytest.approx(report["mean"]["miou"])
    assert "miou" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"task": "3d", "method": "vlm_view"}, "use 2d"),
        ({"task": "nvs", "method": "vlm_view"}, "use 2d"),
    ],
)
def test_impossible_combinations_are_refused(scene, field, changes, what, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_field", lambda name, device: field)
    monkeypatch.setattr(module, "load_vlm", lambda name, device: ColorEncoder())
    arguments = settings(**changes, scenes=[scene.root], json=tmp_path / "x.json")
    with pytest.raises(ValueError, match=what):
        run(arguments)


def test_scenes_without_truth_are_refused(field, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_field", lambda name, device: field)
    monkeypatch.setattr(module, "load_vlm", lambda name, device: ColorEncoder())
    write_scene(tmp_path / "bare", room_frames(2, depth=False))
    for task, what in (("2d", "target"), ("nvs", "target"), ("3d", "depth")):
        arguments = settings(task=task, scenes=[tmp_path / "bare"], json=tmp_path / "x.json")
        with pytest.raises(ValueError, match=what):
            run(arguments)
    assert scored_classes(open_scene(tmp_path / "bare"))
