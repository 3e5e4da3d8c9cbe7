"""Posed folders: the project's own format (docs/scenes.md), which `SceneWriter` writes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.assemble import Gravity, assemble
from govnesf_model.data.readers.files import (
    IMAGE_SUFFIXES,
    image_size,
    read_indices,
    read_intrinsics,
    read_json,
    read_matrix,
    read_millimetres,
    read_rgb,
    rigid,
)
from govnesf_model.data.readers.gravity import UNIT_DOWN
from govnesf_model.data.readers.lens import Lens, Resampler

OPTIONS: dict[str, str | int | float] = {}


def recognise(path: Path) -> bool:
    """Tell whether a path is a posed folder."""
    return (path / "rgb").is_dir() and not (path / "traj_w_c.txt").exists()


def read(root: Path, options: Mapping[str, object]) -> PosedScene:
    """Open a posed folder."""
    names = _frame_names(root)
    meta = read_json(root / "scene.json")
    poses = np.stack([_read_pose(root / "pose" / f"{name}.txt") for name in names])
    K = read_intrinsics(root / "intrinsics.txt")
    lens = Lens(K, *image_size(_image_path(root / "rgb", names[0])))
    classes = read_json(root / "classes.json")
    target = lens.pinhole(options["size"])
    return assemble(
        root,
        names,
        target,
        poses,
        _Files(root, names, lens, target),
        options,
        Gravity(meta.get("gravity", UNIT_DOWN), where=root / "scene.json"),
        has_depth=(root / "depth").is_dir(),
        labelled=[i for i, name in enumerate(names) if (root / "label" / f"{name}.png").exists()],
        classes={int(index): str(name) for index, name in classes.get("classes", {}).items()},
        ignore=frozenset(classes.get("ignore", [])),
        other=classes.get("other"),
        reference=_indices(meta, "reference", len(names), root) or range(len(names)),
        target=_indices(meta, "target", len(names), root),
        source=str(meta.get("source", "")),
    )


class _Files:
    def __init__(self, root: Path, names: tuple[str, ...], lens: Lens, target: Lens) -> None:
        self.root, self.names, self.lens = root, names, lens
        self.views = Resampler(target)

    def rgb(self, index: int) -> np.ndarray:
        path = _image_path(self.root / "rgb", self.names[index])
        return self.views.color(read_rgb(path, self.lens.size), self.lens)

    def depth(self, index: int) -> np.ndarray:
        path = self.root / "depth" / f"{self.names[index]}.png"
        return self.views.nearest(read_millimetres(path, self.lens.size), self.lens)

    def label(self, index: int) -> np.ndarray | None:
        path = self.root / "label" / f"{self.names[index]}.png"
        if not path.exists():
            return None
        return self.views.nearest(read_indices(path, self.lens.size), self.lens)


def _frame_names(root: Path) -> tuple[str, ...]:
    folder = root / "rgb"
    names = sorted(path.stem for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not names:
        raise SceneError(f"{folder} holds no .jpg or .png image")
    if len(set(names)) != len(names):
        raise SceneError(f"{folder} holds two images of one name with different endings")
    return tuple(names)


def _image_path(folder: Path, name: str) -> Path:
    for suffix in IMAGE_SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.exists():
            return path
    return folder / f"{name}.jpg"


def _read_pose(path: Path) -> np.ndarray:
    return rigid(read_matrix(path, (4, 4)), path)


def _indices(meta: dict, key: str, count: int, root: Path) -> tuple[int, ...]:
    indices = tuple(int(index) for index in meta.get(key, []))
    outside = [index for index in indices if not 0 <= index < count]
    if outside:
        raise SceneError(
            f"{root / 'scene.json'} lists {key} frames {outside}, the scene has {count}"
        )
    return indices
