"""7-Scenes: frame-000000.{color.png, depth.png, pose.txt} in sequences, split by two lists.

The poses are those of the depth camera. The data set comes without a calibration: its authors used
a focal length of 585 pixels and the centre of the image for depth; colour is taken at 525, the
maker's number for this sensor, 25 mm to the right of it. The options `color_focal`,
`depth_focal` and `baseline` change that. Depth is delivered as the colour camera sees it.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.assemble import Gravity, assemble
from govnesf_model.data.readers.files import (
    image_size,
    numbered,
    read_matrix,
    read_millimetres,
    read_rgb,
    rigid,
)
from govnesf_model.data.readers.lens import Lens, Resampler, scaled_intrinsics

OPTIONS: dict[str, str | int | float] = {
    "color_focal": 525.0,
    "depth_focal": 585.0,
    "baseline": 0.025,
}
INVALID = 65.535  # metres: 65535 in the files
_COLOR = r"frame-(\d+)\.color\.png"


def recognise(path: Path) -> bool:
    """Tell whether a path is a sequence or a scene of sequences."""
    if not path.is_dir():
        return False
    return any(any(path.glob(f"{place}frame-*.pose.txt")) for place in ("", "seq-*/"))


def read(root: Path, options: Mapping[str, object]) -> PosedScene:
    """Open one sequence, or a scene whose training sequences are references, the others targets."""
    sequences, held, notes = _sequences(root)
    stems, reference, target = [], [], []
    for sequence in sequences:
        for path in numbered(sequence, _COLOR).values():
            (target if sequence.name in held else reference).append(len(stems))
            stems.append(path.with_name(path.name.removesuffix(".color.png")))
    if not stems:
        raise SceneError(f"{root} holds no image frame-000000.color.png, ...")
    pose_files = [stem.with_name(f"{stem.name}.pose.txt") for stem in stems]
    T_world_depth = np.stack([rigid(read_matrix(path, (4, 4)), path) for path in pose_files])
    T_depth_color = np.eye(4)
    T_depth_color[0, 3] = options["baseline"]
    width, height = image_size(_file(stems[0], "color.png"))
    color = _kinect(options["color_focal"], width, height)
    depth = _kinect(options["depth_focal"], width, height)
    pinhole = color.pinhole(options["size"])
    notes.append(
        f"7-Scenes has no calibration: focal lengths {options['color_focal']:g} (colour) and "
        f"{options['depth_focal']:g} (depth) and a baseline of {options['baseline']:g} m are "
        "assumed"
    )
    several = len(sequences) > 1 or sequences[0] != root
    return assemble(
        root,
        [f"{stem.parent.name}-{stem.name}" if several else stem.name for stem in stems],
        pinhole,
        T_world_depth @ T_depth_color,
        _Files(stems, color, depth, pinhole, np.linalg.inv(T_depth_color)),
        options,
        Gravity(None),  # the world is that of a sequence's first camera
        reference=reference,
        target=target,
        has_depth=_file(stems[0], "depth.png").exists(),
        source="7-Scenes, research use only",
        notes=notes,
    )


class _Files:
    def __init__(
        self, stems: list[Path], color: Lens, depth: Lens, target: Lens, T_color_depth: np.ndarray
    ) -> None:
        self.stems, self.color, self.depth_lens = stems, color, depth
        self.T_color_depth, self.views = T_color_depth, Resampler(target)

    def rgb(self, index: int) -> np.ndarray:
        image = read_rgb(_file(self.stems[index], "color.png"), self.color.size)
        return self.views.color(image, self.color)

    def depth(self, index: int) -> np.ndarray:
        metres = read_millimetres(_file(self.stems[index], "depth.png"), self.depth_lens.size)
        metres[metres >= np.float32(INVALID)] = 0
        return self.views.register_depth(metres, self.depth_lens, self.T_color_depth)

    def label(self, index: int) -> None:
        return None


def _file(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")


def _kinect(focal: object, width: int, height: int) -> Lens:
    """Return the camera for images of a size from its focal length at 640x480."""
    if focal <= 0:
        raise SceneError(f"a focal length of {focal} pixels: give one above zero")
    K = np.array([[focal, 0, 320.0], [0, focal, 240.0], [0, 0, 1.0]])
    if (width, height) != (640, 480):
        K = scaled_intrinsics(K, width / 640, height / 480)
    return Lens(K, width, height)


def _sequences(root: Path) -> tuple[list[Path], set[str], list[str]]:
    """Return the sequences of a path, the names of those that are held back, and notes."""
    if numbered(root, _COLOR):
        return [root], set(), []
    found = sorted(folder for folder in root.glob("seq-*") if folder.is_dir())
    train, test = (_read_split(root / f"{name}Split.txt") for name in ("Train", "Test"))
    if not train and not test:
        return found, set(), ["no TrainSplit.txt: every sequence is a reference"]
    listed = {*train, *test}
    missing = sorted(listed - {folder.name for folder in found})
    notes = []
    if missing:
        notes.append(f"sequences of the split that are not here: {', '.join(missing)}")
    chosen = [folder for folder in found if folder.name in listed]
    if not chosen:
        raise SceneError(f"{root} has none of the sequences that its split lists name")
    return chosen, set(test), notes


def _read_split(path: Path) -> list[str]:
    """Return the folders that a list names by lines such as "sequence3"."""
    if not path.is_file():
        return []
    return [f"seq-{int(number):02d}" for number in re.findall(r"(\d+)", path.read_text())]
