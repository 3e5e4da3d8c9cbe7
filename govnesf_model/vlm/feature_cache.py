"""Features of texts are computed once: they are kept in memory and on disk.

    known = CachedTexts(dim=384, disk=lambda: FeatureCache("text", "model-1", 384))
    features = known.encode(["mug", "wooden table"], compute)     # [2, 384]

On disk each text has one small file, found by hash. A file holds a checksum and float32 values. It
is written under another name and renamed, so that a reader sees all of it or nothing. The cache may
be deleted at any time; a damaged file, a folder that cannot be written or a full disk cost time,
never an answer.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from govnesf_model.atomic_file import replacing

MAX_CHARACTERS = 8192  # far beyond any context; a megabyte of text must not cost seconds


class CachedTexts:
    """Features of texts by an encoder that is slow.

    Args:
        dim: length of a feature.
        disk: opens the cache on disk; asked when a text is first met that memory does not hold.
            None keeps everything off the disk.
    """

    def __init__(self, dim: int, disk: "Callable[[], FeatureCache] | None") -> None:
        self.dim = dim
        self._open_disk = disk
        self._disk: FeatureCache | None = None
        self._memory: dict[str, Tensor] = {}

    def encode(
        self, texts: Sequence[str], compute: Callable[[list[str]], Mapping[str, Tensor]]
    ) -> Float[Tensor, "t d"]:
        """Return features of texts on the CPU.

        Any string is accepted: white space is collapsed, what is not valid Unicode is replaced.

        Args:
            texts: the texts, repeats allowed.
            compute: clean texts, all different -> the feature of each, on the CPU.
        """
        clean = [clean_text(text) for text in texts]
        missing = sorted(set(clean) - self._memory.keys())
        if missing and self._open_disk is not None:
            self._disk = self._disk or self._open_disk()
            self._memory.update(self._disk.read(missing))
            missing = [text for text in missing if text not in self._memory]
        if missing:
            computed = compute(missing)
            self._memory.update(computed)
            if self._disk is not None:
                self._disk.write(computed)
        if not clean:
            return torch.zeros(0, self.dim)
        return torch.stack([self._memory[text] for text in clean])


def clean_text(text: str) -> str:
    """Return a text cut to a sane length, valid Unicode, with single spaces."""
    # Lone surrogates (bytes that were no UTF-8) would make tokenizers and the hash fail.
    text = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return " ".join(text.split())


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
        payload = feature.detach().cpu().numpy().astype("<f4").tobytes()
        with replacing(path) as temporary:
            temporary.write_bytes(zlib.crc32(payload).to_bytes(4, "little") + payload)
