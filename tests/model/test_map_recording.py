"""A recording run through the map: every image is accounted for, and the gate is the map's own."""

from dataclasses import replace

import numpy as np
import pytest
from box_field import tiny_field
from furnished_room import ColorEncoder, room_frames, write_scene

from govnesf_model.data.posed_scene import SceneError, open_scene
from govnesf_model.map_recording import MEANINGS, map_recording
from govnesf_model.scene_map import MapConfig, SceneMap


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("recording") / "room"
    write_scene(root, room_frames(6))
    return open_scene(root)


def empty_map(**changes) -> SceneMap:
    config = {"image_width": 80, "voxel_size": 0.06, "refresh_points": 500, **changes}
    return SceneMap(tiny_field(samples_per_ray=8), ColorEncoder(), MapConfig(**config))


class Broken:
    """Reads a scene's images, some of which are damaged."""

    def __init__(self, reader, damaged):
        self.reader, self.damaged, self.asked = reader, damaged, []

    def rgb(self, index):
        self.asked.append(index)
        if index in self.damaged:
            raise SceneError(f"rgb/{index:04d}.png is damaged")
        return self.reader.rgb(index)

    def depth(self, index):
        return self.reader.depth(index)

    def label(self, index):
        return None


def test_every_image_has_one_outcome_and_stages_have_times(scene):
    stamped = replace(scene, stamps=tuple(100.0 + 0.5 * i for i in range(6)))
    scene_map = empty_map()
    run = map_recording(scene_map, stamped, [0, 0, 1, 2, 3])  # the second is the first again
    assert [image.reason for image in run.images] == ["accepted", "too_soon", *["accepted"] * 3]
    assert run.counts() == {"accepted": 4, "too_soon": 1}
    assert len(scene_map.snapshot().keyframes) == 4
    assert scene_map.snapshot().stamp == 101.5
    assert len(run.stages["gate"]) == 5
    assert len(run.stages["read"]) == len(run.stages["encode"]) == 4
    assert "total" not in run.stages
    accounted = sum(sum(seconds) for seconds in run.stages.values())
    assert 0 < accounted <= run.mapping_seconds


def test_the_speed_is_that_of_the_recording_over_that_of_mapping(scene):
    stamped = replace(scene, stamps=tuple(100.0 + 0.5 * i for i in range(6)))
    run = map_recording(empty_map(), stamped, range(6))
    assert run.recorded_seconds == pytest.approx(3.0)  # six images half a second apart
    assert run.speed == pytest.approx(3.0 / run.mapping_seconds)


def test_a_scene_without_times_takes_its_rate_and_has_no_speed(scene):
    # Frames 1.3 m apart: neither near nor so far off that they would be another camera's.
    gate = {"min_interval": 0.1, "min_translation": 0.5, "min_rotation": 50.0}
    run = map_recording(empty_map(**gate), scene, range(3), rate=5.0)
    assert [image.stamp for image in run.images] == pytest.approx([0.0, 0.2, 0.4])
    assert (run.recorded_seconds, run.speed) == (None, None)
    fast = map_recording(empty_map(**gate), scene, range(3), rate=20.0)
    assert fast.counts() == {"accepted": 2, "too_soon": 1}


def test_images_that_the_pose_refuses_are_not_decoded(scene):
    poses = np.repeat(scene.poses[:1], 6, axis=0)
    poses[4:] = scene.poses[3]
    reader = Broken(scene.reader, set())
    run = map_recording(empty_map(), replace(scene, poses=poses, reader=reader), range(6))
    assert [i.reason for i in run.images] == ["accepted", *["static"] * 3, "accepted", "static"]
    assert reader.asked == [0, 4]


def test_damaged_images_are_told_and_passed_over(scene):
    reader = Broken(scene.reader, {1, 2})
    run = map_recording(empty_map(), replace(scene, reader=reader), range(4), max_problems=1)
    assert run.counts() == {"accepted": 2, "unreadable": 2}
    assert run.problems == ("image 0001: rgb/0001.png is damaged",)


def test_images_that_do_not_fit_the_map_are_told_and_passed_over(scene):
    class Tall(Broken):
        def rgb(self, index):
            image = self.reader.rgb(index)
            return image[:, :90] if index == 1 else image

        def depth(self, index):
            depth = self.reader.depth(index)
            return depth[:, :90] if index == 1 else depth

    run = map_recording(empty_map(), replace(scene, reader=Tall(scene.reader, ())), range(3))
    assert run.counts() == {"accepted": 2, "unusable": 1}
    assert "reset the map for another camera" in run.problems[0]


def test_a_recording_of_which_nothing_can_be_used_is_refused_with_the_first_reason(scene):
    reader = Broken(scene.reader, set(range(6)))
    with pytest.raises(ValueError, match=r"no image of room could be mapped \(6 unreadable\); .*"):
        map_recording(empty_map(), replace(scene, reader=reader), range(6))
    with pytest.raises(ValueError, match="has no reference frames"):
        map_recording(empty_map(), scene, [])


def test_every_reason_of_the_gate_has_a_meaning():
    from govnesf_model.keyframes import REASONS

    assert set(REASONS) <= set(MEANINGS)
