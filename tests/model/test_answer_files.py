"""Clouds and boxes on disk."""

import numpy as np
import torch
from furnished_room import ColorEncoder

from govnesf_model.answer_files import answer_record, write_clouds
from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.keyframes import MapSnapshot
from govnesf_model.pointcloud_io import read_ply
from govnesf_model.query import Query, answer

ENCODER = ColorEncoder()


def snapshot() -> MapSnapshot:
    rng = np.random.default_rng(0)
    centers = np.repeat([[0, 0, 1.0], [2, 0, 1.0]], 80, axis=0)
    xyz = (centers + rng.uniform(-0.05, 0.05, centers.shape)).astype(np.float32)
    features = torch.cat([ENCODER.encode_texts([name]).expand(80, -1) for name in ("mug", "table")])
    rgb = np.full((160, 3), 90, np.uint8)
    features = FeatureBlocks.of(features.half())
    return MapSnapshot(xyz, rgb, features, np.ones(160, np.float32), 1.0, (), 1, 0.03)


def test_clouds_and_boxes_tell_the_same(tmp_path):
    held = snapshot()
    result = answer(held, ENCODER, Query(("table", "mug", "cabinet")))
    write_clouds(tmp_path, "room", held, result)
    cloud, painted = read_ply(tmp_path / "cloud.ply"), read_ply(tmp_path / "labels.ply")
    np.testing.assert_array_equal(cloud["label"], np.repeat([2, 1], 80))
    assert cloud["relevancy_2_mug"][:80].min() > 0.9 > 0.1 > cloud["relevancy_2_mug"][80:].max()
    assert (cloud["red"] == 90).all()
    assert len({tuple(p) for p in zip(painted["red"], painted["blue"], strict=True)}) == 2

    told = answer_record(result)
    assert [text["text"] for text in told["texts"]] == ["table", "mug", "cabinet"]
    assert [len(text["instances"]) for text in told["texts"]] == [1, 1, 0]
    box = told["texts"][0]["instances"][0]
    np.testing.assert_allclose(box["center"], [2, 0, 1], atol=0.02)
    assert box["points"] == 80
    assert told["texts"][2]["best"] < 0.1
    assert told["min_score"] == 0.5
