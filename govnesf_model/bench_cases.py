"""What is measured: each function returns rows of the table.

The plain form (`dense_reference.py`) is timed in the same process with the same number of threads,
on some rays or points, and scaled up by their number: every ray and every point costs it the same.
"""

import os
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .baked import BakedScores, render_baked
from .bench_meter import MOST_RUNS, Meter, Row
from .bench_scene import BenchScene, Part
from .blending import Views, blend_semantic, project_text
from .dense_reference import DenseRays, DenseReference, dense_volume
from .field import VolumeField
from .rendering import RayResult, render_rays
from .stereo import choose_sources
from .surfaces import SOURCES, describe_view, matched_surface
from .view_choice import nearby_order

LABEL_CHUNK = 16384
RENDER_CHUNK = 2048
_WARM = 20  # runs before a few milliseconds are timed: threads and memory are cold at first
PLAIN_CHUNK = 16  # rays that the plain form renders at a time


@dataclass(frozen=True)
class Amounts:
    """How much is measured.

    Attributes:
        line_step: every so many-th line of the image is rendered; 1 renders all.
        labels: points that are labelled.
        reference_labels: of them by the plain form.
        keyframes: that the map takes.
        held: keyframes that the map holds at most.
        repeats: of what takes milliseconds.
        bake_step: pixels between the rays along which scores are baked.
        blind: keyframes of the map without depth.
    """

    line_step: int = 1
    rays: int = 256
    checked: int = 2048
    labels: int = 100_000
    reference_labels: int = 4096
    keyframes: int = 300
    held: int = 64
    repeats: int = 5
    bake_step: int = 4
    blind: int = 30


QUICK = Amounts(8, 64, 256, 100_000, 1024, 24, 12, 3, 8, 8)


@torch.no_grad()
def encoding(bench: BenchScene, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure what one new view costs before it is in the volume."""
    field, image = bench.field, bench.tensors.colors()[:1]
    rows = [
        meter.row(
            f"encode a view: {bench.vlm.name}",
            lambda: bench.vlm.encode_images(image),
            amounts.repeats,
        ),
        meter.row("encode a view: field", lambda: field.encode_images(image), amounts.repeats),
    ]
    if field.stereo is not None:
        K, poses = bench.tensors.K, bench.tensors.T_world_camera
        near = choose_sources(poses, K, image.shape[3], image.shape[2], 0, SOURCES)
        levels = field.encoder.backbone(image)
        others = [
            describe_view(field, one, field.encoder.backbone(one))[1]
            for one in (bench.tensors.colors()[row : row + 1] for row in near)
        ]

        def match() -> None:
            detail, own = describe_view(field, image, levels)
            shared = (K[[0, *near]], poses[[0, *near]], (image.shape[3], image.shape[2]))
            sources = list(range(1, 1 + len(near)))
            matches = torch.cat([own, *others])
            matched_surface(field, levels, detail, matches, *shared, 0, sources)

        note = f"{len(near)} sources, {field.config.stereo_planes} planes"
        rows.append(meter.row("encode a view: stereo", match, amounts.repeats, note))
    whole = Row("encode a view: all", sum(r.seconds for r in rows), min(r.busy for r in rows))
    return [*rows, whole]


@torch.no_grad()
def volume(bench: BenchScene, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure a keyframe's way into the volume, and out of it."""
    count = min(30, len(bench.tensors))
    part = bench.part(count)
    one = bench.view_arguments(len(bench.tensors) // 2)
    cells = f"{bench.grid.cells} voxels"
    maps = bench.maps.volume[torch.linspace(0, len(bench.tensors) - 1, count).long()]

    def rebuild() -> None:
        empty = bench.field.empty_volume(bench.grid)
        for row in range(count):
            empty.add_view(*bench.view_arguments(row))

    scene, often = part.scene, (amounts.repeats, cells, _WARM)
    added = meter.row("add a keyframe to the volume", lambda: scene.add_view(*one), *often)
    for _ in range(MOST_RUNS):  # so that there is one to remove each time
        scene.add_view(*one)
    removed = meter.row("remove a keyframe", lambda: scene.remove_view(*one), *often)
    whole = meter.row(f"rebuild the volume of {count} views", rebuild, 3, cells)
    rows = [added, removed, whole]
    added.reference = meter.row("", lambda: dense_volume(bench.grid, maps, part.views), 3).seconds
    added.note += f"; plain form: rebuild from {count} views, without evidence of depth"
    whole.reference = added.reference
    unet = meter.row(
        "3D U-Net pass", lambda: bench.field.volume_features(part.scene), amounts.repeats, cells
    )
    return [*rows, unet]


@torch.no_grad()
def frame(bench: BenchScene, part: Part, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure an image of colour, depth and the scores of all texts."""
    views = part.views
    every_o, every_d = bench.camera.rays()
    total = bench.camera.width * bench.camera.height
    part.volume.sigma = None  # what the first image of a volume computes belongs to it

    project = meter.row("", lambda: project_text(views, bench.text), 1)
    table = project_text(views, bench.text)

    size = f"{bench.camera.width}x{bench.camera.height}"
    name = f"frame {size}, colour and {len(bench.text)} texts, {len(views)} views"
    row = meter.row(name, lambda: render_lines(bench, part, table, amounts.line_step), 1)
    scale = bench.camera.height / len(range(0, bench.camera.height, amounts.line_step))
    row.seconds = row.seconds * scale + project.seconds
    if scale > 1:
        row.note = f"from 1 line in {amounts.line_step}"

    order = torch.randperm(total, generator=torch.Generator().manual_seed(1))[: amounts.checked]
    o, d = every_o.reshape(-1, 3)[order], every_d.reshape(-1, 3)[order]
    few = min(amounts.rays, len(order))
    reference = _plain_form(bench, part)
    kept: list[DenseRays] = []
    # Where maps are made again for each chunk of rays, fewer chunks are wanted.
    chunk = PLAIN_CHUNK if reference.maps.keep else few
    plain = meter.row("", lambda: kept.append(reference.render(o[:few], d[:few], chunk=chunk)), 1)
    row.reference = (plain.seconds - reference.maps.seconds) * total / few

    fast = _render(bench, part, o, d, table, exact=False)
    exact = _render(bench, part, o, d, table, exact=True)
    dense_scores = kept[0].ov @ bench.text.T
    truth = bench.truth.reshape(-1, 3)[order]
    row.values = {
        "colour off exact": float((fast.color - exact.color).abs().mean()),
        "labels as exact": _agreement(fast.scores, exact.scores),
        "labels as plain": _agreement(fast.scores[:few], dense_scores),
        "colour off truth": float((fast.color - truth)[:few].abs().mean()),
        "plain form's colour off truth": float((kept[0].color - truth[:few]).abs().mean()),
    }
    row.values |= _scores_of_truth(bench, order, few, fast.scores, exact.scores, dense_scores)
    # Maps are part of what rendering holds; those of the plain form are counted. Both forms render
    # so many rays at a time, of which the plain form is given a few, for want of memory.
    full = len(views) * total * views.ov.shape[3] * 4 / 2**20
    if row.peak_mib is not None and plain.peak_mib is not None:
        row.peak_mib += _mib(views.rgb, views.query, views.ov, table) + part.volume.bytes / 2**20
        row.reference_mib = full + _mib(views.rgb, views.query, part.volume.features)
        row.reference_mib += plain.peak_mib * RENDER_CHUNK / min(chunk, few)
    del reference
    return [row, *_from_baked(bench, part, meter, amounts, row)]


def _from_baked(
    bench: BenchScene, part: Part, meter: Meter, amounts: Amounts, anew: Row
) -> list[Row]:
    """Measure the same image from scores that lie baked in the surface, and the baking."""
    where = f"{bench.camera.width}x{bench.camera.height}"
    views = f"{len(part.views)} views"
    made: list[BakedScores] = []

    def bake() -> None:
        made.append(BakedScores(bench.field, part.views, part.volume, bench.text))
        made[0].fill(amounts.bake_step)

    baking = meter.row(f"bake the scores of {len(bench.text)} texts, {views}", bake, 1)
    baked = made[0]
    before = len(baked)
    row = meter.row(
        f"frame {where} from baked scores, {views}",
        lambda: render_baked(baked, bench.camera),
        amounts.repeats,
    )
    row.reference = anew.reference
    image = render_baked(baked, bench.camera)
    table = project_text(part.views, bench.text)
    lines = render_lines(bench, part, table, amounts.line_step)
    scores = image.scores[:: amounts.line_step].reshape(-1, len(bench.text))
    color, truth = (
        picture[:: amounts.line_step].reshape(-1, 3) for picture in (image.color, bench.truth)
    )
    row.values = {
        "labels as blended anew": _agreement(scores, lines.scores),
        "colour off truth": float((color - truth).abs().mean()),
        "colour off truth anew": float((lines.color - truth).abs().mean()),
        "MiB": baked.bytes / 2**20,
    }
    if bench.labels is not None:
        label = bench.labels[:: amounts.line_step].reshape(-1)
        row.values["mIoU"] = mean_iou(scores.argmax(dim=1), label)
        row.values["mIoU anew"] = mean_iou(lines.scores.argmax(dim=1), label)
    baking.values = {"points": float(before), "more for the frame": float(len(baked) - before)}
    return [baking, row]


def render_lines(bench: BenchScene, part: Part, table: Tensor, step: int) -> RayResult:
    """Render every so many-th line of the image.

    Args:
        bench, part: the scene and its views.
        table: the views' maps of scores, from `project_text`.
        step: 1 renders all.
    """
    origins, directions = (rays[::step].reshape(-1, 3) for rays in bench.camera.rays())
    return _render(bench, part, origins, directions, table, exact=False)


@torch.no_grad()
def labelling(bench: BenchScene, part: Part, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure the best text of given points."""
    views, (points, truth) = part.views, bench.labelled_points(amounts.labels)
    found: list[Tensor] = []
    name = f"label {len(points)} points, {len(views)} views"
    row = meter.row(
        name,
        lambda: found.append(label_points(bench.field, views, part.volume, points, bench.text)),
        amounts.repeats,
    )
    some = points[: amounts.reference_labels]
    reference = _plain_form(bench, part)
    kept: list[Tensor] = []

    chunk = 1024 if reference.maps.keep else len(some)

    def plain() -> None:
        for batch in some.split(chunk):
            kept.append((reference.blend(batch)[0] @ bench.text.T).argmax(dim=1))

    dense = meter.row("", plain, 1)
    spent = dense.seconds - reference.maps.seconds  # maps are there before anybody asks
    row.reference = spent * len(points) / len(some)
    if row.peak_mib is not None and dense.peak_mib is not None:
        row.peak_mib += _mib(views.query, views.ov) + part.volume.bytes / 2**20
        pixels = views.width * views.height
        row.reference_mib = len(views) * pixels * views.ov.shape[3] * 4 / 2**20
        row.reference_mib += _mib(views.query, part.volume.features)
        # As in `frame`: the memory of as many points at a time as the fast form takes.
        row.reference_mib += dense.peak_mib * max(1.0, LABEL_CHUNK / chunk)
    labels = torch.cat(kept)
    row.values = {
        "labels as plain": float((found[-1][: len(some)] == labels).float().mean()),
        **_accuracy_of_labels(bench, part, points, truth, found[-1], labels, amounts.checked),
        "points/s": len(points) / row.seconds,
    }
    return [row]


def _accuracy_of_labels(
    bench: BenchScene,
    part: Part,
    points: Float[Tensor, "n 3"],
    truth: Int[Tensor, "n"],
    found: Int[Tensor, "n"],
    plain: Int[Tensor, "m"],
    checked: int,
) -> dict[str, float]:
    """Return mIoU in percent of the labels, of those from all views, and of the plain form."""
    if bench.text_of is None:
        return {}
    few = len(plain)
    some = points[: max(few, 4 * checked)]
    exact = label_points(bench.field, part.views, part.volume, some, bench.text, k=0)
    return {
        "labels as exact": float((found[: len(some)] == exact).float().mean()),
        f"mIoU of {len(some)}": mean_iou(found[: len(some)], truth[: len(some)]),
        "exact path's mIoU": mean_iou(exact, truth[: len(some)]),
        f"mIoU of {few}": mean_iou(found[:few], truth[:few]),
        "plain form's mIoU": mean_iou(plain, truth[:few]),
    }


def label_points(
    field,
    views: Views,
    volume: VolumeField,
    points: Float[Tensor, "n 3"],
    text: Tensor,
    k: int | None = None,
) -> Tensor:
    """Return the number of the best text per point, text first; `k` as in `GovNesf.blend`."""
    table, order = project_text(views, text), nearby_order(points)
    labels = torch.empty(len(points), dtype=torch.long, device=points.device)
    for rows in order.split(LABEL_CHUNK):
        some = points[rows]
        scores = blend_semantic(field.blend(some, views, volume, k), some, views, table)
        labels[rows] = scores.argmax(dim=1)
    return labels


def _plain_form(bench: BenchScene, part: Part) -> DenseReference:
    """Return the plain form after a few points, with its maps in memory where they fit easily."""
    views = part.views
    mib = len(views) * bench.camera.width * bench.camera.height * views.ov.shape[3] * 4 / 2**20
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    if bench.field.device.type == "cuda":
        free = torch.cuda.mem_get_info(bench.field.device)[0] / 2**20
    reference = DenseReference(bench.field, views, part.volume, keep_maps=mib < free / 2)
    if reference.maps.keep:
        reference.blend(bench.surface_points(64))  # the first call is slow
    reference.maps.seconds = 0.0
    return reference


def _scores_of_truth(
    bench: BenchScene, order: Tensor, few: int, fast: Tensor, exact: Tensor, plain: Tensor
) -> dict[str, float]:
    """Return mIoU in percent against the scene's labels, where it has any."""
    if bench.labels is None:
        return {}
    label = bench.labels.reshape(-1)[order]
    return {
        "mIoU": mean_iou(fast.argmax(dim=1), label),
        "exact path's mIoU": mean_iou(exact.argmax(dim=1), label),
        f"mIoU of {few} rays": mean_iou(fast[:few].argmax(dim=1), label[:few]),
        "plain form's mIoU": mean_iou(plain.argmax(dim=1), label[:few]),
    }


def mean_iou(found: Int[Tensor, "n"], truth: Int[Tensor, "n"]) -> float:
    """Return the mean over the classes of the truth of intersection over union, percent.

    Args:
        found: class per element.
        truth: the same, -1 where it is not known.
    """
    found, truth = found[truth >= 0], truth[truth >= 0]
    shares = []
    for number in truth.unique():
        one, other = found == number, truth == number
        shares.append((one & other).sum() / (one | other).sum())
    return 100 * float(torch.stack(shares).mean()) if shares else float("nan")


def _render(
    bench: BenchScene,
    part: Part,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    table: Tensor,
    exact: bool,
) -> RayResult:
    """Render rays in chunks that fit the memory of the exact path."""
    chunk = 256 if exact else RENDER_CHUNK
    parts = [
        render_rays(bench.field, part.views, part.volume, o, d, text_scores=table, exact=exact)
        for o, d in zip(origins.split(chunk), directions.split(chunk), strict=True)
    ]
    names = ("color", "depth", "opacity", "scores", "weights", "t", "delta")
    whole = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return RayResult(ov=None, **whole)


def _agreement(one: Float[Tensor, "r t"], other: Float[Tensor, "r t"]) -> float:
    return float((one.argmax(dim=1) == other.argmax(dim=1)).float().mean())


def _mib(*tensors: Tensor) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20
