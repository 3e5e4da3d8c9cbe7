"""The three tasks on a room where the encoder is right by construction."""

import numpy as np
import pytest
import torch
from box_field import tiny_field
from furnished_room import NAMES, ColorEncoder, room_frames, write_scene

from govnesf_model.baselines import with_method
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.evaluation.models import Models
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.points_3d import truth_points
from govnesf_model.evaluation.references import References
from govnesf_model.evaluation.scene_job import evaluate_scene
from govnesf_model.evaluation.target_rays import camera_of, drawn_pixels, render_pixels


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "room"
    write_scene(root, room_frames(7), target=(3,))
    return open_scene(root)


@pytest.fixture(scope="module")
def models():
    vlm = ColorEncoder()
    return Models(tiny_field(), vlm, tiny_field(5, use_mjf=False, distill_dim=vlm.dim))


def options(task: str = "3d", **changes) -> EvaluationOptions:
    return EvaluationOptions(task, **{"width": 160, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def labelled_points(scene, models):
    methods = ("govnesf", "govnesf_dgm", "average", "average_depth", "distill")
    return evaluate_scene(scene, models, methods, options())


def test_truth_points_are_one_per_voxel_with_the_majority_label(scene):
    xyz, label = truth_points(scene, scene.reference, 0.1)
    cells = np.floor(xyz / 0.1).astype(int)
    assert len(np.unique(cells, axis=0)) == len(xyz)
    floor = label == NAMES.index("floor") + 1
    assert np.abs(xyz[floor, 2]).max() < 0.06
    assert floor.mean() > 0.2
    assert set(np.unique(label)) <= set(range(1, 7))


@pytest.mark.parametrize(
    ("method", "least"), [("govnesf_dgm", 0.9), ("average_depth", 0.9), ("average", 0.5)]
)
def test_points_are_labelled(scene, labelled_points, method, least):
    row = labelled_points[method]
    assert row["miou"] > least
    assert row["oacc"] > least
    assert row["references"] == 6
    assert row["classes"] == list(NAMES)
    points = len(truth_points(scene, scene.reference, 0.05)[0])
    assert row["counted"] == np.sum(row["confusion"]) == points
    assert row["seconds"] > 0
    assert "threads" in row["device"]


def test_masking_by_depth_beats_looking_through_things(labelled_points):
    assert labelled_points["average_depth"]["miou"] > labelled_points["average"]["miou"] + 0.02


def test_the_distill_baseline_answers_from_its_own_network(scene, models, labelled_points):
    row = labelled_points["distill"]
    assert row["counted"] == labelled_points["average"]["counted"]
    assert row["confusion"] != labelled_points["govnesf"]["confusion"]
    for task in ("2d", "nvs"):
        rows = evaluate_scene(scene, models, ("distill",), options(task, width=80))
        assert set(rows) == {"distill"}


def test_methods_share_the_encoders_work_and_depth_is_kept_from_the_others(scene, models):
    calls = []

    class Counting(ColorEncoder):
        def encode_images(self, rgb):
            calls.append(len(rgb))
            return super().encode_images(rgb)

    references = References(scene, [0, 1], Counting(), 160)
    blind = references.build(models.field, use_depth=False)
    assert blind.views.depth is None
    seeing = references.build(with_method(models.field, "average_depth"), use_depth=True)
    assert seeing.views.depth is not None
    other = references.build(models.distilled, use_depth=False)
    assert calls == [1, 1]
    assert torch.equal(other.views.ov, blind.views.ov)
    assert not torch.equal(other.views.query, blind.views.query)
    assert references.build(with_method(models.field, "average"), use_depth=False) is blind
    assert other.seconds > 0
    with pytest.raises(ValueError, match="no reference frames"):
        References(scene, [], Counting(), 160).build(models.field, use_depth=False)


def test_features_are_kept_for_other_runs_and_give_the_same_figures(
    scene, models, tmp_path, monkeypatch
):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))
    calls = []

    class Counting(ColorEncoder):
        def encode_images(self, rgb):
            calls.append(len(rgb))
            return super().encode_images(rgb)

    counting = Models(models.field, Counting())
    kept = options(keep_features=True, reference_views=3)
    without = options(reference_views=3)
    rows = [
        evaluate_scene(scene, counting, ("average",), chosen)["average"]
        for chosen in (kept, kept, without)
    ]
    assert len(calls) == 3 + 0 + 3
    assert rows[0]["confusion"] == rows[1]["confusion"] == rows[2]["confusion"]
    assert len(list(tmp_path.rglob("*.npy"))) == 3


def test_the_encoder_on_the_view_itself_is_right_up_to_its_stride(scene, models):
    row = evaluate_scene(scene, models, ("vlm_view",), options("2d"))["vlm_view"]
    assert row["oacc"] > 0.95
    assert row["miou"] > 0.8
    assert row["references"] == 0


def test_every_method_labels_every_pixel_of_a_view(scene, models):
    methods = ("govnesf", "govnesf_dgm", "average", "average_depth", "vlm_rendered")
    rows = evaluate_scene(scene, models, methods, options("2d", width=80))
    for method in methods:
        assert rows[method]["counted"] == 120 * 160
        assert 0.0 <= rows[method]["miou"] <= 1.0


def test_drawn_pixels_are_the_same_for_every_method(scene, models):
    drawn = options("2d", rays_per_view=500, render_width=40)
    rows = evaluate_scene(scene, models, ("govnesf", "vlm_view", "vlm_rendered"), drawn)
    truth = [np.sum(row["confusion"], axis=1).tolist() for row in rows.values()]
    assert truth[0] == truth[1] == truth[2]
    assert sum(truth[0]) == 500
    assert rows["vlm_view"]["oacc"] > 0.9
    assert drawn_pixels(10, 10, 0, 0, 0) is None
    assert drawn_pixels(10, 10, 100, 0, 0) is None
    one, same, other = (drawn_pixels(10, 10, 20, seed, 3) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(one)) == 20
    assert not np.array_equal(one, drawn_pixels(10, 10, 20, 0, 4))


def test_a_drawn_pixel_sees_what_it_sees_in_the_whole_view(scene, models):
    built = References(scene, [0, 1, 2], models.vlm, 80).build(models.field, use_depth=False)
    frame = scene[3]
    camera = camera_of(frame.K, frame.T_world_camera, 160, 120, "cpu").resized(40, 30)
    text = models.vlm.encode_texts(NAMES)
    table = built.views.ov.float() @ text.T
    whole = render_pixels(models.field, built, camera, None, table, text)
    pixel = np.array([7, 400, 1199])
    some = render_pixels(models.field, built, camera, pixel, table, text)
    for name in ("color", "depth", "opacity", "scores"):
        expected = getattr(whole, name)[torch.from_numpy(pixel)]
        torch.testing.assert_close(getattr(some, name), expected, atol=1e-5, rtol=1e-4)


def test_novel_views_give_psnr_ssim_and_depth(scene, models, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # no VGG there
    row = evaluate_scene(scene, models, ("govnesf",), options("nvs", width=80))["govnesf"]
    assert 5 < row["psnr"] < 40
    assert -1 <= row["ssim"] <= 1
    assert row["depth_median_error"] > 0
    assert 0 <= row["opaque"] <= 1
    assert "lpips" not in row
    assert "VGG-16" in row["notes"][0]
    assert not list(tmp_path.rglob("*.pth"))


def test_drawn_rays_leave_the_figures_of_whole_views_out(scene, models):
    whole = evaluate_scene(scene, models, ("average",), options("nvs", width=80))["average"]
    drawn = evaluate_scene(
        scene, models, ("average",), options("nvs", width=80, rays_per_view=1500)
    )["average"]
    assert drawn["psnr"] == pytest.approx(whole["psnr"], abs=0.5)
    assert "ssim" not in drawn
    assert "whole views" in drawn["notes"][0]


def test_true_classes_are_matched_in_a_closed_set(scene, models, tmp_path):
    root = tmp_path / "room"
    write_scene(root, room_frames(3), target=(1,))
    (root / "classes.json").write_text(
        '{"classes": {"1": "table", "2": "cabinet", "4": "floor", "6": "wall"}, "other": null}'
    )
    row = evaluate_scene(open_scene(root), models, ("vlm_view",), options("2d", prompts="scannet"))[
        "vlm_view"
    ]
    assert len(row["classes"]) == 20
    assert set(row["per_class"]) <= {"table", "cabinet", "floor", "wall"}
