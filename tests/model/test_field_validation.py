import argparse
import json

import numpy as np
import pytest
import torch
from box_field import tiny_field
from box_room import UPPER, write_room

from govnesf_model.checkpoint import save_field
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.field_validation import (
    add_parser,
    build_scene,
    chosen_views,
    validate_folder,
    validate_folders,
)
from govnesf_model.ov_features import OvCache
from govnesf_model.palette import label_colors
from govnesf_model.scene_tensors import load_scene


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms") / "box"
    write_room(folder, count=8)
    return folder


SIZE = (64, 48)


def test_metrics_and_pictures_of_a_room(room):
    results, sheet = validate_folders(tiny_field(), [room], targets=2, progress=False, size=SIZE)
    metrics = results["box"]
    assert results["mean"]["psnr"] == pytest.approx(metrics["psnr"])
    assert 3 < metrics["psnr"] < 40
    assert metrics["references"] == 6
    assert 0 <= metrics["label_field"] <= 1
    # With a handful of views an untrained blend is close to the average.
    assert metrics["label_average"] > 0.5
    # Two targets; colour, depth and labels, true and rendered.
    assert sheet.shape == (2 * 24, 6 * 32, 3)
    assert sheet.dtype == np.uint8
    panels = sheet.reshape(48, 6, 32, 3)
    assert all(float(panels[:, number].std()) > 5 for number in range(6))


def test_label_panels_show_labels_of_the_room(room):
    paper = {"stereo_planes": 0, "evidence_split": 0, "encode_surface": False}
    foggy, thin = tiny_field(**paper), tiny_field(**paper)
    _, sheet = validate_folders(foggy, [room], targets=1, progress=False, size=SIZE)
    walls = {tuple(color) for color in label_colors(6)[1:].tolist()}
    true, shown = sheet[:, 4 * 32 : 5 * 32], sheet[:, 5 * 32 :]
    assert {tuple(color) for color in true.reshape(-1, 3).tolist()} <= walls
    # The paper's field is a fog untrained, opaque at once: some label for every pixel.
    assert {tuple(color) for color in shown.reshape(-1, 3).tolist()} <= walls
    thin.density_out[-1].bias.data.fill_(-20.0)
    _, sheet = validate_folders(thin, [room], targets=1, progress=False, size=SIZE)
    assert (sheet[:, 5 * 32 :] == label_colors(0)[0]).all()


def test_measured_depth_makes_the_scene_without_training(room):
    field = tiny_field()
    references = load_scene(open_scene(room), SIZE, [0, 2, 4, 6])
    views, volume = build_scene(field, references, measured=True)
    assert torch.equal(views.surface.depth, references.depth)
    assert float(volume.evidence[:, 1].max()) > 0.5
    blind, _ = build_scene(field, references)  # stereo, at stride 4
    assert blind.surface.depth.shape == (4, 12, 16)
    assert float(volume.grid.lower.min()) > -0.7  # what was measured bounds the grid
    assert float((volume.grid.upper - UPPER).max()) < 0.7


def test_the_field_is_built_from_references_alone(room):
    field = tiny_field()
    references = load_scene(open_scene(room), (64, 48), [0, 2, 4])
    views, volume = build_scene(field, references)
    assert len(views) == 3
    assert volume.features.shape[1:] == volume.grid.shape


def test_the_command_writes_its_report(room, tmp_path, capsys):
    path = save_field(tiny_field(), tmp_path / "f.safetensors")
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = ["validate", "--checkpoint", str(path), "--val", str(room), "--references", "3"]
    words += ["--size", "64", "48", "--device", "cpu", "--targets", "1"]
    arguments = parser.parse_args([*words, "--out", str(tmp_path / "report")])
    assert arguments.run(arguments) == 0
    written = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert written["box"]["references"] == 3
    assert written == json.loads(capsys.readouterr().out)
    assert (tmp_path / "report" / "sheet.png").exists()


def test_features_of_a_model_are_compared_where_something_is_rendered(room, tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))
    cache = OvCache("embedded", SIZE, "cpu")
    field = tiny_field()
    metrics, picture = validate_folder(field, room, targets=1, size=SIZE, cache=cache)
    assert 0.2 < metrics["ov_cosine"] <= 1.0
    assert "label_field" not in metrics
    assert float(picture[:, 4 * 32 :].std()) > 20
    # What is rendered was held back.
    rest, shown = chosen_views(open_scene(room), 1)
    assert not set(rest) & set(shown)
