"""The page's cloud: nothing lost, nothing sent twice, detail where the eye is."""

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField

from govnesf_model.palette import heat_colors, label_colors
from govnesf_ros.messages import cloud_message, header_message, packed_rgb
from govnesf_ros.viewer_cloud import (
    LEVELS,
    MAX_BLOCKS,
    BadCloud,
    MapPoints,
    choose_levels,
    colors_of,
    cut,
    empty_points,
    read_cloud,
    spacing,
    taken,
)
from govnesf_ros.viewer_drawing import Sent, Step, plan

RNG = np.random.default_rng(0)


def room(count: int = 20_000, size=(6.0, 5.0, 2.5)) -> np.ndarray:
    return (RNG.random((count, 3)) * size).astype(np.float32)


def grey(count: int) -> np.ndarray:
    return np.full((count, 3), 128, np.uint8)


def sent_by(blocks, levels) -> dict:
    return {
        key: Sent(block.shape, block.paint, levels[key]) for key, block in blocks.by_key.items()
    }


def test_the_mappers_clouds_read_back() -> None:
    xyz, rgb = room(100), RNG.integers(0, 256, (100, 3), np.uint8)
    photo = RNG.integers(0, 256, (100, 3), np.uint8)
    label, confidence = np.arange(100, dtype=np.uint32), RNG.random(100).astype(np.float32)
    header = header_message(5_000_000_007, "map")
    message = cloud_message(header, xyz, rgb, label, confidence=confidence, photo=packed_rgb(photo))
    points = read_cloud(message)
    for name, expected in (
        ("xyz", xyz), ("photo", photo), ("label", label), ("value", confidence),
    ):  # fmt: skip
        assert np.array_equal(getattr(points, name), expected), name
    assert (points.stamp, points.frame_id) == (5_000_000_007, "map")
    # The query's cloud has no labels in its colours.
    asked = read_cloud(cloud_message(header, xyz, rgb, label, relevancy=confidence))
    assert np.array_equal(asked.photo, rgb)


def test_points_that_are_nowhere_are_left_out_and_values_that_are_none_are_zero() -> None:
    xyz = room(4)
    xyz[1, 2], xyz[2, 0] = np.nan, np.inf
    value = np.array([0.5, 0.5, 0.5, np.nan], np.float32)
    message = cloud_message(
        header_message(0, "map"), xyz, grey(4), np.zeros(4, np.uint32), relevancy=value
    )
    points = read_cloud(message)
    assert np.array_equal(points.xyz, xyz[[0, 3]])
    assert points.value.tolist() == [0.5, 0.0]


def test_an_empty_map_is_a_cloud_without_points() -> None:
    nothing = np.zeros((0, 3), np.float32)
    message = cloud_message(
        header_message(3, "odom"), nothing, nothing, np.zeros(0), relevancy=np.zeros(0, np.float32)
    )
    points = read_cloud(message)
    assert (len(points), points.frame_id, points.stamp) == (0, "odom", 3)
    assert colors_of(points, "relevancy").shape == (0, 3)
    assert cut(points.xyz, points.photo).by_key == {}


def test_foreign_clouds_are_refused_with_a_sentence() -> None:
    fields = [
        PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")
    ]
    with pytest.raises(BadCloud, match="fields x, y, z; expected"):
        read_cloud(PointCloud2(fields=fields, point_step=12))
    message = cloud_message(
        header_message(0, "map"), room(9), grey(9), np.zeros(9), relevancy=np.zeros(9, np.float32)
    )
    message.data = message.data[:-1]
    with pytest.raises(BadCloud, match="215 bytes, expected 216"):
        read_cloud(message)
    message.fields[0].datatype = PointField.FLOAT64
    with pytest.raises(BadCloud, match="fields x are not single numbers"):
        read_cloud(message)


def test_labels_without_a_meaning_take_no_memory() -> None:
    label = np.array([3, 4_294_967_295], np.uint32)
    message = cloud_message(
        header_message(0, "map"), room(2), grey(2), label, relevancy=np.ones(2, np.float32)
    )
    points = read_cloud(message)
    assert points.label.tolist() == [3, 0]
    assert colors_of(points, "words").shape == (2, 3)


def test_colours_say_what_the_mode_promises() -> None:
    label = np.array([0, 1, 2, 0], np.uint32)
    value = np.array([0.0, 0.6, 0.9, 1.0], np.float32)
    points = MapPoints(room(4), np.full((4, 3), 255, np.uint8), label, value)
    assert np.array_equal(colors_of(points, "photo"), points.photo)
    assert np.array_equal(colors_of(points, "confidence"), heat_colors(value))
    words = colors_of(points, "words").astype(int)
    # On a white wall labels have their very colour; what has none is dim and grey.
    assert np.array_equal(words[1:3], label_colors(2)[1:].astype(int))
    assert np.ptp(words[0]) == 0
    assert words[0].max() < 128
    found = colors_of(points, "relevancy").astype(int)
    assert np.array_equal(found[1:3], words[1:3])
    assert np.array_equal(found[0], words[0])
    # Relevant, and yet below the threshold: heat, but weaker than what was found.
    assert found[3].sum() > found[0].sum()


def test_blocks_hold_every_point_once_within_half_a_millimetre() -> None:
    xyz = room()
    rgb = RNG.integers(0, 256, xyz.shape, np.uint8)
    blocks = cut(xyz, rgb)
    assert blocks.count() == len(xyz)
    back = np.concatenate([b.center + b.xyz.astype(np.float64) for b in blocks.by_key.values()])
    paint = np.concatenate([b.rgb for b in blocks.by_key.values()])
    order, ours = np.lexsort(xyz.T.round(2)), np.lexsort(back.T.round(2))
    assert np.abs(np.sort(back, axis=0) - np.sort(xyz, axis=0)).max() < 5e-4
    assert np.array_equal(np.sort(paint.ravel()), np.sort(rgb.ravel()))
    assert len(order) == len(ours)


def test_the_same_cloud_in_another_order_changes_nothing() -> None:
    xyz = room()
    rgb = (xyz * 40).astype(np.uint8)
    before = cut(xyz, rgb)
    order = RNG.permutation(len(xyz))
    after = cut(xyz[order], rgb[order], before)
    assert after.by_key.keys() == before.by_key.keys()
    assert all(after.by_key[key] is before.by_key[key] for key in before.by_key)


def test_only_what_changed_is_sent() -> None:
    xyz = room()
    before = cut(xyz, grey(len(xyz)))
    levels = dict.fromkeys(before.by_key, 0)
    sent = sent_by(before, levels)
    assert plan(before, levels, sent) == []

    painted = grey(len(xyz))
    in_corner = (xyz < [1, 1, 0.75]).all(axis=1)  # cubes begin a quarter below the floor
    painted[in_corner] = 200
    assert plan(cut(xyz, painted, before), levels, sent) == [Step("paint", (0, 0, 0), 0)]

    moved = xyz.copy()
    moved[in_corner] *= np.float32(0.9)
    assert plan(cut(moved, grey(len(xyz)), before), levels, sent) == [Step("place", (0, 0, 0), 0)]

    away = ~in_corner
    gone = cut(xyz[away], grey(away.sum()), before)
    assert plan(gone, dict.fromkeys(gone.by_key, 0), sent) == [Step("remove", (0, 0, 0))]


def test_a_block_that_left_and_came_back_is_sent_again() -> None:
    xyz = room()
    before = cut(xyz, grey(len(xyz)))
    empty = cut(xyz[:0], grey(0), before)
    after = cut(xyz + np.float32(0.001), grey(len(xyz)), empty)
    shared = before.by_key.keys() & after.by_key.keys()
    assert shared
    assert all(after.by_key[key].shape != before.by_key[key].shape for key in shared)


def test_a_prefix_is_an_even_sample() -> None:
    xyz = room(40_000, size=(1, 1, 1)) * np.float32(0.999) - np.float32([0, 0, 0.25])
    (block,) = cut(xyz, grey(len(xyz))).by_key.values()
    part = block.xyz[: taken(len(block.xyz), 2)].astype(np.float32)
    counts = np.histogramdd(part, bins=4, range=[(-0.5, 0.5)] * 3)[0].ravel()
    # 2500 points in 64 cells: 39 each, give or take what chance allows.
    assert counts.sum() == 2500
    assert counts.min() > 39 - 5 * np.sqrt(39)
    assert counts.max() < 39 + 5 * np.sqrt(39)


def test_a_building_is_cut_into_few_blocks() -> None:
    blocks = cut(room(30_000, size=(80, 60, 3)), grey(30_000))
    assert len(blocks.by_key) <= MAX_BLOCKS
    assert blocks.edge > 1
    assert blocks.count() == 30_000


def test_a_room_is_shown_whole_and_far_blocks_are_thinner() -> None:
    near = cut(room(), grey(20_000))
    assert set(choose_levels(near, np.array([3, -3, 5.0]), 300_000).values()) == {0}
    hall = cut(room(size=(100, 2, 2)), grey(20_000))
    levels = choose_levels(hall, np.zeros(3), 10**9)
    by_distance = [levels[key] for key in sorted(levels)]
    assert by_distance == sorted(by_distance)
    assert (by_distance[0], by_distance[-1]) == (0, LEVELS - 1)


@pytest.mark.parametrize("budget", [2000, 5000, 12_000])
def test_the_budget_is_kept(budget) -> None:
    blocks = cut(room(), grey(20_000))
    levels = choose_levels(blocks, np.array([1.0, 1.0, 1.5]), budget)
    drawn = sum(taken(len(block.xyz), levels[key]) for key, block in blocks.by_key.items())
    assert budget / 8 < drawn <= budget


def test_a_small_move_does_not_flicker() -> None:
    blocks = cut(room(size=(60, 2, 2)), grey(20_000))
    eye = np.array([0.0, 1.0, 1.0])
    levels = choose_levels(blocks, eye, 10**9)
    assert choose_levels(blocks, np.add(eye, [0.3, 0, 0]), 10**9, levels) == levels
    far = choose_levels(blocks, np.add(eye, [20, 0, 0]), 10**9, levels)
    assert far != levels


@pytest.mark.parametrize("voxel", [0.03, 0.06])
def test_the_spacing_is_that_of_the_map(voxel) -> None:
    side = np.arange(40) * voxel
    grid = np.stack(np.meshgrid(side, side, [0.0]), axis=-1).reshape(-1, 3).astype(np.float32)
    assert spacing(cut(grid, grey(len(grid)))) == pytest.approx(voxel, rel=0.05)
    assert spacing(cut(grid[:1], grey(1))) == spacing(cut(grid[:0], grey(0))) == 0


def test_an_empty_cloud_needs_no_levels() -> None:
    assert choose_levels(cut(empty_points().xyz, grey(0)), np.zeros(3), 10) == {}


def test_stray_points_far_out_do_not_keep_the_map_from_being_drawn() -> None:
    """A lattice from here to there would have more cells than a number can count."""
    rng = np.random.default_rng(0)
    near = rng.random((500, 3), np.float32)
    stray = np.float32([[1e6, 0, 0], [0, -1e6, 1e6]])
    xyz = np.concatenate([near, stray])
    blocks = cut(xyz, np.zeros((502, 3), np.uint8))
    assert blocks.count() == 502
    again = cut(xyz[::-1], np.zeros((502, 3), np.uint8), blocks)
    assert {key: block.shape for key, block in again.by_key.items()} == {
        key: block.shape for key, block in blocks.by_key.items()
    }
