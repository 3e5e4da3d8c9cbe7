"""transforms.json: axes, half pixels, distortion, splits."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scene_layouts import (
    FLIP,
    assert_shows_the_room,
    millimetres,
    pinhole,
    poses_of,
    save_png,
    shoot,
)

from govnesf_model.data.posed_scene import SceneError, open_scene
from govnesf_model.data.readers.lens import Lens

PLAIN = pinhole(150.0, 200, 150)
BENT = Lens(
    np.array([[150.0, 0, 101.0], [0, 151.0, 73.5], [0, 0, 1]]), 200, 150, (-0.08, 0.02, 1e-3, -2e-3)
)
FISHEYE = Lens(
    np.array([[95.0, 0, 99.5], [0, 95.0, 74.5], [0, 0, 1]]),
    200,
    150,
    (0.05, -0.01, 0.002, 0.0),
    True,
)


def intrinsics(lens: Lens) -> dict:
    """Return a lens in the words of nerfstudio, whose first pixel centre is (0.5, 0.5)."""
    names = ("k1", "k2", "k3", "k4") if lens.fisheye else ("k1", "k2", "p1", "p2")
    return {
        "fl_x": lens.K[0, 0],
        "fl_y": lens.K[1, 1],
        "cx": lens.K[0, 2] + 0.5,
        "cy": lens.K[1, 2] + 0.5,
        "w": lens.width,
        "h": lens.height,
        **dict(zip(names, lens.distortion, strict=False)),
    }


def write(root: Path, lens: Lens, meta: dict, count: int = 5, depth: bool = True) -> np.ndarray:
    """Write the room as nerfstudio has it; return the poses."""
    poses, frames = poses_of(count), []
    for number, T in enumerate(poses):
        rgb, z, _ = shoot(lens, T)
        save_png(root / f"images/frame_{number + 1:05d}.png", rgb)
        frame = {
            "file_path": f"images/frame_{number + 1:05d}.png",
            "transform_matrix": (T @ FLIP).tolist(),
        }
        if depth:
            save_png(root / f"depths/frame_{number + 1:05d}.png", millimetres(z))
            frame["depth_file_path"] = f"depths/frame_{number + 1:05d}.png"
        frames.append(frame)
    # Nobody promises an order.
    (root / "transforms.json").write_text(json.dumps({**meta, "frames": frames[::-1]}))
    return poses


def test_plain_pinhole(tmp_path):
    poses = write(tmp_path, PLAIN, {"camera_model": "PINHOLE", **intrinsics(PLAIN)})
    scene = open_scene(tmp_path)
    np.testing.assert_allclose(scene.K, PLAIN.K, atol=1e-9)
    assert scene.names[0] == "frame_00001"
    assert_shows_the_room(scene, poses)
    assert any("metres" in note for note in scene.notes)
    assert open_scene(tmp_path / "transforms.json").name == tmp_path.name


def test_distortion_is_straightened_into_a_new_pinhole(tmp_path):
    poses = write(tmp_path, BENT, {"camera_model": "OPENCV", **intrinsics(BENT)})
    scene = open_scene(tmp_path)
    assert abs(scene.K[0, 0] - BENT.K[0, 0]) > 1
    # All pixels of the new image are seen by the lens: no black border.
    assert all(frame.rgb.max(axis=-1).min() > 0 for frame in scene)
    assert_shows_the_room(scene, poses)


def test_ignoring_the_distortion_would_show(tmp_path):
    meta = intrinsics(BENT) | {"k1": 0.0, "k2": 0.0}
    write(tmp_path, BENT, meta)
    with pytest.raises(AssertionError):
        assert_shows_the_room(open_scene(tmp_path), None)


def test_fisheye_is_straightened(tmp_path):
    poses = write(tmp_path, FISHEYE, {"camera_model": "OPENCV_FISHEYE", **intrinsics(FISHEYE)})
    assert_shows_the_room(open_scene(tmp_path), poses, error=0.01)


def test_frames_may_have_intrinsics_of_their_own(tmp_path):
    poses = write(tmp_path, PLAIN, {"w": 200, "h": 150})
    file = tmp_path / "transforms.json"
    meta = json.loads(file.read_text())
    for number, frame in enumerate(sorted(meta["frames"], key=lambda f: f["file_path"])):
        lens = PLAIN if number < 3 else BENT
        rgb, z, _ = shoot(lens, poses[number])
        save_png(tmp_path / frame["file_path"], rgb)
        save_png(tmp_path / frame["depth_file_path"], millimetres(z))
        frame |= intrinsics(lens)
    file.write_text(json.dumps(meta))
    scene = open_scene(tmp_path)
    np.testing.assert_allclose(scene.K, PLAIN.K)  # the first frame's, for all
    assert_shows_the_room(scene, poses, depth=0.9)


def test_blender_files_give_an_angle_and_the_split(tmp_path):
    poses, angle = poses_of(6), 2 * math.atan(200 / 2 / 150)
    for part, numbers in (("train", (0, 1, 2, 3)), ("val", (4,)), ("test", (5,))):
        frames = []
        for place, number in enumerate(numbers):
            save_png(tmp_path / part / f"r_{place}.png", shoot(PLAIN, poses[number])[0])
            matrix = (poses[number] @ FLIP).tolist()
            frames.append({"file_path": f"./{part}/r_{place}", "transform_matrix": matrix})
        content = {"camera_angle_x": angle, "frames": frames}
        (tmp_path / f"transforms_{part}.json").write_text(json.dumps(content))
    scene = open_scene(tmp_path)
    np.testing.assert_allclose(scene.K, PLAIN.K, atol=1e-9)
    assert (scene.reference, scene.target) == ((0, 1, 2, 3), (4, 5))
    assert scene.names[4:] == ("val-r_0", "test-r_0")
    assert not scene.has_depth
    assert_shows_the_room(scene, poses, depth=0)


def test_lists_of_file_names_are_the_split(tmp_path):
    names = [f"images/frame_{number:05d}.png" for number in range(1, 6)]
    meta = {"train_filenames": names[:3], "val_filenames": names[3:4], "test_filenames": names[4:]}
    write(tmp_path, PLAIN, {**intrinsics(PLAIN), **meta})
    scene = open_scene(tmp_path)
    assert (scene.reference, scene.target) == ((0, 1, 2), (3, 4))


def test_the_applied_transform_can_be_taken_off(tmp_path):
    applied = [[1.0, 0, 0, 0.1], [0, 0, 1.0, 0.2], [0, -1.0, 0, 0.3]]
    poses = write(tmp_path, PLAIN, {**intrinsics(PLAIN), "applied_transform": applied})
    np.testing.assert_allclose(open_scene(tmp_path).poses, poses, atol=1e-6)
    undone = np.linalg.inv(np.vstack([applied, [0, 0, 0, 1]])) @ poses
    down = undone[:, :3, 1].mean(axis=0)
    original = open_scene(tmp_path, original=1)
    # In the original world down is +y; it is turned so that z is up again.
    assert down[1] > 0.9
    between = np.linalg.inv(original.poses[0]) @ original.poses[3]
    np.testing.assert_allclose(between, np.linalg.inv(poses[0]) @ poses[3], atol=1e-6)
    np.testing.assert_allclose(original.poses[:, 2, 1], poses[:, 2, 1], atol=1e-6)
    write(tmp_path / "without", PLAIN, intrinsics(PLAIN), 2)
    with pytest.raises(SceneError, match="no applied_transform"):
        open_scene(tmp_path / "without", original=1)


def test_scale_makes_metres_of_poses_and_depth(tmp_path):
    poses = write(tmp_path, PLAIN, intrinsics(PLAIN))
    scene = open_scene(f"{tmp_path}?scale=2.5")
    np.testing.assert_allclose(scene.poses[:, :3, 3], 2.5 * poses[:, :3, 3], atol=1e-6)
    np.testing.assert_allclose(scene[0].depth, 2.5 * open_scene(tmp_path)[0].depth, rtol=1e-5)


def test_depth_as_floats_and_smaller_than_the_image(tmp_path):
    poses = write(tmp_path, PLAIN, {**intrinsics(PLAIN), "depth_unit_scale_factor": 1.0})
    file = tmp_path / "transforms.json"
    meta = json.loads(file.read_text())
    for frame in meta["frames"]:
        number = int(frame["file_path"][-9:-4]) - 1
        frame["depth_file_path"] = f"depths/{number}.npy"
        depth = shoot(PLAIN.scaled((100, 75)), poses[number])[1]
        np.save(tmp_path / frame["depth_file_path"], depth[..., None])
    file.write_text(json.dumps(meta))
    assert_shows_the_room(open_scene(tmp_path), poses, error=0.015)


def test_missing_images_are_skipped_and_told(tmp_path):
    write(tmp_path, PLAIN, intrinsics(PLAIN))
    (tmp_path / "images" / "frame_00002.png").unlink()
    scene = open_scene(tmp_path)
    assert len(scene) == 4
    assert any("1 of 5 frames name images that are not there" in note for note in scene.notes)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"),
        ({"fl_x": 0, "fl_y": 0}, "neither fl_x nor camera_angle_x"),
        ({"frames": []}, "no list of frames"),
        ({"frames": [{"file_path": "images/frame_00001.png"}]}, "without file_path or transform"),
        (
            {
                "frames": [
                    {
                        "file_path": "images/frame_00001.png",
                        "transform_matrix": (np.eye(4) * 2).tolist(),
                    }
                ]
            },
            r"transform_matrix of frame_00001\.png, is not a rigid pose",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, change, what):
    write(tmp_path, PLAIN, intrinsics(PLAIN), 2)
    file = tmp_path / "transforms.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(SceneError, match=what):
        open_scene(tmp_path)
