"""What `govnesf data check` finds: mistakes that were made on purpose, and none in a good room."""

import json

import cv2
import numpy as np
import pytest
from box_room import write_room

from govnesf_model.cli import main
from govnesf_model.data.check import agreement, check_scene, neighbours
from govnesf_model.data.check_views import epipolar_distance
from govnesf_model.data.posed_scene import Frame, SceneWriter, open_scene
from govnesf_model.resources import resource_dir

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture
def room(tmp_path):
    """Twelve views, 30 degrees apart."""
    write_room(tmp_path / "room", 12)
    return tmp_path / "room"


def change_poses(root, change) -> None:
    for number, path in enumerate(sorted((root / "pose").iterdir())):
        np.savetxt(path, change(np.loadtxt(path), number))


def found(root) -> str:
    return " | ".join(check_scene(open_scene(root)).problems)


def test_a_good_room_has_nothing_wrong(room):
    report = check_scene(open_scene(room))
    assert (report.problems, report.warnings) == ([], [])
    # Nothing hides anything in a box: all that lands in the next frame agrees.
    assert report.figures["agreement"] > 0.99
    assert report.figures["contradiction"] < 0.005
    assert report.figures["field_of_view"] == pytest.approx(80.0, abs=0.01)
    assert report.figures["depth_known"] == 1.0
    assert sum(report.shares.values()) == pytest.approx(1.0)
    assert set(report.shares) <= {f"wall {n}" for n in range(1, 7)}


def test_agreement_is_counted_pixel_by_pixel(room):
    scene = open_scene(room)
    projected, landed, agree, floating = agreement(scene[0], scene[0])
    assert projected == landed == agree > 100
    assert floating == 0
    near = scene[0].depth * 0.5
    before = type(scene[0])(**{**vars(scene[0]), "depth": near})
    assert agreement(before, scene[0])[2:] == (0, landed)  # half way, it floats before the wall
    assert neighbours(scene, 4) == [(0, 1), (3, 4), (7, 8), (10, 11)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda T, _: np.linalg.inv(T), "if the poses are world-to-camera: invert"),
        (lambda T, _: T @ FLIP, "if the cameras have OpenGL axes"),
        (lambda T, _: np.linalg.inv(T @ FLIP), "world-to-camera with OpenGL axes"),
        (
            lambda T, _: np.block([[T[:3, :3], T[:3, 3:] * 1000], [T[3:]]]),
            "in millimetres: divide",
        ),
    ],
)
def test_usual_mistakes_with_poses_are_named(room, change, what):
    change_poses(room, change)
    assert what in found(room)


def test_depth_in_other_units_is_told(room):
    for path in (room / "depth").iterdir():
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), (depth / 100).astype(np.uint16))
    problems = found(room)
    assert "median depth is 0.02" in problems
    assert "millimetres" in problems


def test_wrong_intrinsics_disagree_with_depth(room):
    K = np.loadtxt(room / "intrinsics.txt")
    K[0, 0] *= 2.0
    K[1, 1] *= 2.0
    np.savetxt(room / "intrinsics.txt", K)
    report = check_scene(open_scene(room))
    assert report.figures["agreement"] < 0.6
    assert "depth and poses do not agree" in " ".join(report.problems)
    K[0, 2] = 300.0
    np.savetxt(room / "intrinsics.txt", K)
    assert "outside the image" in found(room)


def test_cameras_on_their_heads_are_told(room):
    (room / "scene.json").write_text(json.dumps({"gravity": [0, 0, 1]}))
    assert "stand on their heads" in found(room)


def test_a_camera_that_never_moves_is_told(room):
    first = np.loadtxt(room / "pose" / "0000.txt")
    change_poses(room, lambda T, _: first)
    assert "never moves" in found(room)


def test_a_jump_is_unusual_not_wrong(tmp_path):
    write_room(tmp_path, 40)
    change_poses(tmp_path, lambda T, n: T + np.eye(4)[:, 3:] @ [[0, 0, 0, 0]])
    moved = np.loadtxt(tmp_path / "pose" / "0020.txt")
    moved[0, 3] += 5.0
    np.savetxt(tmp_path / "pose" / "0020.txt", moved)
    report = check_scene(open_scene(tmp_path))
    assert report.figures["jumps"] == 2
    assert "0019 to 0020" in " ".join(report.warnings)


def test_labels_that_are_no_class_are_told(room):
    path = room / "label" / "0003.png"
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    label[:4] = 77
    cv2.imwrite(str(path), label)
    assert "no class, neither ignored nor other: 77" in found(room)


def test_frames_that_are_both_and_files_that_are_damaged_are_told(room):
    (room / "scene.json").write_text(json.dumps({"reference": [0, 1, 2], "target": [2]}))
    (room / "rgb" / "0004.jpg").write_bytes(b"cut off")
    problems = found(room)
    assert "1 frames are references and targets at once (0002)" in problems
    assert "0004.jpg is not a readable image" in problems


def test_without_depth_there_is_a_sentence_not_a_problem(room):
    for path in (room / "depth").iterdir():
        path.unlink()
    (room / "depth").rmdir()
    report = check_scene(open_scene(room))
    assert report.problems == []
    assert "agreement" not in report.figures
    assert any("no depth" in fact for fact in report.facts)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """Every other view of the demo room, without depth."""
    scene = open_scene(resource_dir("assets") / "demo_room", every=2)
    root = tmp_path_factory.mktemp("demo") / "room"
    with SceneWriter(root, scene.K) as writer:
        for frame in scene:
            writer.add(frame.rgb, frame.T_world_camera)
    return root


def test_images_alone_tell_right_poses_from_wrong_ones(furnished):
    report = check_scene(open_scene(furnished))
    assert report.problems == []
    assert report.figures["epipolar"] > 0.6
    originals = {path: path.read_text() for path in (furnished / "pose").iterdir()}
    for change, what in (
        (lambda T, _: np.linalg.inv(T), "world-to-camera: invert"),
        (lambda T, _: T @ FLIP, "OpenGL axes"),
    ):
        change_poses(furnished, change)
        problems = found(furnished)
        assert "images and poses do not agree" in problems
        assert what in problems
        for path, text in originals.items():
            path.write_text(text)


def test_epipolar_distance_is_that_of_a_projected_point():
    """Two cameras 1 m apart along x: lines are rows; a match three rows off is 3 / sqrt(2) off."""
    K = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])
    image = np.zeros((80, 100, 3), np.uint8)
    left, right = np.eye(4), np.eye(4)
    right[0, 3] = 1.0
    frames = [Frame("f", 0, image, K, T) for T in (left, right)]
    uv_left = np.array([[60.0, 50], [30, 20]])
    uv_right = uv_left - [[25, 0], [10, -3]]
    np.testing.assert_allclose(
        epipolar_distance(*frames, uv_left, uv_right), [0, 3 / np.sqrt(2)], atol=1e-9
    )


def test_the_command_prints_draws_and_says_by_its_exit_code(room, tmp_path, capsys):
    picture, report = tmp_path / "out" / "look.png", tmp_path / "report.json"
    words = ["data", "check", str(room), "--out", str(picture), "--json", str(report)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "12 frames of 64x48" in said
    assert "nothing is wrong; look at" in said
    image = cv2.imread(str(picture))
    assert image.shape[1] == 1600
    assert image.std() > 10
    assert json.loads(report.read_text())[str(room)]["figures"]["agreement"] > 0.99
    change_poses(room, lambda T, _: np.linalg.inv(T))
    assert main(words) == 1
    assert "wrong: depth and poses do not agree" in capsys.readouterr().out


def test_the_command_takes_folders_of_scenes_and_refuses_what_is_none(room, tmp_path, capsys):
    write_room(tmp_path / "other", 3)
    (tmp_path / "other" / "pose" / "0001.txt").unlink()
    out = tmp_path / "pictures" / "check.png"
    assert main(["data", "check", str(tmp_path), "--out", str(out), "--frames", "4"]) == 1
    said = capsys.readouterr().out
    assert "0001.txt is missing" in said
    assert "2 scenes, 1 with something wrong" in said
    assert (tmp_path / "pictures" / "check_room.png").is_file()
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 1
    assert "not a folder or file" in capsys.readouterr().err
