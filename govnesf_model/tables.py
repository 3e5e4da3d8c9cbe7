"""`govnesf tables`: the paper's Tables 1 to 4 and figures, measured on scenes.

    govnesf tables SCENE [SCENE ...] --out DIR --vlm embedded --checkpoint small

writes DIR/tables.md (printed as well), tables.json and figures/SCENE.png. Rows that need what is
not there are dashes: depth or labels of the scenes, a field trained as the Distill baseline
(`--distill-checkpoint`), fields trained with parts of the method off (`--ablation FILE`, repeated;
each file says itself which parts it has). What is done is kept in DIR/scenes.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from govnesf_model import cluster
from govnesf_model.checkpoint import field_path, read_notes
from govnesf_model.cluster import ClusterOptions, ResultStore, Task, key_of
from govnesf_model.data.posed_scene import PosedScene, open_scene
from govnesf_model.evaluate import evaluate_scenes, named_scenes, sampling_notes
from govnesf_model.evaluation.figures import FigureJob, draw_scene
from govnesf_model.evaluation.options import TASKS, EvaluationOptions, add_options
from govnesf_model.evaluation.protocol import obstacle
from govnesf_model.evaluation.report import build_report, notes_of
from govnesf_model.evaluation.tables import (
    TABLE_1,
    TABLE_2,
    TABLE_3,
    Ablation,
    Book,
    Cell,
    markdown,
)
from govnesf_model.field_config import FieldConfig


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `tables`."""
    parser = subparsers.add_parser(
        "tables",
        help="print the paper's tables and draw its figures, measured on scenes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenes", nargs="+", metavar="SCENE", help="scenes or folders of scenes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results")
    parser.add_argument("--title", default="Evaluation", help="heading of the tables")
    parser.add_argument(
        "--ablation", action="append", default=[], metavar="FILE", help="field of Table 4; repeat"
    )
    parser.add_argument(
        "--figures", type=int, default=2, metavar="N", help="views drawn per scene; 0: none"
    )
    add_options(parser)
    cluster.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    options = EvaluationOptions.from_arguments(arguments, "2d")
    where = ClusterOptions.from_arguments(arguments)
    scenes = named_scenes(arguments.scenes)
    ablations = table_4_fields(options, arguments.ablation)
    book = measure(arguments.title, scenes, options, ablations, arguments.out / "scenes", where)
    text = markdown(book)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "tables.md").write_text(text)
    reports = [
        {"task": task, "method": method, "checkpoint": checkpoint, **report}
        for (task, method, checkpoint), report in book.reports.items()
    ]
    content = {"title": book.title, "settings": options.settings(), "notes": book.notes}
    (arguments.out / "tables.json").write_text(json.dumps(content | {"reports": reports}, indent=1))
    print(text)
    if arguments.figures > 0:
        draw(scenes, options, arguments.figures, arguments.out / "figures", where)
    print(f"written: {arguments.out / 'tables.md'}, tables.json")
    return 0


def table_4_fields(options: EvaluationOptions, files: Sequence[str]) -> list[Ablation]:
    """Return the fields of Table 4: those given, the Distill baseline, and ours."""
    names = [options.distill_checkpoint, *files, options.checkpoint]
    chosen = [name for name in dict.fromkeys(names) if name]
    return [
        Ablation(name, FieldConfig.from_json(read_notes(field_path(name))["config"]))
        for name in chosen
    ]


def measure(
    title: str,
    scenes: Mapping[str, str],
    options: EvaluationOptions,
    ablations: Sequence[Ablation],
    kept: Path,
    where: ClusterOptions = cluster.IN_PROCESS,
) -> Book:
    """Measure everything that the tables show.

    Args:
        title: heading.
        scenes: what `open_scene` takes, by name.
        options: the protocol; its task is not looked at.
        ablations: from `table_4_fields`.
        kept: folder in which results of scenes are kept.
        where: in this process or on a cluster.

    Raises:
        ValueError: models or scenes cannot be used, or nothing at all can be measured.
    """
    opened = {name: open_scene(path) for name, path in scenes.items()}
    reports: dict[Cell, dict] = {}
    notes: list[str] = []
    for checkpoint, task, methods in _plan(options, ablations):
        chosen = replace(options, task=task, checkpoint=checkpoint)
        store = ResultStore(kept / f"{Path(checkpoint).stem}-{key_of(checkpoint)[:6]}")
        for group, members in _by_scenes(opened, methods, chosen, notes).items():
            part = f"{len(group)} of {len(scenes)} scenes"
            print(f"{task}: {', '.join(members)} of {checkpoint} on {part}")
            some = {name: scenes[name] for name in group}
            rows = evaluate_scenes(some, members, chosen, store, where)
            for method in members:
                reports[task, method, checkpoint] = build_report(rows[method])
                notes += notes_of(rows[method])
    if not reports:
        raise ValueError("nothing can be measured: " + "; ".join(dict.fromkeys(notes)))
    if not options.distill_checkpoint:
        notes.append("the Distill baseline was not measured: no --distill-checkpoint was given")
    if len(ablations) == 1:
        notes.append("Table 4 has our field alone: no --ablation was given")
    notes += sampling_notes(replace(options, task="2d"))
    notes.append(
        f"3D points are {options.voxel} m apart; with depth, a view is masked where depths differ "
        f"by more than {100 * options.depth_tolerance:g} %"
    )
    return Book(title, options, reports, ablations, list(dict.fromkeys(notes)))


def draw(
    scenes: Mapping[str, str],
    options: EvaluationOptions,
    views: int,
    folder: Path,
    where: ClusterOptions = cluster.IN_PROCESS,
) -> None:
    """Draw target views of all scenes that have some into FOLDER/NAME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        Task(name, "", FigureJob(path, options, views))
        for name, path in scenes.items()
        if open_scene(path).target
    ]
    for task, picture in cluster.run_tasks(draw_scene, tasks, where, "figures"):
        file = folder / (re.sub(r"[^\w.-]+", "_", task.name) + ".png")
        cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        print(f"drawn: {file}")


def _plan(
    options: EvaluationOptions, ablations: Sequence[Ablation]
) -> list[tuple[str, str, list[str]]]:
    """Return checkpoint, task and methods of all that has to be measured."""
    ours = options.checkpoint
    rows = {
        "2d": [method for method, _ in TABLE_1],
        "3d": [method for method, _, _ in TABLE_2],
        "nvs": [method for method, _ in TABLE_3],
    }
    rows["2d"].append("govnesf_dgm")  # the last row of Table 4
    if not options.distill_checkpoint:
        rows = {task: [m for m in methods if m != "distill"] for task, methods in rows.items()}
    plan = [(ours, task, rows[task]) for task in TASKS]
    for ablation in ablations:
        if ablation.checkpoint not in (ours, options.distill_checkpoint):
            plan += [(ablation.checkpoint, task, ["govnesf"]) for task in ("2d", "3d")]
    return plan


def _by_scenes(
    scenes: Mapping[str, PosedScene],
    methods: Sequence[str],
    options: EvaluationOptions,
    notes: list[str],
) -> dict[tuple[str, ...], list[str]]:
    """Return the methods by the scenes that they can be measured on; the others are noted."""
    groups: dict[tuple[str, ...], list[str]] = {}
    gaps: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for method in methods:
        problems = {name: obstacle(scene, method, options) for name, scene in scenes.items()}
        fit = tuple(name for name, problem in problems.items() if problem is None)
        if fit:
            groups.setdefault(fit, []).append(method)
        for name, problem in problems.items():
            if problem is not None:
                without, where = gaps.setdefault(problem, ({}, {}))
                without[method] = where[name] = None
    for problem, (without, where) in gaps.items():
        some = ", ".join([*list(where)[:3], *(["..."] if len(where) > 3 else [])])
        notes.append(
            f"{options.task}, {', '.join(without)}: {len(where)} of {len(scenes)} scenes are left "
            f"out ({some}): each {problem}"
        )
    return groups
