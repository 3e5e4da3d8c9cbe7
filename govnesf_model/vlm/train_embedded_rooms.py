"""Training images of the embedded encoder: rooms, decoded once, then cropped and disturbed.

A room is a posed folder with `label/`, `classes.json` and, for colours and materials, `instance/`,
`instances.json` and `texts.json`, as the room generator writes it. Rooms may appear while training
runs: `RoomSet.rescan` takes them in.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int, UInt8
from tqdm import tqdm

from govnesf_model.data.posed_scene import SceneError, open_scene

KINDS = ("color", "material")
STRIDE = 4


@dataclass(frozen=True)
class Room:
    """One decoded room; arrays are memory-mapped.

    Attributes:
        name: of its folder.
        rgb: [n, H, W, 3] uint8.
        label: [n, H, W] uint8, index into `classes`.
        instance: [n, H, W] uint16, 0 none.
        classes: label -> name; labels that are not in it do not count.
        attributes: instance -> {"color": word, "material": word}, each only where known.
        texts: name -> other texts for it.
    """

    name: str
    rgb: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    classes: dict[int, str]
    attributes: dict[int, dict[str, str]]
    texts: dict[str, list[str]]


class RoomSet:
    """All rooms of some folders, decoded into a cache.

    Args:
        folders: each holds rooms.
        cache: where decoded rooms are kept.
    """

    def __init__(self, folders: list[Path], cache: Path) -> None:
        self.folders = folders
        self.cache = cache
        self.rooms: list[Room] = []
        self._known: set[Path] = set()
        self.rescan()

    def rescan(self) -> int:
        """Take in rooms that were not there before; return how many."""
        found = [
            path
            for folder in self.folders
            for path in sorted(folder.iterdir() if folder.is_dir() else ())
            if path not in self._known and (path / "classes.json").is_file()
        ]
        added = 0
        for path in tqdm(found, desc="decode rooms", unit="room", disable=not found):
            self._known.add(path)
            try:
                self.rooms.append(_decoded(path, self.cache))
                added += 1
            except (SceneError, OSError, ValueError) as error:
                tqdm.write(f"room {path} is left out: {error}")
        return added

    @property
    def frames(self) -> int:
        """How many images there are."""
        return sum(len(room.rgb) for room in self.rooms)

    def frame(self, index: int) -> tuple[Room, int]:
        """Return the room and the frame in it of an image."""
        for room in self.rooms:
            if index < len(room.rgb):
                return room, index
            index -= len(room.rgb)
        raise IndexError(f"image {index} beyond the last of {len(self.rooms)} rooms")


def random_crop(
    room: Room,
    frame: int,
    width: int,
    height: int,
    rng: np.random.Generator,
    wanted: int | None = None,
) -> tuple[UInt8[np.ndarray, "h w 3"], Int[np.ndarray, "hs ws"], Int[np.ndarray, "hs ws"]]:
    """Return a disturbed crop and the label and instance at the centre of each of its cells.

    The crop shows between the whole image and a 2.4 times enlarged part, flipped half of the time.
    With a wanted label it shows some pixel of that, at a random place.
    """
    H, W = room.label.shape[1:]
    largest = min(W / width, H / height)
    scale = largest * 2.0 ** -rng.uniform(0, 1.27)  # source pixels a crop pixel
    w, h = width * scale, height * scale
    left, right, top, bottom = 0.0, max(W - w, 0), 0.0, max(H - h, 0)
    if wanted is not None:
        places = np.flatnonzero(room.label[frame].ravel() == wanted)
        row, column = divmod(int(places[rng.integers(len(places))]), W)
        left, right = np.clip([column - w + 1, column], left, right)
        top, bottom = np.clip([row - h + 1, row], top, bottom)
    x, y = rng.uniform(left, right), rng.uniform(top, bottom)
    flip = rng.random() < 0.5
    # Crop pixel i looks at source position x + scale * (i + .5) - .5.
    step = -scale if flip else scale
    start = x + w - 0.5 - 0.5 * scale if flip else x - 0.5 + 0.5 * scale
    matrix = np.array([[step, 0, start], [0, scale, y - 0.5 + 0.5 * scale]])
    interpolation = cv2.INTER_AREA if scale > 1.5 else cv2.INTER_LINEAR
    rgb = cv2.warpAffine(
        room.rgb[frame],
        matrix,
        (width, height),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    centre = STRIDE * np.arange(max(width, height) // STRIDE) + (STRIDE - 1) / 2
    columns = np.clip(np.rint(start + step * centre[: width // STRIDE]), 0, W - 1).astype(int)
    rows = np.clip(np.rint(matrix[1, 2] + scale * centre[: height // STRIDE]), 0, H - 1).astype(int)
    label = room.label[frame][np.ix_(rows, columns)].astype(np.int64)
    instance = room.instance[frame][np.ix_(rows, columns)].astype(np.int64)
    return disturb(rgb, rng), label, instance


def disturb(
    rgb: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image as another camera in other light may show it.

    Exposure, white balance, gamma, saturation, vignetting, blur, noise and JPEG. The tint stays
    small enough that the names of colours remain true.
    """
    x = rgb.astype(np.float32) / 255.0
    x = x ** rng.uniform(0.7, 1.4)
    x *= rng.uniform(0.65, 1.35) * (1 + rng.uniform(-0.1, 0.1, 3)).astype(np.float32)
    gray = x.mean(-1, keepdims=True)
    x = gray + (x - gray) * rng.uniform(0.6, 1.3)
    x = 0.5 + (x - 0.5) * rng.uniform(0.75, 1.25)
    height, width = x.shape[:2]
    if rng.random() < 0.3:
        v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        x *= 1 - rng.uniform(0, 0.35) * (u**2 + v**2)[..., None] / 2
    kind = rng.random()
    if kind < 0.2:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.5))
    elif kind < 0.3:
        x = cv2.filter2D(x, -1, _motion(int(rng.integers(3, 8)), rng.uniform(0, np.pi)))
    elif kind < 0.4:
        soft = cv2.GaussianBlur(x, (0, 0), 1.2)
        x += (x - soft) * rng.uniform(0.3, 1.5)
    if rng.random() < 0.5:
        x += rng.standard_normal(x.shape, np.float32) * rng.uniform(0.005, 0.05)
    image = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(35, 90))
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return image


def _motion(length: int, angle: float) -> np.ndarray:
    kernel = np.zeros((length, length), np.float32)
    centre = (length - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * centre
    ends = [tuple(round(v) for v in centre + sign * reach) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return kernel / kernel.sum()


def _decoded(path: Path, cache: Path) -> Room:
    key = hashlib.sha256(f"{path.resolve()} {path.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache / f"{path.name}-{key}"
    if not (folder / "room.json").is_file():
        _decode(path, folder)
    meta = json.loads((folder / "room.json").read_text())
    rgb, label, instance = (
        np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in ("rgb", "label", "instance")
    )
    return Room(
        name=path.name,
        rgb=rgb,
        label=label,
        instance=instance,
        classes={int(index): name for index, name in meta["classes"].items()},
        attributes={int(index): words for index, words in meta["attributes"].items()},
        texts=meta["texts"],
    )


def _decode(path: Path, folder: Path) -> None:
    scene = open_scene(path)
    if not scene.labelled:
        raise ValueError("it has no label images")
    frames = [scene[index] for index in scene.labelled]
    instance = [_read_instance(path / "instance" / f"{f.name}.png", f.label) for f in frames]
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    np.save(temporary / "rgb.npy", np.stack([frame.rgb for frame in frames]))
    np.save(temporary / "label.npy", np.stack([frame.label for frame in frames]))
    np.save(temporary / "instance.npy", np.stack(instance))
    uncounted = {*scene.ignore, scene.other}
    meta = {
        "classes": {i: name for i, name in scene.classes.items() if i not in uncounted},
        "attributes": _attributes(path / "instances.json"),
        "texts": _json(path / "texts.json"),
    }
    (temporary / "room.json").write_text(json.dumps(meta))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _read_instance(path: Path, label: np.ndarray) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if image is None:
        return np.zeros(label.shape, np.uint16)
    if image.shape != label.shape:
        raise ValueError(f"{path} has shape {image.shape}, the label image {label.shape}")
    return image.astype(np.uint16)


def _attributes(path: Path) -> dict[str, dict[str, str]]:
    known = {}
    for index, thing in _json(path).items():
        words = {kind: thing[kind].lower() for kind in KINDS if thing.get(kind)}
        if words:
            known[index] = words
    return known


def _json(path: Path) -> dict:
    return json.loads(path.read_text()) if path.is_file() else {}
