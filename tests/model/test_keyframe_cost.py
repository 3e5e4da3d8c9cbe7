"""What a keyframe costs depends on what it shows, not on how much the map holds already."""

import statistics
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from furnished_room import ColorEncoder, room_frames

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.scene_map import MapConfig, SceneMap

MOST = 300_000
STAGES = ("points", "fuse", "publish")


class LongFeatures(ColorEncoder):
    """Features of a usual length, 0 behind the first few."""

    dim = 384

    def encode_images(self, rgb):
        short = super().encode_images(rgb)
        return F.pad(short, (0, 0, 0, 0, 0, self.dim - short.shape[1]))


def seconds_per_keyframe(held: int) -> float:
    """Return processor time of the stages that look at points, in a map of so many points."""
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    scene_map = SceneMap(GovNesf(config).eval(), LongFeatures(), MapConfig(max_points=MOST))
    frames = room_frames(16, width=320, height=240)
    scene_map.add(frames[0])
    points = scene_map._surface.points
    # Other rooms, all seen before.
    missing = held - len(points)
    rng = np.random.default_rng(0)
    room = (1000, 660, 100)  # voxels
    cells = np.unique(rng.integers(0, np.prod(room), 2 * missing))[:missing]
    xyz = (np.stack(np.unravel_index(cells, room), axis=1) + 0.5) * 0.03 + (51, 0, 0)
    rows, _ = points.merge(xyz.astype(np.float32), np.zeros(xyz.shape, np.float32))
    for some in np.array_split(rows, 10):
        ones = np.ones(len(some))
        features = F.normalize(torch.rand(len(some), LongFeatures.dim), dim=1)
        points.set_features(some, features, ones.astype(np.float32), ones.astype(int))
    reports = [scene_map.add(frame).seconds for frame in frames[1:6]]
    assert len(points) == pytest.approx(min(held + 15_000, MOST), rel=0.1)
    # The first one after the rooms were made up finds no memory in place.
    return statistics.median(sum(report[name] for name in STAGES) for report in reports[1:])


@pytest.mark.slow
def test_a_keyframe_costs_the_same_in_a_full_map(monkeypatch) -> None:
    monkeypatch.setattr("govnesf_model.map_views.perf_counter", time.process_time)
    few, many = seconds_per_keyframe(50_000), seconds_per_keyframe(MOST)
    # Nearly all of it is the field's; copying and sorting the whole map would double it.
    assert many < 1.5 * few
