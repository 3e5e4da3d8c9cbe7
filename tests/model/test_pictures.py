"""Colours, pictures and clouds on disk."""

import numpy as np
import open3d
import pytest

from govnesf_model.instances import find_instances
from govnesf_model.palette import heat_colors, label_colors, legend, overlay
from govnesf_model.pictures import contact_sheet, draw_cloud, tint, without_ceiling
from govnesf_model.pointcloud_io import read_ply, write_ply


def test_label_colors_stay_and_differ():
    few, many = label_colors(3), label_colors(20).astype(int)
    np.testing.assert_array_equal(few, many[:4])
    distance = np.abs(many[:, None] - many).sum(-1) + 999 * np.eye(21, dtype=int)
    assert distance.min() > 30
    assert np.abs(many[1:-1] - many[2:]).sum(1).min() > 150  # neighbours differ clearly


def test_heat_runs_from_dark_to_bright_and_takes_anything():
    colors = heat_colors(np.array([0.0, 0.25, 0.5, 0.75, 1.0, 7.0, np.nan]))
    brightness = colors.sum(axis=1).astype(int)
    assert (np.diff(brightness[:5]) > 0).all()
    assert brightness[5] == brightness[4]
    assert brightness[6] == brightness[0]


def test_overlay_paints_only_the_mask():
    photo = np.full((20, 30, 3), 200, np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10:20] = 2
    picture = overlay(photo, mask)
    assert (picture[mask == 0] == 150).all()
    color = label_colors(2)[2].astype(int)
    inside = picture[10, 15].astype(int)
    assert np.abs(inside - (0.45 * 200 + 0.55 * color)).max() <= 1
    assert (picture[5, 10] == color).all()


def test_legend_wraps():
    names = [f"thing number {n}" for n in range(12)]
    assert legend(names, 1200).shape[0] < legend(names, 400).shape[0]
    assert legend(["Tasse für Kaffee"], 400).shape[1] == 400


def cube(center, size=0.5, count=3000):
    rng = np.random.default_rng(0)
    return (rng.uniform(-size / 2, size / 2, (count, 3)) + center).astype(np.float32)


def test_a_cloud_from_above_shows_what_is_on_top():
    floor = np.stack(np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 80), [0.0]), -1)
    floor = floor.reshape(-1, 3).astype(np.float32)
    table = cube((0.5, 0.5, 0.5))
    xyz = np.concatenate([table, floor])
    colors = np.repeat([(250, 0, 0), (0, 0, 250)], [len(table), len(floor)], axis=0)
    picture = draw_cloud(xyz, colors.astype(np.uint8), [], [], 200, 200, elevation=90.0)
    # x to the right and y up: the table stands in the upper right.
    assert picture[55, 145].tolist() == [250, 0, 0]
    assert picture[145, 55].tolist() == [0, 0, 250]
    assert picture[145, 145].tolist() == [0, 0, 250]


def test_the_ceiling_is_taken_off():
    xyz = np.array([[0, 0, 0.0], [0, 0, 1.0], [0, 0, 2.4]], np.float32)
    assert len(without_ceiling(xyz, np.zeros((3, 3), np.uint8))[0]) == 2


def test_contact_sheet_has_all_its_parts():
    xyz = cube((0, 0, 1))
    rgb, label = np.full((len(xyz), 3), 90, np.uint8), np.ones(len(xyz), np.uint32)
    instances = [find_instances(xyz, np.ones(len(xyz), np.float32))]
    photo, mask = np.zeros((120, 160, 3), np.uint8), np.zeros((120, 160), np.uint8)
    sheet = contact_sheet([("0", photo, mask)] * 3, xyz, rgb, label, instances, ["mug"], ["1"])
    assert sheet.shape[1] == 1598  # three tiles, halved evenly below
    assert sheet.shape[0] > 400 + 500
    empty = contact_sheet([], xyz[:0], rgb[:0], label[:0], [[]], ["mug"], ["not found"])
    assert empty.ndim == 3
    tinted = tint(rgb, label)
    assert np.abs(tinted[0].astype(int) - 90).sum() > 60


def test_open3d_reads_our_clouds(tmp_path):
    xyz, rgb = (
        cube((1, 2, 3), count=50),
        np.random.default_rng(0).integers(0, 255, (50, 3), np.uint8),
    )
    label = np.arange(50, dtype=np.uint32)
    extra = {"label": label, "relevancy red cup!": np.linspace(0, 1, 50, dtype=np.float32)}
    write_ply(tmp_path / "cloud.ply", xyz, rgb, extra, comments=("two\nlines",))
    cloud = open3d.io.read_point_cloud(str(tmp_path / "cloud.ply"))
    np.testing.assert_allclose(np.asarray(cloud.points), xyz, atol=1e-6)
    np.testing.assert_allclose(np.asarray(cloud.colors) * 255, rgb, atol=0.51)
    columns = read_ply(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(columns["label"], label)
    np.testing.assert_allclose(columns["relevancy_red_cup_"], extra["relevancy red cup!"])


def test_bad_clouds_are_refused(tmp_path):
    xyz, rgb = np.zeros((2, 3)), np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="relevancy"):
        write_ply(tmp_path / "x.ply", xyz, rgb, {"relevancy": np.zeros(2, np.int64)})
    (tmp_path / "x.ply").write_bytes(b"solid cube")
    with pytest.raises(ValueError, match="not a binary"):
        read_ply(tmp_path / "x.ply")
    write_ply(tmp_path / "y.ply", np.zeros((9, 3)), np.zeros((9, 3), np.uint8))
    (tmp_path / "y.ply").write_bytes((tmp_path / "y.ply").read_bytes()[:-20])
    with pytest.raises(ValueError, match="cut off"):
        read_ply(tmp_path / "y.ply")
