"""How far a map without depth camera lies off the true surface, and what a keyframe of it costs.

    python -m benchmarks.blind_map --threads 2
    python -m benchmarks.blind_map --scene DIR --stride 3        # any posed scene with depth

A map is grown from colours and poses alone. Its points are compared with those of the scene's true
depth: how far each lies off the nearest of them, and what part of the surface has a point near. It
is grown twice: with density from where it matters, as the map does, and with all of it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from tqdm import tqdm

from govnesf_model import map_depth
from govnesf_model.bench_scene import prepared
from govnesf_model.checkpoint import load_field
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.map_points import points_from_depth
from govnesf_model.rendering import sample_weights
from govnesf_model.scene_map import MapConfig, SceneMap
from govnesf_model.vlm import load_vlm

VIEWS = 95  # of the room that is rendered
STEP = 2  # pixels between true points
NEAR = 0.05  # metres within which a place of the surface counts as mapped
LAST = 15  # keyframes whose stages are shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scene", type=Path, help="a posed scene with depth; else a room")
    parser.add_argument("--stride", type=int, default=2, help="every so many-th frame")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--field", default="small")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| density | keyframes | off, median | off, 90 % | off by > 10 cm | mapped | keyframe |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    lean = map_depth.opaque_weights
    with prepared(arguments.scene, VIEWS) as scene:
        frames = range(0, len(scene), arguments.stride)
        for name, weights in (("where it matters", lean), ("all", _all_density)):
            map_depth.opaque_weights = weights
            stages = _grow(scene, frames, arguments.field, name)
            parts = ", ".join(f"{k} {1e3 * v:.0f}" for k, v in stages.items() if k != "total")
            print(f"<!-- {name}: ms per stage of the last {LAST}: {parts} -->")
    map_depth.opaque_weights = lean


def _grow(scene: PosedScene, frames: range, field: str, name: str) -> dict[str, float]:
    """Print lines while a map grows; return the seconds per stage of the last keyframes."""
    scene_map = SceneMap(load_field(field), load_vlm("embedded"), MapConfig(use_depth=False))
    marks = {len(frames) * part // 4 for part in (1, 2, 4)}
    truth, stages = [], []
    for number, index in enumerate(tqdm(frames, desc=name, leave=False), 1):
        frame = scene[index]
        pose = frame.T_world_camera.astype(np.float32)
        near, far = scene_map.config.min_depth, scene_map.config.max_depth
        truth.append(points_from_depth(frame.rgb, frame.depth, frame.K, pose, STEP, near, far)[0])
        stages.append(scene_map.add(replace(frame, depth=None, stamp=float(number))).seconds)
        if number in marks:
            mean = {k: float(np.mean([s[k] for s in stages[-LAST:]])) for k in stages[-1]}
            off = _off(scene_map.snapshot().xyz, np.concatenate(truth))
            print(f"| {name} | {number} | {off} | {mean['total']:.2f} s |")
    return mean


def _off(found: np.ndarray, truth: np.ndarray) -> str:
    if not len(found):
        return "- | - | - | 0 %"
    off, _ = cKDTree(truth).query(found)
    back, _ = cKDTree(found).query(truth[::20])
    median, most = 100 * np.quantile(off, (0.5, 0.9))
    share, mapped = 100 * (off > 0.1).mean(), 100 * (back < NEAR).mean()
    return f"{median:.1f} cm | {most:.1f} cm | {share:.0f} % | {mapped:.0f} %"


def _all_density(field, volume, origins, directions, t, end) -> torch.Tensor:
    return sample_weights(field, volume, origins, directions, t, end)[0]


if __name__ == "__main__":
    main()
