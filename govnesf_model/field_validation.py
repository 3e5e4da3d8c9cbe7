"""How good a field is on scenes it was not trained on, and pictures to judge it by.

    govnesf validate --checkpoint small --val rooms/val/* --out report/

For each scene the field is built from reference views alone; held-back views are rendered and
compared with their images and depth, and surface points are labelled from corrupted label maps (see
`standin_features.py`) by the learned weights and by a plain average of the same views.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from .blending import Blend, Views, blend_semantic
from .cameras import Camera, pixel_grid, unproject
from .checkpoint import load_field
from .cost_volume import VolumeGrid
from .data.posed_scene import open_scene
from .field import GovNesf, VolumeField
from .rendering import RenderedImage, render_image
from .standin_features import corrupted_maps, random_palette
from .train_data import SceneTensors, load_scene, seen_bounds

SIZE = (320, 240)  # reference images, as the map uses them
MIN_OPACITY = 0.5  # pixels that are more transparent have no depth worth comparing


@torch.no_grad()
def build_scene(
    field: GovNesf, references: SceneTensors, margin: float = 0.2
) -> tuple[Views, VolumeField]:
    """Build the field of a scene the way the online map does, one view after another."""
    lower, upper = seen_bounds(references)
    grid = VolumeGrid.around(lower - margin, upper + margin, field.config.voxel_size)
    cost = field.empty_volume(grid)
    query = []
    for view, image in enumerate(references.colors()):
        maps = field.encode_images(image[None])
        query.append(maps.query)
        cost.add_view(
            maps.volume[0],
            references.K[view],
            references.T_world_camera[view],
            references.width,
            references.height,
        )
    views = Views(
        references.colors(),
        torch.cat(query),
        references.K,
        references.T_world_camera,
        depth=references.depth,
    )
    return views, field.volume_features(cost)


@torch.no_grad()
def validate_scene(
    field: GovNesf,
    references: SceneTensors,
    targets: SceneTensors,
    shrink: int = 2,
    seed: int = 0,
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Measure one scene.

    Args:
        field: in eval mode.
        references, targets: views to build from and views to render.
        shrink: targets are rendered at 1 / shrink of their size.
        seed: of the corrupted label maps.

    Returns:
        Metrics: psnr (dB), depth_median and depth_mean (absolute error, metres, where opaque),
        depth_within_8cm (share), opaque (share of pixels), label_field and label_average (accuracy
        of surface points), seconds. And one picture row per target: true colour, rendered colour,
        true depth, rendered depth.
    """
    started = time.perf_counter()
    views, volume = build_scene(field, references)
    width, height = targets.width // shrink, targets.height // shrink
    squared, errors, opaque, pictures = [], [], [], []
    for view in range(len(targets)):
        camera = Camera(
            targets.K[view], targets.T_world_camera[view], targets.width, targets.height
        ).resized(width, height)
        image = render_image(field, views, volume, camera)
        truth = cv2.resize(
            targets.rgb[view].permute(1, 2, 0).numpy(),
            (width, height),
            interpolation=cv2.INTER_AREA,
        )
        truth = torch.from_numpy(truth).float() / 255
        squared.append((image.color - truth).square().mean())
        opaque.append((image.opacity > MIN_OPACITY).float().mean())
        depth = None
        if targets.depth is not None:
            depth = torch.from_numpy(
                cv2.resize(
                    targets.depth[view].numpy(), (width, height), interpolation=cv2.INTER_NEAREST
                )
            )
            usable = (depth > 0) & (image.opacity > MIN_OPACITY)
            errors.append((image.depth - depth).abs()[usable])
        pictures.append(_picture(truth, image, depth))
    metrics = {
        "psnr": float(torch.stack([-10 * torch.log10(s.clamp_min(1e-10)) for s in squared]).mean()),
        "opaque": float(torch.stack(opaque).mean()),
    }
    if errors:
        error = torch.cat(errors)
        metrics["depth_median"] = float(error.median())
        metrics["depth_mean"] = float(error.mean())
        metrics["depth_within_8cm"] = float((error < 0.08).float().mean())
    if references.label is not None and targets.label is not None and targets.depth is not None:
        metrics |= _label_accuracy(field, references, targets, views, volume, seed)
    metrics["seconds"] = time.perf_counter() - started
    return metrics, pictures


def validate_folders(
    field: GovNesf,
    folders: Sequence[Path],
    references: int = 0,
    targets: int = 3,
    shrink: int = 2,
    progress: bool = True,
) -> tuple[dict[str, dict[str, float]], np.ndarray]:
    """Measure posed folders.

    Args:
        field: in eval mode.
        folders: the scenes.
        references: use this many reference views, evenly spread; 0 uses all.
        targets: render at most this many held-back views of each scene.
        shrink: as in `validate_scene`.
        progress: show a bar.

    Returns:
        Metrics per scene, with "mean" over scenes, and a contact sheet (uint8 RGB).
    """
    results: dict[str, dict[str, float]] = {}
    rows = []
    for folder in tqdm(list(folders), desc="validate", disable=not progress, dynamic_ncols=True):
        scene = open_scene(folder)
        held = list(scene.target) or list(range(2, len(scene), 5))
        rest = [index for index in scene.reference if index not in held]
        shown = _spread(held, targets)
        if references:
            rest = _spread(rest, references)
        metrics, pictures = validate_scene(
            field, load_scene(scene, SIZE, rest), load_scene(scene, SIZE, shown), shrink
        )
        metrics["references"] = len(rest)
        results[scene.name] = metrics
        rows += pictures
    keys = {key for metrics in results.values() for key in metrics}
    results["mean"] = {
        key: float(np.mean([m[key] for m in results.values() if key in m])) for key in sorted(keys)
    }
    return results, np.concatenate(rows)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `validate`."""
    parser = subparsers.add_parser("validate", help="measure a field checkpoint on posed folders")
    parser.add_argument("--checkpoint", default="small", help="name or path of a field")
    parser.add_argument("--val", nargs="+", type=Path, required=True, help="posed folders")
    parser.add_argument("--references", type=int, default=0, help="views to build from; 0 all")
    parser.add_argument("--targets", type=int, default=3, help="held-back views per scene")
    parser.add_argument("--shrink", type=int, default=2, help="render at 320x240 / shrink")
    parser.add_argument("--out", type=Path, help="folder for metrics.json and sheet.png")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    field = load_field(arguments.checkpoint)
    results, sheet = validate_folders(
        field, arguments.val, arguments.references, arguments.targets, arguments.shrink
    )
    text = json.dumps(results, indent=1)
    print(text)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "metrics.json").write_text(text)
        cv2.imwrite(str(arguments.out / "sheet.png"), sheet[..., ::-1])
    return 0


def _label_accuracy(
    field: GovNesf,
    references: SceneTensors,
    targets: SceneTensors,
    views: Views,
    volume: VolumeField,
    seed: int,
) -> dict[str, float]:
    """Label true surface points by learned weights and by the average of the same views."""
    generator = torch.Generator().manual_seed(seed)
    palette = random_palette(32, generator)
    views.ov = corrupted_maps(references, palette, generator)
    right = {"label_field": 0, "label_average": 0}
    count = 0
    for view in range(len(targets)):
        uv = pixel_grid(targets.height, targets.width)[::4, ::4].reshape(-1, 2)
        line, column = uv[:, 1].long(), uv[:, 0].long()
        depth, label = targets.depth[view][line, column], targets.label[view][line, column]
        points = unproject(uv, depth, targets.K[view], targets.T_world_camera[view])
        blend = field.blend(points, views, volume)
        usable = (depth > 0) & (label > 0) & blend.valid.any(dim=1)
        even = blend.valid / blend.valid.sum(dim=1, keepdim=True).clamp_min(1)
        average = Blend(blend.view, blend.valid, blend.uv, None, even)
        for name, weights in (("label_field", blend), ("label_average", average)):
            feature = blend_semantic(weights, points, views)
            right[name] += int(((feature @ palette.T).argmax(dim=1) == label)[usable].sum())
        count += int(usable.sum())
    return {name: value / max(count, 1) for name, value in right.items()}


def _picture(
    truth: Float[Tensor, "h w 3"], image: RenderedImage, depth: Float[Tensor, "h w"] | None
) -> np.ndarray:
    panels = [_to_bytes(truth), _to_bytes(image.color)]
    limit = 5.0
    if depth is not None:
        panels.append(_depth_picture(depth, limit))
    panels.append(_depth_picture(image.depth * (image.opacity > MIN_OPACITY), limit))
    while len(panels) < 4:
        panels.append(np.zeros_like(panels[0]))
    return np.concatenate(panels, axis=1)


def _depth_picture(depth: Float[Tensor, "h w"], limit: float) -> np.ndarray:
    near = (1 - depth / limit).clamp(0, 1)
    coloured = cv2.applyColorMap(_to_bytes(near), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    coloured[(depth <= 0).numpy()] = 0
    return coloured


def _to_bytes(values: Float[Tensor, "*n"]) -> np.ndarray:
    return (values.clamp(0, 1) * 255).round().byte().numpy()


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of the indices, evenly spread."""
    if len(indices) <= count:
        return list(indices)
    step = len(indices) / count
    return [indices[math.floor(step * (i + 0.5))] for i in range(count)]
