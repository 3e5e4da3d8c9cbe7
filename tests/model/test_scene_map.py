"""The online map on a room whose truth is known to the millimetre."""

import copy
import dataclasses
import threading

import numpy as np
import pytest
import torch
from furnished_room import (
    CABINET,
    COLORS,
    MUG,
    NAMES,
    TABLE,
    ColorEncoder,
    room_frames,
)

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.map_depth import render_depth
from govnesf_model.map_points import voxel_keys
from govnesf_model.map_views import fuse_points, working_image
from govnesf_model.map_volume import MapVolume
from govnesf_model.query import Query, answer
from govnesf_model.scene_map import MapConfig, SceneMap


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    return GovNesf(config).eval()


@pytest.fixture(scope="module")
def foggy(field):
    """Untrained, a field is clear air where views have no depth; fog gives rays an end."""
    field = copy.deepcopy(field)
    torch.nn.init.constant_(field.density_out[-1].bias, -1.0)
    return field


@pytest.fixture(scope="module")
def frames():
    return room_frames(8)


def make_map(field, **changes) -> SceneMap:
    config = {"image_width": 160, "depth_step": 1, "refresh_points": 4000, **changes}
    return SceneMap(field, ColorEncoder(), MapConfig(**config))


@pytest.fixture(scope="module")
def full_map(field):
    scene_map = make_map(field, image_width=256)
    for frame in room_frames(8, width=256, height=192):
        scene_map.add(frame)
    return scene_map


def test_points_lie_on_the_surfaces_and_carry_their_labels(full_map):
    snapshot = full_map.snapshot()
    result = answer(snapshot, ColorEncoder(), Query(texts=NAMES))
    color = np.abs(snapshot.rgb[:, None].astype(int) - COLORS).sum(-1).argmin(1)
    assert (result.label == color + 1).mean() > 0.95
    assert (result.label == 0).mean() < 0.02
    floor = snapshot.xyz[(color == NAMES.index("floor"))]
    assert np.abs(floor[:, 2]).max() < 0.02
    assert snapshot.features.dtype == torch.float16
    lengths = snapshot.features.tensor().float().norm(dim=1)
    assert ((lengths - 1).abs() < 0.01).all()
    assert snapshot.confidence.min() > 0.3
    assert snapshot.confidence.max() <= 1.0


@pytest.mark.parametrize("thing", [TABLE, CABINET, MUG], ids=lambda thing: thing.name)
def test_boxes_are_right_to_five_centimetres(full_map, thing):
    result = answer(full_map.snapshot(), ColorEncoder(), Query(texts=(thing.name,)))
    assert len(result.instances[0]) == 1
    box = result.instances[0][0]
    # Undersides are not seen: compare what a camera above can know, the top and the sides.
    assert np.abs(box.center[:2] - thing.center[:2]).max() < 0.05
    top = thing.center[2] + thing.size[2] / 2
    assert abs(box.center[2] + box.size[2] / 2 - top) < 0.05
    assert np.abs(box.size[:2] - sorted(thing.size[:2], reverse=True)).max() < 0.06
    if thing is TABLE:
        assert abs(box.yaw - thing.yaw) < 0.06
    assert box.score > 0.9


def test_snapshot_never_changes_while_keyframes_come_in(field, frames):
    scene_map = make_map(field)
    scene_map.add(frames[0])
    snapshot = scene_map.snapshot()
    before = [snapshot.xyz.copy(), snapshot.rgb.copy(), snapshot.confidence.copy()]
    features = snapshot.features.tensor()
    for frame in frames[1:4]:
        scene_map.add(frame)
    assert scene_map.snapshot().version == snapshot.version + 3
    assert len(scene_map.snapshot().xyz) > len(snapshot.xyz)
    for old, array in zip(before, (snapshot.xyz, snapshot.rgb, snapshot.confidence), strict=True):
        np.testing.assert_array_equal(old, array)
    assert torch.equal(features, snapshot.features.tensor())
    assert [keyframe.id for keyframe in snapshot.keyframes] == [0]


def test_a_snapshot_shares_what_did_not_change(field, frames, monkeypatch):
    monkeypatch.setattr("govnesf_model.feature_blocks._ROWS", 128)
    scene_map = make_map(field, refresh_points=200)
    for frame in frames[:3]:
        scene_map.add(frame)
    before = scene_map.snapshot().features
    held = [block.clone() for block in before.blocks]
    scene_map.add(frames[3])
    after = scene_map.snapshot().features
    same = {block for block in before.blocks if any(block is new for new in after.blocks)}
    assert 0.3 * len(before.blocks) < len(same) < len(before.blocks)
    for block, old in zip(before.blocks, held, strict=True):
        assert torch.equal(block, old)


def test_points_with_all_the_views_they_can_have_are_fused_a_few_at_a_time(
    field, frames, monkeypatch
):
    fused = []

    def counted(field, points, *rest):
        fused.append({tuple(point) for point in points.tolist()})
        return fuse_points(field, points, *rest)

    monkeypatch.setattr("govnesf_model.map_surface.fuse_points", counted)
    scene_map = make_map(field, views_per_point=2)
    for number in range(10):
        scene_map.add(dataclasses.replace(frames[0], stamp=float(number)))
    seen = len(scene_map._surface.sightings.rows[9])
    assert max(map(len, fused[-3:])) < 0.1 * seen
    assert min(map(len, fused[-3:])) > 0.5 * 4000 / 8
    # In time each has its turn.
    assert not fused[-1] & fused[-2]


def test_readers_see_whole_maps_while_a_writer_adds(field, frames):
    scene_map = make_map(field)
    scene_map.add(frames[0])
    problems, done = [], threading.Event()

    def read():
        while not done.is_set():
            snapshot = scene_map.snapshot()
            sizes = {len(snapshot.xyz), len(snapshot.rgb), len(snapshot.features)}
            if len(sizes) != 1 or snapshot.stamp != snapshot.keyframes[-1].stamp:
                problems.append(sizes)
            answer(snapshot, ColorEncoder(), Query(texts=("table",)))

    reader = threading.Thread(target=read)
    reader.start()
    for frame in frames[1:5]:
        scene_map.add(frame)
    done.set()
    reader.join()
    assert not problems


def test_eviction_keeps_the_bound_and_the_points(field, frames):
    scene_map = make_map(field, max_keyframes=4)
    reports = [scene_map.add(frame) for frame in frames]
    status = scene_map.status()
    assert status["keyframes"] == 4
    assert status["evicted"] == len(frames) - 4
    assert [report.evicted is not None for report in reports] == [False] * 4 + [True] * 4
    assert scene_map.snapshot().keyframes[-1].id == len(frames) - 1
    unbounded = make_map(field)
    for frame in frames:
        unbounded.add(frame)
    assert status["points"] > 0.95 * unbounded.status()["points"]
    # Added and removed again, the moments are those of the four that are left.
    exact = make_map(field)
    for keyframe in scene_map.snapshot().keyframes:
        exact.add(frames[keyframe.id])
    counts = [
        {tile: sums.count for tile, sums in m._volume._sums.tiles.items()}
        for m in (scene_map, exact)
    ]
    assert counts[0].keys() == counts[1].keys()
    assert all(torch.equal(count, counts[1][tile]) for tile, count in counts[0].items())


def test_memory_bound_is_kept(field, frames):
    free = make_map(field)
    for frame in frames:
        free.add(frame)
    bound = 0.8 * free.status()["memory_mib"]
    scene_map = make_map(field, memory_mib=bound)
    for frame in frames:
        scene_map.add(frame)
    assert scene_map.status()["evicted"] > 0
    assert scene_map.status()["memory_mib"] <= bound * 1.1


def test_points_are_bounded(field, frames):
    scene_map = make_map(field, max_points=3000)
    for frame in frames[:3]:
        scene_map.add(frame)
    snapshot = scene_map.snapshot()
    assert len(snapshot.xyz) <= 3000 * 1.01
    assert len(snapshot.features) == len(snapshot.xyz)


def test_without_depth_points_come_from_the_field(foggy):
    scene_map = make_map(foggy, min_opacity=0.3)
    for frame in room_frames(4, depth=False):
        report = scene_map.add(frame)
    snapshot = scene_map.snapshot()
    assert len(snapshot.xyz) > 100
    assert report.points_added > 0
    assert snapshot.keyframes[-1].depth is None
    lengths = snapshot.features.tensor().float().norm(dim=1)
    assert ((lengths - 1).abs() < 0.01).all()


def test_without_depth_the_surface_is_taken_anew(foggy):
    scene_map = make_map(foggy, min_opacity=0.3, max_keyframes=3)
    for frame in room_frames(6, depth=False):
        scene_map.add(frame)
        snapshot = scene_map.snapshot()
        sizes = {len(a) for a in (snapshot.xyz, snapshot.rgb, snapshot.features)}
        assert len(sizes) == 1
        for keyframe in snapshot.keyframes:
            assert scene_map._surface.sightings.rows[keyframe.id].max(initial=0) < len(snapshot.xyz)
    # Points stand where the field, as it is now, renders the newest keyframe.
    newest = snapshot.keyframes[-1]
    with torch.no_grad():
        depth, xyz, _ = render_depth(foggy, scene_map.volume, newest, scene_map.config)
    assert np.isin(voxel_keys(xyz, 0.03), voxel_keys(snapshot.xyz, 0.03)).mean() > 0.99
    assert (depth > 0).any()
    assert scene_map.status()["evicted"] == 3


def test_without_depth_the_first_views_are_matched_again(field):
    """The first of a place has nothing to be matched against: its guess must not stay."""
    frames = [dataclasses.replace(frame, depth=None) for frame in room_frames(24)[:3]]
    scene_map = make_map(field)
    scene_map.add(frames[0])
    assert scene_map.snapshot().keyframes[0].sources == 0
    for frame in frames[1:]:
        scene_map.add(frame)
    keyframes = scene_map.snapshot().keyframes
    assert keyframes[0].sources == 1  # the third frame sees little of what the first does
    fresh = MapVolume(field, scene_map.config)
    for k in keyframes:
        fresh.add(k)
    ours, theirs = scene_map._volume._sums.tiles, fresh._sums.tiles
    assert ours.keys() == theirs.keys()
    for tile, sums in ours.items():
        torch.testing.assert_close(sums.weight, theirs[tile].weight, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(sums.sum, theirs[tile].sum, atol=1e-4, rtol=1e-4)


def test_things_that_went_away_leave_the_map(field, frames):
    exact, scene_map = make_map(field), make_map(field)
    frame = frames[0]
    exact.add(frame)
    scene_map.add(dataclasses.replace(frame, depth=frame.depth * 0.5))
    for _ in range(4):
        scene_map.add(frame)
    # The phantom at half the distance is looked through by four images and then gone.
    assert len(scene_map.snapshot().xyz) == pytest.approx(len(exact.snapshot().xyz), rel=0.03)


def test_volume_goes_along_with_a_robot_and_keeps_where_it_was(field, frames):
    scene_map = make_map(field)
    scene_map.add(frames[0])
    first = scene_map.status()["volume_voxels"]
    inside = torch.rand(200, 3) * torch.tensor([3.0, 2.0, 2.0]) - torch.tensor([1.5, 1.0, 0.0])
    with torch.no_grad():
        before = field.density(inside, scene_map.volume)
    T = frames[1].T_world_camera.copy()
    T[0, 3] += 30.0
    scene_map.add(dataclasses.replace(frames[1], T_world_camera=T))
    grid = scene_map.volume.grid
    assert bool(grid.contains(torch.tensor(T[None, :3, 3], dtype=torch.float32)).all())
    with torch.no_grad():
        assert torch.equal(field.density(inside, scene_map.volume), before)
    # Nothing is spent on what lies between.
    assert first < scene_map.status()["volume_voxels"] < 3 * first
    assert not grid.contains(torch.tensor([[15.0, 0.0, 1.0]])).any()


def test_reset_forgets_everything(field, frames):
    scene_map = make_map(field)
    scene_map.add(frames[0])
    version = scene_map.snapshot().version
    scene_map.reset()
    snapshot = scene_map.snapshot()
    assert (len(snapshot.xyz), snapshot.keyframes) == (0, ())
    assert snapshot.version > version
    assert scene_map.status()["memory_mib"] == 0
    assert scene_map.wants(frames[0].T_world_camera, 0.0)[0]


def test_wants_tells_why(field, frames):
    scene_map = make_map(field)
    pose = frames[0].T_world_camera
    assert scene_map.wants(pose, 0.0) == (True, "accepted")
    scene_map.add(frames[0])
    moved = pose.copy()
    moved[:3, 3] += (0.0, 0.3, 0.0)
    assert scene_map.wants(moved, 0.05) == (False, "too_soon")
    behind = pose @ np.diag([-1.0, 1.0, -1.0, 1.0])  # a second camera that looks backwards
    assert scene_map.wants(behind, 0.0) == (True, "accepted")
    assert scene_map.wants(pose, 5.0) == (False, "static")
    assert scene_map.wants(moved, 5.0) == (True, "accepted")
    scene_map.add(dataclasses.replace(frames[0], T_world_camera=moved, stamp=5.0))
    assert scene_map.wants(pose, 10.0) == (False, "known")
    assert scene_map.wants(pose, 100.0) == (True, "accepted")


def test_a_frame_that_does_not_fit_leaves_the_map_as_it_was(field, frames):
    scene_map = make_map(field)
    scene_map.add(frames[0])
    before = scene_map.snapshot()
    tall = dataclasses.replace(frames[1], rgb=frames[1].rgb[:, :60], depth=None)
    with pytest.raises(ValueError, match="reset the map"):
        scene_map.add(tall)
    wrong = dataclasses.replace(frames[1], depth=frames[1].depth[:40])
    with pytest.raises(ValueError, match="registered"):
        scene_map.add(wrong)
    broken = dataclasses.replace(frames[1], T_world_camera=np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="finite"):
        scene_map.add(broken)
    assert scene_map.snapshot() is before
    scene_map.add(frames[1])


def test_working_image_keeps_the_geometry(frames):
    frame = room_frames(1, width=320, height=240)[0]
    rgb, K, depth = working_image(frame, 160)
    assert rgb.shape == (120, 160, 3)
    assert depth.shape == (120, 160)
    # The same point of the world: the corner pixel of the big image, in both.
    np.testing.assert_allclose((K[0, 2] + 0.5) * 2 - 0.5, frame.K[0, 2], atol=1e-4)
    np.testing.assert_allclose(K[0, 0] * 2, frame.K[0, 0], rtol=1e-6)
    small = frames[0]
    assert np.abs(K - small.K).max() < 1e-3
    assert np.median(np.abs(depth - small.depth)) < 0.02
    bad = frame.depth.copy()
    bad[0] = np.nan
    assert working_image(dataclasses.replace(frame, depth=bad), 320)[2][0].max() == 0


def test_a_camera_that_goes_round_again_renews_its_keyframes_and_adds_none(field, frames):
    scene_map = make_map(field, revisit_after=30.0)
    for lap in range(3):
        for frame in frames:
            scene_map.add(dataclasses.replace(frame, stamp=100.0 * lap + frame.index))
    keyframes = scene_map.snapshot().keyframes
    assert len(keyframes) == len(frames)
    assert min(keyframe.stamp for keyframe in keyframes) >= 200.0
    assert scene_map.status()["evicted"] == 0
