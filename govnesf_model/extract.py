"""Fill the cache of open-vocabulary maps before a training or an evaluation needs it.

    govnesf extract rooms/train scannet/scene0000_00 --vlm lseg:lseg.safetensors

What is there, intact, is not computed again: after an interruption give the same command. With
`--ray ADDRESS` scenes are shared out over a cluster, whose machines must see the scenes, the
weights and the cache ($GOVNESF_CACHE) at the same paths.
"""

import argparse
import functools
from pathlib import Path

from . import cluster
from .cluster import ClusterOptions, Task, TasksFailed, run_tasks
from .data.posed_scene import SceneError, open_scene
from .data.readers import find_scenes
from .ov_features import FillReport, OvCache
from .scene_tensors import spread

SIZE = (320, 240)  # as the presets of `govnesf train` have it


def extract_scene(
    folder: str | Path,
    vlm: str,
    size: tuple[int, int] = SIZE,
    views: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> FillReport:
    """Fill the cache for one scene; a whole job that any process can do.

    Args:
        folder: a posed folder.
        vlm: as `load_vlm` takes it; loaded once per process.
        size: (width, height) that images are brought to.
        views: at most this many frames, evenly spread, as training picks them; 0 takes all.
        device: where the encoder computes.
        progress: show a bar over frames.

    Raises:
        SceneError: the scene cannot be read.
    """
    scene = open_scene(folder)
    chosen = spread(range(len(scene)), views) if views else list(range(len(scene)))
    return _cache(vlm, size, device).fill(scene, chosen, progress)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `extract`."""
    parser = subparsers.add_parser(
        "extract", help="compute a vision-language model's features of scenes, for training"
    )
    parser.add_argument("scenes", nargs="+", type=Path, help="scenes, folders or lists of them")
    parser.add_argument("--vlm", required=True, help="the encoder, as everywhere")
    parser.add_argument("--size", nargs=2, type=int, default=SIZE, metavar=("W", "H"))
    parser.add_argument("--views", type=int, default=100, help="frames per scene; 0 for all")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    cluster.add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    folders = find_scenes(arguments.scenes)
    size = (arguments.size[0], arguments.size[1])
    where = ClusterOptions.from_arguments(arguments)
    if not where.address:  # elsewhere the encoder is loaded there
        cache = _cache(arguments.vlm, size, arguments.device)
        print(f"{len(folders)} scenes, {cache.dim} values per {cache.stride} px: {cache.root}")
    settings = (arguments.vlm, size, arguments.views, arguments.device, not where.address)
    tasks = [Task(str(folder), "", (folder, *settings)) for folder in folders]
    reports, failed = [], ""
    try:
        for _, report in run_tasks(_extract, tasks, where):
            reports.append(report)
    except (TasksFailed, SceneError) as error:
        failed = str(error)
    computed = sum(report.computed for report in reports)
    reused = sum(report.reused for report in reports)
    size_mib = sum(report.mebibytes for report in reports)
    print(f"{computed} frames computed, {reused} were there, {size_mib:.0f} MiB")
    if failed:
        print(f"left out: {failed}")
    return 1 if failed else 0


def _extract(arguments: tuple) -> FillReport:
    return extract_scene(*arguments)


@functools.lru_cache(maxsize=1)
def _cache(vlm: str, size: tuple[int, int], device: str) -> OvCache:
    return OvCache(vlm, size, device)
