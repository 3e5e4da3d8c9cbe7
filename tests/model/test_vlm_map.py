"""Any encoder goes through the map: tiny networks of random weights, each from a local file.

Features of random weights mean nothing, but they are what they are: texts are put where a point's
feature lies, so that the right answer is known.
"""

import numpy as np
import open_clip_models
import pytest
import torch
import torch.nn.functional as F
from furnished_room import NAMES, room_frames, write_scene
from lseg_fill import TINY, published_state
from open_clip_models import random_model, write

from govnesf_model.cli import main
from govnesf_model.contrast_totals import ContrastTotals
from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.map_points import SurfacePoints
from govnesf_model.query import Query, answer, encode_query
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_model.segmentation import mask_of_keyframe, score_features, upsample_scores
from govnesf_model.vlm import load_vlm
from govnesf_model.vlm.lseg_checkpoint import convert

MODELS = ("tiny-vit", "tiny-vit-avg", "tiny-convnext")  # of open_clip
KINDS = [
    ("open_clip:tiny-vit/{}/tiny-vit.safetensors", 16),
    ("open_clip:tiny-vit-avg/{}/tiny-vit-avg.safetensors?attention=naclip", 14),
    ("open_clip:tiny-convnext/{}/tiny-convnext.safetensors", 32),
    ("lseg:{}/lseg.safetensors", 4),
    ("lseg:{}/lseg.safetensors?recipe=openscene&stride=1", 1),
]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOVNESF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    open_clip_models.register(folder)
    torch.save({"state_dict": published_state()}, folder / "lseg.ckpt")
    convert(folder / "lseg.ckpt", folder / "lseg.safetensors", config=TINY)
    return {name: write(random_model(name), folder / f"{name}.safetensors") for name in MODELS}


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    return GovNesf(config).eval()


def map_of(field, vlm, count=4, depth=True, **changes) -> SceneMap:
    config = {"image_width": 160, "refresh_points": 4000, "voxel_size": 0.05, **changes}
    scene_map = SceneMap(field, vlm, MapConfig(**config))
    for frame in room_frames(count, depth=depth):
        scene_map.add(frame)
    return scene_map


@pytest.mark.parametrize(("spec", "stride"), KINDS)
def test_a_map_asks_and_masks_at_any_stride(field, files, spec, stride):
    vlm = load_vlm(spec.format(files["tiny-vit"].parent), "cpu")
    snapshot = map_of(field, vlm).snapshot()
    assert vlm.stride == stride
    assert snapshot.features.shape == (len(snapshot.xyz), vlm.dim)
    lengths = snapshot.features.tensor().float().norm(dim=1)
    assert ((lengths - 1).abs() < 2e-3).float().mean() > 0.95

    query = Query(texts=("mug", "red table"), contrast=("shadow",))
    result = answer(snapshot, vlm, query)
    assert result.warnings == ()
    assert result.table.min_score == vlm.default_threshold
    assert {"shadow", "wall", "blue table"} <= set(result.table.contrast)
    totals = answer(snapshot, vlm, query, ContrastTotals.of(snapshot, vlm))
    assert np.abs(totals.relevancy - result.relevancy).max() < 1e-3

    keyframe, table = snapshot.keyframes[-1], result.table
    cells = score_features(
        keyframe.ov.flatten(0, 1), table.text_features, table.contrast_features, table.logit_scale
    )
    # Cell (i, j) is centred on pixel s i + (s - 1) / 2; its mean over a square is interpolated.
    rows, columns = keyframe.ov.shape[:2]
    assert (rows, columns) == (-(-120 // vlm.stride), -(-160 // vlm.stride))
    scores = upsample_scores(cells.view(rows, columns, 2), vlm.stride, 160, 120)
    least = float(scores.median())
    mask = mask_of_keyframe(
        keyframe, table.text_features, table.contrast_features, table.logit_scale, least
    )
    expected = torch.where(scores.amax(0) >= least, scores.argmax(0) + 1, 0).numpy()
    assert np.array_equal(mask, expected)
    assert mask.shape == (120, 160)
    assert mask.any()


def test_what_an_image_shows_is_found_where_it_lies(field, files):
    """A text that points along the mean feature of a thing is most relevant on that thing."""
    vlm = load_vlm(f"open_clip:tiny-vit/{files['tiny-vit']}?stride=4&resize=480", "cpu")
    snapshot = map_of(field, vlm, count=6).snapshot()
    frame = room_frames(6)[-1]
    keyframe = snapshot.keyframes[-1]
    cells = keyframe.ov.float().flatten(0, 1)
    centres = frame.label[1::4, 1::4].reshape(-1)  # cell i is centred on pixel 4 i + 1.5
    means = {}
    for name in ("cabinet", "floor"):
        own = cells[torch.from_numpy(centres == NAMES.index(name) + 1)]
        means[name] = F.normalize(own.mean(0) - cells.mean(0), dim=0)
    mask = mask_of_keyframe(
        keyframe,
        torch.stack(list(means.values())),
        torch.zeros(0, vlm.dim),
        100.0,
        min_score=0.0,
    )
    found = {name: mask == label for label, name in enumerate(means, start=1)}
    for name, shown in found.items():
        assert shown[frame.label == NAMES.index(name) + 1].mean() > 0.8


def test_a_map_without_depth_takes_them_too(field, files):
    vlm = load_vlm(f"open_clip:tiny-vit/{files['tiny-vit']}", "cpu")
    scene_map = map_of(field, vlm, count=2, depth=False)
    assert len(scene_map.snapshot().keyframes) == 2
    assert answer(scene_map.snapshot(), vlm, Query(texts=("mug",))).texts == ("mug",)


def test_a_sharp_temperature_does_not_break_prepared_queries(field, files):
    vlm = load_vlm(f"open_clip:tiny-vit/{files['tiny-vit']}?logit_scale=115", "cpu")
    snapshot = map_of(field, vlm, count=2).snapshot()
    totals = ContrastTotals.of(snapshot, vlm)
    table = encode_query(vlm, Query(texts=("mug", "chair")))
    # Two texts that fit far better than every contrast word, to different points.
    texts = F.normalize(
        snapshot.features.take(np.array([0, len(snapshot.xyz) // 2])).float(), dim=1
    )
    apart = F.normalize(texts - 0.99 * totals.word_features.mean(0), dim=1)
    for features in (table.text_features, texts, apart):
        prepared = totals.best_texts(
            snapshot.features, features, table.contrast, table.contrast_features
        )
        scores = score_features(
            snapshot.features, features, table.contrast_features, table.logit_scale
        )
        assert (prepared[1] - scores.amax(1)).abs().max() < 1e-3
        assert (prepared[0] == scores.argmax(1)).float().mean() > 0.999


@pytest.mark.parametrize("dim", [24, 512, 1152])
def test_a_points_memory_is_that_of_its_feature(dim):
    points = SurfacePoints(0.05, dim)
    rng = np.random.default_rng(0)
    xyz = rng.random((500, 3), np.float32)
    rows, _ = points.merge(xyz, xyz * 255)
    count = len(rows)
    ones = np.ones(count)
    points.set_features(rows, torch.rand(count, dim), ones.astype(np.float32), ones.astype(int))
    assert points.bytes == count * points.row_bytes


def test_long_features_leave_room_for_keyframes(field, files):
    """The same bound in MiB holds whatever the length of a feature."""
    vlm = load_vlm(f"open_clip:tiny-vit/{files['tiny-vit']}", "cpu")
    long = Repeated(vlm, 48)
    assert long.dim == 1152
    free = map_of(field, long)
    bound = 0.6 * free.status()["memory_mib"]
    scene_map = map_of(field, long, memory_mib=bound)
    status = scene_map.status()
    assert status["memory_mib"] <= 1.1 * bound
    assert status["points"] * scene_map._surface.points.row_bytes <= 0.51 * bound * 2**20
    assert status["keyframes"] >= 2


class Repeated:
    """An encoder whose features are those of another, several times one after the other."""

    def __init__(self, vlm, times):
        self.vlm, self.times = vlm, times
        self.dim = vlm.dim * times

    def __getattr__(self, name):
        return getattr(self.vlm, name)

    def encode_images(self, rgb):
        return F.normalize(self.vlm.encode_images(rgb).repeat(1, self.times, 1, 1), dim=1)

    def encode_texts(self, texts):
        return F.normalize(self.vlm.encode_texts(texts).repeat(1, self.times), dim=1)


def test_commands_take_them(files, tmp_path, capsys):
    room = tmp_path / "room"
    write_scene(room, room_frames(3), target=(2,))
    vlm = f"open_clip:tiny-vit/{files['tiny-vit']}"
    out = tmp_path / "out"
    image = room / "rgb" / "0000.png"
    assert main(["relevancy", str(image), "--text", "mug", "--vlm", vlm, "--out", str(out)]) == 0
    assert np.load(out / "0000.npz")["scores"].shape == (1, 120, 160)
    words = ["segment", str(room), "--text", "mug", "--vlm", vlm, "--out", str(out)]
    assert main([*words, "--voxel-size", "0.1"]) == 0
    assert (out / "boxes.json").is_file()
    for task in ("2d", "3d"):
        words = ["evaluate", str(room), "--task", task, "--vlm", vlm, "--width", "160"]
        method = ["--method", "vlm_view"] if task == "2d" else []
        assert main([*words, *method, "--json", str(out / f"{task}.json")]) == 0
    assert "Traceback" not in capsys.readouterr().err
