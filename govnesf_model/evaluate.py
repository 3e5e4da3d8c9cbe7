"""`govnesf evaluate`: 2D and 3D segmentation and novel views, measured on posed scenes.

    govnesf evaluate SCENE [SCENE ...] --task 3d --vlm embedded --checkpoint small --json FILE

* 2d: every labelled target frame is rendered from the reference frames; the prediction for a pixel
  is the best of the scene's class names.
* 3d: the surface points of the labelled reference frames (depth and label, one point per voxel, the
  majority decides) are labelled from the reference frames.
* nvs: the colours of the target frames, PSNR, SSIM and LPIPS; and depth where the scene has it.

The JSON holds `scenes` (each), `mean` (over scenes) and `pooled` (all pixels or points together);
with several methods, `methods` holds these for each. Results of scenes are kept in a folder beside
it: a run that was cut off goes on where it stopped.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from govnesf_model import cluster
from govnesf_model.baselines import METHODS
from govnesf_model.cluster import IN_PROCESS, ClusterOptions, ResultStore, Task, key_of
from govnesf_model.data.posed_scene import PosedScene, open_scene
from govnesf_model.data.readers import find_scenes
from govnesf_model.evaluation.models import load_models, models_key
from govnesf_model.evaluation.options import TASKS, EvaluationOptions, add_options
from govnesf_model.evaluation.protocol import check
from govnesf_model.evaluation.report import build_report, notes_of, print_reports
from govnesf_model.evaluation.scene_job import SceneJob, evaluate_job

_VERSION = 1  # of what is measured; kept results of another version are measured again


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure segmentation and novel views on posed scenes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="methods:\n" + "\n".join(f"  {name:14} {text}" for name, text in METHODS.items()),
    )
    parser.add_argument("scenes", nargs="+", metavar="SCENE", help="scenes or folders of scenes")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="results")
    parser.add_argument(
        "--method",
        action="append",
        choices=tuple(METHODS),
        help="see below; may be repeated, default govnesf",
    )
    add_options(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="measure anew what is kept beside the JSON"
    )
    cluster.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command: print a table, write the JSON."""
    options = EvaluationOptions.from_arguments(arguments, arguments.task)
    methods = tuple(dict.fromkeys(arguments.method or ["govnesf"]))
    scenes = named_scenes(arguments.scenes)
    store = ResultStore(arguments.json.with_name(f"{arguments.json.name}.scenes"))
    rows = evaluate_scenes(
        scenes, methods, options, store, ClusterOptions.from_arguments(arguments), arguments.fresh
    )
    reports = {method: build_report(rows[method]) for method in methods}
    report: dict = dict(reports[methods[0]]) if len(methods) == 1 else {"methods": reports}
    report["settings"] = options.settings() | {"method": list(methods)}
    report["notes"] = list(
        dict.fromkeys(note for method in methods for note in notes_of(rows[method]))
    )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1))
    print_reports(reports)
    for note in [*report["notes"], *sampling_notes(options)]:
        print(f"note: {note}")
    return 0


def evaluate_scenes(
    scenes: Mapping[str, str],
    methods: Sequence[str],
    options: EvaluationOptions,
    store: ResultStore,
    where: ClusterOptions = IN_PROCESS,
    fresh: bool = False,
) -> dict[str, dict[str, dict]]:
    """Return a row of figures per method and scene; what the store holds is not measured again.

    Args:
        scenes: what `open_scene` takes, by the name that reports use.
        methods: of `baselines.METHODS`.
        options: the protocol.
        store: where rows are kept.
        where: in this process or on a cluster.
        fresh: do not look into the store.

    Raises:
        ValueError: before any work for what cannot be measured; after it for scenes that failed.
    """
    opened = {name: open_scene(path) for name, path in scenes.items()}
    for scene in opened.values():
        check(scene, methods, options)
    models = load_models(options, methods)
    networks = {method: models_key(models, options, method) for method in methods}
    keys = {
        (name, method): key_of(_VERSION, method, _settings(options), networks[method], state)
        for name, state in ((name, _state_of(scene)) for name, scene in opened.items())
        for method in methods
    }
    rows: dict[str, dict[str, dict]] = {method: {} for method in methods}
    tasks = []
    for name, path in scenes.items():
        missing = []
        for method in methods:
            title = _title(name, method, options)
            row = None if fresh else store.read(title, keys[name, method])
            if row is None:
                missing.append(method)
            else:
                rows[method][name] = row
        if missing:
            tasks.append(Task(name, "", SceneJob(path, tuple(missing), options)))
    done = sum(map(len, rows.values()))
    if done:
        print(f"{done} of {len(keys)} results are there already: {store.folder} (or use --fresh)")
    for task, measured in cluster.run_tasks(evaluate_job, tasks, where):
        for method, row in measured.items():
            title = _title(task.name, method, options)
            store.write(title, keys[task.name, method], row)
            rows[method][task.name] = row
    # In the order of the command line, wherever they came from.
    return {method: {name: rows[method][name] for name in scenes} for method in methods}


def named_scenes(paths: Sequence[str]) -> dict[str, str]:
    """Find scenes, named by their folders, or by their whole paths where folders share a name.

    Args:
        paths: scenes, folders of scenes, or lists of them, see `readers.find_scenes`.

    Raises:
        SceneError: a path has no scene, or one cannot be read.
    """
    paths = [str(path) for path in find_scenes(paths)]
    names = [open_scene(path).name for path in paths]
    return dict(zip(names if len(set(names)) == len(names) else paths, paths, strict=True))


def sampling_notes(options: EvaluationOptions) -> list[str]:
    """Return sentences about options that make figures differ from those of whole views."""
    notes = []
    if options.rays_per_view and options.task != "3d":
        notes.append(
            f"figures are over {options.rays_per_view} pixels of each view, drawn with seed "
            f"{options.seed}, the same for every method"
        )
    if options.target_width != options.width and options.task != "3d":
        notes.append(f"views were rendered at a width of {options.target_width} pixels")
    return notes


def _title(name: str, method: str, options: EvaluationOptions) -> str:
    return f"{name} {options.task} {method}"


def _settings(options: EvaluationOptions) -> dict[str, object]:
    """Return what of the options decides a figure, a file of prompts with its content."""
    where = ("device", "keep_features")
    settings = {key: value for key, value in options.settings().items() if key not in where}
    prompts = Path(options.prompts)
    return settings | {"words": prompts.read_text() if prompts.is_file() else ""}


def _state_of(scene: PosedScene) -> list[object]:
    """Return what changes when a scene's files or the frames that are read from them change."""
    root = scene.root
    paths = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    frames = [scene.names, scene.poses.tolist(), scene.K.tolist(), scene.width, scene.height]
    split = [list(scene.reference), list(scene.target), scene.classes, scene.other]
    return [str(root.resolve()), files, frames, split, sorted(scene.ignore)]
