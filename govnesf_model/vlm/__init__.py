"""Open-vocabulary encoders, loaded by a name.

from govnesf_model.vlm import load_vlm

vlm = load_vlm("embedded")
"""

from pathlib import Path

import torch

from govnesf_model.resources import resource_dir
from govnesf_model.vlm.base import DenseEncoder, TextCoverage, coverage_warning

__all__ = ["DenseEncoder", "TextCoverage", "coverage_warning", "load_vlm"]

KINDS = ("embedded", "embedded:PATH")


def load_vlm(spec: str, device: torch.device | str = "auto") -> DenseEncoder:
    """Load an encoder.

    Args:
        spec: "embedded" for the shipped checkpoint or "embedded:PATH" for one's own.
        device: "auto" takes a GPU when there is one.

    Raises:
        ValueError: no such kind of encoder, or a checkpoint that cannot be used.
        FileNotFoundError: the weights are not there; the message says what is missing.
    """
    kind, _, argument = spec.partition(":")
    if kind != "embedded":
        raise ValueError(f"there is no encoder {spec!r}: choose one of {', '.join(KINDS)}")
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    from govnesf_model.vlm.embedded import load_embedded

    path = Path(argument) if argument else resource_dir("weights") / "embedded/model.safetensors"
    return load_embedded(path, device)
