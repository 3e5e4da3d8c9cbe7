"""Weights of LSeg: the published checkpoint, taken strictly, and our own file made from it.

    weights = read_weights("demo_e200.ckpt")              # or a .safetensors that `convert` wrote
    convert("demo_e200.ckpt", "lseg.safetensors")

The published checkpoint holds 730 entries. All must be there in the right shape and no other may
be, but 169 of them are never used (CLIP's image tower, the ViT's classifier, ...) and `convert`
leaves them out.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from govnesf_model.vlm.base import tensors_digest
from govnesf_model.vlm.lseg_network import LSegConfig, LSegNetwork
from govnesf_model.vlm.lseg_pickle import PickleRefused, read_state_dict
from govnesf_model.vlm.lseg_text import LSegText
from govnesf_model.weights_file import WeightsFormat

IMAGE = "net."
TEXT = "net.clip_pretrained."
SHOWN = 5  # names that a message lists of each kind of fault
HOW_TO_GET = (
    "get demo_e200.ckpt from the link in the README of github.com/isl-org/lang-seg, put it "
    "anywhere, run `govnesf vlm convert lseg demo_e200.ckpt lseg.safetensors` once, and give the "
    "path: lseg:lseg.safetensors"
)

Shapes = dict[str, tuple[int, ...]]
Progress = Callable[[int], object]  # called with bytes done


class LSegCheckpointError(ValueError):
    """A file that does not hold LSeg's weights, or a damaged one."""


FORMAT = WeightsFormat(
    "govnesf-lseg", 1, "made by `govnesf vlm convert lseg`", HOW_TO_GET, LSegCheckpointError
)


@dataclass(frozen=True)
class LSegWeights:
    """What an encoder needs.

    Attributes:
        config: sizes of the networks.
        tensors: name -> value as in the file, the used ones alone.
        digest: sha256 over names, shapes and values in single precision, in hexadecimal; the same
            for a checkpoint and what was made from it without rounding.
    """

    config: LSegConfig
    tensors: Mapping[str, Tensor]
    digest: str

    def build(self, device: torch.device | str) -> tuple[LSegNetwork, LSegText]:
        """Return both networks in single precision, in eval mode."""
        with torch.device("meta"):
            network = LSegNetwork(self.config)
        network.to_empty(device=device)
        text = LSegText(self.config)  # holds a mask that is no weight, so it is not born on "meta"
        text.to(device)
        for module, prefix in ((network, IMAGE), (text, TEXT)):
            for name, value in module.state_dict().items():
                value.copy_(self.tensors[prefix + name])
            module.eval().requires_grad_(False)
        return network, text


def used_layout(config: LSegConfig) -> Shapes:
    """Return name -> shape of the entries that features depend on."""
    with torch.device("meta"):
        modules = ((LSegNetwork(config), IMAGE), (LSegText(config), TEXT))
    return {
        prefix + name: tuple(value.shape)
        for module, prefix in modules
        for name, value in module.state_dict().items()
    }


def unused_layout(config: LSegConfig) -> Shapes:
    """Return name -> shape of the entries that are in the published checkpoint for nothing."""
    used = used_layout(config)
    shapes: Shapes = {
        f"{IMAGE}pretrained.model.norm.weight": (config.width,),
        f"{IMAGE}pretrained.model.norm.bias": (config.width,),
        f"{IMAGE}pretrained.model.head.weight": (1000, config.width),
        f"{IMAGE}pretrained.model.head.bias": (1000,),
        f"{TEXT}logit_scale": (),
    }
    # The coarsest level has nothing to be added to, and its first unit is never run.
    unit = f"{IMAGE}scratch.refinenet4.resConfUnit"
    shapes |= {
        f"{unit}1.{name.removeprefix(f'{unit}2.')}": shape
        for name, shape in used.items()
        if name.startswith(f"{unit}2.")
    }
    visual, width = f"{TEXT}visual.", config.visual_width
    shapes |= {
        f"{visual}class_embedding": (width,),
        f"{visual}positional_embedding": (50, width),
        f"{visual}conv1.weight": (width, 3, 32, 32),
        f"{visual}proj": (width, config.dim),
    }
    for norm in ("ln_pre", "ln_post"):
        shapes |= {f"{visual}{norm}.weight": (width,), f"{visual}{norm}.bias": (width,)}
    block = {
        "attn.in_proj": (3 * width, width),
        "attn.out_proj": (width, width),
        "mlp.c_fc": (4 * width, width),
        "mlp.c_proj": (width, 4 * width),
        "ln_1": (width,),
        "ln_2": (width,),
    }
    for index in range(config.visual_depth):
        for name, shape in block.items():
            joint = "_" if name == "attn.in_proj" else "."
            full = f"{visual}transformer.resblocks.{index}.{name}{joint}"
            shapes |= {f"{full}weight": shape, f"{full}bias": shape[:1]}
    return shapes


def check_layout(found: Mapping[str, tuple[int, ...]], expected: Shapes, source: str) -> None:
    """Compare names and shapes.

    Raises:
        LSegCheckpointError: any difference; the message counts and lists the first.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    wrong = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    faults = [
        f"{len(names)} {kind} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("wrong", wrong))
        if names
    ]
    if faults:
        raise LSegCheckpointError(
            f"{source} does not hold the {len(expected)} entries of LSeg ViT-L/16: "
            f"{'; '.join(faults)}. To get the right file: {HOW_TO_GET}"
        )


def read_weights(
    path: str | Path,
    config: LSegConfig | None = None,
    inert: Sequence[str] = (),
    progress: Progress | None = None,
) -> LSegWeights:
    """Read weights from the published checkpoint or from a file that `convert` wrote.

    Args:
        path: the file; a name that ends in .safetensors is read as the latter.
        config: sizes that the published layout is taken in; LSeg ViT-L/16 by default.
        inert: see lseg_pickle.py.
        progress: called with the bytes read since the last call.

    Raises:
        FileNotFoundError: no such file; the message says where to get it.
        LSegCheckpointError: any other file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no LSeg weights at {path}: {HOW_TO_GET}")
    if path.suffix == ".safetensors":
        config, tensors, stated = _read_converted(path)
    else:
        config, stated = config or LSegConfig(), None
        tensors = _read_published(path, config, inert)
    digest = _digest(tensors, str(path), progress)
    if stated is not None and digest != stated:
        raise LSegCheckpointError(
            f"{path} is damaged: its weights are not those that were written (sha256 {digest[:12]} "
            f"instead of {stated[:12]}): convert the checkpoint again"
        )
    return LSegWeights(config, tensors, digest)


def convert(
    source: str | Path,
    target: str | Path,
    half: bool = False,
    config: LSegConfig | None = None,
    inert: Sequence[str] = (),
    progress: Progress | None = None,
) -> LSegWeights:
    """Write the used entries of the published checkpoint as safetensors; return what was written.

    Args:
        source: the checkpoint.
        target: the file to write; it appears when it is complete.
        half: round everything but vectors to half precision. Otherwise every entry keeps the
            precision that it has in the checkpoint, and nothing is rounded.
        config: see `read_weights`.
        inert: see lseg_pickle.py.
        progress: called with the bytes read since the last call.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        LSegCheckpointError: any other file, or weights that half precision cannot hold.
        ValueError: a target that does not end in .safetensors.
    """
    target = Path(target)
    if target.suffix != ".safetensors":
        raise ValueError(f"the file to write must end in .safetensors, not {target.name!r}")
    weights = read_weights(source, config, inert, progress)
    if half:
        tensors = {
            name: value.half() if value.dim() > 1 else value
            for name, value in weights.tensors.items()
        }
        weights = LSegWeights(weights.config, tensors, _digest(tensors, str(source)))
    write_converted(target, weights)
    return weights


def write_converted(target: Path, weights: LSegWeights) -> None:
    """Write weights as our own file, under another name first."""
    metadata = {
        "config": json.dumps(asdict(weights.config)),
        "weights": weights.digest,
    }
    FORMAT.write(target, weights.tensors, metadata)


def _read_published(path: Path, config: LSegConfig, inert: Sequence[str]) -> dict[str, Tensor]:
    try:
        state = read_state_dict(path, inert)
    except PickleRefused as error:
        raise LSegCheckpointError(f"{error}. To get the right file: {HOW_TO_GET}") from error
    used = used_layout(config)
    check_layout(_shapes(state), used | unused_layout(config), str(path))
    return {name: state[name] for name in used}


def _read_converted(path: Path) -> tuple[LSegConfig, dict[str, Tensor], str]:
    metadata, tensors = FORMAT.read(path)
    try:
        sizes = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(metadata["config"]).items()
        }
        config, stated = LSegConfig(**sizes), metadata["weights"]
    except (KeyError, TypeError, ValueError) as error:
        raise LSegCheckpointError(f"{path} does not describe its network: {error}") from error
    check_layout(_shapes(tensors), used_layout(config), str(path))
    return config, tensors, stated


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _digest(tensors: Mapping[str, Tensor], source: str, progress: Progress | None = None) -> str:
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise LSegCheckpointError(
                f"{name} in {source} holds values that are not finite: the file is damaged, or "
                "half precision cannot hold it"
            )
    return tensors_digest(tensors, progress)


def file_sha256(path: str | Path, progress: Progress | None = None) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for chunk in _chunks(file.read):
            digest.update(chunk)
            if progress is not None:
                progress(len(chunk))
    return digest.hexdigest()


def _chunks(read: Callable[[int], bytes]) -> Iterable[bytes]:
    while chunk := read(1 << 22):
        yield chunk
