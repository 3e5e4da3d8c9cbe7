"""Scores, labels and masks against values worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from furnished_room import NAMES, ColorEncoder, room_frames

from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.keyframes import Keyframe, MapSnapshot
from govnesf_model.map_points import points_from_depth, voxel_keys
from govnesf_model.segmentation import (
    best_texts,
    label_features,
    mask_of_keyframe,
    score_features,
    upsample_scores,
)

AXES = torch.eye(4)


def test_score_is_the_softmax_over_texts_and_contrast():
    features = torch.tensor([[1.0, 0, 0, 0], [0.6, 0.8, 0, 0]])
    scores = score_features(features, AXES[:2], AXES[2:3], 2.0)
    first = math.exp(2.0) / (math.exp(2.0) + 2.0)
    assert scores[0, 0] == pytest.approx(first, abs=1e-6)
    total = math.exp(1.2) + math.exp(1.6) + 1.0
    assert scores[1].tolist() == pytest.approx([math.exp(1.2) / total, math.exp(1.6) / total])


def test_more_contrast_never_raises_a_score():
    features = torch.nn.functional.normalize(torch.randn(200, 4), dim=1)
    few = score_features(features, AXES[:1], AXES[1:2], 10.0)
    many = score_features(features, AXES[:1], AXES[1:], 10.0)
    assert (many <= few + 1e-6).all()


def test_unseen_features_score_zero_and_get_no_label():
    features = torch.zeros(3, 4, dtype=torch.float16)
    features[1, 3] = 1.0  # seen, but unlike any of the texts
    scores = score_features(features, AXES[:2], torch.zeros(0, 4), 5.0)
    assert scores[0].tolist() == [0.0, 0.0]
    assert scores[1].tolist() == pytest.approx([0.5, 0.5])
    label, confidence = label_features(features, AXES[:2], torch.zeros(0, 4), 5.0)
    assert label.tolist() == [0, 1, 0]
    assert confidence.tolist() == pytest.approx([0.0, 0.5, 0.0])


def test_no_features_and_no_contrast_are_fine():
    assert score_features(torch.zeros(0, 4), AXES, torch.zeros(0, 4), 5.0).shape == (0, 4)
    index, score, peak = best_texts(torch.zeros(0, 4), AXES, torch.zeros(0, 4), 5.0)
    assert (len(index), len(score)) == (0, 0)
    assert peak.tolist() == [0.0] * 4


def test_winners_agree_with_all_scores_beyond_one_chunk():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40000, 4, generator=generator)
    features = torch.nn.functional.normalize(features, dim=1).half()
    scores = score_features(features, AXES[:3], AXES[3:], 8.0)
    index, score, peak = best_texts(features, AXES[:3], AXES[3:], 8.0)
    assert torch.equal(index, scores.argmax(1))
    assert torch.equal(score, scores.amax(1))
    assert torch.equal(peak, scores.amax(0))


def test_upsampling_puts_cell_centres_where_the_convention_says():
    scores = torch.arange(6.0).expand(5, 6).unsqueeze(-1)  # a ramp along u
    fine = upsample_scores(scores, 4, width=22, height=18)
    assert fine.shape == (1, 18, 22)
    # u_feature = (u - 1.5) / 4
    assert fine[0, 7, 10].item() == pytest.approx((10 - 1.5) / 4)
    assert fine[0, 7, 0].item() == pytest.approx(0.0)


def keyframe_of(frame, encoder) -> Keyframe:
    image = torch.from_numpy(frame.rgb).permute(2, 0, 1).unsqueeze(0) / 255.0
    ov = encoder.encode_images(image)[0].permute(1, 2, 0).half()
    empty = torch.zeros(1, 1, 1)
    K, T = frame.K.astype(np.float32), frame.T_world_camera.astype(np.float32)
    return Keyframe(0, 0.0, frame.rgb, K, T, frame.depth, ov, 4, empty, empty, (320, 240))


def test_mask_follows_the_true_labels():
    encoder, frame = ColorEncoder(), room_frames(1)[0]
    text = encoder.encode_texts(["table", "cabinet"])
    contrast = encoder.encode_texts(encoder.contrast_for(["table", "cabinet"]))
    mask = mask_of_keyframe(keyframe_of(frame, encoder), text, contrast, 20.0)
    assert (mask.dtype, mask.shape) == (np.uint8, frame.rgb.shape[:2])
    truth = np.select([frame.label == 1, frame.label == 2], [1, 2], 0)
    assert (mask == truth).mean() > 0.96
    assert set(np.unique(mask)) == {0, 1, 2}
    large = mask_of_keyframe(keyframe_of(frame, encoder), text, contrast, 20.0, size=(320, 240))
    assert large.shape == (240, 320)
    assert (large[::2, ::2] == mask).mean() > 0.97
    assert NAMES[:2] == ("table", "cabinet")


def test_points_of_the_map_speak_for_the_pixels_that_show_them():
    encoder, frame = ColorEncoder(), room_frames(1)[0]
    keyframe = keyframe_of(frame, encoder)
    xyz, _ = points_from_depth(
        frame.rgb, frame.depth, keyframe.K, keyframe.T_world_camera, 1, 0.0, 9.0
    )
    xyz = xyz[np.unique(voxel_keys(xyz, 0.03), return_index=True)[1]]
    features = encoder.encode_texts(["mug"]).expand(len(xyz), -1).half()  # a map of nothing but mug
    snapshot = dataclasses.replace(
        MapSnapshot.empty(encoder.dim, 0.03),
        xyz=xyz,
        rgb=np.zeros((len(xyz), 3), np.uint8),
        features=FeatureBlocks.of(features),
        confidence=np.ones(len(xyz), np.float32),
    )
    text, contrast = encoder.encode_texts(["mug"]), encoder.encode_texts(["table", "floor"])
    mask = mask_of_keyframe(keyframe, text, contrast, 20.0, snapshot=snapshot)
    assert (mask == 1).mean() > 0.9
    blind = dataclasses.replace(keyframe, depth=None)
    alone = mask_of_keyframe(blind, text, contrast, 20.0, snapshot=snapshot)
    np.testing.assert_array_equal(alone, mask_of_keyframe(keyframe, text, contrast, 20.0))
    assert (alone == 1).mean() < 0.05
