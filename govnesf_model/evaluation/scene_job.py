"""One scene measured by several methods: what a worker does, here or on another machine.

    job = SceneJob("rooms/test/0001", ("average", "govnesf"), options)
    rows = evaluate_job(job)                        # {"average": {...}, "govnesf": {...}}

A row is what JSON can hold: figures, `confusion` (rows and columns in the order of `classes`,
"other" last), seconds, peak memory, device and sentences about what was left out.
"""

import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from govnesf_model.baselines import NEEDS_DEPTH, with_method
from govnesf_model.data.posed_scene import PosedScene, open_scene
from govnesf_model.evaluation.models import Models, load_models
from govnesf_model.evaluation.novel_view import measure_views
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.points_3d import label_points
from govnesf_model.evaluation.protocol import check, reference_frames, vocabulary
from govnesf_model.evaluation.references import References
from govnesf_model.evaluation.views_2d import label_views
from govnesf_model.metrics import segmentation_scores


@dataclass(frozen=True)
class SceneJob:
    """A scene on disk, as `open_scene` takes it, and what to measure on it."""

    path: str
    methods: tuple[str, ...]
    options: EvaluationOptions


def evaluate_job(job: SceneJob) -> dict[str, dict]:
    """Load what a job needs and run it.

    Raises:
        ValueError, FileNotFoundError: scene or models cannot be used.
    """
    scene = open_scene(job.path)
    check(scene, job.methods, job.options)
    return evaluate_scene(scene, load_models(job.options, job.methods), job.methods, job.options)


@torch.no_grad()
def evaluate_scene(
    scene: PosedScene, models: Models, methods: tuple[str, ...], options: EvaluationOptions
) -> dict[str, dict]:
    """Return a row per method."""
    _reset_peak()
    indices = reference_frames(scene, options)
    references = References(scene, indices, models.vlm, options.width, options.keep_features)
    words = text = None
    if options.task != "nvs":
        words = vocabulary(scene, options.prompts)
        text = models.vlm.encode_texts(list(words.prompts)).to(models.field.device)
    rows = {}
    for method in methods:
        built = 0.0
        if method != "vlm_view":
            network = with_method(models.field, method, models.distilled)
            built = references.build(network, method in NEEDS_DEPTH).seconds
        start = perf_counter()
        if options.task == "nvs":
            row, notes = measure_views(scene, references, models, method, options)
        else:
            label = label_views if options.task == "2d" else label_points
            matrix = label(scene, references, models, method, words, text, options)
            row, notes = segmentation_scores(matrix, words.names), []
            row |= {"confusion": matrix.tolist(), "classes": list(words.names)}
            row["counted"] = int(matrix.sum())
        rows[method] = row | {
            "references": 0 if method == "vlm_view" else len(indices),
            "seconds": built + perf_counter() - start,
            "peak_mib": _peak_mib(),
            "device": device_name(models.field.device),
            "notes": notes,
        }
    return rows


def device_name(device: torch.device) -> str:
    """Return words for a device: the GPU's name, or the processor and the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
