"""Running out of memory, simulated where a GPU would raise it."""

import numpy as np
import pytest
import torch
from furnished_room import ColorEncoder, room_frames

from govnesf_model.field import FieldConfig, GovNesf
from govnesf_model.fitting_chunks import FittingChunks
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_model.segmentation import score_features


def test_chunks_shrink_until_they_fit_and_stay_small() -> None:
    chunks, tried = FittingChunks(1000), []

    def work(rows: slice) -> int:
        tried.append(rows.stop - rows.start)
        if tried[-1] > 300:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows.stop - rows.start

    found = list(chunks.run(900, work))
    assert tried == [900, 450, 225, 225, 225, 225]
    assert [rows.start for rows, _ in found] == [0, 225, 450, 675]
    assert sum(count for _, count in found) == 900
    assert chunks.size == 225
    assert list(chunks.run(0, work)) == []


def test_without_memory_for_the_fewest_rows_the_error_is_passed_on() -> None:
    def work(rows: slice) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(FittingChunks(1000).run(900, work))


def test_a_map_is_the_same_when_memory_ran_out_while_it_was_fused() -> None:
    torch.manual_seed(0)
    config = FieldConfig.small(unet_channels=(4, 4, 4), samples_per_ray=16, voxel_size=0.32)
    field = GovNesf(config).eval()
    frame = room_frames(1)[0]
    maps = []
    for most in (10**9, 700):
        blend = GovNesf.blend.__get__(field)

        def limited(points, *rest, _blend=blend, _most=most, **named):
            if len(points) > _most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return _blend(points, *rest, **named)

        field.blend = limited
        scene_map = SceneMap(field, ColorEncoder(), MapConfig(image_width=160, min_sharpness=0.0))
        scene_map.add(frame)
        maps.append(scene_map.snapshot())
    plenty, little = maps
    assert len(plenty.xyz) > 1000
    assert np.array_equal(plenty.xyz, little.xyz)
    assert torch.allclose(
        plenty.features.tensor().float(), little.features.tensor().float(), atol=2e-3
    )


def test_scores_are_the_same_when_memory_ran_out_while_they_were_made(monkeypatch) -> None:
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(5000, 8), dim=1).half()
    features[7] = 0
    texts, contrast = torch.eye(8)[:3], torch.eye(8)[3:]
    expected = score_features(features, texts, contrast, 10.0)
    softmax = torch.softmax

    def limited(logits, dim):
        if len(logits) > 500:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return softmax(logits, dim=dim)

    monkeypatch.setattr(torch, "softmax", limited)
    found = score_features(features, texts, contrast, 10.0)
    assert torch.allclose(found, expected, atol=1e-6)
    assert (found[7] == 0).all()
