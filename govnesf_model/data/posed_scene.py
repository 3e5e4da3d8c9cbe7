"""Posed scenes: images with poses, read lazily and checked on the way in, whatever holds them.

    scene = open_scene("assets/demo_room")
    frame = scene[0]            # rgb, K, T_world_camera, depth, label
    for frame in scene: ...

`open_scene` knows posed folders (the project's own format, which `SceneWriter` writes), ScanNet,
Replica as rendered for Semantic-NeRF, 7-Scenes, nerfstudio's transforms.json and ROS 2 bags; the
readers are in `govnesf_model.data.readers`, the layouts and options in docs/scenes.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np


class SceneError(ValueError):
    """A scene on disk that cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Frame:
    """One posed image.

    Attributes:
        name: stem of its files.
        index: position in the scene.
        rgb: uint8 [H, W, 3], RGB.
        K: float64 [3, 3], pixel centres at integers.
        T_world_camera: float64 [4, 4], OpenCV axes, metres, world z up.
        depth: float32 [H, W] z-depth in metres, 0 invalid; None when the scene has none.
        label: uint8 [H, W] class indices; None when this frame has none.
        stamp: seconds, when the source has them.
    """

    name: str
    index: int
    rgb: np.ndarray
    K: np.ndarray
    T_world_camera: np.ndarray
    depth: np.ndarray | None = None
    label: np.ndarray | None = None
    stamp: float | None = None


@runtime_checkable
class FrameReader(Protocol):
    """Reads the images of a scene, each when it is asked for, all for one pinhole camera."""

    def rgb(self, index: int) -> np.ndarray:
        """Return uint8 [H, W, 3], RGB."""

    def depth(self, index: int) -> np.ndarray | None:
        """Return float32 [H, W] metres, 0 unknown; None when the scene has no depth."""

    def label(self, index: int) -> np.ndarray | None:
        """Return uint8 [H, W]; None when this frame has no labels."""


@dataclass(frozen=True)
class PosedScene:
    """Posed images of one place. Poses are read at once, images when a frame is asked for.

    Attributes:
        root: the folder or file.
        names: of the frames, in order; file stems where there are files.
        K: float64 [3, 3] for images of `width` x `height`, the same for all frames.
        poses: float64 [N, 4, 4] T_world_camera, world z up.
        reader: reads the images.
        has_depth: whether the frames carry depth.
        labelled: indices of the frames that have a label image.
        stamps: seconds per frame; empty when the source has none.
        classes: class index -> name; empty without labels.
        ignore: class indices that no metric counts.
        other: index of pixels that are none of the classes, or None.
        reference: indices of frames that a map may be built from.
        target: held-back indices for novel views.
        source: where the scene comes from.
        notes: sentences on what was assumed, skipped or guessed when it was opened.
    """

    root: Path
    names: tuple[str, ...]
    K: np.ndarray
    width: int
    height: int
    poses: np.ndarray
    reader: FrameReader
    has_depth: bool = False
    labelled: tuple[int, ...] = ()
    stamps: tuple[float, ...] = ()
    classes: dict[int, str] = field(default_factory=dict)
    ignore: frozenset[int] = frozenset()
    other: int | None = None
    reference: tuple[int, ...] = ()
    target: tuple[int, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.root.name

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Frame:
        """Read one frame from disk.

        Raises:
            IndexError: no such frame.
            SceneError: a file of the frame is damaged or of another size.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of scene {self.name}, which has {len(self)} frames")
        return Frame(
            name=self.names[index],
            index=index,
            rgb=self.reader.rgb(index),
            K=self.K,
            T_world_camera=self.poses[index],
            depth=self.reader.depth(index) if self.has_depth else None,
            label=self.reader.label(index),
            stamp=self.stamps[index] if self.stamps else None,
        )


def open_scene(path: str | Path, **options: object) -> PosedScene:
    """Open a scene of any known layout.

    Args:
        path: a folder or file; options may follow, as in "recording?image=/left/image_raw&every=5".
        options: the same by keyword; docs/scenes.md lists those of each layout. All layouts have
            size="320x240", every=N (keep every N-th frame), holdout=N (hold back every N-th frame
            as a target) and gravity="x,y,z" (down in the source's world) or "cameras" (estimated).

    Raises:
        SceneError: nothing there is a scene, an option is wrong, or a file is missing, damaged or
            inconsistent.
    """
    from govnesf_model.data.readers import read_scene  # readers import this module

    return read_scene(path, options)


class SceneWriter:
    """Writes a posed folder frame by frame.

    with SceneWriter(folder, K) as writer:
        writer.add(rgb, T_world_camera, depth=depth, label=label)
    """

    def __init__(self, root: str | Path, K: np.ndarray, image_suffix: str = ".jpg") -> None:
        self.root = Path(root)
        self.image_suffix = image_suffix
        self.count = 0
        for kind in ("rgb", "pose"):
            (self.root / kind).mkdir(parents=True, exist_ok=True)
        np.savetxt(self.root / "intrinsics.txt", K, fmt="%.9g")

    def __enter__(self) -> "SceneWriter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(
        self,
        rgb: np.ndarray,
        T_world_camera: np.ndarray,
        depth: np.ndarray | None = None,
        label: np.ndarray | None = None,
    ) -> str:
        """Write one frame and return its name; arguments as in `Frame`."""
        name = f"{self.count:04d}"
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if self.image_suffix == ".jpg" else []
        self._write("rgb", name + self.image_suffix, bgr, quality)
        np.savetxt(self.root / "pose" / f"{name}.txt", T_world_camera, fmt="%.9g")
        if depth is not None:
            metres = np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0)
            millimetres = np.clip(np.rint(metres * 1000.0), 0, 65535).astype(np.uint16)
            self._write("depth", name + ".png", millimetres)
        if label is not None:
            self._write("label", name + ".png", label.astype(np.uint8))
        self.count += 1
        return name

    def describe(
        self,
        classes: dict[int, str] | None = None,
        ignore: tuple[int, ...] = (255,),
        other: int | None = None,
        **scene: object,
    ) -> None:
        """Write classes.json (with classes) and scene.json (with anything else given)."""
        if classes is not None:
            named = {str(index): name for index, name in classes.items()}
            content = {"classes": named, "ignore": list(ignore), "other": other}
            (self.root / "classes.json").write_text(json.dumps(content, indent=1))
        if scene:
            (self.root / "scene.json").write_text(json.dumps(scene, indent=1))

    def _write(self, kind: str, name: str, image: np.ndarray, options: list[int] = ()) -> None:
        folder = self.root / kind
        folder.mkdir(exist_ok=True)
        if not cv2.imwrite(str(folder / name), image, list(options)):
            raise OSError(f"could not write {folder / name}: is the disk full?")
