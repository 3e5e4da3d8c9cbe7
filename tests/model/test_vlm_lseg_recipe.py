"""The recipes, on networks whose answers are known: a recipe must put them where they belong."""

import pytest
import torch
import torch.nn.functional as F

from govnesf_model.vlm.lseg_recipe import RECIPES, openscene, plain, pool


class Corners:
    """Halves the image corner on corner, the way that LSeg's output is stretched in training."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        size = (image.shape[-2] // 2, image.shape[-1] // 2)
        return F.interpolate(image, size=size, mode="bilinear", align_corners=True)


def ramps(height: int, width: int) -> torch.Tensor:
    """Return an image whose normalised red is the column and green the row, in pixels."""
    row, column = torch.meshgrid(
        torch.arange(float(height)), torch.arange(float(width)), indexing="ij"
    )
    return torch.stack([column, row, torch.zeros(height, width)])[None] / 2 + 0.5


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (48, 64), (64, 64)])
def test_a_cell_of_openscene_stands_for_its_pixel(height, width):
    found = openscene(Corners(), ramps(height, width)) / 2
    expected = ramps(height, width) * 2 - 1
    assert found.shape == expected.shape
    # A square has black beside the image: its last row and column hold a little of that.
    error = (found - expected)[..., :-1, :-1].abs().amax(dim=(0, 2, 3))
    long, short = (0, 1) if width >= height else (1, 0)
    assert error[long] < 1e-3
    assert error[short] < (0.13 if height != width else 1e-3)


def test_openscene_runs_a_black_padded_square_of_twice_the_long_side_and_its_mirror():
    network = Corners()
    image = torch.rand(1, 3, 45, 60)
    openscene(network, image)
    straight, mirrored = network.seen
    assert straight.shape == (1, 3, 128, 128)  # 120, up to a multiple of 32
    assert torch.equal(mirrored, straight.flip(-1))
    doubled = F.interpolate(2 * image - 1, size=(90, 120), mode="bilinear", align_corners=True)
    assert torch.allclose(straight[..., :90, :120], doubled, atol=1e-6)
    assert (straight[..., 90:, :] == -1).all()
    assert (straight[..., :, 120:] == -1).all()


def test_openscene_gives_a_mirrored_square_the_mirrored_features():
    """Up to rounding, where nothing is padded, for any network: here one that prefers the left."""
    left = torch.linspace(1, 0, 64)

    def network(image):
        return Corners()(image) * left[: image.shape[-1] // 2]

    image = torch.rand(1, 3, 64, 64)
    difference = openscene(network, image.flip(-1)) - openscene(network, image).flip(-1)
    assert difference.abs().max() < 1e-4
    assert (network(image) - network(image.flip(-1)).flip(-1)).abs().max() > 0.1


def test_openscene_adds_two_features_and_does_not_normalise():
    def network(image):
        return F.normalize(torch.ones(1, 4, image.shape[-2] // 2, image.shape[-1] // 2), dim=1)

    assert torch.allclose(
        openscene(network, torch.rand(1, 3, 16, 32)).norm(dim=1), torch.tensor(2.0)
    )


@pytest.mark.parametrize(("height", "width"), [(256, 320), (240, 320), (37, 50)])
def test_a_cell_of_plain_is_half_a_pixel_off_at_most(height, width):
    network = Corners()
    found = plain(network, ramps(height, width))
    assert found.shape == (1, 3, -(-height // 2), -(-width // 2))
    assert [side % 32 for side in network.seen[0].shape[-2:]] == [0, 0]
    # Beyond the image is black; cells that reach over its border are left out.
    column = found[0, 0, : height // 2 - 1, : width // 2 - 1]
    row = found[0, 1, : height // 2 - 1, : width // 2 - 1]
    assert (column - (2 * torch.arange(column.shape[1]) + 0.5)).abs().max() < 0.5 + 1e-3
    assert (row - (2 * torch.arange(row.shape[0]) + 0.5)[:, None]).abs().max() < 0.5 + 1e-3
    # And exactly where the stretching says.
    padded = network.seen[0].shape[-1]
    stretched = torch.arange(column.shape[1]) * (padded - 1) / (padded / 2 - 1)
    assert (column - stretched).abs().max() < 1e-2


def test_cells_are_averaged_over_what_is_there():
    features = torch.arange(15.0).reshape(1, 1, 3, 5)
    pooled = pool(features, 2)
    assert pooled[0, 0].tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    assert pool(features, 1) is features


def test_recipes_have_their_own_stride():
    image = torch.rand(1, 3, 50, 70)
    for recipe in RECIPES.values():
        height, width = -(-50 // recipe.stride), -(-70 // recipe.stride)
        assert recipe.run(Corners(), image).shape == (1, 3, height, width)
