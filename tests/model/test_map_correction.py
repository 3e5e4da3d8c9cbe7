"""Loop closures: poses are replaced, and volume and points follow without an image encoder."""

import copy
import dataclasses
import math
import threading

import numpy as np
import pytest
import torch
from furnished_room import ColorEncoder, room_frames
from scipy.spatial import cKDTree

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.map_correction import checked_poses, moved_points
from govnesf_model.map_state import MapStateError
from govnesf_model.scene_map import MapConfig, SceneMap

VOXEL = 0.03


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    return GovNesf(config).eval()


@pytest.fixture(scope="module")
def frames():
    return room_frames(8)


def make_map(field, frames, **changes) -> SceneMap:
    config = {"image_width": 160, "refresh_points": 4000, **changes}
    scene_map = SceneMap(copy.deepcopy(field), ColorEncoder(), MapConfig(**config))
    for frame in frames:
        scene_map.add(frame)
    return scene_map


def without_encoders(scene_map: SceneMap) -> SceneMap:
    """Make every look at an image an error."""

    def encoder(*_):
        raise AssertionError("an image was encoded")

    scene_map.field.encoder.forward = encoder
    scene_map.field.encoder.backbone = encoder
    scene_map.vlm.encode_images = encoder
    return scene_map


def turned(degrees: float, shift: tuple[float, float, float]) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    T = np.eye(4)
    T[:2, :2] = (c, -s), (s, c)
    T[:3, 3] = shift
    return T


def poses_of(scene_map: SceneMap, T: np.ndarray | None = None) -> dict[int, np.ndarray]:
    T = np.eye(4) if T is None else T
    return {k.id: T @ k.T_world_camera.astype(np.float64) for k in scene_map.snapshot().keyframes}


def moved(xyz: np.ndarray, T: np.ndarray) -> np.ndarray:
    return moved_points(xyz, np.broadcast_to(T, (len(xyz), 4, 4)))


def compare(xyz: np.ndarray, features, other: np.ndarray, others_features) -> None:
    """Assert that two clouds are one within a voxel, features included, either way."""
    for one, f, two, g in (
        (xyz, features, other, others_features),
        (other, others_features, xyz, features),
    ):
        distance, row = cKDTree(two).query(one)
        assert np.quantile(distance, 0.999) < VOXEL * math.sqrt(3)
        alike = (f.tensor().float() * g.take(row).float()).sum(dim=1)
        assert (alike > 0.9).float().mean() > 0.95


def test_a_map_that_moves_as_a_whole_keeps_its_points_and_features(field, frames):
    scene_map = without_encoders(make_map(field, frames))
    before, T = scene_map.snapshot(), turned(30.0, (4.0, -1.0, 0.2))
    report = scene_map.replace_poses(poses_of(scene_map, T))
    after = scene_map.snapshot()
    assert report.moved == tuple(range(8))
    assert (report.unknown, report.points) == ((), len(after.xyz))
    assert after.version == before.version + 1
    assert set(report.seconds) == {"volume", "unet", "points", "fuse", "publish", "total"}
    compare(after.xyz, after.features, moved(before.xyz, T), before.features)
    # Nothing moved against anything else: features are kept, not made anew.
    assert report.fused < 0.02 * len(after.xyz)
    centre = torch.from_numpy(after.keyframes[0].T_world_camera[None, :3, 3])
    assert bool(scene_map.volume.grid.contains(centre).all())
    scene_map.replace_poses(poses_of(scene_map, np.linalg.inv(T)))
    back = scene_map.snapshot()
    compare(back.xyz, back.features, before.xyz, before.features)


def test_volume_is_that_of_a_map_built_at_the_new_poses(field, frames):
    scene_map = make_map(field, frames[:4])
    T = turned(0.0, (0.32, 0.0, 0.0))
    poses = poses_of(scene_map, T)
    scene_map.replace_poses({number: poses[number] for number in (1, 3)})
    there = [
        dataclasses.replace(f, T_world_camera=T @ f.T_world_camera) if f.index in (1, 3) else f
        for f in frames[:4]
    ]
    fresh = make_map(field, there)
    points = torch.rand(500, 3) * torch.tensor([3.0, 2.0, 2.0]) - torch.tensor([1.5, 1.0, 0.0])
    with torch.no_grad():
        ours = field.density(points, scene_map.volume)
        torch.testing.assert_close(ours, field.density(points, fresh.volume), atol=1e-3, rtol=1e-3)
    xyz, expected = scene_map.snapshot(), fresh.snapshot()
    distance = cKDTree(expected.xyz).query(xyz.xyz)[0]
    assert (distance < 2 * VOXEL).mean() > 0.97


def test_half_of_the_keyframes_takes_its_points_along(field, frames):
    # Two keyframes that share no point: what the second saw lands half a metre off.
    far = frames[1].T_world_camera.copy()
    far[0, 3] += 20.0
    other = dataclasses.replace(frames[1], T_world_camera=far)
    scene_map = without_encoders(make_map(field, [frames[0], other]))
    before = scene_map.snapshot()
    poses = poses_of(scene_map)
    poses[1][1, 3] += 0.5
    report = scene_map.replace_poses({1: poses[1]})
    after = scene_map.snapshot()
    assert report.moved == (1,)
    second = before.xyz[:, 0] > 10.0
    expected = before.xyz + np.where(second[:, None], (0.0, 0.5, 0.0), 0.0).astype(np.float32)
    compare(after.xyz, after.features, expected, before.features)
    stayed = after.xyz[after.xyz[:, 0] < 10.0]
    assert cKDTree(stayed).query(before.xyz[~second])[0].max() < 1e-5


def test_a_wall_that_was_seen_twice_becomes_one(field, frames):
    """The drift of the second visit made two walls; corrected, features are fused from both."""
    drifted = []
    for frame in frames[:4]:
        T = frame.T_world_camera.copy()
        T[:3, 3] += (0.15, 0.1, 0.0)
        drifted.append(dataclasses.replace(frame, T_world_camera=T, stamp=100.0 + frame.index))
    scene_map = without_encoders(make_map(field, [*frames[:4], *drifted], revisit_after=1e9))
    exact = make_map(field, frames[:4])
    assert len(scene_map.snapshot().xyz) > 1.3 * len(exact.snapshot().xyz)
    poses = {4 + frame.index: frame.T_world_camera for frame in frames[:4]}
    report = scene_map.replace_poses(poses)
    after, expected = scene_map.snapshot(), exact.snapshot()
    assert len(after.xyz) == pytest.approx(len(expected.xyz), rel=0.05)
    compare(after.xyz, after.features, expected.xyz, expected.features)
    assert report.fused > 0.5 * len(after.xyz)


def test_points_of_keyframes_that_were_given_up_move_along(field, frames):
    scene_map = without_encoders(make_map(field, frames, max_keyframes=3))
    before, T = scene_map.snapshot(), turned(-20.0, (1.0, 2.0, 0.0))
    poses = poses_of(scene_map, T)
    held = set(poses)
    poses |= {number: np.eye(4) for number in range(8) if number not in held}
    report = scene_map.replace_poses(poses)
    after = scene_map.snapshot()
    assert set(report.moved) == held
    assert set(report.unknown) == set(range(8)) - held
    compare(after.xyz, after.features, moved(before.xyz, T), before.features)


@pytest.mark.parametrize("depth", ["stereo", "rendered"])
def test_without_depth_the_surface_moves_along(field, depth):
    field = copy.deepcopy(field)
    torch.nn.init.constant_(field.density_out[-1].bias, -1.0)  # fog gives rays an end
    frames = room_frames(6, depth=False)
    if depth == "rendered":  # some of what was rendered belongs to keyframes that are gone
        scene_map = make_map(field, frames, min_opacity=0.3, max_keyframes=3)
    else:
        scene_map = make_map(field, frames, min_opacity=0.3)
    without_encoders(scene_map)
    surfaces = [k.surface_depth for k in scene_map.snapshot().keyframes]
    before, T = scene_map.snapshot(), turned(90.0, (3.0, 0.0, 0.0))
    scene_map.replace_poses(poses_of(scene_map, T))
    after = scene_map.snapshot()
    distance = cKDTree(moved(before.xyz, T)).query(after.xyz)[0]
    assert np.quantile(distance, 0.999) < VOXEL * math.sqrt(3)
    assert len(after.xyz) == pytest.approx(len(before.xyz), rel=0.1)
    for one, keyframe in zip(surfaces, after.keyframes, strict=True):
        assert torch.equal(one, keyframe.surface_depth)


def test_the_map_goes_on_after_it(field, frames):
    scene_map = make_map(field, frames[:4])
    shift = turned(0.0, (0.0, 0.0, 0.5))
    scene_map.replace_poses(poses_of(scene_map, shift))
    for frame in frames[4:]:
        T = shift @ frame.T_world_camera
        scene_map.add(dataclasses.replace(frame, T_world_camera=T))
    whole = make_map(
        field, [dataclasses.replace(f, T_world_camera=shift @ f.T_world_camera) for f in frames]
    )
    one, two = scene_map.snapshot(), whole.snapshot()
    compare(one.xyz, one.features, two.xyz, two.features)
    assert scene_map.wants(shift @ frames[4].T_world_camera, 4.5) == (False, "known")
    other = make_map(field, [])
    other.restore(scene_map.state())
    np.testing.assert_array_equal(other.snapshot().xyz, one.xyz)


def test_nothing_moved_leaves_the_map_as_it_is(field, frames):
    scene_map = make_map(field, frames[:2])
    before = scene_map.snapshot()
    report = scene_map.replace_poses({k.id: k.T_world_camera for k in before.keyframes})
    assert (report.moved, report.fused) == ((), 0)
    assert scene_map.snapshot() is before


@pytest.mark.parametrize(
    ("number", "pose", "message"),
    [
        (0, np.full((4, 4), np.nan), "new pose of keyframe 0 is no finite 4x4"),
        (1, np.diag([2.0, 2.0, 2.0, 1.0]), "keyframe 1 is not rigid"),
        (1, np.diag([1.0, 1.0, -1.0, 1.0]), "not rigid"),
        (1, np.eye(4) + np.outer([0, 0, 0, 1], [1.0, 0, 0, 0]), "not rigid"),
        (2, np.eye(4), "no keyframe 2: ids so far are 0 to 1"),
        (-1, np.eye(4), "no keyframe -1"),
    ],
)
def test_poses_that_cannot_be_are_refused_and_the_map_stays(field, frames, number, pose, message):
    scene_map = make_map(field, frames[:2])
    before = scene_map.snapshot()
    good = poses_of(scene_map, turned(0.0, (1.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match=message):
        scene_map.replace_poses({**good, number: pose})
    assert scene_map.snapshot() is before
    assert scene_map.volume is not None


def test_a_pose_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="keyframe 0 is no finite 4x4"):
        checked_poses({0: np.eye(3)}, 1)


def test_readers_see_the_old_map_until_the_new_one_is_whole(field, frames):
    scene_map = make_map(field, frames)
    T = turned(0.0, (10.0, 0.0, 0.0))
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            snapshot = scene_map.snapshot()
            poses = np.array([k.T_world_camera[0, 3] for k in snapshot.keyframes])
            seen.add((bool((poses > 5).all()), bool((snapshot.xyz[:, 0] > 5).all())))
            seen.add((not (poses < 5).all(), not (snapshot.xyz[:, 0] < 5).all()))

    reader = threading.Thread(target=read)
    reader.start()
    scene_map.replace_poses(poses_of(scene_map, T))
    done.set()
    reader.join()
    assert seen <= {(False, False), (True, True)}


@pytest.mark.parametrize("part", ["sightings", "rendered"])
def test_a_state_that_does_not_know_whose_points_they_are_is_refused(field, frames, part):
    scene_map = make_map(field, frames[:2])
    state = scene_map.state()
    name = {"sightings": "last", "rendered": "_frozen_of"}[part]
    broken = {**getattr(state, part), name: np.zeros(3, np.int64)}
    before = scene_map.snapshot()
    with pytest.raises(MapStateError, match="points"):
        scene_map.restore(dataclasses.replace(state, **{part: broken}))
    assert scene_map.snapshot() is before


def test_a_map_that_has_lost_all_its_points_takes_them_anew(field, frames):
    """Nothing can be kept, neither features nor who saw a point last."""
    scene_map = make_map(field, frames[:3])
    whole = len(scene_map.snapshot().xyz)
    points = scene_map._surface.points
    scene_map._surface.sightings.renumber(points.keep(np.zeros(len(points), bool)), 0)
    report = scene_map.replace_poses(poses_of(scene_map, turned(5.0, (0.3, 0.0, 0.0))))
    snapshot = scene_map.snapshot()
    assert report.points == len(snapshot.xyz) == len(snapshot.features) > 0.5 * whole
    assert report.fused > 0


def test_points_that_are_neither_kept_nor_seen_have_features_of_zeros(field, frames):
    scene_map = make_map(field, frames[:1])
    surface = scene_map._surface
    surface.points.merge(np.full((1, 3), 9.0, np.float32), np.zeros((1, 3), np.float32))
    assert surface._fuse_groups([], scene_map.volume) == 0
    assert len(surface.points.features) == len(surface.points)
    assert not surface.points.features.tensor()[-1].any()
