"""Read a Lightning checkpoint without running anything that it brings.

    state = read_state_dict("demo_e200.ckpt")             # name -> tensor, mapped from the file

A checkpoint is a pickle, and a free unpickler runs what a pickle asks for. torch's restricted one
builds tensors and plain containers alone, and refuses the classes that Lightning leaves there
(its entry `callbacks` is keyed by class). For those names an empty class stands in, which is never
looked at: nothing is imported and nothing is called. Any other name is refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

# Packages whose classes may be named, with or without being installed.
HARMLESS_PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities")
HARMLESS_NAMES = (
    "argparse.Namespace",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
)


class PickleRefused(ValueError):
    """A checkpoint that is damaged, or that names what we will not touch."""


def read_state_dict(path: str | Path, inert: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return the tensors under "state_dict". They live in the file: do not change it meanwhile.

    Args:
        path: a file written by torch.save (1.6 or later).
        inert: further full names of classes ("package.module.Class") for which an empty class may
            stand in; as nothing of theirs is run, this is safe for any name.

    Raises:
        PickleRefused: not such a file, a damaged one, or one that names other classes or functions.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise PickleRefused(
            f"{path} is no checkpoint as torch.save writes it, or a damaged one: {error}"
        ) from error
    refused = sorted(name for name in names if not _harmless(name) and name not in inert)
    if refused:
        raise PickleRefused(
            f"{path} names {', '.join(refused)}, which no checkpoint of LSeg needs; the file could "
            "run code when opened and was not read. Get it again from its authors"
        )
    stand_ins = [(_stand_in(name), name) for name in names]
    try:
        with torch.serialization.safe_globals(stand_ins):
            checkpoint = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise PickleRefused(f"{path} cannot be read without running its code: {error}") from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        found = (
            ", ".join(map(str, list(checkpoint)[:8])) if isinstance(checkpoint, dict) else "none"
        )
        raise PickleRefused(
            f"{path} has no entry 'state_dict' of tensors (its entries: {found}): it is no "
            "checkpoint of Lightning"
        )
    return dict(state)


def _harmless(name: str) -> bool:
    return name in HARMLESS_NAMES or name.split(".")[0] in HARMLESS_PACKAGES


def _stand_in(name: str) -> type:
    """Return a class that takes anything and does nothing."""
    last = name.rpartition(".")[2]
    if last == "AttributeDict":  # a dict with attributes: the unpickler wants to put items into it
        return OrderedDict
    return type(
        last,
        (),
        {
            "__new__": lambda cls, *args, **kwargs: object.__new__(cls),
            "__init__": lambda self, *args, **kwargs: None,
            "__setstate__": lambda self, state: None,
        },
    )
