"""`govnesf map`: a recording in, a map, its answers and a report out, without ROS.

    govnesf map drive_01 --text mug --text chair --out found

The images go through the map's keyframe gate as on the robot, as fast as the machine can. Written
into the folder: report.html (look at this first), answers.json, cloud.ply and labels.ply.
"""

import argparse
import shlex
import sys
from pathlib import Path
from time import perf_counter

from govnesf_model.checkpoint import load_field
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.map_recording import RecordingRun, map_recording
from govnesf_model.map_report import Finished, write_report
from govnesf_model.query import answer, clean_texts, encode_query
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_model.segment import add_map_arguments, add_question_arguments, query_of
from govnesf_model.vlm import load_vlm


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `map`."""
    parser = subparsers.add_parser(
        "map",
        help="map a recording, ask it, and write a report",
        description="Run a rosbag2 (MCAP or sqlite3) or any posed scene through the online map "
        "with its keyframe gate, ask for texts, and write a report page, answers and clouds.",
    )
    parser.add_argument(
        "recording", type=Path, help="a bag or a scene of any layout in docs/scenes.md"
    )
    add_question_arguments(parser)
    add_map_arguments(parser)
    gate = MapConfig()
    parser.add_argument(
        "--max-keyframes", type=int, default=128, help="keyframes held at most (128)"
    )
    parser.add_argument(
        "--min-translation",
        type=float,
        default=gate.min_translation,
        metavar="METRES",
        help=f"movement that makes a new keyframe ({gate.min_translation:g})",
    )
    parser.add_argument(
        "--min-rotation",
        type=float,
        default=gate.min_rotation,
        metavar="DEGREES",
        help=f"rotation that makes a new keyframe ({gate.min_rotation:g})",
    )
    parser.add_argument(
        "--rate", type=float, default=5.0, help="images a second where a scene has no times (5)"
    )
    parser.add_argument(
        "--memory", type=float, default=2048.0, metavar="MIB", help="bound on the map (2048)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    config = _config(arguments)
    query = query_of(arguments)
    clean_texts(query.texts)  # told before anything is loaded
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out {arguments.out} is a file: give a folder for the results")
    start = perf_counter()
    scene = open_scene(arguments.recording)
    opened = perf_counter()
    field = load_field(arguments.checkpoint, arguments.device)
    scene_map = SceneMap(field, load_vlm(arguments.vlm, field.device), config)
    encode_query(scene_map.vlm, query)  # a bad query is told before the work, not after
    loaded = perf_counter()
    arguments.out.mkdir(parents=True, exist_ok=True)
    done = map_recording(scene_map, scene, scene.reference, arguments.rate)
    result = answer(scene_map.snapshot(), scene_map.vlm, query)
    finished = Finished(
        scene,
        scene_map,
        done,
        result,
        command=shlex.join(["govnesf", *sys.argv[1:]]),
        options={
            "vlm": arguments.vlm,
            "checkpoint": arguments.checkpoint,
            "contrast": list(query.contrast),
        },
        seconds={"open": opened - start, "load": loaded - opened, "query": result.seconds},
    )
    content = write_report(arguments.out, finished)
    answers = [line for line in result.message.split("; ") if line not in result.warnings]
    for line in (*done.problems, *content["warnings"], *answers, describe_speed(done)):
        print(line)
    print(f"look at {arguments.out / 'report.html'}")
    return 0


def describe_speed(done: RecordingRun) -> str:
    """Return a sentence on how many images were mapped how fast."""
    used = done.counts()["accepted"]
    text = f"{used} keyframes of {len(done.images)} images in {done.mapping_seconds:.1f} s"
    if done.speed is None:
        return text
    return f"{text}: {done.speed:.2f} x real time ({done.recorded_seconds:.1f} s recorded)"


def _config(arguments: argparse.Namespace) -> MapConfig:
    for name, least in (
        ("voxel_size", 1e-9),
        ("rate", 1e-9),
        ("memory", 64.0),
        ("max_keyframes", 2),
        ("min_translation", 0.0),
        ("min_rotation", 0.0),
    ):
        value = getattr(arguments, name)
        if not value >= least:  # also catches NaN
            wanted = "more than 0" if 0 < least < 1 else f"{least:g} or more"
            raise ValueError(f"--{name.replace('_', '-')} is {value:g}: it must be {wanted}")
    return MapConfig(
        max_keyframes=arguments.max_keyframes,
        memory_mib=arguments.memory,
        min_translation=arguments.min_translation,
        min_rotation=arguments.min_rotation,
        voxel_size=arguments.voxel_size,
        use_depth=not arguments.no_depth,
    )
