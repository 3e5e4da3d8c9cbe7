"""Clouds and views looked up in a map of a room whose truth is known."""

import dataclasses

import numpy as np
import pytest
import torch
from furnished_room import NAMES, ColorEncoder, room_frames, trace

from govnesf_model.cameras import Camera, unproject
from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.map_lookup import EmptyMap, label_cloud, render_view
from govnesf_model.query import Query, encode_query
from govnesf_model.scene_map import MapConfig, SceneMap

VLM = ColorEncoder()


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=24, voxel_size=0.16)
    return GovNesf(config).eval()


def filled(field, depth: bool = True, **changes) -> SceneMap:
    config = MapConfig(image_width=160, min_opacity=0.02, **changes)
    scene_map = SceneMap(field, VLM, config)
    for frame in room_frames(8, depth=depth):
        scene_map.add(frame)
    return scene_map


@pytest.fixture(scope="module")
def full(field) -> SceneMap:
    return filled(field)


def seen_from_elsewhere() -> tuple[np.ndarray, np.ndarray]:
    """Return points and labels of the surfaces that a camera between the keyframes sees."""
    frame = room_frames(16)[5]
    _, depth, label = trace(frame.K, frame.T_world_camera, 160, 120)
    v, u = np.mgrid[2:120:3, 2:160:3].reshape(2, -1)
    xyz = unproject(
        torch.from_numpy(np.stack([u, v], 1).astype(np.float32)),
        torch.from_numpy(depth[v, u]),
        torch.from_numpy(frame.K).float(),
        torch.from_numpy(frame.T_world_camera).float(),
    )
    return xyz.numpy(), label[v, u]


def words(texts, contrast=()):
    return encode_query(VLM, Query(texts=texts, contrast=contrast, only_contrast=True))


def test_a_foreign_cloud_gets_the_labels_of_the_surfaces(full) -> None:
    xyz, truth = seen_from_elsewhere()
    found = label_cloud(full, xyz, words(NAMES))
    assert found.seen.mean() > 0.9
    assert (found.label[found.seen] == truth[found.seen]).mean() > 0.9
    assert found.confidence[found.seen].mean() > 0.8
    assert (found.confidence[~found.seen] == 0).all()


def test_the_order_of_the_points_does_not_matter(full) -> None:
    xyz, _ = seen_from_elsewhere()
    shuffled = np.random.default_rng(0).permutation(len(xyz))
    one, two = label_cloud(full, xyz, words(NAMES)), label_cloud(full, xyz[shuffled], words(NAMES))
    assert (one.label[shuffled] == two.label).mean() > 0.995


def test_contrast_words_take_what_they_explain_better(full) -> None:
    xyz, truth = seen_from_elsewhere()
    table = NAMES.index("table") + 1
    alone = label_cloud(full, xyz, words(("table",)))
    assert (alone.label[alone.seen] == 1).all()  # nothing else to choose from
    found = label_cloud(full, xyz, words(("table",), tuple(NAMES[1:])))
    assert (found.label[found.seen] == (truth[found.seen] == table)).mean() > 0.9


def test_points_in_thin_air_and_no_numbers_are_unseen(full) -> None:
    xyz, _ = seen_from_elsewhere()
    camera = full.snapshot().keyframes[0].T_world_camera[:3, 3]
    half_way = ((xyz + camera) / 2).astype(np.float32)
    strange = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [1e30, 0, 0], [0, 0, 500.0]], np.float32)
    found = label_cloud(full, np.concatenate([half_way, strange]), words(NAMES))
    assert found.seen.mean() < 0.1
    assert not found.seen[-4:].any()
    assert not found.label[~found.seen].any()
    nothing = label_cloud(full, np.zeros((0, 3), np.float32), words(NAMES))
    assert len(nothing.label) == 0


def test_a_map_without_depth_hides_points_by_its_own(field) -> None:
    scene_map = filled(field, depth=False)
    snapshot = scene_map.snapshot()
    assert len(snapshot.xyz) > 300
    found = label_cloud(scene_map, snapshot.xyz, words(NAMES))
    assert found.seen.mean() > 0.5
    below = snapshot.xyz - np.array([0, 0, 5], np.float32)
    assert label_cloud(scene_map, below, words(NAMES)).seen.mean() < 0.05


def camera_of(frame, width: int = 40, height: int = 30) -> Camera:
    whole = Camera(
        torch.from_numpy(frame.K).float(), torch.from_numpy(frame.T_world_camera).float(), 160, 120
    )
    return whole.resized(width, height)


def test_a_view_cut_into_bands_is_the_whole_view(full, monkeypatch) -> None:
    camera = camera_of(room_frames(16)[5])
    table = encode_query(VLM, Query(texts=NAMES))
    whole = render_view(full, camera, table)
    assert whole.rgb.shape == (30, 40, 3)
    assert np.isfinite(whole.depth).mean() > 0.5  # else nothing is compared
    assert whole.label.dtype == np.uint8
    monkeypatch.setattr("govnesf_model.map_lookup._RAYS", 120)
    parts = []
    cut = render_view(full, camera, table, progress=parts.append)
    assert len(parts) == 10
    assert parts == sorted(parts)
    assert np.allclose(whole.depth, cut.depth, atol=1e-4, equal_nan=True)
    assert np.abs(whole.rgb.astype(int) - cut.rgb).max() <= 1
    assert np.array_equal(whole.label, cut.label)


def test_where_nothing_is_there_is_nothing(full) -> None:
    camera = camera_of(room_frames(16)[5])
    away = camera.T_world_camera.clone()
    away[:3, 3] += 100.0
    view = render_view(full, dataclasses.replace(camera, T_world_camera=away), words(NAMES))
    assert np.isnan(view.depth).all()
    assert not view.label.any()
    assert not view.rgb.any()
    assert not view.confidence.any()


def test_progress_may_end_the_work(full) -> None:
    class Enough(Exception):
        pass

    def end(part: float) -> None:
        raise Enough

    xyz, _ = seen_from_elsewhere()
    with pytest.raises(Enough):
        label_cloud(full, xyz, words(NAMES), end)
    with pytest.raises(Enough):
        render_view(full, camera_of(room_frames(16)[5]), words(NAMES), progress=end)


def test_an_empty_map_says_so(field) -> None:
    empty = SceneMap(field, VLM, MapConfig(image_width=160))
    with pytest.raises(EmptyMap, match="the map is empty"):
        label_cloud(empty, np.zeros((1, 3), np.float32), words(NAMES))
    with pytest.raises(EmptyMap, match="the map is empty"):
        render_view(empty, camera_of(room_frames(16)[5]), words(NAMES))
