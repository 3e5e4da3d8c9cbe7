"""Make scenes: a room, views of it, and everything that is known about it, as a posed folder.

    generate_scene(out / "train_00007", seed=7, split="train", settings=Settings(views=16))
    frames = render_room(seed=7, split="train", settings=Settings(views=16))   # the same, unwritten

Beside the posed folder's own files a scene holds `instance/NNNN.png` (uint16, 0 none),
`instances.json` (name, colour, material, box and asset of each), `texts.json` (words for every
class in it) and `ATTRIBUTION.md`. A scene is complete or absent: it is written under another name
first.
"""

import json
import os
import shutil
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

from govnesf_model.data.posed_scene import SceneWriter
from govnesf_model.data.synthetic.assets import Catalogues
from govnesf_model.data.synthetic.camera_path import camera_path, smooth_path
from govnesf_model.data.synthetic.layout import build_room
from govnesf_model.data.synthetic.lens import expose, make_lens
from govnesf_model.data.synthetic.names import SPLITS, object_classes
from govnesf_model.data.synthetic.photos import CREATOR, LICENSE, Photos
from govnesf_model.data.synthetic.render import Stage
from govnesf_model.data.synthetic.room import Thing

MAX_ATTEMPTS = 20  # rooms that turn out too full for a camera are drawn anew


class TooFullError(ValueError):
    """No room of a seed has enough free views."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all scenes of a run.

    Attributes:
        views: images a scene.
        width, height: their size in pixels.
        assets: "catalogues" or "procedural".
        photos: photographed floors, walls and woods among the painted ones.
        clean: no noise, blur, vignetting or change of exposure.
        smooth: one continuous path instead of several segments, and a steady hand: no blur.
        image_suffix: ".jpg" or ".png".
        wishes: see `build_room`.
        size: room size in metres, None to draw it.
        theme: kind of room, None to draw it.
    """

    views: int = 16
    width: int = 320
    height: int = 240
    assets: str = "catalogues"
    photos: bool = False
    clean: bool = False
    smooth: bool = False
    image_suffix: str = ".jpg"
    wishes: tuple[tuple[str, str | None, str | None], ...] = ()
    size: tuple[float, float, float] | None = None
    theme: str | None = None


@dataclass(frozen=True, eq=False)
class RoomFacts:
    """What is known about a rendered room.

    Attributes:
        seed, split: which room it is.
        theme: kind of room.
        size: width, depth and height in metres; the floor is z = 0.
        K: float64 [3, 3] intrinsics of all its frames.
        classes: label index -> name, for the classes that any frame shows; 0 is nothing.
        texts: class name -> synonyms and hypernyms.
        instances: id -> name, colour, material, asset, licence and box, as instances.json has it.
        attribution: what has to stand beside its pictures.
    """

    seed: int
    split: str
    theme: str
    size: tuple[float, float, float]
    K: Float[np.ndarray, "3 3"]
    classes: dict[int, str]
    texts: dict[str, list[str]]
    instances: dict[int, dict[str, object]]
    attribution: str


@dataclass(frozen=True, eq=False)
class RoomFrame:
    """One image of a rendered room.

    Attributes:
        room: the room that it shows.
        index: its place on the camera's path.
        rgb: colours.
        depth: z-depth in metres, 0 where there is nothing.
        label: index into the room's classes.
        instance: ids of the room's instances, 0 none.
        T_world_camera: pose, OpenCV axes, world z up.
    """

    room: RoomFacts
    index: int
    rgb: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    label: UInt8[np.ndarray, "h w"]
    instance: UInt16[np.ndarray, "h w"]
    T_world_camera: Float[np.ndarray, "4 4"]


def generate_scene(folder: Path, seed: int, split: str, settings: Settings) -> Path:
    """Make one scene, unless it is there already, and return its folder.

    Raises:
        ValueError: an unknown split; TooFullError: no room of this seed has enough free views.
        FileNotFoundError: the catalogues are asked for and not installed.
    """
    if (folder / "scene.json").is_file():
        return folder
    frames = render_room(seed, split, settings)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, frames, settings.image_suffix)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def render_room(seed: int, split: str, settings: Settings) -> list[RoomFrame]:
    """Return the frames of the room of a seed, without writing anything.

    Raises:
        ValueError: an unknown split; TooFullError: no room of this seed has enough free views.
        FileNotFoundError: the catalogues are asked for and not installed.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': choose one of {', '.join(SPLITS)}")
    library = checked_catalogues(settings)
    room, stage, poses, rng = _room_with_views(seed, split, library, settings)
    K = _intrinsics(rng, settings)
    views = [stage.render(K, T, settings.width, settings.height) for T in poses]
    lens = make_lens(rng, [v.radiance for v in views[:: max(1, len(views) // 6)]], settings.clean)
    if settings.smooth:
        lens = replace(lens, wild=0.0)
    ids = sum(np.bincount(v.instance.reshape(-1), minlength=len(room.things) + 1) for v in views)
    seen = [int(i) for i in np.flatnonzero(ids) if i > 0]
    things = {i: room.things[i - 1] for i in seen}
    names = sorted({thing.name for thing in things.values()})
    to_label = np.zeros(len(room.things) + 1, np.uint8)
    for i, thing in things.items():
        to_label[i] = names.index(thing.name) + 1
    width, depth, height = (round(float(x), 3) for x in (room.width, room.depth, room.height))
    facts = RoomFacts(
        seed=seed,
        split=split,
        theme=room.theme,
        size=(width, depth, height),
        K=K,
        classes=dict(enumerate(names, 1)),
        texts={name: list(object_classes()[name].synonyms) for name in names},
        instances={i: _describe(thing) for i, thing in things.items()},
        attribution=attribution(list(things.values())),
    )
    return [
        RoomFrame(
            room=facts,
            index=k,
            rgb=expose(view.radiance, lens, rng),
            depth=view.depth,
            label=to_label[view.instance],
            instance=view.instance.astype(np.uint16),
            T_world_camera=T,
        )
        for k, (view, T) in enumerate(zip(views, poses, strict=True))
    ]


def render_room_or_none(job: tuple[int, str, Settings]) -> list[RoomFrame] | None:
    """Return `render_room(*job)`, or None where the room has too few free views."""
    cv2.setNumThreads(1)
    try:
        return render_room(*job)
    except TooFullError:
        return None


def checked_catalogues(settings: Settings) -> Catalogues | None:
    """Return the catalogues that rooms are furnished from, None for parametric shapes alone.

    Raises:
        FileNotFoundError: they are asked for and not installed.
    """
    return _catalogues() if settings.assets == "catalogues" else None


def checked_photos(settings: Settings) -> Photos | None:
    """Return the photographed surfaces, None where they are not asked for.

    Raises:
        FileNotFoundError: they are asked for and were not fetched.
    """
    return _photos() if settings.photos else None


@lru_cache(maxsize=1)
def _photos() -> Photos:
    photos = Photos.find()
    if photos is None:
        raise FileNotFoundError(
            "the photographed surfaces are not there: run `govnesf data assets --photos`, or make "
            "rooms without them"
        )
    return photos


@lru_cache(maxsize=1)
def _catalogues() -> Catalogues:
    library = Catalogues.find()
    if library is None:
        raise FileNotFoundError(
            "the furniture catalogues are not installed: run `govnesf data assets`, or make rooms "
            "of parametric shapes alone with --assets procedural"
        )
    return library


def _room_with_views(seed: int, split: str, library: Catalogues | None, settings: Settings):
    problem: ValueError | None = None
    for attempt in range(MAX_ATTEMPTS):
        room = build_room(
            seed + 1_000_003 * attempt,
            split,
            library,
            settings.wishes,
            settings.size,
            settings.theme,
            checked_photos(settings),
        )
        stage = Stage(room)
        rng = np.random.default_rng([seed, attempt, zlib.crc32(split.encode())])
        try:
            path = smooth_path if settings.smooth else camera_path
            return room, stage, path(stage, rng, settings.views), rng
        except ValueError as error:
            problem = error
    raise TooFullError(f"seed {seed}: no room with {settings.views} free views ({problem})")


def _intrinsics(rng: np.random.Generator, settings: Settings) -> np.ndarray:
    # Horizontal field of view of phones, webcams and depth cameras: 55 to 75 degrees.
    view = np.deg2rad(rng.uniform(55, 75) if not settings.smooth else 62)
    f = settings.width / 2 / np.tan(view / 2)
    return np.array(
        [[f, 0, (settings.width - 1) / 2], [0, f, (settings.height - 1) / 2], [0, 0, 1]]
    )


def _write(folder: Path, frames: list[RoomFrame], image_suffix: str) -> None:
    room = frames[0].room
    (folder / "instance").mkdir(parents=True)
    with SceneWriter(folder, room.K, image_suffix) as writer:
        for frame in frames:
            name = writer.add(frame.rgb, frame.T_world_camera, frame.depth, frame.label)
            path = folder / "instance" / f"{name}.png"
            if not cv2.imwrite(str(path), frame.instance):
                raise OSError(f"could not write {path}: is the disk full?")
        target = list(range(4, len(frames), 5))
        writer.describe(
            room.classes,
            ignore=(0,),
            gravity=[0, 0, -1],
            split=room.split,
            seed=room.seed,
            source="synthetic room",
            theme=room.theme,
            size=list(room.size),
            reference=[i for i in range(len(frames)) if i not in target],
            target=target,
        )
    described = {str(i): thing for i, thing in room.instances.items()}
    (folder / "instances.json").write_text(json.dumps(described, indent=1))
    (folder / "texts.json").write_text(json.dumps(room.texts, indent=1))
    (folder / "ATTRIBUTION.md").write_text(room.attribution)


def _describe(thing: Thing) -> dict[str, object]:
    center, size = oriented_box(thing)
    return {
        "name": thing.name,
        "class": thing.name,
        "color": thing.color,
        "material": thing.material,
        "asset": thing.asset,
        "license": thing.license,
        "center": [round(float(x), 4) for x in center],
        "size": [round(float(x), 4) for x in size],
        "yaw": round(float(thing.yaw), 5),
    }


def oriented_box(thing: Thing) -> tuple[np.ndarray, np.ndarray]:
    """Return the world centre and the size, along its own turned axes, of a thing's box."""
    own = thing.mesh.moved(-thing.yaw)
    center = np.append((own.low + own.high) / 2, 1.0)[:3]
    c, s = np.cos(thing.yaw), np.sin(thing.yaw)
    turned = [c * center[0] - s * center[1], s * center[0] + c * center[1], center[2]]
    return np.array(turned), own.size


def _photo_rows(things: list[Thing]) -> list[str]:
    shown = sorted({(m.photo, t.name) for t in things for m in t.mesh.materials if m.photo})
    if not shown:
        return []
    return [
        "These photographs, cropped, repeated and shaded, come from the textures of Sweet Home 3D",
        "(Debian package sweethome3d):",
        "",
        "| photograph | covers | author | licence |",
        "|---|---|---|---|",
        *(f"| {photo} | {name} | {CREATOR} | {LICENSE} |" for photo, name in shown),
        "",
    ]


def attribution(things: list[Thing]) -> str:
    """Return the notice that has to stand beside renders of these things."""
    rows = sorted({(t.asset, t.name, t.creator, t.license) for t in things if t.asset[1] == ":"})
    lines = [
        "# Attribution",
        "",
        "Rendered by the synthetic room generator of govnesf_ros. Rooms and parametric shapes are",
        "its own (Apache-2.0). These 3D models, scaled, recoloured and placed, come from the",
        "catalogues of Sweet Home 3D (Debian package sweethome3d-furniture):",
        "",
        "| model | shows | author | licence |",
        "|---|---|---|---|",
        *(f"| {a} | {n} | {c} | {x} |" for a, n, c, x in rows),
        "",
        *_photo_rows(things),
        "CC-BY-3.0: https://creativecommons.org/licenses/by/3.0/ - "
        "CC-BY-3.0-US: https://creativecommons.org/licenses/by/3.0/us/ - "
        "CC0-1.0: https://creativecommons.org/publicdomain/zero/1.0/",
        "",
    ]
    return "\n".join(lines)
