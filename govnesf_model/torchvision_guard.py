"""Make `import torchvision` work beside a CPU build of torch.

The torchvision wheel is built for CUDA: with a CPU-only torch its import fails because the
operators `nms` and `qnms` were never registered. timm, open_clip, lightning and torchmetrics all
import it. Nothing of ours calls these operators, so declaring them is enough. Import this module
before any of those libraries; it does nothing where torchvision loads or is not installed.
"""

import sys

import torch


def _declare_missing_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    )
    return library


_library: torch.library.Library | None = None  # operators live as long as the object that made them

try:
    import torchvision
except ImportError:
    pass
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _library = _declare_missing_operators()
    import torchvision  # noqa: F401
