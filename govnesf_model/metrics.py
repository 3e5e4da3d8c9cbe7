"""Segmentation and image metrics.

    matrix = confusion_matrix(truth, prediction, classes=[1, 2, 3], ignore={255}, other=0)
    scores = segmentation_scores(matrix, {1: "table", 2: "mug", 3: "chair"})
    scores["miou"], scores["oacc"], scores["macc"]

A confusion matrix counts pixels or points; matrices of several scenes add up, which is how pooled
figures are made.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from govnesf_model import torchvision_guard  # noqa: F401  torchmetrics imports torchvision


def confusion_matrix(
    truth: Integer[np.ndarray, "*n"],
    prediction: Integer[np.ndarray, "*n"],
    classes: Sequence[int],
    ignore: Iterable[int] = (),
    other: int | None = None,
) -> Int[np.ndarray, "k k"]:
    """Count truth (rows) against prediction (columns) over the classes and one "other".

    Args:
        truth: class indices as the scene's label images hold them.
        prediction: the same; anything that is none of the classes counts as "other", a miss. So
            does -1, which stands for no prediction.
        classes: the indices that have an IoU, in the order of the rows.
        ignore: truth that no metric counts, whatever was predicted there.
        other: truth that is none of the classes: predicting a class there is a false positive,
            but it has no IoU of its own. None: such truth is ignored.

    Returns:
        [len(classes) + 1] squared, "other" last.
    """
    size = len(classes) + 1
    # One entry more than there are indices: it is where -1, "nothing was seen", looks itself up.
    known = np.full(int(max([truth.max(initial=0), prediction.max(initial=0), *classes])) + 2, -1)
    known[list(classes)] = np.arange(len(classes))
    rows = known[truth.astype(np.int64)]
    columns = known[prediction.astype(np.int64)]
    columns = np.where(columns < 0, size - 1, columns)
    if other is not None:
        rows = np.where(truth == other, size - 1, rows)
    counted = (rows >= 0) & ~np.isin(truth, list(ignore))
    flat = rows[counted] * size + columns[counted]
    return np.bincount(flat, minlength=size * size).reshape(size, size)


def segmentation_scores(
    matrix: Int[np.ndarray, "k k"], names: Mapping[int, str] | Sequence[str]
) -> dict:
    """Return miou, oacc, macc, per_class (IoU) and per_class_acc, all fractions.

    Args:
        matrix: from `confusion_matrix`, "other" last.
        names: of the classes, in the order of the rows.

    Classes that never occur in the truth count for no mean; their false positives still lower the
    IoU of the classes that they replace. oacc is over the pixels of the classes; without any truth
    the figures are None.
    """
    names = list(names.values()) if isinstance(names, Mapping) else list(names)
    hits = np.diag(matrix)[:-1].astype(np.float64)
    truth = matrix.sum(axis=1)[:-1]
    union = truth + matrix.sum(axis=0)[:-1] - hits
    present = truth > 0
    iou = hits[present] / union[present]
    accuracy = hits[present] / truth[present]
    shown = [name for name, is_there in zip(names, present, strict=True) if is_there]
    if not shown:
        return {"miou": None, "oacc": None, "macc": None, "per_class": {}, "per_class_acc": {}}
    return {
        "miou": float(iou.mean()),
        "oacc": float(hits.sum() / truth.sum()),
        "macc": float(accuracy.mean()),
        "per_class": dict(zip(shown, iou.tolist(), strict=True)),
        "per_class_acc": dict(zip(shown, accuracy.tolist(), strict=True)),
    }


def psnr(image: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> float:
    """Return the peak signal-to-noise ratio in dB of colours in 0..1 (100 for equal images)."""
    error = float((image - truth).square().mean())
    return 100.0 if error < 1e-10 else float(-10 * np.log10(error))


def ssim(image: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> float:
    """Return the structural similarity of colours in 0..1 (11x11 Gaussian window, sigma 1.5)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    def batch(value: Tensor) -> Tensor:
        return value.permute(2, 0, 1).unsqueeze(0)

    with torch.no_grad():
        return float(
            structural_similarity_index_measure(batch(image), batch(truth), data_range=1.0)
        )


def mean_of(scenes: Mapping[str, Mapping]) -> dict:
    """Return the mean over scenes of every figure that is a number, but the largest peak_mib.

    A figure that only some scenes have is averaged over those.
    """
    keys = [key for scene in scenes.values() for key in scene]
    mean: dict = {}
    for key in dict.fromkeys(keys):
        values = [
            scene[key]
            for scene in scenes.values()
            if isinstance(scene.get(key), (int, float)) and not isinstance(scene.get(key), bool)
        ]
        if values:
            mean[key] = float(max(values) if key == "peak_mib" else np.mean(values))
    return mean
