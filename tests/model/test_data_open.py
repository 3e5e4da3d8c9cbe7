"""One way to open any scene: layouts, options, splits, gravity, and scenes among folders."""

import pickle

import numpy as np
import pytest
from box_room import write_room
from scene_layouts import assert_shows_the_room, poses_of, write_scannet, write_seven_scenes
from scipy.spatial.transform import Rotation

from govnesf_model.data.posed_scene import FrameReader, SceneError, open_scene
from govnesf_model.data.readers import LAYOUTS, find_scenes, is_scene, layout_of
from govnesf_model.data.readers.gravity import gravity_of_cameras, turn_to_z_up
from govnesf_model.data.readers.lens import Lens, Resampler, scaled_intrinsics


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("rooms") / "box"
    write_room(root, 10, 256, 192)
    return root


def test_size_scales_images_and_intrinsics_together(room):
    scene = open_scene(room, size="128x96")
    whole = open_scene(room)
    np.testing.assert_allclose(scene.K[0, 2], (whole.K[0, 2] + 0.5) / 2 - 0.5)
    assert scene[0].rgb.shape == (96, 128, 3)
    assert_shows_the_room(scene, whole.poses, label=True, error=0.02, flat=0.8)
    # The same behind the path, as commands are given it.
    assert open_scene(f"{room}?size=64x48").width == 64


def test_every_thins_references_and_targets_alike(room):
    scene = open_scene(room, holdout=5)
    assert scene.target == (4, 9)
    assert scene.reference == (0, 1, 2, 3, 5, 6, 7, 8)
    thin = open_scene(f"{room}?holdout=5&every=2")
    assert thin.names == ("0000", "0002", "0004", "0005", "0007")
    assert [thin.names[i] for i in thin.target] == ["0004"]
    assert thin.labelled == tuple(range(5))
    np.testing.assert_array_equal(thin[4].rgb, scene[7].rgb)
    np.testing.assert_allclose(thin[4].T_world_camera, scene[7].T_world_camera)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("size=64", "WIDTHxHEIGHT"),
        ("size=0x48", "WIDTHxHEIGHT"),
        ("every=0", "every"),
        ("every=two", "whole number"),
        ("holdout=1", "holdout"),
        ("gravity=up", "gravity"),
        ("colour=red", "no option 'colour': it has size, every, holdout, gravity"),
    ],
)
def test_wrong_options_are_refused(room, options, what):
    with pytest.raises(SceneError, match=what):
        open_scene(f"{room}?{options}")


def test_layouts_are_told_apart(room, tmp_path):
    write_scannet(tmp_path / "scan", 2, ())
    write_seven_scenes(tmp_path / "heads" / "seq-01", np.eye(4), 2)
    (tmp_path / "nerf").mkdir()
    (tmp_path / "nerf" / "transforms.json").write_text("{}")
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "bag_0.db3").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    assert layout_of(room) == "posed_folder"
    assert layout_of(tmp_path / "scan") == "scannet"
    assert layout_of(tmp_path / "heads") == "seven_scenes"
    assert layout_of(tmp_path / "nerf") == "nerfstudio"
    assert layout_of(tmp_path / "bag") == layout_of(tmp_path / "bag" / "bag_0.db3") == "rosbag"
    assert layout_of(tmp_path / "notes") is None
    assert is_scene(f"{room}?every=2")
    with pytest.raises(SceneError) as caught:
        open_scene(tmp_path / "notes")
    assert all(name in str(caught.value) for name in LAYOUTS)


def test_an_empty_bag_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "bag_0.db3").write_bytes(b"")
    with pytest.raises(SceneError, match="cannot be read as a bag"):
        open_scene(tmp_path)


def test_scenes_are_found_among_folders(room, tmp_path):
    for name in ("a", "b", ".being_written"):
        write_room(tmp_path / name, 2, 16, 12)
    (tmp_path / "notes").mkdir()
    assert find_scenes([tmp_path, room]) == [tmp_path / "a", tmp_path / "b", room]
    names = [path.name for path in find_scenes([f"{tmp_path}?every=2"])]
    assert names == ["a?every=2", "b?every=2"]
    assert len(open_scene(find_scenes([f"{tmp_path}?every=2"])[0])) == 1
    with pytest.raises(SceneError, match="no scene"):
        find_scenes([tmp_path / "notes"])
    with pytest.raises(SceneError, match="not a folder"):
        find_scenes([tmp_path / "nowhere"])


def test_scenes_travel_to_other_processes(room):
    scene = open_scene(room, every=3, size="64x48")
    again = pickle.loads(pickle.dumps(scene))
    assert isinstance(again.reader, FrameReader)
    np.testing.assert_array_equal(again[1].rgb, scene[1].rgb)


@pytest.mark.parametrize("angles", [(0, 0), (110, 0), (-35, 60), (180, 20)])
def test_gravity_comes_from_upright_cameras(angles):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xy", angles, degrees=True).as_matrix()
    down = gravity_of_cameras(turn @ poses_of(7))
    np.testing.assert_allclose(down, turn[:3, :3] @ [0, 0, -1], atol=1e-6)
    upright = turn_to_z_up(down, "test") @ turn @ poses_of(7)
    np.testing.assert_allclose(upright[:, 2, 0], 0, atol=1e-6)  # x axes are level


def test_gravity_snaps_to_an_axis_only_when_it_is_near():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", 97, degrees=True).as_matrix()
    poses = turn @ poses_of(7)
    np.testing.assert_allclose(gravity_of_cameras(poses, 10.0), [0, 1, 0], atol=1e-12)
    assert gravity_of_cameras(poses, 5.0)[2] == pytest.approx(-np.cos(np.radians(97)), abs=1e-6)


def test_cameras_that_never_turn_give_their_own_down():
    poses = np.tile(poses_of(1), (4, 1, 1))
    np.testing.assert_allclose(gravity_of_cameras(poses), poses[0, :3, 1], atol=1e-9)


def test_scaling_there_and_back_is_nothing():
    K = np.array([[500.0, 0.3, 310], [0, 510, 250], [0, 0, 1]])
    np.testing.assert_allclose(scaled_intrinsics(scaled_intrinsics(K, 0.3, 0.4), 1 / 0.3, 2.5), K)


def test_depth_of_a_coarser_camera_leaves_no_holes():
    """A wall at 2 m, seen by a camera of half the focal length 10 cm to the left."""
    lens = Lens(np.array([[50.0, 0, 49.5], [0, 50, 39.5], [0, 0, 1]]), 100, 80)
    target = Lens(np.array([[120.0, 0, 59.5], [0, 120, 44.5], [0, 0, 1]]), 120, 90)
    T_target_lens = np.eye(4)
    T_target_lens[0, 3] = -0.1
    depth = np.full((80, 100), 2.0, np.float32)
    depth[:, 30] = 1.0  # a thin post before it
    seen = Resampler(target).register_depth(depth, lens, T_target_lens)
    assert (seen > 0).mean() > 0.97  # what the post hid from the other camera is unknown
    assert set(np.unique(seen)) <= {0.0, 1.0, 2.0}
    # Column 30 is at x = -0.39 m; the target sees it at u = 120 * (-0.39 - 0.1) + 59.5 = 0.7.
    assert (seen[:, 1] == 1).mean() > 0.9
    assert (seen[:, 5:] == 1).sum() == 0
