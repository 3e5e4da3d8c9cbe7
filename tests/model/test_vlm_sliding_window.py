from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from govnesf_model.vlm.sliding_window import encode_in_windows, window_starts


def pooled(images):
    """A stand-in encoder without context: the mean colour of each cell of 4 pixels."""
    return F.avg_pool2d(images, 4) + torch.tensor([2.0, 1.0, 0.5]).view(3, 1, 1)


@pytest.fixture
def images():
    return torch.rand(2, 3, 36, 52, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.75])
def test_windows_cover_everything_evenly_and_overlap_enough(overlap):
    for cells in range(5, 40):
        starts = window_starts(cells, 5, overlap)
        assert starts[0] == 0
        assert starts[-1] == cells - 5
        steps = [b - a for a, b in pairwise(starts)]
        assert all(0 < step <= max(1, 5 * (1 - overlap)) for step in steps)
        assert not steps or max(steps) - min(steps) <= 1


def test_an_encoder_without_context_gives_the_same_in_windows(images):
    whole = encode_in_windows(pooled, images, 4, 1000, 0.33)
    for window, overlap, batch in [(16, 0.0, 8), (16, 0.5, 3), (5, 0.33, 64)]:
        joined = encode_in_windows(pooled, images, 4, window, overlap, batch)
        assert torch.allclose(joined, whole, atol=1e-6)


def test_an_image_of_exactly_one_window_is_encoded_as_a_whole(images):
    seen = []

    def encode(crops):
        seen.append(crops.shape)
        return pooled(crops)

    square = images[..., :36]
    joined = encode_in_windows(encode, square, 4, 36, 0.33)
    assert seen == [square.shape]
    assert torch.equal(joined, F.normalize(pooled(square), dim=1))


def test_joining_is_smooth_where_windows_disagree(images):
    """Windows 0 and 1 see opposite things; the change is spread over the overlap."""

    def encode(crops):
        angle = torch.arange(len(crops)) * 1.0
        feature = torch.stack([angle.cos(), angle.sin()], 1)[:, :, None, None]
        return feature.expand(-1, -1, crops.shape[2] // 4, crops.shape[3] // 4)

    joined = encode_in_windows(encode, images[:1, :, :32, :48], 4, 32, 0.5)  # 8x12 cells, 2 windows
    angle = torch.atan2(joined[0, 1, 4], joined[0, 0, 4])
    assert angle[0] == 0
    assert angle[-1] == pytest.approx(1)
    assert torch.all(angle.diff() >= -1e-6)
    assert angle.diff().max() < 0.5
    assert torch.allclose(joined.norm(dim=1), torch.ones(1, 8, 12))
