"""Maps on disk: a folder with one description and the arrays that it names.

    info = save_map(scene_map, "maps/kitchen", {"map_frame": "map"})
    info = load_map(scene_map, "maps/kitchen")

`map.json` is replaced in one step after all arrays are on the disk under names of their own, and
what it named before is removed after that: whatever happens on the way (a full disk, kill -9, power
lost), the folder holds the old map or the new one. There is no pickle in it, so that a map from
somebody else can do no harm. A map belongs to the field and the encoder that made it, by digest.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from govnesf_model.atomic_file import replacing
from govnesf_model.field import GovNesf
from govnesf_model.map_state import MapState, MapStateError
from govnesf_model.plain_files import (
    PlainFileError,
    bytes_of,
    is_data_file,
    read_plain,
    write_durably,
    write_plain,
)
from govnesf_model.scene_map import SceneMap
from govnesf_model.vlm.base import encoder_key, tensors_digest

FORMAT = "govnesf-map"
VERSION = 1
_DESCRIPTION = "map.json"
_LOCK = ".lock"
_MAX_DESCRIPTION = 64 * 2**20  # bytes; a map of 4096 keyframes needs 10 MiB
_SPARE = 1.02  # part of the arrays' size that must be free, for headers and the description


class MapFileError(ValueError):
    """A map that cannot be saved or loaded; the message says why and what to do."""


@dataclass(frozen=True)
class MapInfo:
    """What a saved map is.

    Attributes:
        path: its folder.
        keyframes, points: how many.
        mebibytes: on the disk.
        encoder, field: keys of what made it.
        created: UTC, ISO 8601.
        notes: what was saved with it.
    """

    path: Path
    keyframes: int
    points: int
    mebibytes: float
    encoder: str
    field: str
    created: str
    notes: dict[str, str]


def save_map(
    scene_map: SceneMap, folder: str | Path, notes: Mapping[str, str] | None = None
) -> MapInfo:
    """Save a map, in place of one that the folder may hold.

    Any thread may call this; the map waits for it only while its parts are listed.

    Args:
        scene_map: the map.
        folder: is made. It must be new, empty or hold a map.
        notes: short texts to remember.

    Raises:
        MapFileError: the map is empty, the folder holds other things or is in use, or the disk is
            full or cannot be written. A map that was there stays as it was.
    """
    folder = Path(folder)
    state = scene_map.state()
    if not state.keyframes:
        raise MapFileError("the map is empty: there is nothing to save")
    plain = state.to_plain()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, fcntl.LOCK_EX):
            _refuse_foreign(folder)
            _refuse_full_disk(folder, bytes_of(plain))
            return _write(scene_map, folder, plain, dict(notes or {}))
    except OSError as error:
        raise MapFileError(
            f"the map could not be saved to {folder}: {error.strerror or error}; what was there is "
            "as it was"
        ) from error


def load_map(scene_map: SceneMap, folder: str | Path) -> MapInfo:
    """Replace a map by a saved one.

    Raises:
        MapFileError: there is no map, it is damaged, foreign, from a newer version, or made by
            another field or encoder or with other settings. The running map stays as it was.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            raise MapFileError(f"there is no map at {folder}: check the name")
        with _locked(folder, fcntl.LOCK_SH):
            info, tree, files = _described(folder)
            _refuse_other_models(scene_map, info)
            held, bound = info.mebibytes, scene_map.config.memory_mib
            if held > bound:
                raise MapFileError(
                    f"{folder} holds {held:.0f} MiB and memory_mib is {bound:.0f}: raise memory_mib"
                )
            plain = read_plain(folder, tree, files)
        scene_map.restore(MapState.from_plain(plain, scene_map.device))
    except MapFileError:
        raise
    except (PlainFileError, MapStateError) as error:
        raise MapFileError(f"{folder} cannot be loaded: {error}") from error
    except OSError as error:
        raise MapFileError(f"{folder} cannot be read: {error}") from error
    except Exception as error:
        # Digests are right in a map that somebody made by hand, and it may hold anything.
        raise MapFileError(
            f"{folder} cannot be loaded, its parts do not fit together "
            f"({type(error).__name__}: {error})"
        ) from error
    return info


def read_map_info(folder: str | Path) -> MapInfo:
    """Return what a saved map is without loading it.

    Raises:
        MapFileError: as `load_map`, as far as the description tells.
    """
    try:
        return _described(Path(folder))[0]
    except OSError as error:
        raise MapFileError(f"{folder} cannot be read: {error}") from error


def field_key(field: GovNesf) -> str:
    """Return a short text that changes whenever what the field makes of an image would."""
    return encoder_key("field", field.config.to_json(), tensors_digest(field.state_dict()))


def _write(
    scene_map: SceneMap, folder: Path, plain: dict[str, Any], notes: dict[str, str]
) -> MapInfo:
    prefix = secrets.token_hex(8)
    try:
        tree, files = write_plain(folder, prefix, plain)
        described = {
            "format": FORMAT,
            "version": VERSION,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "encoder": scene_map.vlm.key,
            "field": field_key(scene_map.field),
            "keyframes": len(plain["keyframes"]),
            "points": len(plain["points"]["xyz"]),
            "notes": notes,
            "files": files,
            "state": tree,
        }
        described["sha256"] = _digest(described)
        with replacing(folder / _DESCRIPTION) as temporary:
            write_durably(temporary, json.dumps(described).encode())
            temporary.chmod(0o644)  # it was made for its owner's eyes alone
        _sync(folder)
    except BaseException:
        for left in folder.glob(f"{prefix}-*"):
            left.unlink(missing_ok=True)
        raise
    for old in folder.iterdir():
        if (is_data_file(old.name) and old.name not in files) or _is_unfinished(old):
            old.unlink(missing_ok=True)
    return _info(folder, described)


def _described(folder: Path) -> tuple[MapInfo, Any, dict[str, dict[str, Any]]]:
    """Return the description of a map, its tree and its files, all checked for their form."""
    path = folder / _DESCRIPTION
    if not path.is_file():
        raise MapFileError(f"{folder} holds no map: it has no {_DESCRIPTION}")
    if path.stat().st_size > _MAX_DESCRIPTION:
        raise MapFileError(f"{path} is too large for the description of a map")
    damaged = f"{path} is damaged or no description of a map: save the map again"
    try:
        described = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise MapFileError(damaged) from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise MapFileError(damaged)
    version = described.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise MapFileError(
            f"{folder} has format version {version!r} and this code reads up to {VERSION}: update "
            "govnesf, or save the map again with this version"
        )
    stated = described.pop("sha256", None)
    if stated != _digest(described):
        raise MapFileError(damaged)
    try:
        return _info(folder, described), described["state"], described["files"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MapFileError(damaged) from error


def _info(folder: Path, described: dict[str, Any]) -> MapInfo:
    held = sum(int(stated["bytes"]) for stated in described["files"].values())
    return MapInfo(
        path=folder,
        keyframes=int(described["keyframes"]),
        points=int(described["points"]),
        mebibytes=held / 2**20,
        encoder=str(described["encoder"]),
        field=str(described["field"]),
        created=str(described["created"]),
        notes={str(key): str(value) for key, value in described["notes"].items()},
    )


def _refuse_other_models(scene_map: SceneMap, info: MapInfo) -> None:
    ours = {"encoder": scene_map.vlm.key, "field": field_key(scene_map.field)}
    for what, key in ours.items():
        made_by = getattr(info, what)
        if made_by != key:
            raise MapFileError(
                f"{info.path} was made by the {what} {made_by} and {key} is running: start with "
                f"the {what} that made it, or map the place anew"
            )


def _refuse_foreign(folder: Path) -> None:
    ours = {_DESCRIPTION, _LOCK}
    foreign = sorted(
        entry.name
        for entry in folder.iterdir()
        if not (entry.name in ours or is_data_file(entry.name) or _is_unfinished(entry))
    )
    if foreign:
        raise MapFileError(
            f"{folder} holds things that are no map ({', '.join(foreign[:3])}): give another name"
        )


def _is_unfinished(path: Path) -> bool:
    """Tell whether a file is the description of a save that was killed."""
    return path.name.startswith("tmp") and path.suffix == ".tmp"


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed * _SPARE > free:
        raise MapFileError(
            f"the map needs {needed / 2**20:.0f} MiB and {folder} has {free / 2**20:.0f} MiB free: "
            "make room or choose another disk; what was there is as it was"
        )


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    """Keep others from writing the folder, as long as it can be locked at all."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError:
        if kind == fcntl.LOCK_EX:
            raise
        yield  # a map on a disk that is only read is not written to meanwhile either
        return
    try:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MapFileError(f"{folder} is being saved to or loaded: try again later") from None
        yield
    finally:
        os.close(handle)


def _digest(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
