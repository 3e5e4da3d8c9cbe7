"""All that a map consists of, as plain data: what is saved, and what a map is restored from.

    state = scene_map.state()            # shares memory with the map, which never writes into it
    other_map.restore(state)

Plain data are arrays, tensors, numbers, text and containers of them; a table of features in blocks
becomes one tensor when it is saved. Parts of the map are taken as
they are, attribute by attribute, so that a part may grow a new array without a word here.
"""

from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import torch

from govnesf_model.cameras import rotation_error
from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.keyframes import Keyframe, MapConfig

_TABLES = np.ndarray | torch.Tensor | FeatureBlocks
_RIGID = 1e-2  # largest error of a rotation that a pose of float32 may have


class MapStateError(ValueError):
    """A state that a map cannot be restored from; the message says what does not fit."""


@dataclass(frozen=True)
class MapState:
    """A map at one moment.

    Attributes:
        keyframes: oldest first.
        points: the plain attributes of `SurfacePoints`.
        sightings: the plain attributes of `Sightings`.
        rendered: the plain attributes of `RenderedSurface`.
        next_id: number of the next keyframe.
        evicted: keyframes given up so far.
        image_width: working width of the keyframes, pixels.
        voxel_size: spacing of the points, metres.
    """

    keyframes: tuple[Keyframe, ...]
    points: dict[str, Any]
    sightings: dict[str, Any]
    rendered: dict[str, Any]
    next_id: int
    evicted: int
    image_width: int
    voxel_size: float

    def to_plain(self) -> dict[str, Any]:
        """Return the state without any class of ours."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["keyframes"] = [_keyframe_to_plain(keyframe) for keyframe in self.keyframes]
        plain["points"] = {
            name: value.tensor() if isinstance(value, FeatureBlocks) else value
            for name, value in self.points.items()
        }
        return plain

    @classmethod
    def from_plain(cls, plain: Any, device: torch.device | str = "cpu") -> "MapState":
        """Return the state of `to_plain`, tensors of keyframes on a device.

        Raises:
            MapStateError: something is missing or unknown.
        """
        names = {item.name for item in fields(cls)}
        if not isinstance(plain, dict) or set(plain) != names:
            raise MapStateError(f"a map consists of {', '.join(sorted(names))}, and this does not")
        if not isinstance(plain["keyframes"], list):
            raise MapStateError("its keyframes are no list")
        keyframes = tuple(_keyframe_from_plain(values, device) for values in plain["keyframes"])
        return cls(**{**plain, "keyframes": keyframes})

    def check(self, dim: int, stride: int, config: MapConfig) -> None:
        """Check that the parts fit together and to a map.

        Args:
            dim: length of a feature.
            stride: image pixels per cell of the encoder's map.
            config: of the map.

        Raises:
            MapStateError: they do not; says which, and what to set where a setting differs.
        """
        for name in ("image_width", "voxel_size"):
            mine, its = getattr(config, name), getattr(self, name)
            if mine != its:
                raise MapStateError(
                    f"it was made with {name} {its:g} and here it is {mine:g}: set {name} to "
                    f"{its:g}"
                )
        if len(self.keyframes) > config.max_keyframes:
            raise MapStateError(
                f"it holds {len(self.keyframes)} keyframes and max_keyframes is "
                f"{config.max_keyframes}: raise max_keyframes"
            )
        count = len(self.points.get("xyz", ()))
        for name, value in self.points.items():
            if isinstance(value, _TABLES) and len(value) != count:
                raise MapStateError(f"it has {count} points, but {len(value)} rows of {name}")
        if not np.isfinite(self.points["xyz"]).all():
            raise MapStateError("a point has a position that is not finite")
        if not self.keyframes:
            raise MapStateError("it holds no keyframe")
        ids = [keyframe.id for keyframe in self.keyframes]
        if ids != sorted(set(ids)) or ids[-1] >= self.next_id:
            raise MapStateError(f"its keyframes are numbered {ids}, not in ascending order")
        for keyframe in self.keyframes:
            _check_keyframe(keyframe, self.keyframes[0], dim, stride, self.image_width)
        rows_of, surface = self.sightings["rows"], self.sightings["surface"]
        if len(self.sightings["last"]) != count:
            raise MapStateError(f"it has {count} points, and tells of others who saw them")
        if len(self.rendered["_frozen_of"]) != len(self.rendered["_frozen"][0]):
            raise MapStateError("its rendered points and their keyframes do not fit together")
        if set(rows_of) != set(ids) or not set(surface) <= set(ids):
            raise MapStateError("it tells what keyframes see that it does not hold")
        for number, rows in rows_of.items():
            if rows.dtype != np.int64 or rows.ndim != 1 or (len(rows) and _outside(rows, count)):
                raise MapStateError(f"keyframe {number} sees points that are not there")
        for number, depth in surface.items():
            if depth.dtype != np.float32 or depth.ndim != 2 or not depth.size:
                raise MapStateError(f"the depth that keyframe {number} sees is no image")


def plain_attributes(part: object) -> dict[str, Any]:
    """Return the attributes of a part of the map that are plain data."""
    return {name: _copied(value) for name, value in vars(part).items() if _is_plain(value)}


def set_plain_attributes(part: object, values: dict[str, Any]) -> None:
    """Give a new part of a map the attributes of another.

    Raises:
        MapStateError: they have other names, types or shapes than those of the new part.
    """
    kind = type(part).__name__
    fresh = plain_attributes(part)
    if not isinstance(values, dict) or set(values) != set(fresh):
        raise MapStateError(f"its {kind} was made by another version of this code")
    for name, value in values.items():
        old = fresh[name]
        if isinstance(old, FeatureBlocks) and isinstance(value, torch.Tensor) and value.ndim == 2:
            value = FeatureBlocks.of(value.to(old.device))
        fits = type(value) is type(old)
        if fits and isinstance(old, _TABLES):
            fits = value.dtype == old.dtype and value.shape[1:] == old.shape[1:]
        if not fits:
            raise MapStateError(f"{name} of its {kind} does not fit: {_described(value)}")
        if isinstance(value, torch.Tensor):
            value = value.to(old.device)
        setattr(part, name, value)


def _keyframe_to_plain(keyframe: Keyframe) -> dict[str, Any]:
    values = {item.name: getattr(keyframe, item.name) for item in fields(keyframe)}
    for name, value in values.items():
        if not _is_plain(value):
            raise TypeError(f"Keyframe.{name} is a {type(value).__name__}, which cannot be saved")
    return values


def _keyframe_from_plain(values: Any, device: torch.device | str) -> Keyframe:
    known = {item.name: item for item in fields(Keyframe)}
    needed = {name for name, item in known.items() if item.default is MISSING}
    if not isinstance(values, dict) or not needed <= set(values) <= set(known):
        raise MapStateError("its keyframes were made by another version of this code")
    moved = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }
    return Keyframe(**moved)


def _check_keyframe(
    keyframe: Keyframe, first: Keyframe, dim: int, stride: int, image_width: int
) -> None:
    where = f"keyframe {keyframe.id}"
    rgb, depth, T = keyframe.rgb, keyframe.depth, keyframe.T_world_camera
    arrays = (rgb, keyframe.K, T, *(() if depth is None else (depth,)))
    if not all(isinstance(array, np.ndarray) for array in arrays):
        raise MapStateError(f"{where} lacks its image, intrinsics or pose")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape != first.rgb.shape:
        raise MapStateError(f"the image of {where} does not fit: {_described(rgb)}")
    if rgb.shape[1] != image_width or rgb.shape[2] != 3:
        raise MapStateError(f"the image of {where} is not {image_width} pixels wide")
    if depth is not None and (depth.dtype != np.float32 or depth.shape != rgb.shape[:2]):
        raise MapStateError(f"the depth of {where} does not fit: {_described(depth)}")
    square = keyframe.K.shape == (3, 3) and T.shape == (4, 4)
    if not square or not np.isfinite(keyframe.K).all():
        raise MapStateError(f"the intrinsics of {where} are not usable")
    if rotation_error(torch.from_numpy(T)) > _RIGID:
        raise MapStateError(f"the pose of {where} is not rigid")
    for item in fields(keyframe):
        value, other = getattr(keyframe, item.name), getattr(first, item.name)
        # What a view may lack may also have a resolution of its own.
        fixed = isinstance(other, torch.Tensor) and item.default is MISSING
        if fixed and getattr(value, "shape", None) != other.shape:
            raise MapStateError(f"{item.name} of {where} does not fit: {_described(value)}")
    if keyframe.ov.shape[-1] != dim or keyframe.ov_stride != stride:
        raise MapStateError(f"the features of {where} are not those of this encoder")


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | _TABLES)


def _copied(value: Any) -> Any:
    # Arrays of a map are replaced and never written to; its dictionaries are.
    return dict(value) if isinstance(value, dict) else value


def _outside(rows: np.ndarray, count: int) -> bool:
    return bool(rows.min() < 0 or rows.max() >= count)


def _described(value: Any) -> str:
    if isinstance(value, _TABLES):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__
