"""The command line as a user meets it: real processes, files on disk, sentences on stderr."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from furnished_room import room_frames, write_scene

from govnesf_model import __version__
from govnesf_model.cli import describe, main
from govnesf_model.pointcloud_io import read_ply


def govnesf(*words: object, timeout: float = 240) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "govnesf_model.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "room"
    write_scene(root, room_frames(4), target=(2,))
    return root


def test_version_and_help_do_not_wait_for_torch():
    start = time.perf_counter()
    shown = govnesf("--help")
    seconds = time.perf_counter() - start
    assert shown.returncode == 0
    for command in ("segment", "evaluate", "train", "data", "vlm", "relevancy"):
        assert command in shown.stdout
    assert govnesf("--version").stdout.strip() == f"govnesf {__version__}"
    probe = "import sys, govnesf_model.cli as c; c.build_parser([]); print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert loaded.stdout.strip() == "False"
    assert seconds < 10  # 0.2 s on an idle machine


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("segment", "/nowhere", "--text", "mug", "--out", "/tmp/x"), "not a folder"),
        (("segment", "ROOM", "--text", " ", "--out", "/tmp/x"), "text 1 is empty"),
        (("segment", "ROOM", "--text", "mug", "--out", "/tmp/x", "--vlm", "magic"), "no encoder"),
        (("segment", "ROOM", "--text", "a", "--out", "/tmp/x", "--voxel-size", "0"), "voxel-size"),
        (
            ("segment", "ROOM", "--text", "a", "--out", "/tmp/x", "--vlm", "lseg:/no/such"),
            "there are no LSeg weights at /no/such: get demo_e200.ckpt",
        ),
        (
            ("evaluate", "ROOM", "--task", "3d", "--json", "/tmp/x.json", "--vlm", "lseg:/no/such"),
            "there are no LSeg weights at /no/such: get demo_e200.ckpt",
        ),
        (
            ("relevancy", "x.png", "--text", "a", "--out", "/tmp/x", "--vlm", "lseg:/no/such"),
            "there are no LSeg weights at /no/such: get demo_e200.ckpt",
        ),
        (
            ("relevancy", "x.png", "--text", "a", "--out", "/tmp/x", "--vlm", "openclip:V/x"),
            "there is no encoder 'openclip:V/x': did you mean open_clip:V/x?",
        ),
        (("evaluate", "/nowhere", "--task", "3d", "--json", "/tmp/x.json"), "not a folder"),
        (("evaluate", "ROOM", "--task", "4d", "--json", "/tmp/x.json"), "invalid choice"),
        (("dance",), "invalid choice"),
        ((), "required"),
    ],
)
def test_errors_are_sentences_with_exit_code_2(room, capsys, words, what):
    words = [str(room) if word == "ROOM" else word for word in words]
    try:
        code = main(words)
    except SystemExit as left:  # argparse leaves by itself
        code = left.code
    shown = capsys.readouterr().err
    assert code == 2
    assert what in shown
    assert "Traceback" not in shown


def test_a_process_ends_with_the_same_sentence():
    result = govnesf("segment", "/nowhere", "--text", "mug", "--out", "/tmp/x")
    assert result.returncode == 2
    assert result.stderr.strip().startswith("govnesf: error: /nowhere is not a folder")


def test_debug_shows_where_an_error_is_from(capsys):
    assert main(["--debug", "segment", "/nowhere", "--text", "mug", "--out", "/tmp/x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_unforeseen_errors_name_their_kind():
    assert "KeyError" in describe(KeyError("x"))
    assert describe(ValueError("two\nlines")) == "two lines"
    assert "'open_clip'" in describe(ModuleNotFoundError("no", name="open_clip"))
    assert describe(OSError(28, "No space left on device", "/x")) == "/x: No space left on device"


def test_segment_writes_everything_it_promises(room, tmp_path):
    out = tmp_path / "found"
    words = ("--text", "table", "--text", "mug", "--min-score", "0.01", "--voxel-size", "0.05")
    result = govnesf("segment", room, *words, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "table:" in result.stdout
    assert "mug:" in result.stdout
    cloud = read_ply(out / "cloud.ply")
    assert {"x", "red", "label", "relevancy", "relevancy_1_table"} <= set(cloud)
    assert cloud["label"].max() <= 2
    assert 0 <= cloud["relevancy"].min() <= cloud["relevancy"].max() <= 1
    assert len(read_ply(out / "labels.ply")["x"]) == len(cloud["x"]) > 500
    masks = sorted(path.name for path in (out / "label").iterdir())
    assert masks == ["0000.png", "0001.png", "0003.png"]  # the reference frames
    mask = cv2.imread(str(out / "label" / "0000.png"), cv2.IMREAD_UNCHANGED)
    assert (mask.shape, mask.dtype) == ((120, 160), np.uint8)
    assert mask.max() <= 2
    boxes = json.loads((out / "boxes.json").read_text())
    assert [entry["text"] for entry in boxes["texts"]] == ["table", "mug"]
    for entry in boxes["texts"]:
        for box in entry["instances"]:
            assert len(box["center"]) == len(box["size"]) == 3
            assert 0 <= box["score"] <= 1
    assert cv2.imread(str(out / "contact_sheet.png")).shape[1] >= 1000


def test_evaluate_writes_the_contract(room, tmp_path):
    file = tmp_path / "result.json"
    result = govnesf("evaluate", room, "--task", "3d", "--json", file, "--width", "160")
    assert result.returncode == 0, result.stderr
    report = json.loads(file.read_text())
    assert list(report["scenes"]) == ["room"]
    assert {"miou", "oacc", "macc", "per_class", "seconds", "peak_mib"} <= set(report["mean"])
