"""The scene format: what is read back, and what is refused and how."""

import json

import cv2
import numpy as np
import pytest

from govnesf_model.data.posed_scene import SceneError, SceneWriter, open_scene

K = np.array([[100.0, 0, 31.5], [0, 100.0, 23.5], [0, 0, 1]])
CLASSES = {1: "table", 2: "mug"}


def pose(x: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.radians([degrees, degrees / 2, 0.0]))[0]
    T[:3, 3] = (x, 1.0, 1.5)
    return T


@pytest.fixture
def scene(tmp_path):
    """A good scene of four frames that each test spoils in its own way."""
    rng = np.random.default_rng(0)
    with SceneWriter(tmp_path, K, ".png") as writer:
        for index in range(4):
            writer.add(
                rng.integers(0, 255, (48, 64, 3), np.uint8),
                pose(index, 10.0 * index),
                depth=np.full((48, 64), 1.2345 + index, np.float32),
                label=np.full((48, 64), index % 3, np.uint8),
            )
        writer.describe(CLASSES, other=0, reference=[0, 1, 3], target=[2], source="test")
    return tmp_path


def test_what_was_written_is_read(scene):
    opened = open_scene(scene)
    assert (len(opened), opened.width, opened.height) == (4, 64, 48)
    assert (opened.classes, opened.other, opened.ignore) == (CLASSES, 0, {255})
    assert (opened.reference, opened.target, opened.labelled) == ((0, 1, 3), (2,), (0, 1, 2, 3))
    frame = opened[2]
    np.testing.assert_allclose(frame.T_world_camera, pose(2, 20.0), atol=1e-8)
    np.testing.assert_allclose(frame.K, K)
    np.testing.assert_allclose(frame.depth, 3.2345, atol=6e-4)  # millimetres
    assert np.unique(frame.label).tolist() == [2]
    assert [f.name for f in opened] == ["0000", "0001", "0002", "0003"]


def test_channels_are_rgb(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    with SceneWriter(tmp_path, K, ".png") as writer:
        writer.add(red, pose())
    assert open_scene(tmp_path)[0].rgb[0, 0].tolist() == [255, 0, 0]


def test_unusable_depth_values_become_zero(tmp_path):
    depth = np.full((48, 64), 2.0, np.float32)
    depth[0, :3] = (np.nan, np.inf, -1.0)
    with SceneWriter(tmp_path, K) as writer:
        writer.add(np.zeros((48, 64, 3), np.uint8), pose(), depth=depth)
    assert open_scene(tmp_path)[0].depth[0, :4].tolist() == [0, 0, 0, 2]


def test_without_scene_json_every_frame_is_a_reference(scene):
    (scene / "scene.json").unlink()
    opened = open_scene(scene)
    assert (opened.reference, opened.target) == ((0, 1, 2, 3), ())


@pytest.mark.parametrize("down", [[0, 0, -1], [0, 1, 0], [0, 0, 1], [0.1, 0.9, -0.3], [-3, 0, 0]])
def test_the_world_is_turned_so_that_z_is_up(scene, down):
    flat = open_scene(scene)
    (scene / "scene.json").write_text(json.dumps({"gravity": down}))
    turned = open_scene(scene)
    unit = np.array(down) / np.linalg.norm(down)
    T = turned.poses @ np.linalg.inv(flat.poses)  # the one rotation that turned them all
    np.testing.assert_allclose(T, T[:1].repeat(4, 0), atol=1e-9)
    np.testing.assert_allclose(T[0, :3, :3] @ unit, [0, 0, -1], atol=1e-9)
    assert np.linalg.det(T[0, :3, :3]) == pytest.approx(1.0)


def test_a_rotation_that_is_nearly_one_is_repaired(scene):
    spoiled = pose(1, 10.0)
    spoiled[:3, :3] += 2e-4
    np.savetxt(scene / "pose" / "0001.txt", spoiled)
    R = open_scene(scene).poses[1, :3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)


def spoil_nan(root):
    bad = pose()
    bad[0, 3] = np.nan
    np.savetxt(root / "pose" / "0001.txt", bad)


def spoil_scale(root):
    bad = pose()
    bad[:3, :3] *= 1.1
    np.savetxt(root / "pose" / "0001.txt", bad)


def spoil_reflection(root):
    np.savetxt(root / "pose" / "0001.txt", np.diag([1.0, 1.0, -1.0, 1.0]))


def spoil_transposed(root):
    np.savetxt(root / "pose" / "0001.txt", pose().T)


def spoil_focal(root):
    np.savetxt(root / "intrinsics.txt", np.diag([0.0, 100.0, 1.0]))


def spoil_reference(root):
    (root / "scene.json").write_text(json.dumps({"reference": [0, 9]}))


def spoil_gravity(root):
    (root / "scene.json").write_text(json.dumps({"gravity": [0, 0, 0]}))


def spoil_json(root):
    (root / "classes.json").write_text("{classes: ")


def spoil_double(root):
    (root / "rgb" / "0001.jpg").write_bytes(b"x")


def spoil_first_image(root):
    (root / "rgb" / "0000.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("spoil", "file", "what"),
    [
        (lambda r: (r / "pose" / "0001.txt").unlink(), "0001.txt", "missing"),
        (spoil_nan, "0001.txt", "NaN"),
        (spoil_scale, "0001.txt", "rotation"),
        (spoil_reflection, "0001.txt", "rotation"),
        (spoil_transposed, "0001.txt", "transposed"),
        (lambda r: (r / "pose" / "0001.txt").write_text("1 2 3"), "0001.txt", "shape"),
        (lambda r: (r / "pose" / "0001.txt").write_text("a b"), "0001.txt", "numbers"),
        (lambda r: (r / "intrinsics.txt").unlink(), "intrinsics.txt", "missing"),
        (spoil_focal, "intrinsics.txt", "focal"),
        (spoil_reference, "scene.json", "9"),
        (spoil_gravity, "scene.json", "gravity"),
        (spoil_json, "classes.json", "JSON"),
        (spoil_double, "rgb", "two images"),
        (spoil_first_image, "0000.png", "readable"),
    ],
)
def test_bad_scenes_are_refused_by_name(scene, spoil, file, what):
    spoil(scene)
    with pytest.raises(SceneError, match=what) as caught:
        open_scene(scene)
    assert file in str(caught.value)


def write(path, image):
    assert cv2.imwrite(str(path), image)


@pytest.mark.parametrize(
    ("spoil", "file", "what"),
    [
        (lambda r: write(r / "rgb/0001.png", np.zeros((40, 64, 3), np.uint8)), "rgb", "64x40"),
        (lambda r: (r / "rgb/0001.png").write_bytes(b"\x89PNG cut"), "rgb", "readable"),
        (lambda r: (r / "depth/0001.png").unlink(), "depth", "missing"),
        (lambda r: write(r / "depth/0001.png", np.zeros((48, 64), np.uint8)), "depth", "uint8"),
        (lambda r: write(r / "depth/0001.png", np.zeros((24, 32), np.uint16)), "depth", "32x24"),
        (lambda r: write(r / "label/0001.png", np.zeros((48, 64), np.uint16)), "label", "uint16"),
        (lambda r: write(r / "label/0001.png", np.zeros((48, 60), np.uint8)), "label", "60x48"),
    ],
)
def test_bad_frames_are_refused_by_name_when_they_are_read(scene, spoil, file, what):
    spoil(scene)
    opened = open_scene(scene)
    assert opened[0].depth is not None
    with pytest.raises(SceneError, match=what) as caught:
        opened[1]
    assert file in str(caught.value)


def test_folders_that_are_no_scene_are_refused(tmp_path):
    with pytest.raises(SceneError, match="not a folder"):
        open_scene(tmp_path / "nowhere")
    with pytest.raises(SceneError, match="no folder rgb"):
        open_scene(tmp_path)
    (tmp_path / "rgb").mkdir()
    with pytest.raises(SceneError, match=r"no \.jpg or \.png"):
        open_scene(tmp_path)


def test_frames_outside_are_refused(scene):
    with pytest.raises(IndexError, match="4 frames"):
        open_scene(scene)[4]


def test_the_real_kitchen_loads_and_stands_upright(shared_data):
    kitchen = open_scene(shared_data / "7scenes")
    assert (len(kitchen), kitchen.width, kitchen.height) == (100, 640, 480)
    frame = kitchen[50]
    assert frame.depth.shape == frame.rgb.shape[:2]
    assert 0.3 < np.median(frame.depth[frame.depth > 0]) < 4.0
    # A camera in a hand is upright on average: its y axis points down.
    assert kitchen.poses[:, 2, 1].mean() < -0.7
