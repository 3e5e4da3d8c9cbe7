"""Reports laid out as the paper's Tables 1 to 4, in Markdown.

    book = Book("Rooms", options, {("2d", "govnesf", "small"): report, ...}, ablations=())
    print(markdown(book))

Figures of segmentation are percentages: pooled over the pixels or points of all scenes, and beside
them the mean over scenes. What was not measured is a dash. Rows of the paper that are other
people's networks (S-Ray, NeuRay, NeRF-Det, OpenScene-3D) have no place here: nothing of them runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.field_config import FieldConfig

SEGMENTATION = ("miou", "oacc", "macc")
_DASH = "–"

TABLE_1 = (
    ("distill", "Distill baseline"),
    ("govnesf", "GOV-NeSF"),
    ("vlm_rendered", "encoder on the rendered view"),
    ("vlm_view", "encoder on the true view"),
)
TABLE_2 = (
    ("average", "images", "average over views (OpenScene-2D without depth)"),
    ("distill", "images", "Distill baseline"),
    ("govnesf", "images", "GOV-NeSF"),
    ("average_depth", "images and depth", "average over views (OpenScene-2D)"),
    ("govnesf_dgm", "images and depth", "GOV-NeSF with DGM"),
)
TABLE_3 = (("govnesf", "GOV-NeSF"),)

Cell = tuple[str, str, str]  # task, method, checkpoint


@dataclass(frozen=True)
class Ablation:
    """A checkpoint of Table 4; its own configuration says which parts it has."""

    checkpoint: str
    config: FieldConfig


@dataclass
class Book:
    """Everything that the tables show.

    Attributes:
        title: of the scenes.
        options: of the evaluation; its checkpoint is ours.
        reports: what `report.build_report` made, by task, method and checkpoint.
        ablations: checkpoints of Table 4, ours among them.
        notes: sentences for the reader.
    """

    title: str
    options: EvaluationOptions
    reports: Mapping[Cell, Mapping]
    ablations: Sequence[Ablation] = ()
    notes: list[str] = field(default_factory=list)

    def report(self, task: str, method: str, checkpoint: str = "") -> Mapping | None:
        """Return a report, None where nothing was measured."""
        return self.reports.get((task, method, checkpoint or self.options.checkpoint))


def markdown(book: Book) -> str:
    """Return the four tables as Markdown."""
    heads = [f"{name}, pooled" for name in ("mIoU", "oAcc", "mAcc")]
    heads += [f"{name}, mean of scenes" for name in ("mIoU", "oAcc", "mAcc")]
    parts = [f"# {book.title}", _preface(book)]

    rows = [[name, *_six(book.report("2d", method))] for method, name in TABLE_1]
    parts += ["## Table 1. 2D segmentation of novel views", _table(["Method", *heads], rows)]

    rows = [[given, name, *_six(book.report("3d", method))] for method, given, name in TABLE_2]
    parts += ["## Table 2. 3D segmentation", _table(["Input", "Method", *heads], rows)]

    rows = [[name, *_views(book.report("nvs", method))] for method, name in TABLE_3]
    figures = ["PSNR ↑, dB", "SSIM ↑", "LPIPS ↓", "depth error, median, m ↓", "opaque"]
    parts += ["## Table 3. Novel views", _table(["Method", *figures], rows)]

    heads = [f"{task} {name}" for task in ("2D", "3D") for name in ("mIoU", "oAcc", "mAcc")]
    head = ["MJF", "VFA", "CVA", "DGM", *heads, "checkpoint"]
    parts += ["## Table 4. Parts of the method, pooled", _table(head, _ablation_rows(book))]
    if book.notes:
        parts.append("\n".join(f"* {note}" for note in book.notes))
    return "\n\n".join(parts) + "\n"


def _preface(book: Book) -> str:
    rows = [row for report in book.reports.values() for row in report["scenes"].values()]
    names = {name for report in book.reports.values() for name in report["scenes"]}
    devices = sorted({row["device"] for row in rows})
    seconds = sum(row["seconds"] for row in rows) / len(rows)
    counts = sorted({row["references"] for row in rows if row["references"]})
    references = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return (
        f"Scenes: {len(names)}; reference views of each: {references}; encoder: "
        f"`{book.options.vlm}`; prompts: `{book.options.prompts}`; field: "
        f"`{book.options.checkpoint}`; {seconds:.1f} s per scene and method on "
        f"{'; '.join(devices)}."
    )


def _ablation_rows(book: Book) -> list[list[str]]:
    rows = []
    for ablation in book.ablations:
        config, name = ablation.config, ablation.checkpoint
        parts = (config.use_mjf, config.use_vfa, config.use_cva)
        measured, kinds = name, [("govnesf", False)]
        if name == book.options.distill_checkpoint:
            measured, kinds = book.options.checkpoint, [("distill", False)]
        elif config.use_mjf and name == book.options.checkpoint:
            kinds.append(("govnesf_dgm", True))
        for method, masked in kinds:
            ticks = ["✓" if part else "" for part in (*parts, masked)]
            figures = [
                text
                for task in ("2d", "3d")
                for text in _six(book.report(task, method, measured))[:3]
            ]
            rows.append([*ticks, *figures, f"`{name}`"])
    # As in the paper: the fewer parts, the higher up.
    return sorted(rows, key=lambda row: (row[0] == "✓", sum(tick == "✓" for tick in row[:4])))


def _six(report: Mapping | None) -> list[str]:
    if report is None:
        return [_DASH] * 6
    return [
        _DASH if part.get(key) is None else f"{100 * part[key]:.1f}"
        for part in (report["pooled"], report["mean"])
        for key in SEGMENTATION
    ]


def _views(report: Mapping | None) -> list[str]:
    forms = {"psnr": ".1f", "ssim": ".3f", "lpips": ".3f", "depth_median_error": ".3f"}
    mean = {} if report is None else report["mean"]
    cells = [format(mean[key], form) if key in mean else _DASH for key, form in forms.items()]
    return [*cells, f"{100 * mean['opaque']:.0f} %" if "opaque" in mean else _DASH]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
