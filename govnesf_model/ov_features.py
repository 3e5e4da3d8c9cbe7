"""Open-vocabulary maps of scenes, computed once by a frozen vision-language model and kept on disk.

    cache = OvCache("embedded", size=(320, 240))
    report = cache.fill(open_scene(folder))          # only what is missing
    maps = cache.features(scene, 3)                  # [hs, ws, d], float16

A file holds one frame: a .npy of float16, channel-last, and four bytes of checksum behind it. Its
name carries a digest of the very pixels that were encoded, its folder the encoder's key, which
changes with weights and preprocessing: a stale file is never found. Files are written under another
name and renamed; damaged ones are computed again. The folder may be deleted at any time.
"""

import hashlib
import io
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from .atomic_file import replacing
from .data.posed_scene import PosedScene
from .vlm import DenseEncoder, load_vlm
from .vlm.feature_cache import cache_dir


@dataclass(frozen=True)
class FillReport:
    """What filling the cache for one scene took.

    Attributes:
        scene: its name.
        computed: frames that the model encoded.
        reused: frames that were there, intact.
        mebibytes: size of the scene's files.
        seconds: wall clock.
    """

    scene: str
    computed: int
    reused: int
    mebibytes: float
    seconds: float


class OvCache:
    """Maps of one encoder at one image size."""

    def __init__(
        self, vlm: str | DenseEncoder, size: tuple[int, int], device: torch.device | str = "auto"
    ) -> None:
        """Load the encoder, whose key names the cache.

        Args:
            vlm: an encoder, or a spec as `load_vlm` takes it.
            size: (width, height) that images are brought to before they are encoded.
            device: where an encoder that is given by its spec computes.

        Raises:
            ValueError, FileNotFoundError: as `load_vlm`.
        """
        self.size = size
        self._spec = vlm if isinstance(vlm, str) else None
        self._device = device
        self._vlm = None if isinstance(vlm, str) else vlm
        encoder = self._encoder()
        self.key, self.dim, self.stride = encoder.key, encoder.dim, encoder.stride
        self._files: dict[tuple[Path, int], Path] = {}

    @property
    def root(self) -> Path:
        """The folder that holds this encoder's files."""
        return cache_dir() / "ov" / _file_name(self.key) / f"{self.size[0]}x{self.size[1]}"

    def features(self, scene: PosedScene, frame: int) -> Float[Tensor, "hs ws d"]:
        """Return the map of a frame, from disk when it is there intact."""
        path = self._files.get((scene.root, frame))
        image = None
        if path is None:
            image = self._image(scene, frame)
            path = self._path(scene, frame, image)
            self._files[(scene.root, frame)] = path
        maps = self._read(self.root / path)
        if maps is None:
            maps = self._encode(self._image(scene, frame) if image is None else image)
            _write(self.root / path, maps)
        return torch.from_numpy(maps)

    def fill(
        self, scene: PosedScene, frames: Sequence[int] | None = None, progress: bool = False
    ) -> FillReport:
        """Compute and keep what is missing of a scene; all frames by default."""
        started = time.perf_counter()
        chosen = range(len(scene)) if frames is None else frames
        computed, size = 0, 0
        bar = tqdm(chosen, desc=scene.name, disable=not progress, dynamic_ncols=True, leave=False)
        for frame in bar:
            image = self._image(scene, frame)
            path = self._path(scene, frame, image)
            self._files[(scene.root, frame)] = path
            file = self.root / path
            if self._read(file) is None:
                _write(file, self._encode(image))
                computed += 1
            size += file.stat().st_size
        seconds = time.perf_counter() - started
        return FillReport(scene.name, computed, len(chosen) - computed, size / 2**20, seconds)

    def release(self) -> None:
        """Let the encoder's memory go; a frame that turns out to be missing loads it again."""
        if self._spec is not None:
            self._vlm = None

    def _encoder(self) -> DenseEncoder:
        if self._vlm is None:
            # A process that was forked from one with a GPU cannot use that GPU.
            forked = torch.utils.data.get_worker_info() is not None
            self._vlm = load_vlm(self._spec, "cpu" if forked else self._device)
        return self._vlm

    @torch.no_grad()
    def _encode(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "hs ws d"]:
        rgb = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).float() / 255
        maps = self._encoder().encode_images(rgb)[0]
        return np.ascontiguousarray(maps.permute(1, 2, 0).half().cpu().numpy())

    def _image(self, scene: PosedScene, frame: int) -> UInt8[np.ndarray, "H W 3"]:
        return cv2.resize(scene[frame].rgb, self.size, interpolation=cv2.INTER_AREA)

    def _path(self, scene: PosedScene, frame: int, image: UInt8[np.ndarray, "H W 3"]) -> Path:
        digest = hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()
        return Path(_file_name(scene.name)) / f"{_file_name(scene.names[frame])}-{digest}.npy"

    def _read(self, path: Path) -> Float[np.ndarray, "hs ws d"] | None:
        """Return a file's map, or None when it is missing, cut short or altered."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        payload = content[:-4]
        if zlib.crc32(payload) != int.from_bytes(content[-4:], "little"):
            return None
        try:
            maps = np.load(io.BytesIO(payload), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return None
        right = maps.dtype == np.float16 and maps.ndim == 3 and maps.shape[2] == self.dim
        return maps if right else None


def _write(path: Path, maps: Float[np.ndarray, "hs ws d"]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, maps, allow_pickle=False)
    payload = buffer.getvalue()
    with replacing(path) as temporary:
        temporary.write_bytes(payload + zlib.crc32(payload).to_bytes(4, "little"))


def _file_name(text: str) -> str:
    """Return a text as the name of a file, still telling different texts apart."""
    plain = re.sub(r"[^\w.+-]+", "_", text)
    if plain == text:
        return text
    return f"{plain[:80]}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
