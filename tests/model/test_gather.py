import torch
import torch.nn.functional as F

from govnesf_model.cameras import sample_map
from govnesf_model.gather import bilinear_taps, gather, trilinear_taps


def test_bilinear_gather_is_grid_sample():
    torch.manual_seed(0)
    maps = torch.randn(1, 5, 7, 9)
    at = torch.rand(40, 2) * torch.tensor([11.0, 9.0]) - 1.0  # some beyond the border
    table = maps[0].reshape(5, -1).T
    expected = sample_map(maps, at[None])[0]
    torch.testing.assert_close(gather(table, *bilinear_taps(at, 7, 9)), expected)


def test_trilinear_gather_is_grid_sample_with_its_axes_the_right_way_round():
    torch.manual_seed(0)
    volume = torch.randn(4, 5, 6, 7)  # [c, x, y, z]
    at = torch.rand(50, 3) * torch.tensor([6.0, 7.0, 8.0]) - 1.0
    size = torch.tensor([5.0, 6.0, 7.0])
    # grid_sample wants its last axis, z, first.
    normal = ((2 * at + 1) / size - 1).flip(-1).view(1, 1, 1, -1, 3)
    expected = F.grid_sample(volume[None], normal, padding_mode="border", align_corners=False)
    table = volume.permute(1, 2, 3, 0).reshape(-1, 4)
    torch.testing.assert_close(
        gather(table, *trilinear_taps(at, (5, 6, 7))), expected.view(4, -1).T
    )


def test_weights_of_taps_sum_to_one():
    at = torch.rand(30, 3) * 12 - 2
    _, weight = trilinear_taps(at, (6, 7, 8))
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(30))
    assert float(weight.min()) >= 0


def test_gradients_reach_table_and_weights():
    table = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 1], [2, 2], [5, 0], [3, 4]])
    torch.autograd.gradcheck(lambda t, w: gather(t, index, w), (table, weight))


def test_half_precision_tables_are_not_quantised():
    """Features in fp16 keep about three digits: far finer than 1/64."""
    table = torch.randn(100, 16)
    index = torch.randint(0, 100, (50, 8))
    weight = torch.rand(50, 8).softmax(dim=1)
    error = (gather(table.half(), index, weight).float() - gather(table, index, weight)).abs().max()
    assert float(error) < 4e-3


def test_nothing_to_gather_gives_nothing():
    assert gather(
        torch.randn(3, 4), torch.zeros(0, 8, dtype=torch.long), torch.zeros(0, 8)
    ).shape == (
        0,
        4,
    )
