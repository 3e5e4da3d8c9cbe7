"""Time and memory of the field on a posed folder: ratios to the plain form first.

    python -m benchmarks.field SCENE --views 16 30 --json field.json

The plain form queries all samples from all views ("exact" in rendering.py). It is timed on some of
the rays and scaled up. Medians of several runs; features are random, of `--dim` channels at stride
4 in float16, since no time depends on their values.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from govnesf_model.blending import blend_semantic, project_text
from govnesf_model.cameras import Camera
from govnesf_model.checkpoint import load_field
from govnesf_model.cost_volume import VolumeGrid
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.field_validation import build_scene
from govnesf_model.rendering import render_image, render_rays
from govnesf_model.scene_tensors import load_scene
from govnesf_model.train_data import seen_bounds

SIZE = (320, 240)
EXACT_RAYS = 512
POINTS = 100_000
TEXTS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--views", type=int, nargs="+", default=[16, 30])
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    field = load_field(arguments.checkpoint)
    scene = open_scene(arguments.scene)
    report: dict[str, float] = {"threads": torch.get_num_threads(), "dim": arguments.dim}
    with torch.no_grad():
        for count in arguments.views:
            step = max(1, len(scene) // count)
            measured = measure(
                field, scene, list(range(0, len(scene), step))[:count], arguments.dim
            )
            report |= {f"{name} [{count} views]": value for name, value in measured.items()}
    report["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, value in report.items():
        print(f"{name:58s} {value:12.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


def measure(field, scene, indices: list[int], dim: int) -> dict[str, float]:
    """Return seconds (and ratios) for one number of reference views."""
    refs = load_scene(scene, SIZE, indices)
    colors = refs.colors()
    lower, upper = seen_bounds(refs)
    grid = VolumeGrid.around(lower - 0.2, upper + 0.2, field.config.voxel_size)
    cost = field.empty_volume(grid)
    maps = field.encode_images(colors[:1])
    one = (maps.volume[0], refs.K[0], refs.T_world_camera[0], *SIZE)
    result = {
        "encode a view, s": median(lambda: field.encode_images(colors[:1])),
        "add a view, s": median(lambda: cost.add_view(*one)),
        "voxels": grid.cells,
    }
    views, volume = build_scene(field, refs)
    full = field.empty_volume(grid)
    full.add_view(*one)
    result["U-Net pass, s"] = median(lambda: field.volume_features(full))
    cells = (len(refs), -(-SIZE[1] // 4), -(-SIZE[0] // 4))
    views.ov = torch.nn.functional.normalize(torch.randn(*cells, dim), dim=-1).half()
    text = torch.nn.functional.normalize(torch.randn(TEXTS, dim), dim=-1)
    camera = Camera(refs.K[1], refs.T_world_camera[1], *SIZE)
    color = median(lambda: render_image(field, views, volume, camera), 1)
    texts = median(
        lambda: render_image(field, views, volume, camera, text_features=text, want_color=False), 1
    )
    result["render 320x240 colour and depth, s"] = color
    result[f"render 320x240 scores of {TEXTS} texts, s"] = texts
    origins, directions = (part.reshape(-1, 3) for part in camera.rays())
    pick = torch.linspace(0, len(origins) - 1, EXACT_RAYS).long()
    exact = median(
        lambda: render_rays(
            field,
            views,
            volume,
            origins[pick],
            directions[pick],
            want_color=False,
            want_ov=True,
            exact=True,
        ),
        1,
    )
    result["plain form / ours, image of scores"] = exact * len(origins) / EXACT_RAYS / texts
    points = grid.lower + torch.rand(POINTS, 3) * (grid.upper - grid.lower)
    result["label 100k points, text first, s"] = median(
        lambda: label_points(field, views, volume, points, text), 1
    )
    result["fuse 100k points' features, s"] = median(
        lambda: [
            blend_semantic(field.blend(part, views, volume), part, views)
            for part in points.split(16384)
        ],
        1,
    )
    return result


def label_points(field, views, volume, points, text) -> torch.Tensor:
    """Return the best text per point."""
    table = project_text(views, text)
    return torch.cat(
        [
            blend_semantic(field.blend(part, views, volume), part, views, table).argmax(dim=1)
            for part in points.split(16384)
        ]
    )


def median(run: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of a call, after one call to warm up if it is repeated."""
    if repeats > 1:
        run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
