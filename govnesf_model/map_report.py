"""The account of a map made from a recording: answers.json, clouds and one page to look at.

    files = write_report(out, Finished(scene, scene_map, run, result, ...))

The page (report.html) needs no other file and no network: pictures are inside. It is made from the
same record that answers.json holds.
"""

import json
import platform
import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from govnesf_model import __version__
from govnesf_model.answer_files import answer_record, write_clouds
from govnesf_model.atomic_file import replacing
from govnesf_model.data.posed_scene import PosedScene, SceneError
from govnesf_model.data.readers.gravity import tilt_warning
from govnesf_model.keyframes import Keyframe, MapSnapshot
from govnesf_model.map_recording import RecordingRun
from govnesf_model.map_report_page import Pictures, page
from govnesf_model.map_report_pictures import (
    Sight,
    best_view,
    jpeg_uri,
    map_drawing,
    photo_with_box,
    photo_with_heat,
)
from govnesf_model.query import QueryAnswer
from govnesf_model.scene_map import SceneMap
from govnesf_model.segmentation import mask_of_keyframe, score_features, upsample_scores

FORMAT = 1
MAX_PHOTOS = 24  # texts that get a photo: a page of hundreds is nobody's help
NEAR_MISS = 0.05  # below that the place where a text is likeliest means nothing
_STRONGEST = 40  # points that say where a text comes nearest to being found
_PACKAGES = ("torch", "timm", "numpy", "scipy", "opencv-python-headless", "rosbags")


@dataclass(frozen=True)
class Finished:
    """Everything that a report tells of.

    Attributes:
        scene: what was mapped.
        scene_map: as it is after the last image.
        run: the account of the images.
        result: the answer to the texts, read from the map's newest snapshot.
        command: as it was typed.
        options: settings beside the map's own, by name.
        seconds: wall time of the steps around the mapping: load, open, query.
    """

    scene: PosedScene
    scene_map: SceneMap
    run: RecordingRun
    result: QueryAnswer
    command: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def write_report(out: Path, finished: Finished) -> dict[str, Any]:
    """Write report.html, answers.json, cloud.ply and labels.ply.

    Args:
        out: folder, made if need be.
        finished: what to tell of.

    Returns:
        The content of answers.json.

    Raises:
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    snapshot = finished.scene_map.snapshot()
    write_clouds(out, finished.scene.name, snapshot, finished.result)
    sights = _best_views(finished, snapshot)
    content = record(finished, sights)
    with replacing(out / "answers.json") as file:
        file.write_text(json.dumps(content, indent=1))
    text = page(content, _pictures(finished, snapshot, sights))
    with replacing(out / "report.html") as file:
        file.write_text(text, encoding="utf-8")
    return content


def record(finished: Finished, sights: dict[tuple[int, int], Sight]) -> dict[str, Any]:
    """Return answers.json: all figures of the report.

    Args:
        finished: what to tell of.
        sights: best view per (text, box), both from 0.
    """
    scene, run = finished.scene, finished.run
    snapshot, status = finished.scene_map.snapshot(), finished.scene_map.status()
    answers = answer_record(finished.result)
    if tilted := tilt_warning(scene.poses[[image.index for image in run.images]]):
        # Boxes stand upright and plans look down along z: with another axis up both are odd.
        answers["warnings"].insert(0, tilted)
    for (text, box), sight in sights.items():
        if box < len(answers["texts"][text]["instances"]):
            answers["texts"][text]["instances"][box]["seen_in"] = sight.keyframe.name
            answers["texts"][text]["instances"][box]["keyframes"] = sight.views
    return {
        "format": FORMAT,
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": finished.command,
        "scene": {
            "name": scene.name,
            "source": scene.source,
            "width": scene.width,
            "height": scene.height,
            "depth": scene.has_depth and finished.scene_map.config.use_depth,
            "recorded_seconds": _rounded(run.recorded_seconds),
            "notes": list(scene.notes),
        },
        **answers,
        "images": {
            "count": len(run.images),
            "reasons": run.counts(),
            "problems": list(run.problems),
            "outcomes": [
                [scene.names[image.index], round(image.stamp, 6), image.reason]
                for image in run.images
            ],
        },
        "map": {
            "points": int(status["points"]),
            "keyframes": [_keyframe_record(keyframe) for keyframe in snapshot.keyframes],
            "evicted": int(status["evicted"]),
        },
        "seconds": {
            **{step: _rounded(value) for step, value in finished.seconds.items()},
            "map": _rounded(run.mapping_seconds),
            "speed": _rounded(run.speed),
            "stages": {stage: _statistics(values) for stage, values in run.stages.items()},
        },
        "memory_mib": {
            "map": _rounded(status["memory_mib"]),
            "bound": _rounded(status["memory_bound_mib"]),
            **_process_memory(),
        },
        "settings": {**finished.options, **asdict(finished.scene_map.config)},
        "versions": versions(finished.scene_map),
    }


def versions(scene_map: SceneMap) -> dict[str, str]:
    """Return what a later reader needs to make the same map."""
    found = {"govnesf": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    device = scene_map.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    found["device"] = f"{device} ({name})"
    found["cpu threads"] = str(torch.get_num_threads())
    found["system"] = f"{platform.system()} {platform.release()}"
    found["encoder"] = scene_map.vlm.key
    return found


def _best_views(finished: Finished, snapshot: MapSnapshot) -> dict[tuple[int, int], Sight]:
    config, found = finished.scene_map.config, {}
    for text, instances in enumerate(finished.result.instances):
        for box, instance in enumerate(instances):
            sight = best_view(snapshot, instance.indices, config)
            if sight is not None:
                found[text, box] = sight
    return found


def _pictures(
    finished: Finished, snapshot: MapSnapshot, sights: dict[tuple[int, int], Sight]
) -> Pictures:
    scene, result = finished.scene, finished.result
    photos: dict[int, tuple[str, str]] = {}
    for text in range(min(len(result.texts), MAX_PHOTOS)):
        made = (
            _found_photo(finished, snapshot, text, sights.get((text, 0)))
            if result.found[text]
            else _heat_photo(finished, snapshot, text)
        )
        if made is not None:
            photos[text] = made
    path = np.array([scene.poses[image.index][:3, 3] for image in finished.run.images])
    maps = [
        map_drawing(snapshot, result, path, elevation, title)
        for elevation, title in ((90.0, "the map from above"), (40.0, "the map from the side"))
    ]
    return Pictures(photos=photos, plan=maps[0], side=maps[1])


def _found_photo(
    finished: Finished, snapshot: MapSnapshot, text: int, sight: Sight | None
) -> tuple[str, str] | None:
    """Return a photo of a text's best box with its mask, and the name of the frame."""
    if sight is None:
        return None
    keyframe, table = sight.keyframe, finished.result.table
    rgb = _source_photo(finished.scene, keyframe)
    mask = mask_of_keyframe(
        keyframe,
        table.text_features,
        table.contrast_features,
        table.logit_scale,
        table.min_score,
        size=(rgb.shape[1], rgb.shape[0]),
        snapshot=snapshot,
    )
    K = keyframe.K if rgb is keyframe.rgb else finished.scene.K
    picture = photo_with_box(
        rgb,
        K,
        keyframe.T_world_camera,
        mask == text + 1,
        finished.result.instances[text],
        text + 1,
    )
    return jpeg_uri(picture), keyframe.name


def _heat_photo(finished: Finished, snapshot: MapSnapshot, text: int) -> tuple[str, str] | None:
    """Return where a text that was not found comes nearest to it, and the name of the frame."""
    table = finished.result.table
    words = (table.text_features, table.contrast_features, table.logit_scale)
    if finished.result.best[text] < NEAR_MISS:
        return None
    score = score_features(snapshot.features, *words)[:, text].cpu().numpy()
    rows = np.argsort(-score, kind="stable")[:_STRONGEST]
    sight = best_view(snapshot, rows, finished.scene_map.config)
    if sight is None:
        return None
    keyframe = sight.keyframe
    height, width, _ = keyframe.ov.shape
    cells = score_features(keyframe.ov.flatten(0, 1), *words)[:, text : text + 1]
    scores = upsample_scores(
        cells.view(height, width, 1), keyframe.ov_stride, keyframe.width, keyframe.height
    )
    photo = _source_photo(finished.scene, keyframe)
    return jpeg_uri(photo_with_heat(photo, scores[0].cpu().numpy())), keyframe.name


def _source_photo(scene: PosedScene, keyframe: Keyframe) -> np.ndarray:
    """Return the image of a keyframe as sharp as the scene has it."""
    try:
        return scene.reader.rgb(scene.names.index(keyframe.name))
    except (SceneError, OSError):  # was readable a moment ago: a disk that went away
        return keyframe.rgb


def _keyframe_record(keyframe: Keyframe) -> dict[str, Any]:
    return {
        "id": keyframe.id,
        "name": keyframe.name,
        "stamp": round(keyframe.stamp, 6),
        "T_world_camera": np.round(keyframe.T_world_camera.astype(np.float64), 6).tolist(),
    }


def _statistics(seconds: list[float]) -> dict[str, float | int]:
    values = np.array(seconds)
    return {
        "count": len(values),
        "total_s": round(float(values.sum()), 4),
        "median_ms": round(1e3 * float(np.median(values)), 2),
        "p95_ms": round(1e3 * float(np.percentile(values, 95)), 2),
    }


def _process_memory() -> dict[str, float]:
    peak = {"process_peak": _rounded(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        peak["gpu_peak"] = _rounded(torch.cuda.max_memory_allocated() / 2**20)
    return peak


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)
