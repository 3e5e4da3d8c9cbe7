"""`govnesf relevancy` end to end on files."""

import cv2
import numpy as np
import pytest
import torch
from furnished_room import NAMES, ColorEncoder, room_frames

from govnesf_model.cli import main
from govnesf_model.vlm import load_vlm
from govnesf_model.vlm.relevancy import relevancy


def command(*words) -> int:
    return main(["relevancy", *map(str, words)])


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "kitchen.png"
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 255, (61, 90, 3), np.uint8))
    return path


def test_scores_come_at_the_images_resolution(image, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("--text", "mug", "--text", "flux capacitor", "--contrast", "cup", "--out", out)
    assert command(image, *words) == 0
    stored = np.load(out / "kitchen.npz")
    assert stored["scores"].dtype == np.float16
    assert stored["scores"].shape == (2, 61, 90)
    assert (stored["scores"] >= 0).all()
    assert (stored["scores"].astype(float).sum(0) <= 1.01).all()
    assert list(stored["texts"]) == ["mug", "flux capacitor"]
    picture = cv2.imread(str(out / "kitchen.png"))
    assert picture.shape[1] == 3 * 90
    warnings = capsys.readouterr().err
    assert "flux capacitor" in warnings
    assert "'mug'" not in warnings


def test_unreadable_images_are_said_and_the_others_done(image, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    out = tmp_path / "out"
    assert command(broken, tmp_path / "gone.png", image, "--text", "mug", "--out", out) == 1
    assert [path.name for path in sorted(out.iterdir())] == ["kitchen.npz", "kitchen.png"]
    errors = capsys.readouterr().err
    assert "broken.jpg is no image" in errors
    assert "gone.png does not exist" in errors


def test_images_of_one_name_do_not_overwrite_each_other(image, tmp_path):
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "kitchen.png"
    other.write_bytes(image.read_bytes())
    assert command(image, other, image, "--text", "mug", "--out", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("*.npz"))) == 3


def test_an_unknown_encoder_is_an_error(image, tmp_path, capsys):
    assert command(image, "--text", "mug", "--vlm", "nope", "--out", tmp_path) == 2
    assert "there is no encoder 'nope'" in capsys.readouterr().err


def test_large_images_are_scaled_down_but_answered_in_full():
    vlm = load_vlm("embedded", "cpu")
    rgb = np.zeros((2 * vlm.long_side // 3, 2 * vlm.long_side, 3), np.uint8)
    scores = relevancy(vlm, rgb, ["mug"])
    assert scores.shape == (1, *rgb.shape[:2])
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize(("long_side", "encoded"), [(None, (96, 160)), (80, (48, 80))])
def test_the_encoder_says_how_large_an_image_it_wants(long_side, encoded):
    """Colours are known exactly, so the answer is the label image whatever the size inside."""
    frame = room_frames(1, 160, 96)[0]
    vlm = SizedEncoder(long_side)
    scores = relevancy(vlm, frame.rgb, ["table", "floor"])
    assert vlm.seen == [encoded]
    for text, score in zip(["table", "floor"], scores, strict=True):
        truth = frame.label == NAMES.index(text) + 1
        assert ((score.numpy() > 0.5) == truth).mean() > 0.9


class SizedEncoder(ColorEncoder):
    def __init__(self, long_side):
        self.long_side, self.seen = long_side, []

    def encode_images(self, rgb):
        self.seen.append(tuple(rgb.shape[-2:]))
        return super().encode_images(rgb)
