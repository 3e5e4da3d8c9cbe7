"""`govnesf data check PATH`: is this scene fit for use? Sentences, one picture, an exit code.

govnesf data check recordings/kitchen --out kitchen.png
govnesf data check scannet/scans/scene0000_00 scannet/scannetv2_val.txt --frames 50
"""

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
from tqdm import tqdm

from govnesf_model.data.posed_scene import SceneError, open_scene


def add_check_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `check` command."""
    parser = subparsers.add_parser(
        "check",
        help="check scenes: poses, intrinsics, depth, labels, and whether they agree",
        description="Check scenes of any layout (docs/scenes.md); the exit code is 1 when "
        "something is wrong with one.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="scene, folder of scenes, or list of a split"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the picture (default: check.png, or "
        "check_NAME.png with several scenes)"
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=0, help="how many to read; 0: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report as JSON")
    parser.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """Check scenes, print what was found, draw the pictures."""
    from govnesf_model.data.readers import find_scenes

    reports: dict[str, dict] = {}
    try:
        paths = find_scenes(args.paths)
    except SceneError as error:
        print(f"wrong: {error}", file=sys.stderr)
        return 1
    for path in paths:
        reports[str(path)] = _check_one(path, args, several=len(paths) > 1)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(reports, indent=1))
    wrong = sum(bool(report["problems"]) for report in reports.values())
    if len(paths) > 1:
        print(f"{len(paths)} scenes, {wrong} with something wrong")
    return 1 if wrong else 0


def _check_one(path: Path, args: argparse.Namespace, several: bool) -> dict:
    from govnesf_model.data.check import check_scene
    from govnesf_model.data.check_picture import draw_check

    print(f"{path}")
    try:
        scene = open_scene(path)
    except SceneError as error:
        print(f"  wrong: {error}")
        return {"problems": [str(error)]}
    bar = lambda indices: tqdm(indices, scene.name, unit="frame", leave=False)  # noqa: E731
    report = check_scene(scene, args.frames, bar)
    for word, sentences in (
        ("", report.facts),
        ("unusual: ", report.warnings),
        ("wrong: ", report.problems),
    ):
        for sentence in sentences:
            print(f"  {word}{sentence}")
    if report.shares:
        shown = list(report.shares.items())[:12]
        print("  " + ", ".join(f"{name} {share:.1%}" for name, share in shown))
    out = args.out or Path("check.png")
    if several:
        name = re.sub(r"[^\w.-]+", "_", scene.name)
        out = out.with_name(f"{out.stem}_{name}{out.suffix or '.png'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out), draw_check(scene, report)[..., ::-1]):
        raise OSError(f"could not write {out}: is it a .png or .jpg file, and the disk not full?")
    print(f"  {'something is wrong' if report.problems else 'nothing is wrong'}; look at {out}")
    return asdict(report)
