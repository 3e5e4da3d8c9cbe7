"""How the online map grows, keyframe by keyframe, follows a loop closure, and answers.

rows = growth(bench, meter, amounts)
rows += query(bench, part, meter, amounts)
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from .bench_cases import LABEL_CHUNK, Amounts
from .bench_meter import Meter, Row
from .bench_scene import BenchScene, Part
from .blending import blend_semantic
from .contrast_totals import ContrastTotals
from .feature_blocks import FeatureBlocks
from .keyframes import MapConfig, MapSnapshot
from .query import Query, QueryAnswer, answer
from .scene_map import SceneMap

CORRECTED = 64  # keyframes whose poses a loop closure replaces
ROOMS = 3
MAP_POINTS = 200_000


@torch.no_grad()
def query(bench: BenchScene, part: Part, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure questions to a map of many points; texts and contrast words are encoded before."""
    snapshot = big_snapshot(bench, part)
    totals = ContrastTotals.of(snapshot, bench.vlm)
    texts = bench.texts
    rows = []
    for count in (1, len(texts)):
        asked = Query(texts[:count])
        ways = {
            "contrast kept": (totals, totals.forget_queries),
            "asked again": (totals, lambda: None),
            "contrast anew": (None, lambda: None),
        }
        for name, (kept, before) in ways.items():

            def ask(asked: Query = asked, kept=kept, before=before) -> QueryAnswer:
                before()
                return answer(snapshot, bench.vlm, asked, kept)

            row = meter.row(
                f"query {len(snapshot.xyz)} points, {count} text{'s' * (count > 1)}, {name}",
                ask,
                amounts.repeats,
            )
            result = ask()
            row.values = {"boxes": float(sum(map(len, result.instances)))}
            rows.append(row)
    return rows


@torch.no_grad()
def growth(bench: BenchScene, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure keyframes one after another through three rooms in a row.

    The rooms are the scene, moved by its width: their images are the same, their places are not.
    """
    rows, scene_map = _grown(bench, meter, amounts, amounts.keyframes, "")
    rows += [correction(scene_map, meter), correction(scene_map, meter, ", the next one")]
    del scene_map
    if bench.source[0].depth is not None:
        rows += _grown(bench, meter, amounts, amounts.blind, " without depth")[0]
    return rows


def _grown(
    bench: BenchScene, meter: Meter, amounts: Amounts, count: int, kind: str
) -> tuple[list[Row], SceneMap]:
    """Return the rows of a map of so many keyframes, and the map."""
    config = MapConfig(max_keyframes=amounts.held, use_depth=not kind)
    scene_map = SceneMap(bench.field, bench.vlm, config)
    width = float(bench.grid.upper[0] - bench.grid.lower[0]) + 0.5
    seconds, busy, stages, memory, points = [], [], [], [], []
    before = meter.start_memory()
    for number in tqdm(range(count), desc=f"map{kind}", leave=False):
        frame = bench.source[number % len(bench.source)]
        pose = frame.T_world_camera.copy()
        pose[0, 3] += width * (number * ROOMS // count)
        moved = replace(frame, index=number, stamp=float(number), T_world_camera=pose)
        wall, processor = meter.timed(
            lambda moved=moved: stages.append(scene_map.add(moved).seconds)
        )
        status = scene_map.status()
        seconds.append(wall)
        busy.append(processor / wall / torch.get_num_threads())
        memory.append(float(status["memory_mib"]))
        points.append(float(status["points"]))
    peak = meter.peak_since(before)
    few = max(3, min(100, count // 6))
    warm = min(amounts.held, count // 4)  # until the map holds all that it may
    first, last = (float(np.mean(part)) for part in (seconds[warm : warm + few], seconds[-few:]))
    share = float(np.mean(busy[-few:]))
    row = Row(f"keyframe{kind} of {count}, the last {few}", last, share, peak)
    row.values = {
        f"first {few} s": first,
        "last / first": last / first,
        "map MiB": max(memory),
        "bound MiB": config.memory_mib,
        "points": points[-1],
        "held": float(scene_map.status()["keyframes"]),
    }
    row.series = {"seconds": seconds, "MiB": memory, "points": points}
    slow = {name: float(np.mean([s[name] for s in stages[-few:]])) for name in stages[-1]}
    parts = [
        Row(f"keyframe{kind}: {name}", value, share)
        for name, value in slow.items()
        if name != "total"
    ]
    return [row, *parts], scene_map


def correction(scene_map: SceneMap, meter: Meter, kind: str = "") -> Row:
    """Measure a loop closure: the newest keyframes turn out to stand elsewhere, the last most.

    The first needs memory that the process never had, which costs a virtual machine much.
    """
    newest = scene_map.snapshot().keyframes[-CORRECTED:]
    poses = {
        keyframe.id: _drifted(keyframe.T_world_camera, (place + 1) / len(newest))
        for place, keyframe in enumerate(newest)
    }
    row = meter.row(
        f"pose correction of {len(poses)} keyframes{kind}",
        lambda: scene_map.replace_poses(poses),
        1,
    )
    row.values = {"points": float(scene_map.status()["points"])}
    return row


def _drifted(T_world_camera: Float[np.ndarray, "4 4"], share: float) -> Float[np.ndarray, "4 4"]:
    """Return a pose after a part of 25 cm and 3 degrees of drift."""
    angle = np.radians(3.0) * share
    moved = T_world_camera.astype(np.float64).copy()
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    moved[:3, :3] = turn @ moved[:3, :3]
    moved[:3, 3] += share * np.array([0.2, -0.15, 0.0])
    return moved


def big_snapshot(bench: BenchScene, part: Part) -> MapSnapshot:
    """Return a map of many points: the scene's, as often as it takes, side by side."""
    config = MapConfig()
    points = bench.surface_points(MAP_POINTS, seed=3)
    cell = (points / config.voxel_size).floor().long()
    _, first = np.unique(cell.cpu().numpy(), axis=0, return_index=True)
    points = points[torch.from_numpy(first).to(points.device)]
    features = torch.cat(
        [
            blend_semantic(bench.field.blend(some, part.views, part.volume), some, part.views)
            for some in points.split(LABEL_CHUNK)
        ]
    ).float()
    features = torch.nn.functional.normalize(features, dim=1).half()
    copies = -(-MAP_POINTS // len(points))
    width = float(bench.grid.upper[0] - bench.grid.lower[0]) + 0.5
    step = torch.tensor([width, 0.0, 0.0], device=points.device)
    xyz = torch.cat([points + copy * step for copy in range(copies)])[:MAP_POINTS].cpu().numpy()
    return replace(
        MapSnapshot.empty(features.shape[1], config.voxel_size, version=1),
        xyz=xyz,
        rgb=np.zeros((len(xyz), 3), np.uint8),
        features=FeatureBlocks.of(features.repeat(copies, 1)[:MAP_POINTS]),
        confidence=np.ones(len(xyz), np.float32),
    )
