"""The last step of every reader: a world with z up, a split, and the frames that are wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from govnesf_model.data.posed_scene import FrameReader, PosedScene, SceneError
from govnesf_model.data.readers.gravity import UNIT_DOWN, gravity_of_cameras, turn_to_z_up
from govnesf_model.data.readers.lens import Lens


@dataclass(frozen=True)
class Gravity:
    """What a layout says of gravity.

    Attributes:
        down: its direction in the source's world; None: estimate it from the cameras.
        snap_degrees: take an axis of the world when the estimate is that near.
        where: what to name in a message about `down`.
    """

    down: object = UNIT_DOWN
    snap_degrees: float = 0.0
    where: object = "the scene"


def assemble(
    root: Path,
    names: Sequence[str],
    lens: Lens,
    poses: np.ndarray,
    reader: FrameReader,
    options: Mapping[str, object],
    gravity: Gravity,
    *,
    reference: Sequence[int] = (),
    target: Sequence[int] = (),
    labelled: Sequence[int] = (),
    stamps: Sequence[float] = (),
    notes: Sequence[str] = (),
    **more: object,
) -> PosedScene:
    """Return the scene of frames that a reader found.

    Args:
        root: the folder or file.
        names: of the frames.
        lens: the pinhole for which `reader` delivers.
        poses: [N, 4, 4] T_world_camera in the source's world, rigid.
        reader: knows the frames by their index in `names`.
        options: checked options; the common ones are applied here.
        gravity: what the layout says.
        reference, target: the layout's own split; all frames are references without one.
        labelled, stamps, notes: as in `PosedScene`.
        more: other fields of `PosedScene`.
    """
    notes = list(notes)
    down, where = gravity.down, gravity.where
    if options["gravity"] == "cameras":
        down = None
    elif options["gravity"]:
        down, where = str(options["gravity"]).split(","), "the option gravity"
    if down is None:
        snap = 0.0 if options["gravity"] else gravity.snap_degrees
        down = gravity_of_cameras(poses, snap)
        shown = ", ".join(f"{value:.3f}" for value in down)
        notes.append(f"the direction down ({shown}) was estimated from upright cameras")
    poses = turn_to_z_up(down, where) @ poses

    everything = range(len(names))
    reference = list(reference) or [index for index in everything if index not in set(target)]
    target = list(target)
    if options["holdout"]:
        step = options["holdout"]
        target = [index for index in everything if index % step == step - 1]
        reference = [index for index in everything if index % step != step - 1]
    chosen = list(everything)
    if options["every"] > 1:
        reference, target = reference[:: options["every"]], target[:: options["every"]]
        chosen = sorted({*reference, *target})
        reader = _Chosen(reader, chosen)
    if not chosen:
        raise SceneError(f"{root} has no frames")
    place = {index: number for number, index in enumerate(chosen)}
    return PosedScene(
        root=root,
        names=tuple(names[index] for index in chosen),
        K=lens.K,
        width=lens.width,
        height=lens.height,
        poses=poses[chosen],
        reader=reader,
        reference=tuple(place[index] for index in reference),
        target=tuple(place[index] for index in target),
        labelled=tuple(place[index] for index in labelled if index in place),
        stamps=tuple(stamps[index] for index in chosen) if len(stamps) else (),
        notes=tuple(notes),
        **more,
    )


class _Chosen:
    """Some frames of another reader."""

    def __init__(self, reader: FrameReader, chosen: Sequence[int]) -> None:
        self._reader, self._chosen = reader, tuple(chosen)

    def rgb(self, index: int) -> np.ndarray:
        return self._reader.rgb(self._chosen[index])

    def depth(self, index: int) -> np.ndarray | None:
        return self._reader.depth(self._chosen[index])

    def label(self, index: int) -> np.ndarray | None:
        return self._reader.label(self._chosen[index])
