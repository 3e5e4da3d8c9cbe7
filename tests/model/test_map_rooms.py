"""A robot that drives through three rooms and two corridors, there and back."""

import dataclasses

import numpy as np
import pytest
import torch
from furnished_room import ColorEncoder
from three_rooms import CENTRES, PITCH, ROOMS, drive, frame, passage, tour, trace

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.map_depth import render_depth
from govnesf_model.scene_map import MapConfig, SceneMap

BOUND = 125.0  # MiB
TOUR = 12  # poses of a tour of a room


@pytest.fixture(scope="module")
def driven():
    """The map after the drive, its poses, and per keyframe memory and voxels that were run."""
    torch.manual_seed(0)
    field = GovNesf(FieldConfig.small(unet_channels=(4, 4, 4))).eval()
    config = MapConfig(image_width=96, max_keyframes=40, memory_mib=BOUND, refresh_points=2000)
    scene_map = SceneMap(field, ColorEncoder(), config)
    memory, cells = [], []
    run = field.volume_from

    def counted(grid, *inputs):
        cells[-1] += grid.cells
        return run(grid, *inputs)

    poses = drive()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "volume_from", counted)
        for index, pose in enumerate(poses):
            cells.append(0)
            scene_map.add(frame(index, pose))
            memory.append(scene_map.status()["memory_mib"])
    return scene_map, poses, memory, cells


@pytest.mark.slow
def test_density_is_right_in_all_rooms(driven):
    scene_map, poses, *_ = driven
    path = np.array([pose[:3, 3] for pose in poses])
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() > 30.0
    assert np.ptp(path[:, 0]) > 2 * PITCH
    keyframe = scene_map.snapshot().keyframes[-1]
    config = dataclasses.replace(scene_map.config, render_step=3)
    for room in range(ROOMS):
        errors, hits = [], []
        for pose in tour(room)[::3]:
            view = dataclasses.replace(keyframe, T_world_camera=pose.astype(np.float32))
            with torch.no_grad():
                depth = render_depth(scene_map.field, scene_map.volume, view, config)[0]
            truth = trace(keyframe.K.astype(float), pose, 96, 72)[1][1::3, 1::3]
            near = truth < config.max_depth
            hits.append((depth > 0)[near].mean())
            errors.append(np.abs(depth - truth)[near & (depth > 0)])
        assert np.mean(hits) > 0.9
        assert np.median(np.concatenate(errors)) < 0.03
        points = CENTRES[room] + np.random.default_rng(0).uniform(-1, 1, (500, 3)) * (1.5, 1.2, 0.6)
        with torch.no_grad():
            sigma = scene_map.field.density(torch.from_numpy(points).float(), scene_map.volume)
        assert float((sigma < 0.5).float().mean()) > 0.97


@pytest.mark.slow
def test_memory_stays_within_the_bound(driven):
    scene_map, _, memory, _ = driven
    assert scene_map.status()["evicted"] > 0
    assert max(memory) <= BOUND
    # Tiles of rooms and corridors, not of the box around them; sums of most are on the disk.
    sums = scene_map._volume._sums
    names = np.array(list(sums.tiles))
    assert len(names) < 0.9 * np.prod(np.ptp(names, axis=0) + 1)
    assert sums.tiles.on_disk > 0.3 * len(sums.tiles)
    # The map does not hold more of the early drive than of the late one.
    assert np.ptp(memory[-3 * TOUR :]) < 0.05 * BOUND


@pytest.mark.slow
def test_a_keyframe_costs_the_same_at_the_end_as_before(driven):
    """The voxels that the network is run for: all that could grow with the map."""
    scene_map, _, _, cells = driven
    rest = 2 * len(passage(0, 1)) + 3 * TOUR
    early = np.mean(cells[-rest:][:TOUR])  # the first room again: the map is full by now
    late = np.mean(cells[-TOUR:])  # the last room, the same poses
    assert abs(late - early) < 0.2 * early
    # Far from all voxels that the map holds.
    assert late < 0.35 * scene_map.status()["volume_voxels"]
