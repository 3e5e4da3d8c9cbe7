import pytest
import torch

from govnesf_model.unet3d import ResUNet3d


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    unet = ResUNet3d(5, (8, 8, 8), 6)
    for name, weight in unet.named_parameters():
        if name.endswith("conv_b.weight"):  # blocks start as the identity, trained ones are not
            torch.nn.init.normal_(weight, std=0.1)
    return unet


@pytest.mark.parametrize("shape", [(8, 8, 8), (7, 5, 3), (1, 1, 1), (10, 4, 6)])
def test_any_grid_shape_comes_back(unet, shape):
    assert unet(torch.randn(1, 5, *shape))[0].shape == (1, 6, *shape)


def test_train_and_eval_mode_give_the_same(unet):
    x = torch.randn(1, 5, 8, 8, 4)
    torch.testing.assert_close(unet.train()(x)[0], unet.eval()(x)[0])


def test_a_voxel_does_not_depend_on_the_batch_or_on_the_far_end_of_the_grid(unet):
    """So a map may grow without changing what it knew."""
    x = torch.randn(2, 5, 96, 4, 4)
    with torch.no_grad():
        whole = unet(x)[0]
        changed = x.clone()
        changed[0, :, 80:] = 0
        changed[1] += 5
        near = unet(changed)[0][0, :, :16]
    torch.testing.assert_close(near, whole[0, :, :16], atol=1e-5, rtol=1e-5)


def test_neighbours_do_matter(unet):
    x = torch.randn(1, 5, 12, 8, 8, requires_grad=True)
    unet(x)[0][0, :, 6, 4, 4].sum().backward()
    reached = x.grad.abs().sum(dim=1)[0] > 0
    assert bool(reached[1, 4, 4])
    assert bool(reached[6, 1, 4])
    assert bool(reached[6, 4, 7])


def test_a_second_output_starts_at_zero_and_learns():
    unet = ResUNet3d(5, (8, 8, 8), 6, extra_channels=16)
    geometry, extra = unet(torch.randn(1, 5, 6, 4, 4))
    assert geometry.shape == (1, 6, 6, 4, 4)
    assert extra.shape == (1, 16, 6, 4, 4)
    assert float(extra.abs().max()) == 0.0
    extra.sum().backward()
    assert float(unet.leave_extra.weight.grad.abs().sum()) > 0
