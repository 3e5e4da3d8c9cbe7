"""Tables as Markdown, from known reports and from scenes on disk; figures."""

import json
from argparse import ArgumentParser

import cv2
import numpy as np
import pytest
from box_field import tiny_field
from furnished_room import NAMES, ColorEncoder, room_frames, write_scene

from govnesf_model import tables
from govnesf_model.checkpoint import save_field
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.evaluation import models as models_module
from govnesf_model.evaluation.figures import PANELS, depth_colors, draw_views
from govnesf_model.evaluation.models import Models
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.tables import Ablation, Book, markdown
from govnesf_model.field_config import FieldConfig
from govnesf_model.palette import label_colors


def report(pooled: float, mean: float, **figures) -> dict:
    row = {"seconds": 2.0, "references": 9, "device": "a CPU", **figures}
    scores = {"pooled": dict.fromkeys(("miou", "oacc", "macc"), pooled)}
    means = {**dict.fromkeys(("miou", "oacc", "macc"), mean), **figures}
    return {"scenes": {"room": row}, "mean": means, **scores}


def lines_of(text: str, table: int) -> list[list[str]]:
    part = text.split(f"## Table {table}.")[1].split("\n\n")[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]


def test_tables_have_the_papers_shape():
    ours, without = FieldConfig.small(), FieldConfig.small(use_cva=False)
    distill = FieldConfig.small(use_mjf=False, distill_dim=8)
    reports = {
        ("2d", "govnesf", "ours"): report(0.5, 0.25),
        ("2d", "govnesf_dgm", "ours"): report(0.4, 0.3),
        ("2d", "distill", "ours"): report(0.1, 0.1),
        ("2d", "govnesf", "less"): report(0.45, 0.2),
        ("3d", "average", "ours"): report(0.3, 0.31),
        ("3d", "govnesf_dgm", "ours"): report(0.6, 0.55),
        ("nvs", "govnesf", "ours"): report(0, 0, psnr=21.53, ssim=0.8012, opaque=0.974),
    }
    options = EvaluationOptions("2d", checkpoint="ours", distill_checkpoint="dist")
    fields = (Ablation("ours", ours), Ablation("less", without), Ablation("dist", distill))
    text = markdown(Book("Rooms", options, reports, fields, ["a note"]))
    assert text.startswith("# Rooms\n\nScenes: 1; reference views of each: 9;")
    assert "2.0 s per scene and method on a CPU" in text

    first = lines_of(text, 1)
    assert first[0][:2] == ["Method", "mIoU, pooled"]
    by_name = {line[0]: line[1:] for line in first[2:]}
    assert by_name["GOV-NeSF"] == ["50.0"] * 3 + ["25.0"] * 3
    assert by_name["encoder on the true view"] == ["–"] * 6

    second = {line[1]: line for line in lines_of(text, 2)[2:]}
    assert second["GOV-NeSF with DGM"][0] == "images and depth"
    assert second["GOV-NeSF with DGM"][2] == "60.0"
    assert len(second) == 5

    assert lines_of(text, 3)[2] == ["GOV-NeSF", "21.5", "0.801", "–", "–", "97 %"]

    fourth = lines_of(text, 4)
    assert fourth[0][:5] == ["MJF", "VFA", "CVA", "DGM", "2D mIoU"]
    rows = [(*line[:4], line[4], line[7]) for line in fourth[2:]]
    assert rows == [
        ("", "✓", "✓", "", "10.0", "–"),
        ("✓", "✓", "", "", "45.0", "–"),
        ("✓", "✓", "✓", "", "50.0", "–"),
        ("✓", "✓", "✓", "✓", "40.0", "60.0"),
    ]
    assert text.endswith("* a note\n")


@pytest.fixture
def colors(monkeypatch):
    models_module._encoder.cache_clear()
    monkeypatch.setattr(models_module, "load_vlm", lambda spec, device: ColorEncoder())
    yield
    models_module._encoder.cache_clear()


@pytest.mark.usefixtures("colors")
def test_the_command_writes_tables_and_figures(tmp_path, capsys):
    write_scene(tmp_path / "deep", room_frames(4, 80, 60), target=(1,))
    write_scene(tmp_path / "flat", room_frames(4, 80, 60, depth=False), target=(2,))
    ours = save_field(tiny_field(), tmp_path / "ours.safetensors")
    less = save_field(tiny_field(use_vfa=False), tmp_path / "less.safetensors")
    dim = ColorEncoder.dim
    distill = save_field(tiny_field(2, use_mjf=False, distill_dim=dim), tmp_path / "d.safetensors")
    parser = ArgumentParser()
    tables.add_parser(parser.add_subparsers())
    words = ["tables", tmp_path / "deep", tmp_path / "flat", "--out", tmp_path / "out"]
    words += ["--checkpoint", ours, "--distill-checkpoint", distill, "--ablation", less]
    words += ["--width", 80, "--device", "cpu", "--rays-per-view", 300, "--figures", 1]
    arguments = parser.parse_args(list(map(str, words)))
    assert arguments.run(arguments) == 0
    shown = capsys.readouterr().out
    text = (tmp_path / "out" / "tables.md").read_text()
    assert text in shown
    assert "2d, govnesf_dgm: 1 of 2 scenes are left out (flat): each has no depth" in text
    assert "figures are over 300 pixels of each view" in text
    first = {line[0]: line[1] for line in lines_of(text, 1)[2:]}
    assert all(0 <= float(value) <= 100 for value in first.values())
    ticks = [tuple(line[:4]) for line in lines_of(text, 4)[2:]]
    assert ticks == [
        ("", "✓", "✓", ""),
        ("✓", "", "✓", ""),
        ("✓", "✓", "✓", ""),
        ("✓", "✓", "✓", "✓"),
    ]
    content = json.loads((tmp_path / "out" / "tables.json").read_text())
    named = {(r["task"], r["method"]): set(r["scenes"]) for r in content["reports"]}
    assert named["2d", "vlm_view"] == {"deep", "flat"}
    assert named["3d", "average_depth"] == {"deep"}
    for name in ("deep", "flat"):
        assert cv2.imread(str(tmp_path / "out" / "figures" / f"{name}.png")) is not None
    # Again: nothing is measured anew.
    assert arguments.run(arguments) == 0
    assert "results are there already" in capsys.readouterr().out
    assert (tmp_path / "out" / "tables.md").read_text() == text


@pytest.mark.usefixtures("colors")
def test_nothing_to_measure_is_said(tmp_path):
    write_scene(tmp_path / "bare", room_frames(2, 80, 60, depth=False))
    ours = save_field(tiny_field(), tmp_path / "ours.safetensors")
    options = EvaluationOptions("2d", checkpoint=str(ours), device="cpu")
    scenes = {"bare": str(tmp_path / "bare")}
    with pytest.raises(ValueError, match="nothing can be measured"):
        tables.measure("Bare", scenes, options, [], tmp_path / "kept")


def test_figures_show_the_truth_in_the_colours_of_the_legend(tmp_path):
    write_scene(tmp_path / "room", room_frames(4, 96, 72), target=(1, 3))
    scene = open_scene(tmp_path / "room")
    options = EvaluationOptions("2d", width=96)
    picture = draw_views(scene, Models(tiny_field(), ColorEncoder()), options, views=2)
    panel = picture.shape[1] // len(PANELS)
    assert picture.shape[1] == panel * len(PANELS)
    rows = round(panel * 0.75)
    assert picture.shape[0] > 2 * rows  # two views and a legend
    truth = picture[20:rows, 5 * panel :]
    seen = np.unique(scene[1].label)
    palette = label_colors(len(NAMES))
    exact = (truth[:, :, None] == palette[1:]).all(-1).any((0, 1))
    assert exact.sum() >= len(seen) - 1  # a thing of a few pixels may blur away
    colour = cv2.resize(scene[1].rgb, (panel, rows), interpolation=cv2.INTER_AREA)
    difference = np.abs(picture[20:rows, :panel].astype(int) - colour[20:].astype(int))
    assert np.median(difference) == 0


def test_depth_colours_are_black_where_nothing_is():
    shown = depth_colors(np.array([[0.0, 0.5, 4.5]], np.float32))
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[0, 1].sum() > shown[0, 2].sum()
