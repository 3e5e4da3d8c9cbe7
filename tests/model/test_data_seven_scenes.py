"""7-Scenes: poses of the depth camera, depth beside colour, a world without up."""

import cv2
import numpy as np
import pytest
from scene_layouts import assert_shows_the_room, poses_of, write_seven_scenes

from govnesf_model.data.posed_scene import SceneError, open_scene

# The room lies on its side, as a world does that is a first camera's; turned about x alone, so that
# the shortest way back to z up is the inverse.
T_SOURCE_WORLD = np.eye(4)
T_SOURCE_WORLD[:3, :3] = cv2.Rodrigues(np.array([np.radians(110.0), 0, 0]))[0]
DOWN = ",".join(str(x) for x in T_SOURCE_WORLD[:3, :3] @ [0, 0, -1])
COVERED = 0.75  # (525 / 585)^2 less the invalid rows: the depth camera sees less than colour


@pytest.fixture(scope="module")
def chess(tmp_path_factory):
    root = tmp_path_factory.mktemp("seven") / "chess"
    for number in (1, 2, 3):
        poses = write_seven_scenes(root / f"seq-0{number}", T_SOURCE_WORLD)
    (root / "TrainSplit.txt").write_text("sequence1 \r\nsequence3\r\n")
    (root / "TestSplit.txt").write_text("sequence2\r\n")
    return root, poses


def test_colour_has_its_own_pose_and_depth_is_registered_to_it(chess):
    scene = open_scene(chess[0] / "seq-01", gravity=DOWN)
    assert_shows_the_room(scene, chess[1], depth=COVERED)
    assert scene.names[0] == "frame-000000"
    assert any("no calibration" in note for note in scene.notes)


def test_a_wrong_baseline_shows(chess):
    scene = open_scene(chess[0] / "seq-01", gravity=DOWN, baseline=0.2)
    with pytest.raises(AssertionError):
        assert_shows_the_room(scene, None, depth=COVERED)


def test_the_mark_for_invalid_depth_is_no_depth(chess):
    scene = open_scene(chess[0] / "seq-01")
    assert (scene[0].depth[0] == 0).all()
    assert scene[0].depth.max() < 6


def test_gravity_is_found_from_the_cameras(chess):
    # The cameras have no roll, so the estimate is exact up to a turn about z.
    scene = open_scene(chess[0] / "seq-01")
    np.testing.assert_allclose(scene.poses[:, 2, :3], poses_of(6)[:, 2, :3], atol=1e-4)


def test_the_lists_tell_references_from_targets(chess):
    scene = open_scene(chess[0], gravity=DOWN)
    assert len(scene) == 18
    assert scene.names[6] == "seq-02-frame-000000"
    assert scene.target == tuple(range(6, 12))
    assert scene.reference == (*range(6), *range(12, 18))


def test_a_smaller_size_keeps_the_geometry(chess):
    scene = open_scene(chess[0] / "seq-01", gravity=DOWN, size="160x120")
    np.testing.assert_allclose(scene.K[0], [131.25, 0, 79.625], atol=1e-9)
    assert_shows_the_room(scene, chess[1], depth=COVERED)


def test_a_frame_without_pose_is_refused_by_name(tmp_path):
    write_seven_scenes(tmp_path, np.eye(4), 2)
    (tmp_path / "frame-000001.pose.txt").unlink()
    with pytest.raises(SceneError, match=r"frame-000001\.pose\.txt is missing"):
        open_scene(tmp_path)
