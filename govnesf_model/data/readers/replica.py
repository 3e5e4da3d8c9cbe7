"""Replica as rendered for Semantic-NeRF: room_0/Sequence_1/{traj_w_c.txt, rgb, depth, ...}.

640x480 images with a horizontal field of view of 90 degrees, depth in millimetres, class indices of
Replica's own list, which info_semantic.json names. A pose is a line of 16 numbers, camera to world.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.assemble import Gravity, assemble
from govnesf_model.data.readers.files import (
    image_size,
    numbered,
    read_indices,
    read_json,
    read_millimetres,
    read_rgb,
    rigid,
)
from govnesf_model.data.readers.lens import Lens, Resampler

OPTIONS: dict[str, str | int | float] = {}
UNLABELLED = 0  # Semantic-NeRF's "void"
UNDEFINED = 255
SPLIT_STEP = 5  # Semantic-NeRF trains on every fifth frame and tests on those half way between


def recognise(path: Path) -> bool:
    """Tell whether a path is a sequence or a room of several."""
    return any((folder / "traj_w_c.txt").is_file() for folder in (path, path / "Sequence_1"))


def read(root: Path, options: Mapping[str, object]) -> PosedScene:
    """Open a sequence; a room stands for its Sequence_1."""
    folder = root if (root / "traj_w_c.txt").is_file() else root / "Sequence_1"
    images = numbered(folder / "rgb", r"rgb_(\d+)\.png")
    if not images:
        raise SceneError(f"{folder / 'rgb'} holds no image rgb_0.png, rgb_1.png, ...")
    numbers = list(images)
    poses = _read_trajectory(folder / "traj_w_c.txt", numbers)
    width, height = image_size(images[numbers[0]])
    # 90 degrees across: the focal length is half the width.
    K = np.array([[width / 2, 0, (width - 1) / 2], [0, width / 2, (height - 1) / 2], [0, 0, 1.0]])
    lens = Lens(K, width, height)
    target = lens.pinhole(options["size"])
    labels = numbered(folder / "semantic_class", r"semantic_class_(\d+)\.png")
    classes, notes = _classes(folder), []
    if labels and not classes:
        labels = {}
        notes.append(
            "semantic_class/ is there but no info_semantic.json that names its classes (looked "
            "beside the sequence and in semantic_info/): labels are left out"
        )
    used = [number for number in numbers if number in labels]
    half = SPLIT_STEP // 2
    return assemble(
        root,
        [f"{number:04d}" for number in numbers],
        target,
        poses,
        _Files(folder, numbers, lens, target, labels, set(classes)),
        options,
        # Replica's rooms stand on an axis of their world; which one depends on who rendered.
        Gravity(None, snap_degrees=20.0),
        reference=[i for i, number in enumerate(numbers) if number % SPLIT_STEP == 0],
        target=[i for i, number in enumerate(numbers) if number % SPLIT_STEP == half],
        has_depth=(folder / "depth").is_dir(),
        labelled=[numbers.index(number) for number in used],
        classes=classes,
        ignore=frozenset({UNLABELLED, UNDEFINED}),
        source="Replica, rendered for Semantic-NeRF",
        notes=notes,
    )


class _Files:
    def __init__(
        self,
        folder: Path,
        numbers: list[int],
        lens: Lens,
        target: Lens,
        labels: dict[int, Path],
        classes: set[int],
    ) -> None:
        self.folder, self.numbers, self.lens, self.labels = folder, numbers, lens, labels
        self.views = Resampler(target)
        known = sorted(classes | {UNLABELLED})
        self.names = np.full(65536, UNDEFINED, np.uint8)
        self.names[known] = known

    def rgb(self, index: int) -> np.ndarray:
        path = self.folder / "rgb" / f"rgb_{self.numbers[index]}.png"
        return self.views.color(read_rgb(path, self.lens.size), self.lens)

    def depth(self, index: int) -> np.ndarray:
        path = self.folder / "depth" / f"depth_{self.numbers[index]}.png"
        return self.views.nearest(read_millimetres(path, self.lens.size), self.lens)

    def label(self, index: int) -> np.ndarray | None:
        path = self.labels.get(self.numbers[index])
        if path is None:
            return None
        indices = read_indices(path, self.lens.size, wide=True)
        return self.views.nearest(self.names[indices], self.lens)


def _read_trajectory(path: Path, numbers: list[int]) -> np.ndarray:
    try:
        lines = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SceneError(f"{path} is not a table of numbers: {error}") from error
    if lines.shape[1] != 16:
        raise SceneError(f"{path} has {lines.shape[1]} numbers in a line, a 4x4 pose has 16")
    if numbers[-1] >= len(lines):
        raise SceneError(f"{path} has {len(lines)} poses, but there is an image rgb_{numbers[-1]}")
    return np.stack(
        [rigid(lines[number].reshape(4, 4), f"{path}, line {number + 1},") for number in numbers]
    )


def _classes(folder: Path) -> dict[int, str]:
    """Return index -> name from the info_semantic.json of the room."""
    room = folder.parent
    places = (
        folder,
        room,
        room / "habitat",
        room.parent / "semantic_info" / room.name,
        folder / "semantic_info",
    )
    for place in places:
        path = place / "info_semantic.json"
        listed = read_json(path).get("classes")
        if listed is None:
            continue
        try:
            named = {int(entry["id"]): str(entry["name"]) for entry in listed}
        except (KeyError, TypeError, ValueError) as error:
            raise SceneError(
                f"{path} lists classes that are not {{id, name}} objects: {error}"
            ) from error
        return {
            index: name.replace("-", " ").replace("_", " ")
            for index, name in sorted(named.items())
            if UNLABELLED < index < UNDEFINED and name != "undefined"
        }
    return {}
