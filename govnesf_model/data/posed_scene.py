"""The project's scene format: a folder of posed images, read lazily and checked on the way in.

    scene = open_scene("assets/demo_room")
    frame = scene[0]            # rgb, K, T_world_camera, depth, label
    for frame in scene: ...

Layout (docs/scenes.md): `intrinsics.txt`, `rgb/NNNN.jpg|png`, `pose/NNNN.txt` (T_world_camera), and
optionally `depth/NNNN.png` (uint16 millimetres), `label/NNNN.png` (uint8), `classes.json` and
`scene.json`. `scene.json` names the direction of gravity; the world is turned so that z points up.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

ROTATION_TOLERANCE = 1e-3  # max |R R^T - 1| that is repaired rather than refused
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


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


@dataclass(frozen=True)
class PosedScene:
    """A posed folder. Poses are read at once, images when a frame is asked for.

    Attributes:
        root: the folder.
        names: file stems in order.
        K: float64 [3, 3] for images of `width` x `height`.
        poses: float64 [N, 4, 4] T_world_camera, world z up.
        classes: class index -> name; empty without labels.
        ignore: class indices that no metric counts.
        other: index of pixels that are none of the classes, or None.
        reference: indices of frames that a map may be built from.
        target: held-back indices for novel views.
        source: where the scene comes from.
    """

    root: Path
    names: tuple[str, ...]
    K: np.ndarray
    width: int
    height: int
    poses: np.ndarray
    classes: dict[int, str] = field(default_factory=dict)
    ignore: frozenset[int] = frozenset()
    other: int | None = None
    reference: tuple[int, ...] = ()
    target: tuple[int, ...] = ()
    source: str = ""

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
        name = self.names[index]
        return Frame(
            name=name,
            index=index,
            rgb=self._read_rgb(name),
            K=self.K,
            T_world_camera=self.poses[index],
            depth=self._read_depth(name) if self.has_depth else None,
            label=self._read_label(name),
        )

    @cached_property
    def has_depth(self) -> bool:
        """Whether the scene carries depth images."""
        return (self.root / "depth").is_dir()

    @cached_property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the frames that have a label image."""
        return tuple(
            index for index, name in enumerate(self.names) if self._label_path(name).exists()
        )

    def _label_path(self, name: str) -> Path:
        return self.root / "label" / f"{name}.png"

    def _read_rgb(self, name: str) -> np.ndarray:
        path = _image_path(self.root / "rgb", name)
        return cv2.cvtColor(self._read_image(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def _read_depth(self, name: str) -> np.ndarray:
        path = self.root / "depth" / f"{name}.png"
        millimetres = self._read_image(path, cv2.IMREAD_UNCHANGED)
        if millimetres.dtype != np.uint16 or millimetres.ndim != 2:
            raise SceneError(
                f"{path} holds {millimetres.dtype} with {millimetres.ndim} axes: a depth image is "
                "one channel of uint16 millimetres"
            )
        return millimetres.astype(np.float32) / 1000.0

    def _read_label(self, name: str) -> np.ndarray | None:
        path = self._label_path(name)
        if not path.exists():
            return None
        label = self._read_image(path, cv2.IMREAD_UNCHANGED)
        if label.dtype != np.uint8 or label.ndim != 2:
            raise SceneError(f"{path} holds {label.dtype}: a label image is one channel of uint8")
        return label

    def _read_image(self, path: Path, flags: int) -> np.ndarray:
        image = cv2.imread(str(path), flags) if path.exists() else None
        if image is None:
            problem = "is not a readable image" if path.exists() else "is missing"
            raise SceneError(f"{path} {problem}")
        if image.shape[:2] != (self.height, self.width):
            raise SceneError(
                f"{path} is {image.shape[1]}x{image.shape[0]} pixels, the scene's images are "
                f"{self.width}x{self.height}"
            )
        return image


def open_scene(path: str | Path) -> PosedScene:
    """Open a posed folder.

    Raises:
        SceneError: the folder is empty, or a file in it is missing, damaged or inconsistent.
    """
    root = Path(path)
    if not root.is_dir():
        raise SceneError(f"{root} is not a folder: give the path of a posed scene")
    names = _frame_names(root)
    meta = _read_json(root / "scene.json")
    turn = _turn_to_z_up(meta.get("gravity", [0, 0, -1]), root / "scene.json")
    poses = np.stack([turn @ _read_pose(root / "pose" / f"{name}.txt") for name in names])
    K = _read_matrix(root / "intrinsics.txt", (3, 3))
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SceneError(f"{root / 'intrinsics.txt'} has a focal length of zero or less")
    first = _image_path(root / "rgb", names[0])
    image = cv2.imread(str(first))
    if image is None:
        raise SceneError(f"{first} is not a readable image")
    classes = _read_json(root / "classes.json")
    return PosedScene(
        root=root,
        names=names,
        K=K,
        width=image.shape[1],
        height=image.shape[0],
        poses=poses,
        classes={int(index): str(name) for index, name in classes.get("classes", {}).items()},
        ignore=frozenset(classes.get("ignore", [])),
        other=classes.get("other"),
        reference=_indices(meta, "reference", len(names), root) or tuple(range(len(names))),
        target=_indices(meta, "target", len(names), root),
        source=str(meta.get("source", "")),
    )


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


def _frame_names(root: Path) -> tuple[str, ...]:
    folder = root / "rgb"
    if not folder.is_dir():
        raise SceneError(f"{root} has no folder rgb/: is it a posed scene (rgb/, pose/, ...)?")
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


def _read_matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    if not path.exists():
        raise SceneError(f"{path} is missing")
    try:
        matrix = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SceneError(f"{path} is not a matrix of numbers: {error}") from error
    if matrix.shape != shape:
        raise SceneError(f"{path} holds a matrix of shape {matrix.shape}, expected {shape}")
    if not np.isfinite(matrix).all():
        raise SceneError(f"{path} holds NaN or infinite values")
    return matrix


def _read_pose(path: Path) -> np.ndarray:
    pose = _read_matrix(path, (4, 4))
    R = pose[:3, :3]
    error = np.abs(R @ R.T - np.eye(3)).max()
    if error > ROTATION_TOLERANCE or np.linalg.det(R) <= 0:
        raise SceneError(
            f"{path} is not a rigid pose: its 3x3 part is off a rotation by {error:.2g} "
            f"(determinant {np.linalg.det(R):.3f}); poses are 4x4 T_world_camera"
        )
    if np.abs(pose[3] - [0, 0, 0, 1]).max() > ROTATION_TOLERANCE:
        raise SceneError(f"{path} has the last row {pose[3]}, expected 0 0 0 1: is it transposed?")
    U, _, Vt = np.linalg.svd(R)
    pose[:3, :3] = U @ Vt
    pose[3] = [0, 0, 0, 1]
    return pose


def _read_json(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise SceneError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _indices(meta: dict, key: str, count: int, root: Path) -> tuple[int, ...]:
    indices = tuple(int(index) for index in meta.get(key, []))
    outside = [index for index in indices if not 0 <= index < count]
    if outside:
        raise SceneError(
            f"{root / 'scene.json'} lists {key} frames {outside}, the scene has {count}"
        )
    return indices


def _turn_to_z_up(gravity: list[int | float], path: Path) -> np.ndarray:
    """Return the 4x4 rotation that takes the direction of gravity to -z by the shortest way."""
    down = np.asarray(gravity, dtype=np.float64)
    length = np.linalg.norm(down) if down.shape == (3,) else 0.0
    if not math.isfinite(length) or length < 1e-6:
        raise SceneError(f"{path} has gravity {gravity}, expected a direction [x, y, z]")
    down = down / length
    target = np.array([0.0, 0.0, -1.0])
    axis = np.cross(down, target)
    cosine = float(down @ target)
    T = np.eye(4)
    if cosine < -1 + 1e-9:
        T[:3, :3] = np.diag([1.0, -1.0, -1.0])
    elif cosine < 1 - 1e-12:
        skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        T[:3, :3] = np.eye(3) + skew + skew @ skew / (1 + cosine)
    return T
