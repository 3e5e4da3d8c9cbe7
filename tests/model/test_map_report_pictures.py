"""Where a thing is seen best, boxes in photos, drawings of the map."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from box_field import tiny_field
from furnished_room import CABINET, TABLE, ColorEncoder, room_frames

from govnesf_model.map_report_pictures import (
    PHOTO_WIDTH,
    best_view,
    jpeg_uri,
    map_drawing,
    photo_with_box,
    photo_with_heat,
)
from govnesf_model.palette import label_colors
from govnesf_model.query import Query, answer
from govnesf_model.scene_map import MapConfig, SceneMap


@pytest.fixture(scope="module")
def mapped():
    scene_map = SceneMap(
        tiny_field(samples_per_ray=8),
        ColorEncoder(),
        MapConfig(image_width=160, voxel_size=0.05, refresh_points=500),
    )
    for frame in room_frames(6):
        scene_map.add(frame)
    snapshot = scene_map.snapshot()
    return scene_map, snapshot, answer(snapshot, ColorEncoder(), Query(("table", "cabinet", "mug")))


def shows(picture, color):
    return np.abs(picture.astype(int) - color).sum(-1) < 30


def test_the_best_view_sees_most_and_counts_those_that_see_anything(mapped):
    scene_map, snapshot, result = mapped
    sight = best_view(snapshot, result.instances[0][0].indices, scene_map.config)
    assert sight.share > 0.5
    assert sight.views == 6  # all cameras look at the table
    pixels = {
        k.id: (k.rgb.astype(int) - TABLE.color).__abs__().sum(-1) < 30 for k in snapshot.keyframes
    }
    areas = {number: int(mask.sum()) for number, mask in pixels.items()}
    assert areas[sight.keyframe.id] > 0.5 * max(areas.values())


def test_what_nobody_sees_has_no_best_view(mapped):
    scene_map, snapshot, _ = mapped
    assert best_view(snapshot, np.zeros(0, np.int64), scene_map.config) is None


def test_a_box_is_drawn_around_the_thing(mapped):
    scene_map, snapshot, result = mapped
    number, instances = 2, result.instances[1]
    sight = best_view(snapshot, instances[0].indices, scene_map.config)
    keyframe = sight.keyframe
    gray = np.full_like(keyframe.rgb, 128)
    empty = np.zeros(gray.shape[:2], bool)
    picture = photo_with_box(gray, keyframe.K, keyframe.T_world_camera, empty, instances, number)
    assert picture.shape[1] == PHOTO_WIDTH
    painted = shows(picture, label_colors(number)[number])
    v, u = np.nonzero(painted)
    sv, su = np.nonzero(shows(keyframe.rgb, CABINET.color))
    scale = PHOTO_WIDTH / keyframe.width
    # The box surrounds all pixels of the cabinet, and not much more.
    for drawn, seen, size in ((u, su, keyframe.width), (v, sv, keyframe.height)):
        assert drawn.min() <= seen.min() * scale + 0.04 * size * scale
        assert drawn.max() >= seen.max() * scale - 0.04 * size * scale
    assert painted.mean() < 0.1


def test_a_box_that_the_camera_stands_in_is_cut_off_and_not_turned_over(mapped):
    _, _, result = mapped
    box = result.instances[0][0]
    inside = np.eye(4)
    inside[:3, 3] = box.center
    K = np.array([[100.0, 0, 79.5], [0, 100.0, 59.5], [0, 0, 1]])
    photo = np.zeros((120, 160, 3), np.uint8)
    picture = photo_with_box(photo, K, inside, np.zeros((120, 160), bool), [box], 1)
    assert picture.any()


def test_the_mask_takes_the_colour_of_its_text():
    photo, mask = np.full((60, 80, 3), 100, np.uint8), np.zeros((60, 80), bool)
    mask[20:40, 20:60] = True
    picture = photo_with_box(photo, np.eye(3), np.eye(4), mask, [], 3).astype(int)
    middle, border = picture[picture.shape[0] // 2, PHOTO_WIDTH // 2], picture[5, 5]
    assert np.abs(middle - (0.6 * 100 + 0.4 * label_colors(3)[3].astype(int))).max() <= 2
    assert np.abs(border - 75).max() <= 1


def test_heat_shines_where_the_score_is_highest():
    scores = np.full((60, 80), 0.02, np.float32)
    scores[10:20, 50:60] = 0.2
    picture = photo_with_heat(np.full((60, 80, 3), 100, np.uint8), scores).astype(int)
    scale = PHOTO_WIDTH / 80
    bright, dim = picture[int(15 * scale), int(55 * scale)], picture[int(50 * scale), 20]
    assert bright.sum() > dim.sum() + 150


@pytest.mark.parametrize("elevation", [90.0, 40.0])
def test_the_drawing_is_well_formed_and_holds_every_box_and_camera(mapped, elevation):
    _, snapshot, result = mapped
    path = np.array([k.T_world_camera[:3, 3] for k in snapshot.keyframes])
    drawing = map_drawing(snapshot, result, path, elevation, 'a "plan" & more')
    root = ET.fromstring(drawing)
    kinds = [e.get("class") for e in root.iter()]
    assert kinds.count("camera") == 6
    assert kinds.count("box") == sum(map(len, result.instances))
    assert root.get("aria-label") == 'a "plan" & more'
    words = "".join(root.itertext())
    assert "table" in words
    assert " m" in words
    _, _, width, height = map(float, root.get("viewBox").split())
    numbers = re.findall(r"([-\d.]+),([-\d.]+)", root.find(".//*[@class='path']").get("points"))
    for u, v in numbers:  # the whole path is inside the picture
        assert 0 <= float(u) <= width
        assert 0 <= float(v) <= height


def test_a_plan_is_true_to_scale(mapped):
    _, snapshot, result = mapped
    path = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.5, 1.0]])
    root = ET.fromstring(map_drawing(snapshot, result, path, 90.0, "plan"))
    points = root.find(".//*[@class='path']").get("points")
    a, b, c = (np.array(p.split(","), float) for p in points.split())
    metre = np.linalg.norm(b - a)
    assert b[0] > a[0]  # x to the right
    assert c[1] < b[1]  # y up
    assert np.linalg.norm(c - b) == pytest.approx(metre / 2, rel=1e-3)
    bar = root.find(".//*[@class='scale']").get("d")
    left, right = float(re.match(r"M([\d.]+)", bar)[1]), float(re.search(r"H([\d.]+)", bar)[1])
    text = next(t.text for t in root.iter() if t.text and t.text.endswith(" m"))
    assert right - left == pytest.approx(metre * float(text.split()[0]), rel=1e-2)


def test_texts_are_escaped_in_drawings(mapped):
    _, snapshot, _ = mapped

    class Anything(ColorEncoder):
        def encode_texts(self, texts):
            return super().encode_texts(["table" if "<" in text else text for text in texts])

    result = answer(snapshot, Anything(), Query(("<b>&",)))
    assert result.found == (True,)
    drawing = map_drawing(snapshot, result, np.zeros((1, 3)), 90.0, "plan")
    assert "<b>" not in drawing
    assert "<b>&" in "".join(ET.fromstring(drawing).itertext())


def test_pictures_carry_their_own_bytes():
    assert jpeg_uri(np.zeros((4, 4, 3), np.uint8)).startswith("data:image/jpeg;base64,/9j/")
