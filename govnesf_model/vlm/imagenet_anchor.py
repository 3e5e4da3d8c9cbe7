"""What the ImageNet classifier sees in each part of an image, as features in the text space.

The encoder learns from renders alone; the classifier below its backbone has seen a million
photographs. ConSE (Norouzi et al. 2014) turns its answer into the text space: the mean of the
class names' text features, weighted by the probabilities of the likeliest classes. Here it is done
at every cell of the last map, and the mean of all names is taken off, so that a cell where the
classifier sees nothing in particular adds nothing.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from govnesf_model.vlm.text import MiniLM

CHANNELS, HIDDEN, CLASSES = 320, 1280, 1000  # of EfficientNet-Lite0's classifier
LIKELIEST = 10  # classes that count in a cell


class ImagenetAnchor(nn.Module):
    """The classifier of EfficientNet-Lite0, applied densely.

    Args:
        dim: length of a text feature.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(CHANNELS, HIDDEN, 1)
        self.classifier = nn.Conv2d(HIDDEN, CLASSES, 1)
        self.register_buffer("names", torch.zeros(CLASSES, dim))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Return for each cell the expected text feature, relative to the mean of all names."""
        logits = self.classifier(F.relu6(self.hidden(x)))
        best, index = logits.softmax(1).topk(LIKELIEST, dim=1)  # [b, k, h, w]
        names = self.names - self.names.mean(0)
        return torch.einsum("bkhw,bkhwd->bdhw", best, names[index])


@torch.no_grad()
def anchor_of(imagenet: dict[str, Tensor], text: MiniLM, eps: float = 1e-3) -> ImagenetAnchor:
    """Build the anchor.

    Args:
        imagenet: timm's state dict of the classifier.
        text: encodes the names of its classes.
        eps: of the classifier's batch norm.
    """
    anchor = ImagenetAnchor(text.dim)
    scale = imagenet["bn2.weight"] / (imagenet["bn2.running_var"] + eps).sqrt()
    anchor.hidden.weight.copy_(imagenet["conv_head.weight"] * scale.view(-1, 1, 1, 1))
    anchor.hidden.bias.copy_(imagenet["bn2.bias"] - imagenet["bn2.running_mean"] * scale)
    anchor.classifier.weight.copy_(imagenet["classifier.weight"][..., None, None])
    anchor.classifier.bias.copy_(imagenet["classifier.bias"])
    for row, names in zip(anchor.names, imagenet_names(), strict=True):
        row.copy_(F.normalize(text.encode(names).mean(0), dim=0))
    return anchor


def imagenet_names() -> list[list[str]]:
    """Return for each of the 1000 classes its names ("coffee mug"), without Latin ones."""
    from timm.data import ImageNetInfo

    import govnesf_model.torchvision_guard  # noqa: F401

    info = ImageNetInfo("imagenet-1k")
    return [_plain(info.index_to_description(index)) for index in range(CLASSES)]


def _plain(description: str) -> list[str]:
    names = [name.strip() for name in description.split(",")]
    return [name for name in names if name == name.lower()] or names[:1]
