"""ScanNet as its own exporter unpacks a .sens file: color/, depth/, pose/, intrinsic/, label-filt/.

Images come at one resolution, 320x240 unless `size` says otherwise; depth (640x480, intrinsics of
its own) is looked up for the colour camera's pixels. Frames that tracking lost, whose pose is
-inf, are skipped and counted. Labels become the 20 classes of the benchmark by their NYU40
numbers; everything else is ignored (255).
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.assemble import Gravity, assemble
from govnesf_model.data.readers.files import (
    image_size,
    numbered,
    read_indices,
    read_intrinsics,
    read_matrix,
    read_millimetres,
    read_rgb,
    rigid,
)
from govnesf_model.data.readers.lens import Lens, Resampler

OPTIONS: dict[str, str | int | float] = {"labels": ""}
SIZE = (320, 240)
IGNORED = 255
MAX_NYU40 = 40
TSV = "scannetv2-labels.combined.tsv"
# NYU40 number -> name, as the ScanNet benchmark counts them.
CLASSES = {
    1: "wall",
    2: "floor",
    3: "cabinet",
    4: "bed",
    5: "chair",
    6: "sofa",
    7: "table",
    8: "door",
    9: "window",
    10: "bookshelf",
    11: "picture",
    12: "counter",
    14: "desk",
    16: "curtain",
    24: "refrigerator",
    28: "shower curtain",
    33: "toilet",
    34: "sink",
    36: "bathtub",
    39: "otherfurniture",
}


def recognise(path: Path) -> bool:
    """Tell whether a path is an exported scan, or one that is still a .sens file."""
    exported = (path / "color").is_dir() and (path / "pose").is_dir()
    return exported or (path.is_dir() and any(path.glob("*.sens")))


def read(root: Path, options: Mapping[str, object]) -> PosedScene:
    """Open an exported scan; the option `labels` names the .tsv file of the labels."""
    if not (root / "color").is_dir():
        raise SceneError(
            f"{root} holds a .sens file that is not unpacked: export colour, depth, poses and "
            "intrinsics with ScanNet's SensReader into color/, depth/, pose/ and intrinsic/"
        )
    images = numbered(root / "color", r"(\d+)\.(?:jpg|png)")
    if not images:
        raise SceneError(f"{root / 'color'} holds no image 0.jpg, 1.jpg, ...")
    pose_files = numbered(root / "pose", r"(\d+)\.txt")
    poses = {
        number: _read_pose(pose_files.get(number, root / "pose" / f"{number}.txt"))
        for number in images
    }
    numbers = [number for number, pose in poses.items() if pose is not None]
    if not numbers:
        raise SceneError(f"{root / 'pose'} has no valid pose: tracking lost every frame")
    notes = []
    lost = len(images) - len(numbers)
    if lost:
        notes.append(f"{lost} of {len(images)} frames have no pose (tracking was lost): skipped")

    color = Lens(
        read_intrinsics(root / "intrinsic" / "intrinsic_color.txt"), *image_size(images[numbers[0]])
    )
    depth_files = numbered(root / "depth", r"(\d+)\.png")
    depth = None
    if depth_files:
        K = read_intrinsics(root / "intrinsic" / "intrinsic_depth.txt")
        depth = Lens(K, *image_size(next(iter(depth_files.values()))))
    for name in ("color", "depth"):
        path = root / "intrinsic" / f"extrinsic_{name}.txt"
        if path.exists() and np.abs(read_matrix(path, (4, 4)) - np.eye(4)).max() > 1e-3:
            notes.append(f"{path.name} is ignored: colour and depth are taken to share one centre")
    target = color.pinhole(options["size"] or SIZE)
    labels = numbered(root / "label-filt", r"(\d+)\.png")
    table = _Labels.find(root, str(options["labels"])) if labels else None
    if table is not None and not table.raw and _holds_raw_ids(list(labels.values())):
        labels, table = {}, None
        notes.append(
            f"labels are left out: label-filt/ holds ScanNet's raw ids, which need {TSV} in the "
            "scan's folder or above (or the option labels=FILE)"
        )
    if table is not None:
        notes.append(table.note)
    return assemble(
        root,
        [str(number) for number in numbers],
        target,
        np.stack([poses[number] for number in numbers]),
        _Files(images, depth_files, labels, numbers, color, depth, target, table),
        options,
        Gravity(),  # scans are gravity-aligned, z up
        has_depth=depth is not None,
        labelled=[i for i, number in enumerate(numbers) if number in labels],
        classes=dict(CLASSES) if labels else {},
        ignore=frozenset({IGNORED}),
        source="ScanNet",
        notes=notes,
    )


class _Files:
    def __init__(
        self,
        images: dict[int, Path],
        depths: dict[int, Path],
        labels: dict[int, Path],
        numbers: list[int],
        color: Lens,
        depth: Lens | None,
        target: Lens,
        table: "_Labels | None",
    ) -> None:
        self.images, self.depths, self.labels, self.numbers = images, depths, labels, numbers
        self.color, self.depth_lens, self.table = color, depth, table
        self.views = Resampler(target)

    def rgb(self, index: int) -> np.ndarray:
        path = self.images[self.numbers[index]]
        return self.views.color(read_rgb(path, self.color.size), self.color)

    def depth(self, index: int) -> np.ndarray | None:
        if self.depth_lens is None:
            return None
        path = self.depths.get(self.numbers[index])
        if path is None:
            raise SceneError(f"depth/{self.numbers[index]}.png of a scan with depth is missing")
        metres = read_millimetres(path, self.depth_lens.size)
        return self.views.nearest(metres, self.depth_lens)

    def label(self, index: int) -> np.ndarray | None:
        path = self.labels.get(self.numbers[index])
        if path is None or self.table is None:
            return None
        indices = read_indices(path, None, wide=True)
        # Label images have the size of the colour images, or are scaled versions of them.
        lens = self.color.scaled(indices.shape[1::-1])
        return self.views.nearest(self.table.benchmark(indices, path), lens)


class _Labels:
    """Raw numbers of label images to the benchmark's classes."""

    def __init__(self, nyu40: dict[int, int] | None, note: str) -> None:
        self.note = note
        self.raw = nyu40 is not None
        nyu40 = nyu40 if nyu40 is not None else {number: number for number in range(MAX_NYU40 + 1)}
        self.table = np.full(65536, IGNORED, np.uint8)
        for number, nyu in nyu40.items():
            if 0 <= number < len(self.table) and nyu in CLASSES:
                self.table[number] = nyu

    @classmethod
    def find(cls, root: Path, named: str) -> "_Labels":
        """Read the tsv that was named or lies in the scan's folder or up to three above."""
        if named and not Path(named).is_file():
            raise SceneError(f"option labels={named!r}: there is no such file")
        folders = (root, *list(root.resolve().parents)[:3])
        found = [Path(named)] if named else [folder / TSV for folder in folders]
        path = next((path for path in found if path.is_file()), None)
        if path is None:
            return cls(None, f"no {TSV} was found: label-filt/ is read as NYU40 numbers")
        note = f"label-filt/: 16-bit images through {path.name}, 8-bit images as NYU40 numbers"
        return cls(_read_tsv(path), note)

    def benchmark(self, indices: np.ndarray, path: Path) -> np.ndarray:
        """Return the benchmark's classes of a label image, uint8."""
        if indices.dtype == np.uint16 and self.raw:
            return self.table[indices]
        if indices.max(initial=0) > MAX_NYU40:
            raise SceneError(
                f"{path} holds the label {indices.max()}, which is no NYU40 number: labels as "
                f"ScanNet publishes them are 16-bit and need {TSV}"
            )
        known = np.full(MAX_NYU40 + 1, IGNORED, np.uint8)
        known[list(CLASSES)] = list(CLASSES)
        return known[indices]


def _holds_raw_ids(paths: list[Path]) -> bool:
    """Tell whether some of the label images hold numbers that NYU40 has not."""
    some = paths[:: max(1, len(paths) // 8)]
    return any(read_indices(path, None, wide=True).max(initial=0) > MAX_NYU40 for path in some)


def _read_tsv(path: Path) -> dict[int, int]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows or not {"id", "nyu40id"} <= set(rows[0]):
        raise SceneError(f"{path} has no columns id and nyu40id")
    return {int(row["id"]): int(row["nyu40id"]) for row in rows if row["id"] and row["nyu40id"]}


def _read_pose(path: Path) -> np.ndarray | None:
    """Return a pose; None for a frame that tracking lost, whose numbers are all -inf."""
    pose = read_matrix(path, (4, 4), finite=False)
    if np.isinf(pose).any():
        return None
    return rigid(pose, path)
