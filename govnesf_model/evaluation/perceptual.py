"""LPIPS by torchmetrics, without ever downloading anything.

    lpips, note = load_lpips("cpu")
    distance = lpips(image, truth) if lpips else None       # note says why not

The distance compares features of VGG-16, whose ImageNet weights (528 MB) torchvision would fetch by
itself. Here they are used where they lie in torch's own folder, and left alone where they do not.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from govnesf_model import torchvision_guard  # noqa: F401  torchmetrics imports torchvision

WEIGHTS = "vgg16-397923af.pth"  # the name under which torchvision keeps them

Distance = Callable[[Float[Tensor, "h w 3"], Float[Tensor, "h w 3"]], float]


def load_lpips(device: torch.device | str) -> tuple[Distance | None, str]:
    """Return the distance (LPIPS with VGG) of two images with colours in 0..1.

    Returns:
        The function and "", or None and a sentence that says what is missing.
    """
    path = weights_path()
    if not path.is_file():
        return None, (
            f"lpips is left out: it needs VGG-16's ImageNet weights at {path}; where there is a "
            'network, python -c "import torchvision; torchvision.models.vgg16(weights='
            "'IMAGENET1K_V1')\" puts them there"
        )
    return _distance(str(path), str(device)), ""


def weights_path() -> Path:
    """Return where torchvision keeps the weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


@lru_cache(maxsize=1)
def _distance(path: str, device: str) -> Distance:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    # torchvision finds the file in torch's folder: that it is there has been looked at.
    metric = LearnedPerceptualImagePatchSimilarity(net_type="vgg", normalize=True).to(device)

    def distance(image: Tensor, truth: Tensor) -> float:
        batches = (value.permute(2, 0, 1).unsqueeze(0).to(device) for value in (image, truth))
        with torch.no_grad():
            return float(metric(*batches))

    return distance
