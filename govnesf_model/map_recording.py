"""A recording run through the online map, with an account of every image.

    run = map_recording(scene_map, scene, scene.reference, rate=5.0)
    run.counts()          # {"accepted": 25, "static": 21, "blurred": 3, ...}
    run.speed             # 2.0: the recording took twice as long as mapping it; None without times

The map's own gate decides what becomes a keyframe, as on the robot. Images that the gate refuses by
their pose alone are never decoded.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from tqdm import tqdm

from govnesf_model.data.posed_scene import Frame, PosedScene
from govnesf_model.keyframes import ACCEPTED
from govnesf_model.scene_map import SceneMap

UNREADABLE = "unreadable"
UNUSABLE = "unusable"

MEANINGS = {
    ACCEPTED: "became a keyframe",
    "static": "the camera has hardly moved since the last keyframe",
    "known": "another recent keyframe looks from the same place",
    "too_soon": "within the least time between two keyframes",
    "blurred": "less sharp than usual",
    UNREADABLE: "could not be read",
    UNUSABLE: "was read and does not fit to the map",
}


@dataclass(frozen=True)
class Seen:
    """What became of one image.

    Attributes:
        index: of the frame in the scene.
        stamp: seconds.
        reason: a key of `MEANINGS`.
    """

    index: int
    stamp: float
    reason: str


@dataclass(frozen=True)
class RecordingRun:
    """The account of a run.

    Attributes:
        images: what became of each, in order.
        stages: seconds per stage, one entry per keyframe; "read" and "gate" belong to all images
            that were looked at.
        recorded_seconds: length of the recording; None when the scene has no times.
        mapping_seconds: from the first image to the last snapshot, reading included.
        problems: sentences about images that could not be used, the first few.
    """

    images: tuple[Seen, ...]
    stages: dict[str, list[float]]
    recorded_seconds: float | None
    mapping_seconds: float
    problems: tuple[str, ...] = ()

    @property
    def speed(self) -> float | None:
        """How many seconds of the recording were mapped in a second; None without times."""
        if self.recorded_seconds is None or self.mapping_seconds <= 0:
            return None
        return self.recorded_seconds / self.mapping_seconds

    def counts(self) -> dict[str, int]:
        """Return how many images there are per reason, in the order of `MEANINGS`."""
        found = Counter(image.reason for image in self.images)
        return {reason: found[reason] for reason in MEANINGS if found[reason]}


def map_recording(
    scene_map: SceneMap,
    scene: PosedScene,
    indices: Sequence[int],
    rate: float = 5.0,
    progress: Callable = tqdm,
    max_problems: int = 5,
) -> RecordingRun:
    """Offer the images of a scene to a map in their order.

    Args:
        scene_map: takes the keyframes.
        scene: posed images.
        indices: of the frames to look at.
        rate: images a second, for scenes that have no times.
        progress: wraps the indices; tqdm or anything like it.
        max_problems: sentences kept about images that cannot be used.

    Raises:
        ValueError: there is no image, or none of them can be used.
    """
    if not indices:
        raise ValueError(f"scene {scene.name} has no reference frames to build a map from")
    images, problems = [], []
    stages: dict[str, list[float]] = {"gate": [], "read": []}
    begin = perf_counter()
    bar = progress(indices, desc=f"{scene.name}: mapping", unit="image")
    for index in bar:
        stamp = scene.stamps[index] if scene.stamps else index / rate
        reason, problem = _offer(scene_map, scene, index, stamp, stages)
        images.append(Seen(index, stamp, reason))
        if problem and len(problems) < max_problems:
            problems.append(f"image {scene.names[index]}: {' '.join(problem.split())}")
    run = RecordingRun(
        tuple(images),
        {stage: seconds for stage, seconds in stages.items() if seconds},
        _recorded_seconds(scene, indices),
        perf_counter() - begin,
        tuple(problems),
    )
    if not run.counts().get(ACCEPTED):
        counted = ", ".join(f"{count} {reason}" for reason, count in run.counts().items())
        raise ValueError(
            f"no image of {scene.name} could be mapped ({counted}); the first: {problems[0]}"
        )
    return run


def _offer(
    scene_map: SceneMap,
    scene: PosedScene,
    index: int,
    stamp: float,
    stages: dict[str, list[float]],
) -> tuple[str, str]:
    """Return the reason and, where an image cannot be used, a sentence."""
    pose = scene.poses[index]
    begin = perf_counter()
    wanted, reason = scene_map.wants(pose, stamp)
    stages["gate"].append(perf_counter() - begin)
    if not wanted:
        return reason, ""
    begin = perf_counter()
    try:
        frame: Frame = scene[index]
    except (ValueError, OSError) as error:
        return UNREADABLE, str(error)
    stages["read"].append(perf_counter() - begin)
    begin = perf_counter()
    wanted, reason = scene_map.wants(pose, stamp, frame.rgb)
    stages["gate"][-1] += perf_counter() - begin
    if not wanted:
        return reason, ""
    try:
        report = scene_map.add(replace(frame, stamp=stamp))
    except ValueError as error:
        return UNUSABLE, str(error)
    for stage, seconds in report.seconds.items():
        if stage != "total":
            stages.setdefault(stage, []).append(seconds)
    return ACCEPTED, ""


def _recorded_seconds(scene: PosedScene, indices: Sequence[int]) -> float | None:
    """Return from the first image to the time at which the next after the last would come."""
    if not scene.stamps or len(indices) < 2:
        return None
    stamps = np.sort(np.array([scene.stamps[index] for index in indices]))
    length = float(stamps[-1] - stamps[0] + np.median(np.diff(stamps)))
    return length if length > 0 else None
