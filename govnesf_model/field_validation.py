"""How good a field is on scenes it was not trained on, and pictures to judge it by.

    govnesf validate --checkpoint small --val rooms/val --out report/

For each scene the field is built from reference views alone; held-back views are rendered and
compared with their images and depth, and surface points are labelled from corrupted label maps (see
`standin_features.py`) by the learned weights and by a plain average of the same views. The pictures
show per held-back view: colour, depth and meaning, the truth beside what was rendered. Meaning is
labels, or features of a vision-language model where those are given.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor
from tqdm import tqdm

from .blending import Blend, Views, blend_semantic
from .cameras import Camera, pixel_grid, sample_map, unproject
from .checkpoint import load_field
from .cost_volume import VolumeGrid
from .data.posed_scene import PosedScene, open_scene
from .data.readers import find_scenes
from .evidence import measured_surface
from .exposure import even_exposure
from .field import GovNesf, VolumeField
from .ov_features import OvCache
from .rendering import RenderedImage, render_image
from .scene_tensors import SceneTensors, load_scene, spread
from .standin_features import corrupted_maps, random_palette
from .surfaces import confirmed_surfaces, stereo_surfaces
from .train_data import seen_bounds
from .validation_pictures import (
    MIN_OPACITY,
    feature_pictures,
    label_pictures,
    picture_row,
)

SIZE = (320, 240)  # reference images, as the map uses them
SCORE_DIM = 32  # width of the stand-in features


@dataclass
class OvMaps:
    """What a vision-language model sees in the views of a scene.

    Attributes:
        references, targets: unit-norm maps, channel-last, float16.
        stride: image pixels per cell.
    """

    references: Float[Tensor, "v hs ws d"]
    targets: Float[Tensor, "m hs ws d"]
    stride: int


@torch.no_grad()
def build_scene(
    field: GovNesf, references: SceneTensors, margin: float = 0.2, measured: bool = False
) -> tuple[Views, VolumeField]:
    """Build the field of a scene the way the online map does, one view after another.

    Args:
        field: in eval mode.
        references: views with poses.
        margin: metres around what they see that the volume covers as well.
        measured: let the field know their depth.
    """
    references = references.to(field.device)
    colors, K, poses = references.colors(), references.K, references.T_world_camera
    surface = None
    if field.config.evidence_split and measured and references.depth is not None:
        surface = measured_surface(references.depth)
    elif field.stereo is not None:
        surface = stereo_surfaces(field, colors, None, K, poses)
        if field.config.confirm_surfaces:
            surface = confirmed_surfaces(surface, K, poses, references.width)
    lower, upper = seen_bounds(references, surface)
    grid = VolumeGrid.around(lower - margin, upper + margin, field.config.voxel_size)
    scene = field.empty_volume(grid)
    query = []
    for view, image in enumerate(colors):
        maps = field.encode_images(image[None])
        query.append(maps.query)
        own = None if surface is None else surface[view : view + 1]
        scene.add_view(
            maps.volume[0], K[view], poses[view], references.width, references.height, own
        )
    views = Views(colors, torch.cat(query), K, poses, depth=references.depth, surface=surface)
    if field.config.even_exposure:
        views.gain = even_exposure(views)
    return views, field.volume_features(scene)


@torch.no_grad()
def validate_scene(
    field: GovNesf,
    references: SceneTensors,
    targets: SceneTensors,
    shrink: int = 2,
    seed: int = 0,
    ov: OvMaps | None = None,
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Measure one scene.

    Args:
        field: in eval mode.
        references, targets: views to build from and views to render.
        shrink: targets are rendered at 1 / shrink of their size.
        seed: of the corrupted label maps.
        ov: features of a model; without them, stand-ins where the scene has labels and depth.

    Returns:
        Metrics: psnr (dB), depth_median and depth_mean (absolute error, metres, where opaque),
        depth_within_8cm (share), opaque (share of pixels), seconds; with stand-ins label_field and
        label_average (accuracy of surface points); with `ov` ov_cosine (rendered features against
        the model's own on the held-back view, where opaque). And a picture row per target.
    """
    started = time.perf_counter()
    views, volume = build_scene(field, references)
    palette = present = None
    if ov is not None:
        views.ov, views.ov_stride = ov.references.to(field.device), ov.stride
    elif references.label is not None and references.depth is not None:
        generator = torch.Generator().manual_seed(seed)
        palette = random_palette(SCORE_DIM, generator)
        views.ov = corrupted_maps(references, palette, generator).to(field.device)
        palette = palette.to(field.device)
        present = references.label.unique().long()
        present = present[present > 0]
    width, height = targets.width // shrink, targets.height // shrink
    squared, errors, opaque, cosines, pictures = [], [], [], [], []
    for view in range(len(targets)):
        camera = Camera(
            targets.K[view].to(field.device),
            targets.T_world_camera[view].to(field.device),
            targets.width,
            targets.height,
        ).resized(width, height)
        texts = None if palette is None or len(present) == 0 else palette[present.to(field.device)]
        image = _on_cpu(
            render_image(field, views, volume, camera, text_features=texts, want_ov=ov is not None)
        )
        solid = image.opacity > MIN_OPACITY
        truth = cv2.resize(
            targets.rgb[view].permute(1, 2, 0).numpy(),
            (width, height),
            interpolation=cv2.INTER_AREA,
        )
        truth = torch.from_numpy(truth).float() / 255
        squared.append((image.color - truth).square().mean())
        opaque.append(solid.float().mean())
        depth = None
        if targets.depth is not None:
            depth = _shrunk(targets.depth[view], width, height)
            errors.append((image.depth - depth).abs()[(depth > 0) & solid])
        if ov is not None:
            meant = _at_pixels(ov.targets[view], ov.stride, width, height, shrink)
            rendered = F.normalize(image.ov.float(), dim=-1)
            cosines.append((rendered * meant).sum(dim=-1)[solid])
            meaning = feature_pictures(meant, rendered)
        else:
            label = shown = None
            if targets.label is not None:
                label = _shrunk(targets.label[view], width, height)
            if image.scores is not None:
                shown = present[image.scores.argmax(dim=-1)] * solid
            meaning = label_pictures(label, shown)
        pictures.append(picture_row(truth, image, depth, meaning))
    metrics = {
        "psnr": float(torch.stack([-10 * torch.log10(s.clamp_min(1e-10)) for s in squared]).mean()),
        "opaque": float(torch.stack(opaque).mean()),
    }
    if errors:
        error = torch.cat(errors)
        metrics["depth_median"] = float(error.median())
        metrics["depth_mean"] = float(error.mean())
        metrics["depth_within_8cm"] = float((error < 0.08).float().mean())
    if cosines:
        metrics["ov_cosine"] = float(torch.cat(cosines).mean())
    if palette is not None and targets.label is not None and targets.depth is not None:
        metrics |= _label_accuracy(field, targets, views, volume, palette)
    metrics["seconds"] = time.perf_counter() - started
    return metrics, pictures


def validate_folder(
    field: GovNesf,
    folder: Path,
    references: int = 0,
    targets: int = 3,
    shrink: int = 2,
    size: tuple[int, int] = SIZE,
    views: int = 0,
    cache: OvCache | None = None,
) -> tuple[dict[str, float], np.ndarray]:
    """Measure one posed folder.

    Args:
        field: in eval mode.
        folder: the scene.
        references: use this many reference views, evenly spread; 0 uses all.
        targets: render at most this many held-back views: the scene's own, else every fifth.
        shrink: as in `validate_scene`.
        size: width and height that images are brought to.
        views: build from no more of the scene's views than this, evenly spread; 0 takes all.
        cache: features of a vision-language model at this size; None for stand-ins.

    Returns:
        Metrics and a picture (uint8 RGB, one row per target), see `validate_scene`.
    """
    scene = open_scene(folder)
    rest, shown = chosen_views(scene, targets, views)
    rest = spread(rest, references) if references else rest
    ov = None
    if cache is not None:
        maps = [torch.stack([cache.features(scene, f) for f in part]) for part in (rest, shown)]
        ov = OvMaps(maps[0], maps[1], cache.stride)
    metrics, pictures = validate_scene(
        field, load_scene(scene, size, rest), load_scene(scene, size, shown), shrink, ov=ov
    )
    metrics["references"] = len(rest)
    return metrics, np.concatenate(pictures)


def chosen_views(scene: PosedScene, targets: int, views: int = 0) -> tuple[list[int], list[int]]:
    """Return the frames to build a scene from and those to render, see `validate_folder`."""
    held = list(scene.target) or list(range(2, len(scene), 5))
    rest = [index for index in scene.reference if index not in held]
    return spread(rest, views) if views else rest, spread(held, targets)


def validate_folders(
    field: GovNesf,
    folders: Sequence[Path],
    references: int = 0,
    targets: int = 3,
    shrink: int = 2,
    progress: bool = True,
    size: tuple[int, int] = SIZE,
    cache: OvCache | None = None,
) -> tuple[dict[str, dict[str, float]], np.ndarray]:
    """Measure posed folders, arguments as in `validate_folder`.

    Returns:
        Metrics per scene, with "mean" over scenes, and a contact sheet (uint8 RGB).
    """
    results: dict[str, dict[str, float]] = {}
    sheets = []
    for folder in tqdm(list(folders), desc="validate", disable=not progress, dynamic_ncols=True):
        metrics, sheet = validate_folder(
            field, folder, references, targets, shrink, size, cache=cache
        )
        results[folder.name] = metrics
        sheets.append(sheet)
    keys = {key for metrics in results.values() for key in metrics}
    results["mean"] = {
        key: float(np.mean([m[key] for m in results.values() if key in m])) for key in sorted(keys)
    }
    return results, np.concatenate(sheets)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `validate`."""
    parser = subparsers.add_parser("validate", help="measure a field checkpoint on scenes")
    parser.add_argument("--checkpoint", default="small", help="name or path of a field")
    parser.add_argument(
        "--val", nargs="+", type=Path, required=True, help="scenes, folders or lists of them"
    )
    parser.add_argument("--references", type=int, default=0, help="views to build from; 0 all")
    parser.add_argument("--targets", type=int, default=3, help="held-back views per scene")
    parser.add_argument("--shrink", type=int, default=2, help="render at the size / shrink")
    parser.add_argument("--size", nargs=2, type=int, default=SIZE, metavar=("W", "H"))
    parser.add_argument("--vlm", help="compare features of this encoder instead of stand-ins")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--out", type=Path, help="folder for metrics.json and sheet.png")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    field = load_field(arguments.checkpoint, arguments.device)
    size = (arguments.size[0], arguments.size[1])
    results, sheet = validate_folders(
        field,
        find_scenes(arguments.val),
        arguments.references,
        arguments.targets,
        arguments.shrink,
        size=size,
        cache=OvCache(arguments.vlm, size, arguments.device) if arguments.vlm else None,
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
    targets: SceneTensors,
    views: Views,
    volume: VolumeField,
    palette: Float[Tensor, "256 d"],
) -> dict[str, float]:
    """Label true surface points by learned weights and by the average of the same views."""
    right = {"label_field": 0, "label_average": 0}
    count = 0
    for view in range(len(targets)):
        uv = pixel_grid(targets.height, targets.width)[::4, ::4].reshape(-1, 2)
        line, column = uv[:, 1].long(), uv[:, 0].long()
        depth, label = targets.depth[view][line, column], targets.label[view][line, column]
        points = unproject(uv, depth, targets.K[view], targets.T_world_camera[view])
        points, depth, label = (part.to(field.device) for part in (points, depth, label))
        blend = field.blend(points, views, volume)
        usable = (depth > 0) & (label > 0) & blend.valid.any(dim=1)
        even = blend.valid / blend.valid.sum(dim=1, keepdim=True).clamp_min(1)
        average = Blend(blend.view, blend.valid, blend.uv, None, even)
        for name, weights in (("label_field", blend), ("label_average", average)):
            feature = blend_semantic(weights, points, views)
            right[name] += int(((feature @ palette.T).argmax(dim=1) == label)[usable].sum())
        count += int(usable.sum())
    return {name: value / max(count, 1) for name, value in right.items()}


def _at_pixels(
    maps: Float[Tensor, "hs ws d"], stride: int, width: int, height: int, shrink: int
) -> Float[Tensor, "h w d"]:
    """Sample a map at the pixels of the image that is `shrink` times smaller."""
    uv = (pixel_grid(height, width) + 0.5) * shrink - 0.5
    sampled = sample_map(maps.permute(2, 0, 1)[None].float(), uv.reshape(1, -1, 2), stride)
    return F.normalize(sampled.reshape(height, width, -1), dim=-1)


def _shrunk(values: Shaped[Tensor, "H W"], width: int, height: int) -> Shaped[Tensor, "h w"]:
    return torch.from_numpy(
        cv2.resize(values.numpy(), (width, height), interpolation=cv2.INTER_NEAREST)
    )


def _on_cpu(image: RenderedImage) -> RenderedImage:
    parts = (None if part is None else part.cpu() for part in vars(image).values())
    return RenderedImage(*parts)
