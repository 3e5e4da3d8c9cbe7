"""transforms.json of nerfstudio and instant-ngp (and transforms_{train,val,test}.json of Blender).

Their cameras look along -z with y up, their pixel centres lie at half numbers; both are turned into
this project's conventions. Distorted images are straightened into one pinhole, that of the first
frame. Lengths are those of the file, which are metres only if whoever made it took care: `scale`
multiplies them. Where the file tells the transform that was applied to its poses, `original=1`
takes it off again.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.assemble import Gravity, assemble
from govnesf_model.data.readers.files import (
    IMAGE_SUFFIXES,
    image_size,
    read_json,
    read_millimetres,
    read_rgb,
    rigid,
)
from govnesf_model.data.readers.lens import Lens, Resampler

OPTIONS: dict[str, str | int | float] = {"scale": 1.0, "depth_scale": 0.0, "original": 0}
PARTS = ("train", "val", "test")
DEPTH_SCALE = 1e-3  # of integer depth, in the file's unit of length
# Columns of a camera-to-world matrix: OpenGL's axes (y up, looking along -z) to OpenCV's.
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
PERSPECTIVE = {"", "OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"}
FISHEYE = {"OPENCV_FISHEYE", "FISHEYE"}


def recognise(path: Path) -> bool:
    """Tell whether a path is a transforms file or a folder with some."""
    if path.is_file():
        return path.suffix == ".json" and path.stem.startswith("transforms")
    return bool(_files_of(path))


def read(root: Path, options: Mapping[str, object]) -> PosedScene:
    """Open a scene of transforms.json."""
    entries, parts, meta, notes = _entries(root)
    if not entries:
        raise SceneError(f"{root}: none of the images that its transforms name is there")
    lenses = [_lens(entry, path) for path, entry in entries]
    pinhole = lenses[0].pinhole(options["size"])
    poses = np.stack([_pose(entry, path) for path, entry in entries])
    if options["original"]:
        poses = _without_applied(meta, root) @ poses
    if options["scale"] <= 0:
        raise SceneError(f"option scale={options['scale']} must be above zero")
    poses[:, :3, 3] *= options["scale"]
    depths = [_depth_path(path, entry) for path, entry in entries]
    has_depth = any(path is not None for path in depths)
    depth_scale = options["depth_scale"] or float(
        meta.get("depth_unit_scale_factor", meta.get("integer_depth_scale", DEPTH_SCALE))
    )
    if any(not lens.straight for lens in lenses):
        notes.append("images are distorted: straightened into one pinhole camera")
    if options["scale"] == 1.0:
        notes.append("lengths are taken as metres; transforms.json does not say so (option scale)")
    names = _names([path for path, _ in entries])
    return assemble(
        root if root.is_dir() else root.parent,
        names,
        pinhole,
        poses,
        _Files(
            [path for path, _ in entries],
            depths,
            lenses,
            pinhole,
            depth_scale * options["scale"],
        ),
        options,
        Gravity(None, snap_degrees=15.0),
        reference=[i for i, part in enumerate(parts) if part == "train"],
        target=[i for i, part in enumerate(parts) if part in ("val", "test")],
        has_depth=has_depth,
        source="nerfstudio transforms.json",
        notes=notes,
    )


class _Files:
    def __init__(
        self,
        images: list[Path],
        depths: list[Path | None],
        lenses: list[Lens],
        target: Lens,
        depth_scale: float,
    ) -> None:
        self.images, self.depths, self.lenses = images, depths, lenses
        self.depth_scale, self.views = depth_scale, Resampler(target)

    def rgb(self, index: int) -> np.ndarray:
        lens = self.lenses[index]
        image = read_rgb(self.images[index])
        # nerfstudio keeps images of half and quarter size beside the intrinsics of the full one.
        return self.views.color(image, lens.scaled(image.shape[1::-1]))

    def depth(self, index: int) -> np.ndarray:
        path, target = self.depths[index], self.views.target
        if path is None:
            return np.zeros((target.height, target.width), np.float32)
        if path.suffix == ".npy":
            depth = np.load(path).astype(np.float32).squeeze() * np.float32(self.depth_scale)
        else:
            depth = read_millimetres(path) * np.float32(1000.0 * self.depth_scale)
        depth[~np.isfinite(depth)] = 0
        return self.views.nearest(depth, self.lenses[index].scaled(depth.shape[1::-1]))

    def label(self, index: int) -> None:
        return None


def _files_of(folder: Path) -> list[Path]:
    single = folder / "transforms.json"
    if single.is_file():
        return [single]
    parts = [folder / f"transforms_{part}.json" for part in PARTS]
    return [path for path in parts if path.is_file()]


def _entries(root: Path) -> tuple[list[tuple[Path, dict]], list[str], dict, list[str]]:
    """Return (image, its entry over the file's own values), the part of each, the file, notes."""
    files = [root] if root.is_file() else _files_of(root)
    entries, parts, missing, total = [], [], [], 0
    meta: dict = {}
    for file in files:
        meta = read_json(file)
        frames = meta.get("frames")
        if not isinstance(frames, list) or not frames:
            raise SceneError(f"{file} has no list of frames")
        shared = {key: value for key, value in meta.items() if key != "frames"}
        part_of_name = _listed_parts(meta)
        own_part = next((part for part in PARTS if file.stem.endswith(f"_{part}")), "")
        total += len(frames)
        for frame in sorted(frames, key=lambda frame: str(frame.get("file_path", ""))):
            if "file_path" not in frame or "transform_matrix" not in frame:
                raise SceneError(f"{file} has a frame without file_path or transform_matrix")
            path = _image(file.parent, str(frame["file_path"]))
            if path is None:
                missing.append(str(frame["file_path"]))
                continue
            entries.append((path, {**shared, **frame, "file": file}))
            parts.append(own_part or part_of_name.get(Path(frame["file_path"]).name, ""))
    notes = []
    if missing:
        notes.append(
            f"{len(missing)} of {total} frames name images that are not there "
            f"({missing[0]}, ...): skipped"
        )
    return entries, parts, meta, notes


def _listed_parts(meta: dict) -> dict[str, str]:
    """Return image name -> part from the lists of nerfstudio's own splits."""
    found = {}
    for part in PARTS:
        for name in meta.get(f"{part}_filenames", ()):
            found[Path(name).name] = part
    return found


def _image(folder: Path, name: str) -> Path | None:
    path = folder / name
    if path.is_file():
        return path
    # Blender's files leave the ending away.
    return next((p for s in IMAGE_SUFFIXES if (p := folder / f"{name}{s}").is_file()), None)


def _depth_path(image: Path, entry: dict) -> Path | None:
    name = entry.get("depth_file_path") or entry.get("depth_path")
    if not name:
        return None
    path = entry["file"].parent / name
    if not path.is_file():
        raise SceneError(f"{entry['file']} names the depth {name} for {image.name}: it is missing")
    return path


def _lens(entry: dict, image: Path) -> Lens:
    file = entry["file"]
    model = str(entry.get("camera_model", "")).upper()
    fisheye = model in FISHEYE or bool(entry.get("is_fisheye"))
    if model not in PERSPECTIVE and not fisheye:
        raise SceneError(
            f"{file} has the camera model {model}: perspective and fisheye cameras can be used"
        )
    size = (entry.get("w"), entry.get("h"))
    width, height = (int(size[0]), int(size[1])) if all(size) else image_size(image)
    fx = _focal(entry, "x", width)
    fy = _focal(entry, "y", height) or fx
    fx = fx or fy
    if not fx:
        raise SceneError(f"{file} has neither fl_x nor camera_angle_x for {image.name}")
    # Half a pixel: the centre of their first pixel is (0.5, 0.5), of ours (0, 0).
    cx = float(entry.get("cx", width / 2)) - 0.5
    cy = float(entry.get("cy", height / 2)) - 0.5
    keys = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2", "k3")
    bend = tuple(float(entry.get(key, 0.0)) for key in keys)
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    return Lens(K, width, height, bend if fisheye or any(bend) else (), fisheye)


def _focal(entry: dict, axis: str, pixels: int) -> float:
    """Return a focal length in pixels, 0 when the entry has none."""
    value = float(entry.get(f"fl_{axis}", 0.0))
    angle = float(entry.get(f"camera_angle_{axis}", 0.0))
    if not value and angle:
        value = 0.5 * pixels / math.tan(0.5 * angle)
    if value < 0 or not math.isfinite(value):
        raise SceneError(f"{entry['file']} has a focal length of {value}")
    return value


def _pose(entry: dict, image: Path) -> np.ndarray:
    matrix = np.asarray(entry["transform_matrix"], dtype=np.float64)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    return rigid(matrix, f"{entry['file']}, transform_matrix of {image.name},") @ OPENGL_TO_OPENCV


def _without_applied(meta: dict, root: Path) -> np.ndarray:
    """Return the inverse of the rigid part that was applied to the poses."""
    if "applied_transform" not in meta:
        raise SceneError(f"{root} has no applied_transform, which original=1 would take off")
    applied = np.asarray(meta["applied_transform"], dtype=np.float64)
    if applied.shape == (3, 4):
        applied = np.vstack([applied, [0, 0, 0, 1]])
    return np.linalg.inv(rigid(applied, f"{root}, applied_transform,"))


def _names(images: list[Path]) -> list[str]:
    """Return short names that differ: stems, with their folder where stems repeat."""
    stems = [path.stem for path in images]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{path.parent.name}-{path.stem}" for path in images]
