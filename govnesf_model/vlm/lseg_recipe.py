"""How LSeg's network is run over an image: the recipes `plain` and `openscene`.

    features = RECIPES["openscene"].run(network, rgb)     # [1, 512, h, w]

plain
    One pass; the image is padded at its right and bottom to multiples of 32. Features lie at half
    resolution. LSeg is trained with its output stretched to the image corner on corner: cell i of n
    stands for u = i (2 n - 1) / (n - 1), where this package's convention says u = 2 i + 1/2. The
    two agree at the centre of the padded image and differ by half a pixel at its borders; no
    correction is made.

openscene
    What OpenScene's feature extraction does: the image doubled, padded to a square, run as it is
    and mirrored, the two outputs added, cropped to the image. The stretching corner on corner
    undoes itself along the long side, so that cell i stands for pixel i; along the short side
    it is off by up to 0.13 pixels at 320x240. There it takes 12 times the work of a plain pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from govnesf_model.vlm.lseg_network import MULTIPLE, normalise

PADDING = -1.0  # black, after normalisation

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """A way of running the network.

    Attributes:
        run: (network, rgb [b, 3, h, w] in 0..1) -> features [b, d, ceil(h / s), ceil(w / s)].
        stride: s, in pixels of the image.
    """

    run: Callable[[Network, Tensor], Tensor]
    stride: int


def plain(network: Network, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d _ _"]:
    """Return unit-norm features of one pass at half resolution, rounded up.

    Args:
        network: normalised image with sides that are multiples of 32 -> features at half size.
        rgb: images in 0..1.
    """
    height, width = rgb.shape[-2:]
    features = network(pad_to(normalise(rgb), _up(height), _up(width)))
    return features[..., : -(-height // 2), : -(-width // 2)]


def openscene(network: Network, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h w"]:
    """Return the sum of two unit-norm features for every pixel: neither halved nor normalised.

    Images whose long side is no multiple of 16 do not fit OpenScene's own extraction; their square
    is padded to the next multiple of 32. Images are taken one by one, which bounds the memory.

    Args:
        network: as of `plain`.
        rgb: images in 0..1.
    """
    return torch.cat([openscene_normalised(network, normalise(image[None])) for image in rgb])


def openscene_normalised(
    network: Network, image: Float[Tensor, "1 3 h w"]
) -> Float[Tensor, "1 d h w"]:
    """Return the same for one image that is already in -1..1."""
    height, width = image.shape[-2:]
    # Twice the size is OpenScene's base size for one scale: int(short * base / long + 0.5) is
    # exactly twice the short side.
    doubled = F.interpolate(
        image, size=(2 * height, 2 * width), mode="bilinear", align_corners=True
    )
    side = _up(2 * max(height, width))
    square = pad_to(doubled, side, side)
    total = network(square)[..., :height, :width].clone()
    total += network(square.flip(-1)).flip(-1)[..., :height, :width]
    return total


RECIPES = {"plain": Recipe(plain, stride=2), "openscene": Recipe(openscene, stride=1)}


def pad_to(image: Float[Tensor, "b 3 h w"], height: int, width: int) -> Float[Tensor, "b 3 _ _"]:
    """Return a normalised image with black added at its right and bottom."""
    extra = (0, width - image.shape[-1], 0, height - image.shape[-2])
    return F.pad(image, extra, value=PADDING) if any(extra) else image


def pool(features: Float[Tensor, "b d h w"], factor: int) -> Float[Tensor, "b d _ _"]:
    """Return the mean over squares of `factor` cells; squares at the border hold fewer."""
    if factor == 1:
        return features
    return F.avg_pool2d(features, factor, ceil_mode=True, count_include_pad=False)


def _up(size: int) -> int:
    return -(-size // MULTIPLE) * MULTIPLE
