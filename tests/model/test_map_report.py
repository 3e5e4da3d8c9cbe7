"""The files of a report, made of a real map."""

import json
from dataclasses import replace

import numpy as np
import pytest
from box_field import tiny_field
from furnished_room import TABLE, ColorEncoder, room_frames, write_scene

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.map_recording import map_recording
from govnesf_model.map_report import FORMAT, MAX_PHOTOS, Finished, write_report
from govnesf_model.pointcloud_io import read_ply
from govnesf_model.query import Query, answer
from govnesf_model.scene_map import MapConfig, SceneMap


class ForgivingEncoder(ColorEncoder):
    """Half sure of everything but colours: texts that are no name come near to all."""

    logit_scale = 1.0
    default_threshold = 0.2


def report(tmp_path, texts, encoder=None, **settings):
    frames = room_frames(4)
    write_scene(tmp_path / "room", frames)
    scene = replace(open_scene(tmp_path / "room"), stamps=(10.0, 11.0, 12.0, 13.0))
    config = {"image_width": 80, "voxel_size": 0.05, "refresh_points": 500, **settings}
    scene_map = SceneMap(
        tiny_field(samples_per_ray=8), encoder or ColorEncoder(), MapConfig(**config)
    )
    run = map_recording(scene_map, scene, scene.reference)
    result = answer(scene_map.snapshot(), scene_map.vlm, Query(tuple(texts)))
    finished = Finished(
        scene, scene_map, run, result, "govnesf map room", {"vlm": "color"}, {"load": 0.5}
    )
    content = write_report(tmp_path / "out", finished)
    return content, tmp_path / "out", scene_map


def test_everything_is_written_and_agrees(tmp_path):
    content, out, scene_map = report(tmp_path, ["table", "cabinet"])
    assert sorted(path.name for path in out.iterdir()) == [
        "answers.json",
        "cloud.ply",
        "labels.ply",
        "report.html",
    ]
    assert json.loads((out / "answers.json").read_text()) == json.loads(json.dumps(content))
    assert content["format"] == FORMAT
    assert content["images"]["reasons"] == {"accepted": 4}
    assert content["images"]["outcomes"][2] == ["0002", 12.0, "accepted"]
    assert content["map"]["points"] == len(read_ply(out / "cloud.ply")["x"])
    box = content["texts"][0]["instances"][0]
    np.testing.assert_allclose(box["center"][:2], TABLE.center[:2], atol=0.08)
    assert box["seen_in"] in {"0000", "0001", "0002", "0003"}
    assert box["keyframes"] == 4
    poses = [keyframe["T_world_camera"] for keyframe in content["map"]["keyframes"]]
    np.testing.assert_allclose(
        poses, [k.T_world_camera for k in scene_map.snapshot().keyframes], atol=1e-5
    )
    assert content["seconds"]["speed"] == pytest.approx(4.0 / content["seconds"]["map"], rel=0.01)
    assert content["settings"]["voxel_size"] == 0.05
    assert content["settings"]["vlm"] == "color"
    assert content["memory_mib"]["map"] < content["memory_mib"]["bound"]
    assert {"govnesf", "torch", "encoder", "device"} <= set(content["versions"])
    shown = (out / "report.html").read_text()
    assert shown.count("data:image/jpeg") == 4  # two texts, two views of the map
    assert box["seen_in"] in shown


def test_a_text_that_was_not_found_gets_a_picture_only_when_it_comes_near(tmp_path):
    content, out, _ = report(tmp_path, ["table", "telescope"])
    assert content["texts"][1]["instances"] == []
    assert content["texts"][1]["best"] < 0.05
    shown = (out / "report.html").read_text()
    assert shown.count("data:image/jpeg") == 3
    assert "Without a picture: telescope." in shown


def test_a_near_miss_shows_where_it_is_likeliest(tmp_path):
    content, out, _ = report(tmp_path, ["table", "telescope"], ForgivingEncoder())
    assert content["texts"][1]["best"] > 0.05
    assert (out / "report.html").read_text().count("data:image/jpeg") == 4


def test_hundreds_of_texts_do_not_make_hundreds_of_photos(tmp_path):
    texts = ["table", *[f"thing {number}" for number in range(60)]]
    content, out, _ = report(tmp_path, texts, ForgivingEncoder())
    assert len(content["texts"]) == 61
    assert (out / "report.html").read_text().count("<img") <= MAX_PHOTOS


def test_without_depth_the_report_says_colour_only(tmp_path):
    content, out, _ = report(tmp_path, ["table"], use_depth=False)
    assert content["scene"]["depth"] is False
    assert "colour only" in (out / "report.html").read_text()


def test_a_world_whose_z_is_not_up_is_warned_of(tmp_path):
    frames = room_frames(3)
    lying = np.eye(4)
    lying[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    turned = [replace(f, T_world_camera=lying @ f.T_world_camera) for f in frames]
    write_scene(tmp_path / "room", turned)
    scene = open_scene(tmp_path / "room")
    config = MapConfig(image_width=80, voxel_size=0.05, refresh_points=500)
    scene_map = SceneMap(tiny_field(samples_per_ray=8), ColorEncoder(), config)
    run = map_recording(scene_map, scene, scene.reference)
    result = answer(scene_map.snapshot(), scene_map.vlm, Query(("table",)))
    content = write_report(tmp_path / "out", Finished(scene, scene_map, run, result))
    assert "if z is not up in this world, give gravity" in content["warnings"][0]
    assert "give gravity" in (tmp_path / "out" / "report.html").read_text()
