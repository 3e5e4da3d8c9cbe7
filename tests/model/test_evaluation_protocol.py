"""Frames and words of an evaluation."""

import json
from dataclasses import replace

import pytest
from furnished_room import NAMES, room_frames, write_scene

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.protocol import (
    MATTERPORT,
    SCANNET,
    check,
    reference_frames,
    scored_classes,
    spread,
    truth_frames,
    vocabulary,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("protocol") / "room"
    write_scene(root, room_frames(4, 32, 24), target=(2,))
    return open_scene(root)


def test_names_and_scene_prompts(scene):
    words = vocabulary(scene, "names")
    assert words.names == words.prompts == NAMES
    assert words.index == (1, 2, 3, 4, 5, 6)
    assert vocabulary(scene, "scene").prompts[0] == "a table in a scene"


def test_scannet_offers_all_twenty_classes_wherever_they_are_numbered(scene):
    classes = {3: "wall", 7: "refridgerator", 9: "shower_curtain", 14: "other furniture"}
    words = vocabulary(replace(scene, classes=classes), "scannet")
    assert words.names == SCANNET
    assert len(words.index) == len(set(words.index)) == 20
    found = dict(zip(words.names, words.index, strict=True))
    assert found["wall"] == 3
    assert found["refrigerator"] == 7
    assert found["shower curtain"] == 9
    assert found["otherfurniture"] == 14
    assert found["bed"] > 255  # no label image can hold it
    prompts = dict(zip(words.names, words.prompts, strict=True))
    assert prompts["wall"] == "a wall in a scene"
    assert prompts["otherfurniture"] == "other"


def test_matterport_has_a_ceiling_and_other_bare(scene):
    words = vocabulary(replace(scene, classes={1: "ceiling", 2: "other"}), "matterport")
    assert words.names == MATTERPORT
    assert len(MATTERPORT) == 21
    assert words.prompts[-2:] == ("other", "a ceiling in a scene")
    assert words.index[-2:] == (2, 1)


def test_classes_outside_a_closed_set_are_refused(scene):
    with pytest.raises(ValueError, match=r"'mug', which is none of the 20"):
        vocabulary(scene, "scannet")
    twice = replace(scene, classes={1: "sofa", 2: "Sofa"})
    with pytest.raises(ValueError, match="two classes that are 'sofa'"):
        vocabulary(twice, "scannet")


def test_prompts_from_a_file(scene, tmp_path):
    file = tmp_path / "words.json"
    file.write_text(json.dumps({name: f"the {name}" for name in NAMES}))
    assert vocabulary(scene, str(file)).prompts == tuple(f"the {name}" for name in NAMES)
    file.write_text(json.dumps({"table": "desk"}))
    with pytest.raises(ValueError, match="no prompt for 'cabinet'"):
        vocabulary(scene, str(file))
    file.write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        vocabulary(scene, str(file))
    file.write_text("[1]")
    with pytest.raises(ValueError, match="must hold an object"):
        vocabulary(scene, str(file))
    with pytest.raises(ValueError, match="there are no prompts 'magic'"):
        vocabulary(scene, "magic")


def test_ignored_and_other_classes_are_no_choice(scene):
    without = replace(scene, ignore=frozenset({1}), other=2)
    assert list(scored_classes(without)) == [3, 4, 5, 6]


def test_references_are_limited_evenly(scene):
    assert spread(range(10), 3) == [0, 4, 9]
    assert spread([5, 7], 9) == [5, 7]
    assert spread([5, 7], 0) == [5, 7]
    assert reference_frames(scene, EvaluationOptions("3d", reference_views=2)) == [0, 3]


def test_targets_become_references_in_3d_alone(scene):
    options = EvaluationOptions("3d", with_targets=True)
    assert reference_frames(scene, options) == [0, 1, 2, 3]
    assert truth_frames(scene, options) == [0, 1, 2, 3]
    # The truth is the same points however few references there are.
    few = EvaluationOptions("3d", reference_views=1)
    assert truth_frames(scene, few) == [0, 1, 3]
    for task in ("2d", "nvs"):
        assert reference_frames(scene, replace(options, task=task)) == [0, 1, 3]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"width": 3}, "at least 16"),
        ({"render_width": 3}, "at least 16"),
        ({"rays_per_view": -1}, "0 or more"),
        ({"voxel": 0.0}, "must be positive"),
        ({"task": "4d"}, "no task"),
    ],
)
def test_senseless_options_are_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        EvaluationOptions(**{"task": "2d", **changes})


@pytest.mark.parametrize(
    ("task", "method", "what"),
    [("3d", "vlm_view", "use 2d"), ("nvs", "vlm_rendered", "use 2d")],
)
def test_impossible_combinations_are_refused(scene, task, method, what):
    with pytest.raises(ValueError, match=what):
        check(scene, [method], EvaluationOptions(task))


def test_scenes_without_truth_are_refused(tmp_path):
    write_scene(tmp_path / "bare", room_frames(2, 32, 24, depth=False))
    bare = open_scene(tmp_path / "bare")
    for task, what in (("2d", "target"), ("nvs", "target"), ("3d", "depth")):
        with pytest.raises(ValueError, match=what):
            check(bare, ["govnesf"], EvaluationOptions(task))
    with_target = replace(bare, target=(1,))
    with pytest.raises(ValueError, match="no depth, which the method govnesf_dgm needs"):
        check(with_target, ["govnesf_dgm"], EvaluationOptions("2d"))
