"""Text features on disk, one small file a text, found by hash.

A file holds a checksum and float32 values. It is written under another name and renamed, so that a
reader sees all of it or nothing. The cache may be deleted at any time; a damaged file, a folder
that cannot be written or a full disk cost time, never an answer.
"""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def cache_dir() -> Path:
    """Return the folder of the project's caches: $GOVNESF_CACHE, else ~/.cache/govnesf."""
    return Path(os.environ.get("GOVNESF_CACHE") or Path.home() / ".cache" / "govnesf")


class FeatureCache:
    """Features of one model.

    Args:
        kind: subfolder of the cache.
        model: name that changes whenever the same text would get another feature.
        dim: length of a feature.
    """

    def __init__(self, kind: str, model: str, dim: int) -> None:
        self.root = cache_dir() / kind / model
        self.dim = dim
        self._writable = True

    def read(self, texts: Iterable[str]) -> dict[str, Float[Tensor, "d"]]:
        """Return the features that the cache holds intact."""
        found = {}
        if not self.root.is_dir():
            return found
        for text in texts:
            feature = self._read_one(self._path(text))
            if feature is not None:
                found[text] = feature
        return found

    def write(self, features: Mapping[str, Float[Tensor, "d"]]) -> None:
        """Keep features; gives up quietly, for this process, where the folder cannot be written."""
        for text, feature in features.items():
            if not self._writable:
                return
            try:
                self._write_one(self._path(text), feature)
            except OSError:
                self._writable = False

    def _path(self, text: str) -> Path:
        key = hashlib.sha256(text.encode("utf-8")).hexdigest()
        return self.root / key[:2] / f"{key[2:]}.f32"

    def _read_one(self, path: Path) -> Float[Tensor, "d"] | None:
        try:
            content = path.read_bytes()
        except OSError:
            return None
        payload = content[4:]
        if len(payload) != 4 * self.dim or zlib.crc32(payload) != int.from_bytes(
            content[:4], "little"
        ):
            return None
        return torch.from_numpy(np.frombuffer(payload, dtype="<f4").astype(np.float32))

    def _write_one(self, path: Path, feature: Float[Tensor, "d"]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        payload = feature.detach().cpu().numpy().astype("<f4").tobytes()
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(zlib.crc32(payload).to_bytes(4, "little") + payload)
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
