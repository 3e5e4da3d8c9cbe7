"""Scenes put together: means over scenes, pooled figures, JSON and a printed table.

    report = build_report({"room": row, "kitchen": row})
    report["mean"]["miou"], report["pooled"]["miou"]

"mean" is the mean of the scenes' figures, "pooled" comes from one confusion matrix over the pixels
or points of all scenes, classes matched by name.
"""

from collections.abc import Mapping

import numpy as np

from govnesf_model.metrics import mean_of, segmentation_scores

_COLUMNS = (
    "miou", "oacc", "macc", "psnr", "ssim", "lpips", "depth_median_error", "seconds", "peak_mib"
)  # fmt: skip


def build_report(rows: Mapping[str, Mapping]) -> dict:
    """Return `scenes`, `mean` and, for segmentation, `pooled` of one method's rows per scene."""
    shown = {
        name: {key: value for key, value in row.items() if key not in ("confusion", "classes")}
        for name, row in rows.items()
    }
    report: dict = {"scenes": shown, "mean": mean_of(shown)}
    if all("confusion" in row for row in rows.values()):
        report["mean"]["per_class"] = _mean_per_class(rows)
        report["pooled"] = _pooled(rows)
    return report


def notes_of(rows: Mapping[str, Mapping]) -> list[str]:
    """Return the sentences of all scenes, each once."""
    return list(dict.fromkeys(note for row in rows.values() for note in row.get("notes", ())))


def print_reports(reports: Mapping[str, Mapping]) -> None:
    """Print a table: every scene for one method, means and pooled figures for several."""
    rows: dict[str, Mapping] = {}
    for method, report in reports.items():
        prefix = "" if len(reports) == 1 else f"{method} "
        if len(reports) == 1:
            rows |= report["scenes"]
        rows[f"{prefix}mean"] = report["mean"]
        if report.get("pooled"):
            rows[f"{prefix}pooled"] = report["pooled"]
    shown = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows.values())]
    print(f"{'':28}" + "".join(f"{key:>20}" for key in shown))
    for name, row in rows.items():
        values = (f"{row[k]:20.3f}" if row.get(k) is not None else " " * 20 for k in shown)
        print(f"{name[-28:]:28}" + "".join(values))


def _mean_per_class(rows: Mapping[str, Mapping]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows.values():
        for name, iou in row["per_class"].items():
            values.setdefault(name, []).append(iou)
    return {name: float(np.mean(ious)) for name, ious in sorted(values.items())}


def _pooled(rows: Mapping[str, Mapping]) -> dict:
    names = sorted({name for row in rows.values() for name in row["classes"]})
    total = np.zeros((len(names) + 1,) * 2, np.int64)
    for row in rows.values():
        at = [*(names.index(name) for name in row["classes"]), len(names)]
        np.add.at(total, np.ix_(at, at), np.array(row["confusion"], np.int64))
    return segmentation_scores(total, names)
