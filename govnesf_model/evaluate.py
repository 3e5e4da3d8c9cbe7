"""`govnesf evaluate`: 2D and 3D segmentation and novel views, measured on posed scenes.

    govnesf evaluate SCENE [SCENE ...] --task 3d --vlm embedded --checkpoint small --json FILE

* 2d: every labelled target frame is rendered from the reference frames; the prediction for a pixel
  is the best of the scene's class names.
* 3d: the surface points of the labelled reference frames (depth and label, one point per voxel, the
  majority decides) are labelled from the reference frames.
* nvs: the colours of the target frames, PSNR and SSIM; and depth where the scene has it.

The JSON holds `scenes` (each), `mean` (over scenes) and `pooled` (all pixels or points together).
"""

import argparse
import json
import resource
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from govnesf_model.baselines import METHODS, NEEDS_DEPTH, as_label, masking_of, with_method
from govnesf_model.blending import Views, blend_semantic
from govnesf_model.cameras import Camera
from govnesf_model.checkpoint import load_field
from govnesf_model.data.posed_scene import PosedScene, open_scene
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.keyframes import MapConfig
from govnesf_model.map_points import points_from_depth, voxel_keys
from govnesf_model.map_views import encode_frame, stack_views, working_image
from govnesf_model.map_volume import MapVolume
from govnesf_model.metrics import confusion_matrix, mean_of, psnr, segmentation_scores, ssim
from govnesf_model.rendering import render_image
from govnesf_model.segmentation import upsample_scores
from govnesf_model.vlm import load_vlm
from govnesf_model.vlm.base import DenseEncoder

TASKS = ("2d", "3d", "nvs")
_CHUNK = 8192


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure segmentation and novel views on posed scenes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="methods:\n" + "\n".join(f"  {name:14} {text}" for name, text in METHODS.items()),
    )
    parser.add_argument("scenes", nargs="+", type=Path, metavar="SCENE", help="posed folders")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--vlm", default="embedded", help="open-vocabulary encoder")
    parser.add_argument("--checkpoint", default="small", help="field: a name or a file")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="results")
    parser.add_argument("--method", choices=tuple(METHODS), default="govnesf", help="see below")
    parser.add_argument(
        "--reference-views", type=int, default=0, metavar="N", help="evenly spread; 0: all"
    )
    parser.add_argument("--width", type=int, default=320, help="working width of images, pixels")
    parser.add_argument("--voxel", type=float, default=0.05, help="spacing of 3D points, metres")
    parser.add_argument("--depth-tolerance", type=float, default=0.05, help="of depth masking, 3d")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command: print a table, write the JSON."""
    scenes = [open_scene(path) for path in arguments.scenes]
    names = [scene.name for scene in scenes]
    if len(set(names)) != len(names):
        names = [str(path) for path in arguments.scenes]
    field = load_field(arguments.checkpoint, arguments.device)
    vlm = load_vlm(arguments.vlm, field.device)
    for scene in scenes:
        _check(scene, arguments)
    results, matrices = {}, []
    for name, scene in zip(names, scenes, strict=True):
        _reset_peak()
        start = perf_counter()
        metrics, matrix = evaluate_scene(scene, field, vlm, arguments)
        metrics |= {"seconds": perf_counter() - start, "peak_mib": _peak_mib()}
        results[name] = metrics
        if matrix is not None:
            matrices.append(matrix)
    report = {"scenes": results, "mean": mean_of(results)}
    if matrices:
        report["mean"]["per_class"] = _mean_per_class(results)
        report["pooled"] = _pooled(matrices)
    report["settings"] = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(arguments).items()
        if key not in ("run", "scenes", "json", "command")
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1))
    _print_table(report)
    return 0


@torch.no_grad()
def evaluate_scene(
    scene: PosedScene, field: GovNesf, vlm: DenseEncoder, arguments: argparse.Namespace
) -> tuple[dict, tuple[dict[int, str], np.ndarray] | None]:
    """Return a scene's figures, and for segmentation its classes and confusion matrix."""
    references = spread(scene.reference, arguments.reference_views)
    if arguments.method == "vlm_view":
        views = volume = None
    else:
        views, volume = reference_views(scene, references, field, vlm, arguments)
    counts = {"references": len(references)}
    if arguments.task == "nvs":
        return novel_views(scene, field, views, volume, arguments) | counts, None
    classes = scored_classes(scene)
    text = vlm.encode_texts(list(classes.values()))
    evaluate = novel_labels if arguments.task == "2d" else point_labels
    matrix = evaluate(scene, field, vlm, views, volume, text, list(classes), arguments)
    return segmentation_scores(matrix, classes) | counts, (classes, matrix)


def reference_views(
    scene: PosedScene,
    references: Sequence[int],
    field: GovNesf,
    vlm: DenseEncoder,
    arguments: argparse.Namespace,
) -> tuple[Views, VolumeField]:
    """Encode the reference frames and build the volume from them.

    Methods that do without depth do not see any, not even for the extent of the volume.
    """
    use_depth = arguments.method in NEEDS_DEPTH
    config = MapConfig(image_width=arguments.width, use_depth=use_depth)
    keyframes = tuple(
        encode_frame(field, vlm, scene[index], config, number)
        for number, index in enumerate(tqdm(references, desc=f"{scene.name}: views", leave=False))
    )
    volume = MapVolume(field, config, field.device)
    for number, keyframe in enumerate(keyframes):
        volume.add(keyframe, keyframes[: number + 1])
    return stack_views(keyframes, field.device), volume.run()


def novel_labels(
    scene: PosedScene,
    field: GovNesf,
    vlm: DenseEncoder,
    views: Views | None,
    volume: VolumeField | None,
    text: Float[Tensor, "t d"],
    classes: list[int],
    arguments: argparse.Namespace,
) -> Int[np.ndarray, "k k"]:
    """Label the labelled target frames; return the confusion matrix."""
    method = arguments.method
    matrix = np.zeros((len(classes) + 1,) * 2, np.int64)
    targets = labelled_targets(scene)
    for index in tqdm(targets, desc=f"{scene.name}: {method} 2d", unit="frame", leave=False):
        frame = scene[index]
        rgb, K, _ = working_image(frame, arguments.width)
        height, width = rgb.shape[:2]
        if method.startswith("vlm"):
            if method == "vlm_rendered":
                image = _render(field, views, volume, K, frame.T_world_camera, width, height).color
            else:
                image = torch.from_numpy(rgb).to(text.device) / 255.0
            maps = vlm.encode_images(image.permute(2, 0, 1).unsqueeze(0))[0]
            scores = upsample_scores(maps.permute(1, 2, 0) @ text.T, vlm.stride, width, height)
        else:
            scores = _render(
                with_method(field, method),
                views,
                volume,
                K,
                frame.T_world_camera,
                width,
                height,
                text_features=text,
                want_color=False,
                masking=masking_of(method),
            ).scores.permute(2, 0, 1)
        scores = torch.nn.functional.interpolate(
            scores.float().unsqueeze(0), frame.label.shape, mode="bilinear", align_corners=False
        )[0]
        predicted = as_label(scores.permute(1, 2, 0), classes).cpu().numpy()
        matrix += confusion_matrix(frame.label, predicted, classes, scene.ignore, scene.other)
    return matrix


def point_labels(
    scene: PosedScene,
    field: GovNesf,
    vlm: DenseEncoder,
    views: Views,
    volume: VolumeField,
    text: Float[Tensor, "t d"],
    classes: list[int],
    arguments: argparse.Namespace,
) -> Int[np.ndarray, "k k"]:
    """Label the true surface points; return the confusion matrix."""
    xyz, truth = truth_points(scene, arguments.voxel)
    model, masking = with_method(field, arguments.method), masking_of(arguments.method)
    points = torch.from_numpy(xyz).to(text.device)
    # Text first: the views' maps become score maps, which blend to the same argmax.
    table = views.ov.float() @ text.T
    predicted = []
    parts = points.split(_CHUNK)
    for part in tqdm(parts, desc=f"{scene.name}: {arguments.method} 3d", leave=False):
        blend = model.blend(
            part, views, volume, masking=masking, tolerance=arguments.depth_tolerance
        )
        scores = blend_semantic(blend, part, views, table=table)
        # A point that every view is masked for still gets the answer without masking.
        lost = (~blend.valid.any(dim=1)).nonzero().squeeze(1)
        if masking == "depth" and len(lost):
            again = model.blend(part[lost], views, volume)
            scores[lost] = blend_semantic(again, part[lost], views, table=table)
        predicted.append(as_label(scores, classes))
    prediction = torch.cat(predicted).cpu().numpy()
    return confusion_matrix(truth, prediction, classes, scene.ignore, scene.other)


def novel_views(
    scene: PosedScene,
    field: GovNesf,
    views: Views,
    volume: VolumeField,
    arguments: argparse.Namespace,
) -> dict:
    """Render the target frames; return PSNR, SSIM and the median depth error in metres."""
    model, method = with_method(field, arguments.method), arguments.method
    peaks, similarities, errors = [], [], []
    for index in tqdm(scene.target, desc=f"{scene.name}: {method} nvs", unit="frame", leave=False):
        frame = scene[index]
        rgb, K, depth = working_image(frame, arguments.width)
        height, width = rgb.shape[:2]
        image = _render(
            model,
            views,
            volume,
            K,
            frame.T_world_camera,
            width,
            height,
            masking=masking_of(method),
        )
        truth = torch.from_numpy(rgb).to(image.color.device) / 255.0
        peaks.append(psnr(image.color.clamp(0, 1), truth))
        similarities.append(ssim(image.color.clamp(0, 1), truth))
        if depth is not None:
            known = (depth > 0) & (image.opacity.cpu().numpy() > 0.5)
            errors.append(np.abs(image.depth.cpu().numpy() - depth)[known])
    result = {"psnr": float(np.mean(peaks)), "ssim": float(np.mean(similarities))}
    if errors and sum(map(len, errors)):
        result["depth_median_error"] = float(np.median(np.concatenate(errors)))
    return result


def truth_points(
    scene: PosedScene, voxel: float
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    """Return the surface points of the labelled reference frames and their classes.

    One point per voxel of the given edge in metres: the mean position of those that carry the label
    which most pixels in the voxel have.
    """
    positions, labels = [], []
    for index in labelled_references(scene):
        frame = scene[index]
        triple = np.repeat(frame.label[..., None], 3, axis=2)
        xyz, label = points_from_depth(
            triple,
            frame.depth,
            frame.K.astype(np.float32),
            frame.T_world_camera.astype(np.float32),
            step=2,
            near=0.05,
            far=20.0,
        )
        positions.append(xyz)
        labels.append(label[:, 0].astype(np.int64))
    xyz, label = np.concatenate(positions), np.concatenate(labels)
    kept = ~np.isin(label, list(scene.ignore))
    xyz, label = xyz[kept], label[kept]
    # One vote per pixel for (voxel, label); the pair with most votes wins its voxel.
    _, cell = np.unique(voxel_keys(xyz, voxel), return_inverse=True)
    pair, member, votes = np.unique(
        cell.reshape(-1) * 256 + label, return_inverse=True, return_counts=True
    )
    order = np.lexsort((-votes, pair // 256))
    winners = order[np.unique(pair[order] // 256, return_index=True)[1]]
    member = member.reshape(-1)
    sums = [np.bincount(member, weights=xyz[:, i], minlength=len(pair)) for i in range(3)]
    mean = np.stack(sums, axis=1) / votes[:, None]
    return mean[winners].astype(np.float32), pair[winners] % 256


def spread(indices: Sequence[int], count: int) -> list[int]:
    """Return `count` of the indices, evenly spread; all of them for 0."""
    if count <= 0 or count >= len(indices):
        return list(indices)
    at = np.linspace(0, len(indices) - 1, count).round().astype(int)
    return [indices[i] for i in at]


def scored_classes(scene: PosedScene) -> dict[int, str]:
    """Return the classes that a prediction chooses from."""
    return {
        index: name
        for index, name in scene.classes.items()
        if index not in scene.ignore and index != scene.other
    }


def labelled_targets(scene: PosedScene) -> list[int]:
    """Return the target frames with labels."""
    return [index for index in scene.target if index in set(scene.labelled)]


def labelled_references(scene: PosedScene) -> list[int]:
    """Return the reference frames with labels."""
    return [index for index in scene.reference if index in set(scene.labelled)]


def _check(scene: PosedScene, arguments: argparse.Namespace) -> None:
    """Refuse before any work what cannot be evaluated."""
    task, method = arguments.task, arguments.method
    problem = None
    if task != "nvs" and not scored_classes(scene):
        problem = "has no classes.json with classes to choose from"
    elif task == "2d" and not labelled_targets(scene):
        problem = "has no target frame with a label image (scene.json: target)"
    elif task == "nvs" and not scene.target:
        problem = "has no target frames (scene.json: target)"
    elif task == "3d" and not (scene.has_depth and labelled_references(scene)):
        problem = "has no reference frame with depth and a label image"
    elif method in NEEDS_DEPTH and not scene.has_depth:
        problem = f"has no depth, which the method {method} needs"
    elif method.startswith("vlm") and task != "2d":
        problem = f"cannot be evaluated by {method} in the task {task}: it labels images, use 2d"
    if problem:
        raise ValueError(f"scene {scene.root} {problem}")


def _render(
    field: GovNesf,
    views: Views,
    volume: VolumeField,
    K: np.ndarray,
    T_world_camera: np.ndarray,
    width: int,
    height: int,
    **options: object,
):
    device = views.rgb.device
    pose = torch.from_numpy(T_world_camera.astype(np.float32)).to(device)
    camera = Camera(torch.from_numpy(K).to(device), pose, width, height)
    return render_image(field, views, volume, camera, **options)


def _mean_per_class(results: dict[str, dict]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for scene in results.values():
        for name, iou in scene.get("per_class", {}).items():
            values.setdefault(name, []).append(iou)
    return {name: float(np.mean(ious)) for name, ious in sorted(values.items())}


def _pooled(matrices: list[tuple[dict[int, str], np.ndarray]]) -> dict:
    """Add the confusion matrices of scenes up, classes matched by name."""
    names = sorted({name for classes, _ in matrices for name in classes.values()})
    total = np.zeros((len(names) + 1,) * 2, np.int64)
    for classes, matrix in matrices:
        at = [*(names.index(name) for name in classes.values()), len(names)]
        np.add.at(total, np.ix_(at, at), matrix)
    return segmentation_scores(total, names)


def _print_table(report: dict) -> None:
    keys = ("miou", "oacc", "macc", "psnr", "ssim", "depth_median_error", "seconds", "peak_mib")
    rows = {**report["scenes"], "mean": report["mean"], "pooled": report.get("pooled", {})}
    shown = [key for key in keys if any(row.get(key) is not None for row in rows.values())]
    print(f"{'scene':28}" + "".join(f"{key:>20}" for key in shown))
    for name, row in rows.items():
        values = (f"{row[k]:20.3f}" if row.get(k) is not None else " " * 20 for k in shown)
        if row:
            print(f"{name[-28:]:28}" + "".join(values))


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    except OSError:
        return


def _peak_mib() -> float:
    """Return the peak of resident memory since `_reset_peak`, plus that of the GPU."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        pass
    if torch.cuda.is_available():
        peak += torch.cuda.max_memory_allocated() / 2**20
    return peak
