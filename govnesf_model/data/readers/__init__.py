"""Readers of scenes, one a layout, all giving a `PosedScene`.

`read_scene` (used by `posed_scene.open_scene`) finds the layout of a path; `find_scenes` finds the
scenes below folders and behind lists of splits.
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.options import checked, split_path

__all__ = ["LAYOUTS", "find_scenes", "is_scene", "layout_of", "read_scene"]

# Name -> what it looks like; the first that recognises a path reads it. Each is a module here with
# `recognise(path)`, `read(root, options)` and `OPTIONS` (own options and their defaults).
LAYOUTS = {
    "posed_folder": "rgb/, pose/, intrinsics.txt (the project's own)",
    "replica": "traj_w_c.txt, rgb/, depth/ (Replica for Semantic-NeRF)",
    "scannet": "color/, depth/, pose/, intrinsic/ (ScanNet, exported)",
    "seven_scenes": "frame-000000.color.png or seq-01/ (7-Scenes)",
    "nerfstudio": "transforms.json (nerfstudio, instant-ngp)",
    "rosbag": "metadata.yaml, .mcap or .db3 (ROS 2 bag)",
}


def read_scene(path: str | Path, options: Mapping[str, object]) -> PosedScene:
    """Open the scene at a path, which options may follow; see `posed_scene.open_scene`."""
    place, behind = split_path(str(path))
    root = Path(place)
    layout = layout_of(root)
    if layout is None:
        raise SceneError(_unknown(root))
    module = _module(layout)
    scene = module.read(root, checked({**behind, **options}, module.OPTIONS, layout))
    # A relative "." has no name of its own.
    return scene if scene.root.name else replace(scene, root=scene.root.resolve())


def is_scene(path: str | Path) -> bool:
    """Tell whether a path, without options, is a scene of any layout."""
    return layout_of(Path(split_path(str(path))[0])) is not None


def layout_of(root: Path) -> str | None:
    """Return the name of the layout of a path; None when no reader knows it."""
    if not root.exists():
        return None
    return next((name for name in LAYOUTS if _module(name).recognise(root)), None)


def find_scenes(paths: Iterable[str | Path]) -> list[Path]:
    """Return the scenes among paths, directly inside folders, and named by lists.

    A list is a .txt file with a scene's name a line, such as ScanNet's scannetv2_val.txt; its
    scenes lie beside it or in scans/ or scans_test/ beside it. Options behind a path hold for all
    its scenes. Folders whose name begins with a dot are still being written.

    Raises:
        SceneError: a path has none, or a list names scenes of which none is there.
    """
    found: list[Path] = []
    for path in paths:
        place, options = split_path(str(path))
        root = Path(place)
        if layout_of(root) is not None:
            scenes = [root]
        elif root.is_file() and root.suffix == ".txt":
            scenes = _listed(root)
        elif root.is_dir():
            inside = (p for p in sorted(root.iterdir()) if not p.name.startswith("."))
            scenes = [entry for entry in inside if layout_of(entry) is not None]
        else:
            scenes = []
        if not scenes:
            raise SceneError(_unknown(root))
        behind = "&".join(f"{name}={value}" for name, value in options.items())
        found += [Path(f"{scene}?{behind}") if behind else scene for scene in scenes]
    return found


def _listed(file: Path) -> list[Path]:
    names = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    folders = [file.parent / part for part in ("", "scans", "scans_test")]
    places = (next((f / n for f in folders if (f / n).is_dir()), None) for n in names)
    scenes = [place for place in places if place is not None and layout_of(place) is not None]
    if not scenes:
        raise SceneError(
            f"{file} names {len(names)} scenes, none of which lies beside it or in scans/"
        )
    return scenes


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"govnesf_model.data.readers.{name}")


def _unknown(root: Path) -> str:
    if not root.exists():
        return f"{root} is not a folder or file: give the path of a scene"
    listed = "; ".join(f"{name}: {looks}" for name, looks in LAYOUTS.items())
    return f"{root} is no scene that can be read: it has no folder rgb/, nor looks like {listed}"
