"""Which frames are used and which words a prediction chooses from.

    words = vocabulary(scene, "scannet")
    vlm.encode_texts(words.prompts)              # row i is class words.index[i], words.names[i]
    references = reference_frames(scene, options)

The sets `scannet` and `matterport` are the closed vocabularies of OpenScene's evaluation: "a X in a
scene", "other" bare, and all classes stand for choice in every scene, whatever it shows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from govnesf_model.baselines import LABELS_IMAGES, NEEDS_DEPTH
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.evaluation.options import EvaluationOptions

SCANNET = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "desk", "curtain", "refrigerator", "shower curtain", "toilet", "sink",
    "bathtub", "otherfurniture",
)  # fmt: skip
MATTERPORT = (*SCANNET[:-1], "other", "ceiling")
CLOSED_SETS = {"scannet": SCANNET, "matterport": MATTERPORT}
PROMPT_SETS = ("names", "scene", *CLOSED_SETS)

_OTHER = ("other", "otherfurniture", "other furniture")
_SPELLINGS = {"refridgerator": "refrigerator", "other furniture": "otherfurniture"}
_UNLABELLED = 256  # label images are uint8: classes from here on are predicted, never true


@dataclass(frozen=True)
class Vocabulary:
    """The classes that a prediction chooses from.

    Attributes:
        index: class index in label images; 256 and more for classes that the scene does not have.
        names: their names, for reports.
        prompts: what the encoder is given for them.
    """

    index: tuple[int, ...]
    names: tuple[str, ...]
    prompts: tuple[str, ...]


def vocabulary(scene: PosedScene, prompts: str = "names") -> Vocabulary:
    """Return the vocabulary of a scene.

    Args:
        scene: its classes decide, without those that it ignores and "other".
        prompts: "names" (the classes' names as they are), "scene" ("a X in a scene"), "scannet" or
            "matterport" (closed sets), or a JSON file {"class name": "prompt", ...}.

    Raises:
        ValueError: no such set, a class that a closed set does not have, or a file without it.
    """
    classes = scored_classes(scene)
    if prompts in CLOSED_SETS:
        return _closed(scene, classes, prompts)
    names = tuple(classes.values())
    if prompts == "names":
        words = names
    elif prompts == "scene":
        words = tuple(map(in_a_scene, names))
    else:
        words = _from_file(Path(prompts), names)
    return Vocabulary(tuple(classes), names, words)


def in_a_scene(name: str) -> str:
    """Return OpenScene's prompt for a class name."""
    return "other" if name.lower() in _OTHER else f"a {name} in a scene"


def scored_classes(scene: PosedScene) -> dict[int, str]:
    """Return the classes that have an IoU."""
    return {
        index: name
        for index, name in scene.classes.items()
        if index not in scene.ignore and index != scene.other
    }


def reference_frames(scene: PosedScene, options: EvaluationOptions) -> list[int]:
    """Return the frames that the scene is built from."""
    frames = list(scene.reference)
    if options.task == "3d" and options.with_targets:
        frames = sorted({*frames, *scene.target})
    return spread(frames, options.reference_views)


def truth_frames(scene: PosedScene, options: EvaluationOptions) -> list[int]:
    """Return the frames whose labels and depth say what is where, for the task 3d.

    They do not depend on how many references a method may use.
    """
    frames = set(scene.reference)
    if options.with_targets:
        frames |= set(scene.target)
    return sorted(frames & set(scene.labelled))


def labelled_targets(scene: PosedScene) -> list[int]:
    """Return the target frames with labels."""
    labelled = set(scene.labelled)
    return [index for index in scene.target if index in labelled]


def spread(indices: Sequence[int], count: int) -> list[int]:
    """Return `count` of the indices, evenly spread; all of them for 0."""
    if count <= 0 or count >= len(indices):
        return list(indices)
    at = np.linspace(0, len(indices) - 1, count).round().astype(int)
    return [indices[i] for i in at]


def obstacle(scene: PosedScene, method: str, options: EvaluationOptions) -> str | None:
    """Return why a method cannot be evaluated on a scene, None where it can."""
    task = options.task
    if task != "nvs" and not scored_classes(scene):
        return "has no classes.json with classes to choose from"
    if task == "2d" and not labelled_targets(scene):
        return "has no target frame with a label image (scene.json: target)"
    if task == "nvs" and not scene.target:
        return "has no target frames (scene.json: target)"
    if task == "3d" and not (scene.has_depth and truth_frames(scene, options)):
        return "has no reference frame with depth and a label image"
    if method in NEEDS_DEPTH and not scene.has_depth:
        return f"has no depth, which the method {method} needs"
    if method in LABELS_IMAGES and task != "2d":
        return f"cannot be evaluated by {method} in the task {task}: it labels images, use 2d"
    return None


def check(scene: PosedScene, methods: Sequence[str], options: EvaluationOptions) -> None:
    """Refuse before any work what cannot be evaluated.

    Raises:
        ValueError: a method cannot be evaluated on the scene, or its classes fit no prompts.
    """
    for method in methods:
        problem = obstacle(scene, method, options)
        if problem:
            raise ValueError(f"scene {scene.root} {problem}")
    if options.task != "nvs":
        vocabulary(scene, options.prompts)


def _closed(scene: PosedScene, classes: dict[int, str], prompts: str) -> Vocabulary:
    names = CLOSED_SETS[prompts]
    place = {}
    for index, name in classes.items():
        plain = name.strip().lower().replace("_", " ")
        plain = _SPELLINGS.get(plain, plain)
        if plain in _OTHER:
            plain = next(word for word in names if word in _OTHER)
        if plain not in names:
            raise ValueError(
                f"scene {scene.root} has the class {name!r}, which is none of the {len(names)} of "
                f"--prompts {prompts}: use --prompts scene"
            )
        if plain in place:
            raise ValueError(
                f"scene {scene.root} has two classes that are {plain!r} in --prompts {prompts}"
            )
        place[plain] = index
    index = tuple(place.get(name, _UNLABELLED + at) for at, name in enumerate(names))
    return Vocabulary(index, names, tuple(map(in_a_scene, names)))


def _from_file(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    if not path.is_file():
        raise ValueError(
            f"there are no prompts {str(path)!r}: choose {', '.join(PROMPT_SETS)} or give a JSON "
            'file {"class name": "prompt"}'
        )
    try:
        words = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise ValueError(f'{path} must hold an object {{"class name": "prompt", ...}}')
    missing = [name for name in names if name not in words]
    if missing:
        raise ValueError(f"{path} has no prompt for {', '.join(map(repr, missing))}")
    return tuple(words[name] for name in names)
