import json
import math

import pytest
import torch
from box_field import tiny_field
from box_room import trace, write_room

from govnesf_model import cli
from govnesf_model.bench import measure, write_table
from govnesf_model.bench_cases import Amounts, label_points, mean_iou
from govnesf_model.bench_meter import Row
from govnesf_model.bench_scene import TEXTS, BenchScene, prepared
from govnesf_model.checkpoint import save_field
from govnesf_model.dense_reference import DenseReference
from govnesf_model.vlm import load_vlm

FEW = Amounts(12, 8, 32, 400, 100, 4, 3, 1, 8, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "room"
    write_room(folder, 7)
    return folder


@pytest.fixture(scope="module")
def bench(folder):
    with prepared(folder, 6) as scene:
        field = tiny_field(merged_samples=3)
        return BenchScene.load(field, load_vlm("embedded", "cpu"), scene, 6, True, (64, 48))


def test_the_rendered_view_is_none_of_those_it_is_rendered_from(bench):
    assert len(bench.tensors) == 6
    apart = (bench.tensors.T_world_camera - bench.camera.T_world_camera).abs().amax(dim=(1, 2))
    assert float(apart.min()) > 0.1


def test_points_lie_on_the_walls_of_the_room(bench):
    points = bench.surface_points(500)
    room = torch.tensor([4.0, 3.0, 2.4])
    to_wall = torch.minimum(points.abs(), (points - room).abs()).amin(dim=1)
    assert float(to_wall.quantile(0.9)) < 0.03


def test_iou_is_of_what_is_known():
    truth = torch.tensor([0, 0, 1, 1, 1, -1])
    assert mean_iou(torch.tensor([0, 1, 1, 1, 1, 0]), truth) == pytest.approx(
        100 * (1 / 2 + 3 / 4) / 2
    )
    assert mean_iou(truth.clamp_min(0), truth) == 100


def test_the_texts_are_the_classes_that_are_seen(bench):
    assert bench.texts[0].startswith("wall ")
    seen = bench.labels.unique().tolist()
    assert min(seen) >= 0
    walls = trace(bench.camera)[2]
    for line, column in ((24, 32), (5, 5), (40, 60)):
        assert bench.texts[bench.labels[line, column]] == f"wall {walls[line, column]}"


@torch.no_grad()
def test_labels_of_points_are_those_of_the_plain_form(bench):
    part = bench.part(6)
    points = bench.surface_points(200)
    fast = label_points(bench.field, part.views, part.volume, points, bench.text)
    plain = DenseReference(bench.field, part.views, part.volume).blend(points)[0] @ bench.text.T
    assert float((fast == plain.argmax(dim=1)).float().mean()) > 0.9


def test_every_case_gives_rows_that_hold_together(bench):
    said = []
    rows = measure(bench, FEW, (4, 6), say=said.append)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    assert said == [
        *("encode", "volume"),
        *("frame, 4 views", "label, 4 views", "frame, 6 views", "label, 6 views"),
        *("query", "scaling", "map"),
    ]
    for row in rows:
        assert row.seconds > 0
        assert all(math.isfinite(value) for value in row.values.values())
    named = dict(zip(names, rows, strict=True))
    assert len(bench.texts) == len(TEXTS)
    frame = named[f"frame 64x48, colour and {len(TEXTS)} texts, 6 views"]
    assert frame.reference > 0
    assert frame.values["colour off exact"] < 0.05
    baked = named["frame 64x48 from baked scores, 6 views"]
    assert baked.reference == frame.reference
    assert baked.values["labels as blended anew"] > 0.9
    corrected = named["pose correction of 3 keyframes"]
    assert corrected.values["points"] > 100
    for name, length in (("views", 2), ("points", 4), ("texts", 4)):
        row = next(row for row in rows if row.name.startswith(f"label against {name}"))
        assert len(row.series[name]) == len(row.series["seconds"]) == length
    grown = next(row for row in rows if row.name.startswith("keyframe of 4"))
    assert grown.values["held"] == 3
    assert 0 < grown.values["map MiB"] < grown.values["bound MiB"]
    assert len(grown.series["MiB"]) == 4
    assert max(grown.series["MiB"]) == grown.values["map MiB"]
    blind = next(row for row in rows if row.name.startswith("keyframe without depth of 3"))
    assert blind.values["held"] == 3


def test_the_command_writes_numbers_and_a_table(folder, tmp_path, capsys):
    field = save_field(tiny_field(), tmp_path / "field.safetensors")
    file, docs = tmp_path / "bench.json", tmp_path / "benchmarks.md"
    words = f"bench --scene {folder} --checkpoint {field} --only volume --views 3 --quick"
    words += f" --device cpu --json {file} --docs {docs}"
    assert cli.main(words.split()) == 0
    report = json.loads(file.read_text())
    assert report["scene"] == "room"
    assert report["surface"] == "measured"
    assert report["rows"][0]["name"] == "add a keyframe to the volume"
    assert report["rows"][0]["ratio"] > 0
    assert "3D U-Net pass" in capsys.readouterr().out
    assert "| 3D U-Net pass |" in docs.read_text()


def test_a_table_replaces_that_of_its_own_machine_alone(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("# Page\n\nWords.\n")
    report = {
        "machine": "One", "threads": 1, "quick": False, "scene": "room", "views": 3,
        "surface": "stereo", "checkpoint": "small", "vlm": "embedded", "waiting": "active",
        "others": 0.25,
    }  # fmt: skip
    write_table(document, report, [Row("first", 1.0, 1.0)])
    write_table(document, report | {"machine": "Two"}, [Row("second", 1.0, 1.0)])
    write_table(document, report, [Row("third \\1", 1.0, 1.0)])
    text = document.read_text()
    assert text.startswith("# Page\n\nWords.\n")
    assert "first" not in text
    assert text.count("second") == 1
    assert text.count("third \\1") == 1
    assert text.index("third") < text.index("second")
    assert "### One, 1 thread (spinning); room of 3 views" in text
    assert "others used 25% of the processors" in text
