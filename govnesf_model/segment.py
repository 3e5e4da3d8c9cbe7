"""`govnesf segment`: find things by text in a posed scene, without ROS.

    govnesf segment SCENE --text mug --text table --out DIR

writes into DIR: cloud.ply (photo colours, label, relevancy), labels.ply (the same in the colours of
the labels), label/NAME.png (0 none, i = the i-th text), boxes.json and contact_sheet.png.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from govnesf_model.answer_files import answer_record, write_clouds
from govnesf_model.checkpoint import load_field
from govnesf_model.data.posed_scene import PosedScene, open_scene
from govnesf_model.pictures import contact_sheet
from govnesf_model.query import Query, QueryAnswer, answer, encode_query
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_model.segmentation import mask_of_keyframe
from govnesf_model.vlm import VLM_HELP, load_vlm

MAX_KEYFRAMES = 128  # offline there is no hurry, but memory still has an end
SHEET_PHOTOS = 8


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `segment`."""
    parser = subparsers.add_parser(
        "segment",
        help="find things by text in a posed scene",
        description="Build a map from the reference frames of a posed scene and ask it.",
    )
    parser.add_argument("scene", type=Path, help="a scene, of any layout in docs/scenes.md")
    add_question_arguments(parser)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every N-th frame")
    add_map_arguments(parser)
    parser.set_defaults(run=run)


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that asks a map; `query_of` reads them."""
    parser.add_argument(
        "--text", action="append", required=True, metavar="WORDS", help="what to find; repeat it"
    )
    parser.add_argument(
        "--contrast", action="append", default=[], metavar="WORDS", help="a word for something else"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results")
    parser.add_argument("--min-score", type=float, default=0.0, help="0..1; 0: the encoder's own")
    parser.add_argument("--max-instances", type=int, default=0, help="boxes per text; 0: ten")


def query_of(arguments: argparse.Namespace) -> Query:
    """Return what the options ask for."""
    return Query(
        texts=tuple(arguments.text),
        contrast=tuple(arguments.contrast),
        min_score=arguments.min_score,
        max_instances=arguments.max_instances,
    )


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that builds a map."""
    parser.add_argument("--vlm", default="embedded", help=VLM_HELP)
    parser.add_argument(
        "--checkpoint", default="small", help="field: a name or a .safetensors file"
    )
    parser.add_argument("--voxel-size", type=float, default=0.03, help="point spacing in metres")
    parser.add_argument("--no-depth", action="store_true", help="do not use measured depth")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    scene = open_scene(arguments.scene)
    query = query_of(arguments)
    scene_map = empty_map(arguments)
    encode_query(scene_map.vlm, query)  # a bad query is told before the work, not after
    fill_map(scene_map, scene, scene.reference[:: max(1, arguments.every)])
    result = answer(scene_map.snapshot(), scene_map.vlm, query)
    write_results(arguments.out, scene, scene_map, result)
    for line in result.message.split("; "):
        print(line)
    print(f"look at {arguments.out / 'contact_sheet.png'}")
    return 0


def empty_map(arguments: argparse.Namespace) -> SceneMap:
    """Load the models that the arguments name and return an empty map."""
    if arguments.voxel_size <= 0:
        raise ValueError(f"--voxel-size is {arguments.voxel_size}: it is a length in metres")
    config = MapConfig(
        max_keyframes=MAX_KEYFRAMES,
        memory_mib=8192.0,
        voxel_size=arguments.voxel_size,
        use_depth=not arguments.no_depth,
    )
    field = load_field(arguments.checkpoint, arguments.device)
    return SceneMap(field, load_vlm(arguments.vlm, field.device), config)


def fill_map(scene_map: SceneMap, scene: PosedScene, indices: Sequence[int]) -> None:
    """Add frames to a map, with a progress bar."""
    if not indices:
        raise ValueError(f"scene {scene.name} has no reference frames to build a map from")
    for index in tqdm(indices, desc=f"{scene.name}: mapping", unit="frame"):
        frame = scene[index]
        scene_map.add(frame if frame.stamp is not None else replace(frame, stamp=float(index)))


def write_results(out: Path, scene: PosedScene, scene_map: SceneMap, result: QueryAnswer) -> None:
    """Write clouds, masks, boxes and the picture."""
    (out / "label").mkdir(parents=True, exist_ok=True)
    snapshot, table = scene_map.snapshot(), result.table
    write_clouds(out, scene.name, snapshot, result)
    boxes = {"scene": scene.name, **answer_record(result)}
    (out / "boxes.json").write_text(json.dumps(boxes, indent=1))

    photos = []
    shown = set(np.linspace(0, len(snapshot.keyframes) - 1, SHEET_PHOTOS).round().astype(int))
    for number, keyframe in enumerate(tqdm(snapshot.keyframes, desc="masks", unit="frame")):
        mask = mask_of_keyframe(
            keyframe,
            table.text_features,
            table.contrast_features,
            table.logit_scale,
            table.min_score,
            size=keyframe.source_size,
            snapshot=snapshot,
        )
        cv2.imwrite(str(out / "label" / f"{keyframe.name}.png"), mask)
        if number in shown:
            small = cv2.resize(
                mask, (keyframe.width, keyframe.height), interpolation=cv2.INTER_NEAREST
            )
            photos.append((keyframe.name, keyframe.rgb, small))
    notes = [
        f"{len(found)} found, score {found[0].score:.2f}"
        if found
        else f"not found (best {best:.2f})"
        for found, best in zip(result.instances, result.best, strict=True)
    ]
    sheet = contact_sheet(
        photos,
        snapshot.xyz,
        snapshot.rgb,
        result.label,
        result.instances,
        result.texts,
        notes,
    )
    cv2.imwrite(str(out / "contact_sheet.png"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
