import json
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from benchmarks import bench_plots, charts

STAGES = {"encode": 0.05, "unet": 0.2, "publish": 0.001}
BLIND = {"encode": 0.06, "unet": 0.1, "points": 0.4}


def row(name, seconds, reference=None, values=None, series=None) -> dict:
    return {
        "name": name,
        "seconds": seconds,
        "reference": reference,
        "ratio": None if reference is None else reference / seconds,
        "values": values or {},
        "series": series or {},
    }


def report(*rows) -> dict:
    return {
        "machine": "One processor", "threads": 2, "quick": False, "scene": "room", "views": 30,
        "surface": "stereo", "checkpoint": "small", "vlm": "embedded", "waiting": "",
        "others": None,
        "rows": list(rows),
    }  # fmt: skip


def grown(name="keyframe", count=40) -> dict:
    number = np.arange(1.0, count + 1)
    series = {"seconds": 0.1 + number % 2, "MiB": 5 * number, "points": 1000 * number}
    series = {key: values.tolist() for key, values in series.items()}
    return row(f"{name} of {count}, the last 6", 0.6, None, {"bound MiB": 2048.0}, series)


@pytest.fixture(scope="module")
def whole() -> dict:
    return report(
        row("3D U-Net pass", 0.09),
        row("add a keyframe to the volume", 0.006, 0.3),
        row("frame 320x240, colour and 20 texts, 30 views", 4.0, 1000.0),
        row("label against views: 5 to 30", 0.3, series={"views": [5, 30], "seconds": [0.1, 0.3]}),
        row("label against texts: 1 to 80", 0.2, series={"texts": [1, 80], "seconds": [0.1, 0.2]}),
        grown(),
        *(row(f"keyframe: {name}", seconds) for name, seconds in STAGES.items()),
        grown("keyframe without depth", 8),
        *(row(f"keyframe without depth: {name}", seconds) for name, seconds in BLIND.items()),
    )


def texts(axes) -> list[str]:
    return [text.get_text().strip() for text in axes.texts]


def test_bars_of_ours_and_of_the_plain_form_are_as_long_as_they_took(whole):
    (axes,) = bench_plots.ratios(whole).axes
    ours, plain = axes.containers
    assert [bar.get_width() for bar in ours] == [0.006, 4.0]
    assert [bar.get_width() for bar in plain] == [0.3, 1000.0]
    assert axes.get_xscale() == "log"
    left, right = axes.get_xlim()
    assert left < 0.006
    assert right > 1000
    for text in ("6 ms", "4 s", "300 ms", "1000 s", "50×", "250×"):
        assert texts(axes).count(text) == 1
    names = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert names == ["add a keyframe to the volume", "frame 320x240, colour and 20 texts, 30 views"]


@pytest.mark.parametrize(("ratio", "text"), [(0.8, "0.8×"), (1.25, "1.2×"), (1663.4, "1663×")])
def test_a_ratio_has_the_digits_that_count(ratio, text):
    assert bench_plots.times(ratio) == text


def test_the_stages_of_a_keyframe_lie_end_to_end(whole):
    (axes,) = bench_plots.keyframe(whole).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["with depth\n(of 40, the last 6)", "without depth\n(of 8, the last 6)"]
    for place, stages in enumerate((STAGES, BLIND)):
        bars = {group.get_label().split(":")[0]: group[place] for group in axes.containers}
        end = 0.0
        for name, bar in bars.items():
            assert bar.get_x() == pytest.approx(end)
            assert bar.get_width() == pytest.approx(stages.get(name, 0.0))
            end += bar.get_width()
        assert end == pytest.approx(sum(stages.values()))
    assert list(bars) == ["encode", "unet", "publish", "points"]
    written = texts(axes)
    assert "251 ms" in written
    assert "560 ms" in written
    assert "200" in written
    assert "1.0" not in written  # 1 ms is too narrow for its figure
    assert len({to_hex(group[0].get_facecolor()) for group in axes.containers}) == 4


def test_curves_of_the_map_are_the_series_beside_the_bound(whole):
    time, memory, points = bench_plots.growth(whole).axes[:3]
    for axes, key in ((memory, "MiB"), (points, "points")):
        long, short = (line.get_xydata().T for line in axes.lines[:2])
        for (x, y), series in ((long, grown()), (short, grown("keyframe without depth", 8))):
            assert y.tolist() == series["series"][key]
            assert x.tolist() == list(range(1, len(y) + 1))
    assert set(memory.lines[2].get_ydata()) == {2048.0}
    assert len(memory.lines) == 3
    assert memory.get_ylim()[1] > 2048
    assert texts(memory) == ["bound: 2048 MiB"]
    raw, mean, short = (line.get_xydata() for line in time.lines)
    assert raw[:, 1].tolist() == grown()["series"]["seconds"]
    assert mean[:, 1] == pytest.approx(np.full(39, 0.6))  # of two that alternate
    assert mean[-1, 0] == 40
    assert len(short) == 8


def test_what_was_varied_stands_under_the_map_and_fills_the_page_alone(whole):
    axes = bench_plots.growth(whole).axes
    assert [one.get_visible() for one in axes] == [True, True, True, True, True, False]
    alone = bench_plots.growth(report(*(row for row in whole["rows"] if "against" in row["name"])))
    assert len(alone.axes) == 3
    for views, texts in (axes[3:5], alone.axes[:2]):
        assert views.lines[0].get_xydata().tolist() == [[5, 0.1], [30, 0.3]]
        assert texts.lines[0].get_xydata().tolist() == [[1, 0.1], [80, 0.2]]
        assert views.get_xlabel() == "views"
        assert views.get_ylim()[0] == views.get_xlim()[0] == 0


def test_rows_without_anything_to_draw_draw_nothing():
    bare = report(row("3D U-Net pass", 0.09))
    assert [picture(bare) for picture in bench_plots.PICTURES.values()] == [None] * 3


def test_the_command_writes_small_opaque_pictures(whole, tmp_path, monkeypatch, capsys):
    file, out = tmp_path / "bench.json", tmp_path / "new" / "images"
    file.write_text(json.dumps(whole))
    monkeypatch.setattr(sys, "argv", ["bench_plots", str(file), "--out", str(out)])
    bench_plots.main()
    assert capsys.readouterr().out.split() == [str(out / name) for name in bench_plots.PICTURES]
    assert {path.name for path in out.iterdir()} == set(bench_plots.PICTURES)
    for path in out.iterdir():
        assert path.stat().st_size < 60 * 1024
        with Image.open(path) as picture:
            assert picture.width == charts.WIDTH
            assert "transparency" not in picture.info
            drawn = np.asarray(picture.convert("RGB")).astype(int)
        assert (drawn[0] == 255).all()
        blue = [int(charts.FAST[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(drawn - blue).max(axis=2) <= 9).sum() > 200
