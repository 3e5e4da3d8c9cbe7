"""ScanNet's exported scans: cameras, lost frames, labels."""

import numpy as np
import pytest
from scene_layouts import (
    WALL_TO_NYU,
    assert_shows_the_room,
    shoot,
    write_scannet,
    write_scannet_table,
)

from govnesf_model.data.posed_scene import SceneError, open_scene
from govnesf_model.data.readers import find_scenes
from govnesf_model.data.readers.lens import Lens
from govnesf_model.data.readers.scannet import CLASSES


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    root = tmp_path_factory.mktemp("scannet")
    poses = write_scannet(root / "scans" / "scene0000_00")
    write_scannet_table(root / "scannetv2-labels.combined.tsv")
    return root, poses


def test_frames_show_what_their_camera_sees(scans):
    root, poses = scans
    scene = open_scene(root / "scans" / "scene0000_00")
    assert (scene.width, scene.height, scene.has_depth) == (320, 240, True)
    assert_shows_the_room(scene, np.delete(poses, 3, axis=0))


def test_intrinsics_follow_the_pixel_centres(scans):
    scene = open_scene(scans[0] / "scans" / "scene0000_00")
    x, y = 320 / 324, 240 / 242
    expected = [[292.5 * x, 0, 162 * x - 0.5], [0, 293 * y, 121 * y - 0.5], [0, 0, 1]]
    np.testing.assert_allclose(scene.K, expected, atol=1e-9)
    big = open_scene(scans[0] / "scans" / "scene0000_00", size=(324, 242))
    np.testing.assert_allclose(big.K[0], [292.5, 0, 161.5], atol=1e-6)


def test_lost_frames_are_skipped_and_counted_and_numbers_sort_as_numbers(scans):
    scene = open_scene(scans[0] / "scans" / "scene0000_00")
    assert scene.names == ("0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "11")
    assert any(note.startswith("1 of 12 frames have no pose") for note in scene.notes)
    assert scene.reference == tuple(range(11))


def test_raw_labels_become_benchmark_classes_through_the_table(scans):
    scene = open_scene(scans[0] / "scans" / "scene0000_00")
    assert scene.classes == CLASSES
    assert len(CLASSES) == 20
    assert scene.labelled == tuple(range(11))
    expected = np.where(np.isin(WALL_TO_NYU, list(CLASSES)), WALL_TO_NYU, 255)
    for frame in (scene[0], scene[7]):
        wall = shoot(Lens(frame.K, 320, 240), frame.T_world_camera)[2]
        assert (frame.label == expected[wall]).mean() > 0.98
    # NYU40's 38 (otherstructure) is none of the twenty.
    seen = set().union(*(np.unique(frame.label).tolist() for frame in scene))
    assert seen == {1, 2, 5, 14, 255}  # nobody looks up at the ceiling, 39


def test_eight_bit_labels_are_nyu40_numbers(tmp_path):
    write_scannet(tmp_path / "scene", 3, (), raw=False)
    scene = open_scene(tmp_path / "scene")
    seen = set().union(*(np.unique(frame.label).tolist() for frame in scene))
    assert seen <= {1, 2, 5, 14, 39, 255}
    assert any("NYU40" in note for note in scene.notes)


def test_raw_labels_without_the_table_are_left_out_with_a_note(tmp_path):
    write_scannet(tmp_path / "scene", 2, ())
    scene = open_scene(tmp_path / "scene")
    assert (scene.classes, scene.labelled, scene[0].label) == ({}, (), None)
    assert any("labels are left out" in note for note in scene.notes)
    write_scannet_table(tmp_path / "own.tsv")
    scene = open_scene(tmp_path / "scene", labels=tmp_path / "own.tsv")
    assert set(np.unique(scene[0].label)) <= {1, 2, 5, 14, 39, 255}
    with pytest.raises(SceneError, match="no such file"):
        open_scene(tmp_path / "scene", labels="nowhere.tsv")


def test_zero_padded_names_are_the_same_frames(tmp_path):
    """Some exporters write 000000.jpg."""
    poses = write_scannet(tmp_path, 3, ())
    for folder in ("color", "depth", "pose", "label-filt"):
        for path in list((tmp_path / folder).iterdir()):
            path.rename(path.with_name(f"{int(path.stem):06d}{path.suffix}"))
    assert_shows_the_room(open_scene(tmp_path), poses)


def test_official_lists_name_scenes(scans):
    root, _ = scans
    (root / "scannetv2_val.txt").write_text("scene0000_00\nscene0999_00\n")
    assert find_scenes([root / "scannetv2_val.txt"]) == [root / "scans" / "scene0000_00"]
    (root / "scannetv2_test.txt").write_text("scene0999_00\n")
    with pytest.raises(SceneError, match="none of which"):
        find_scenes([root / "scannetv2_test.txt"])


def test_what_is_not_unpacked_or_lost_altogether_is_said(tmp_path):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "scene0000_00.sens").write_bytes(b"")
    with pytest.raises(SceneError, match="SensReader"):
        open_scene(tmp_path / "packed")
    write_scannet(tmp_path / "lost", 2, lost=(0, 1))
    with pytest.raises(SceneError, match="lost every frame"):
        open_scene(tmp_path / "lost")
