"""Plain data (containers of arrays and numbers) as safetensors files and one JSON value.

    tree, files = write_plain(folder, "f00d", {"points": {"xyz": array}})
    plain = read_plain(folder, tree, files)

Arrays go into files of bounded size, each with its length and digest told in `files`; everything
else goes into the JSON value. An array that occurs twice is stored once. Nothing is ever executed
or imported by reading.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

_SHARD = 64 * 2**20  # bytes of arrays in one file: what is held twice while it is written or read
_NAME = re.compile(r"[0-9a-f]{1,32}-[0-9]{5}\.safetensors")


class PlainFileError(ValueError):
    """Files that cannot be read; the message says which and why."""


def write_plain(folder: Path, prefix: str, value: Any) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Write the arrays of plain data.

    Args:
        folder: exists.
        prefix: hexadecimal digits that no other files in the folder begin with.
        value: None, bool, int, float, str, arrays, tensors, and dict, list, tuple of these.

    Returns:
        A JSON value, and for each file its "bytes" and "sha256".

    Raises:
        OSError: the disk is full or cannot be written; what was written stays behind.
        TypeError: the value is not plain.
    """
    arrays = _Arrays()
    tree = _pack(value, arrays)
    files: dict[str, dict[str, Any]] = {}
    for number, group in enumerate(_groups(arrays.tensors)):
        name = f"{prefix}-{number:05d}.safetensors"
        tensors = {str(index): arrays.tensors[index].cpu().contiguous() for index in group}
        data = safetensors.torch.save(tensors)
        write_durably(folder / name, data)
        digest = hashlib.sha256(data).hexdigest()
        files[name] = {"bytes": len(data), "sha256": digest}
    return tree, files


def read_plain(folder: Path, tree: Any, files: dict[str, dict[str, Any]]) -> Any:
    """Return what `write_plain` was given.

    Raises:
        PlainFileError: a file is missing, damaged or not one of these.
        OSError: a file cannot be read.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, stated in files.items():
        if not is_data_file(name):
            raise PlainFileError(f"{name!a} is no name of a data file")
        tensors.update(_read_file(folder / name, stated))
    try:
        return _unpack(tree, tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlainFileError(
            f"its description does not fit its data ({type(error).__name__}: {error})"
        ) from error


def is_data_file(name: str) -> bool:
    """Tell whether a file has a name that `write_plain` gives."""
    return _NAME.fullmatch(name) is not None


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def bytes_of(value: Any) -> int:
    """Return how many bytes the arrays of plain data hold, each counted once."""
    arrays = _Arrays()
    _pack(value, arrays)
    return sum(_size(tensor) for tensor in arrays.tensors)


class _Arrays:
    """Arrays in the order in which they occur, each once."""

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
        self._known: dict[tuple, int] = {}
        self._kept: list[Any] = []  # an address is only unique while its array lives

    def index(self, array: Any) -> int:
        if isinstance(array, np.ndarray):
            place = (array.ctypes.data, array.shape, array.strides, str(array.dtype))
        else:
            place = (array.data_ptr(), array.shape, array.stride(), str(array.dtype))
        number = self._known.get(place)
        if number is None:
            number = self._known[place] = len(self.tensors)
            self._kept.append(array)
            self.tensors.append(_as_tensor(array))
        return number


def _pack(value: Any, arrays: _Arrays) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"array": arrays.index(value)}
    if isinstance(value, torch.Tensor):
        return {"tensor": arrays.index(value)}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(item, arrays) for item in value]}
    if isinstance(value, dict):
        # Keys may be numbers, which JSON does not know as keys.
        return {"dict": [[key, _pack(item, arrays)] for key, item in value.items()]}
    raise TypeError(f"a {type(value).__name__} is not plain data")


def _unpack(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    ((kind, value),) = tree.items()
    readers: dict[str, Callable[[], Any]] = {
        "array": lambda: tensors[str(value)].numpy(),
        "tensor": lambda: tensors[str(value)],
        "tuple": lambda: tuple(_unpack(item, tensors) for item in value),
        "list": lambda: [_unpack(item, tensors) for item in value],
        "dict": lambda: {key: _unpack(item, tensors) for key, item in value},
    }
    return readers[kind]()


def _groups(tensors: list[torch.Tensor]) -> list[list[int]]:
    groups: list[list[int]] = [[]]
    filled = 0
    for index, tensor in enumerate(tensors):
        if groups[-1] and filled + _size(tensor) > _SHARD:
            groups.append([])
            filled = 0
        groups[-1].append(index)
        filled += _size(tensor)
    return groups


def _read_file(path: Path, stated: dict[str, Any]) -> dict[str, torch.Tensor]:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise PlainFileError(f"{path.name} is missing") from None
    if size != stated["bytes"]:
        raise PlainFileError(f"{path.name} has {size} bytes instead of {stated['bytes']}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != stated["sha256"]:
        raise PlainFileError(f"{path.name} has changed since it was written")
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise PlainFileError(f"{path.name} is no safetensors file ({error})") from error


def _as_tensor(array: np.ndarray | torch.Tensor) -> torch.Tensor:
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(array))
    return array.detach()


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
