"""How the cost of labelling grows: with views, points and texts. For the curves of the pictures.

rows = scaling(bench, meter, amounts)        # each row has a series
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from .bench_cases import Amounts, label_points
from .bench_meter import Meter, Row
from .bench_scene import BenchScene

VIEWS = (5, 10, 20, 30, 60, 95)
SHARES = (0.03, 0.1, 0.3, 1.0)  # of the points
TEXTS = (1, 5, 20, 80)


@torch.no_grad()
def scaling(bench: BenchScene, meter: Meter, amounts: Amounts) -> list[Row]:
    """Measure labelling for several numbers of views, points and texts, one varied at a time."""
    points = bench.surface_points(amounts.labels).contiguous()
    some = points[: max(1, len(points) // 5)]
    middle = bench.part(min(30, len(bench.tensors)))
    words = torch.cat([bench.text, -bench.text])  # any unit vectors cost the same
    words = F.normalize(words.repeat(-(-max(TEXTS) // len(words)), 1)[: max(TEXTS)], dim=1)

    def row(what: str, numbers: Sequence[int], label: Callable[[int], Callable]) -> Row:
        each = [meter.row("", label(number), min(2, amounts.repeats)) for number in numbers]
        seconds = [one.seconds for one in each]
        name = f"label against {what}: {numbers[0]} to {numbers[-1]}"
        row = Row(name, seconds[-1], each[-1].busy)
        row.values = {f"{numbers[0]} s": seconds[0]}
        row.series = {what: [float(number) for number in numbers], "seconds": seconds}
        return row

    def of_views(count: int) -> Callable:
        part = bench.part(count)
        return lambda: label_points(bench.field, part.views, part.volume, some, bench.text)

    def of_points(count: int) -> Callable:
        few = points[:count]
        return lambda: label_points(bench.field, middle.views, middle.volume, few, bench.text)

    def of_texts(count: int) -> Callable:
        few = words[:count]
        return lambda: label_points(bench.field, middle.views, middle.volume, some, few)

    views = sorted({min(count, len(bench.tensors)) for count in VIEWS})
    return [
        row("views", views, of_views),
        row("points", [round(share * len(points)) for share in SHARES], of_points),
        row("texts", TEXTS, of_texts),
    ]
