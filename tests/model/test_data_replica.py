"""Replica as rendered for Semantic-NeRF."""

import numpy as np
import pytest
from scene_layouts import assert_shows_the_room, write_replica

from govnesf_model.data.posed_scene import SceneError, open_scene


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    root = tmp_path_factory.mktemp("replica")
    return root / "room_0", write_replica(root / "room_0" / "Sequence_1")


def test_frames_show_what_their_camera_sees(replica):
    scene = open_scene(replica[0])
    assert_shows_the_room(scene, replica[1], label=True)
    assert scene.name == "room_0"
    assert scene[0].depth.dtype == np.float32


def test_the_camera_sees_ninety_degrees(replica):
    scene = open_scene(replica[0] / "Sequence_1")
    np.testing.assert_allclose(scene.K, [[80, 0, 79.5], [0, 80, 59.5], [0, 0, 1]])


def test_the_split_is_that_of_semantic_nerf(replica):
    scene = open_scene(replica[0])
    assert (scene.reference, scene.target) == ((0, 5), (2, 7))


def test_classes_are_named_by_the_room(replica):
    scene = open_scene(replica[0])
    assert scene.classes[1] == "wall cabinet"
    assert scene.classes[3] == "tv screen"
    assert 0 not in scene.classes
    assert scene.ignore == {0, 255}
    assert scene.labelled == tuple(range(8))


def test_labels_without_names_are_left_out_with_a_note(tmp_path):
    write_replica(tmp_path / "room" / "Sequence_1", 2)
    (tmp_path / "semantic_info" / "room" / "info_semantic.json").unlink()
    scene = open_scene(tmp_path / "room")
    assert scene[0].label is None
    assert scene.labelled == ()
    assert any("info_semantic.json" in note for note in scene.notes)


def test_a_trajectory_that_is_too_short_is_refused(tmp_path):
    sequence = tmp_path / "room" / "Sequence_1"
    poses = write_replica(sequence, 3)
    np.savetxt(sequence / "traj_w_c.txt", poses[:2].reshape(2, 16))
    with pytest.raises(SceneError, match="2 poses, but there is an image rgb_2"):
        open_scene(sequence)
