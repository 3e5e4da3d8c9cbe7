"""Where the time of a query of twenty texts goes, and what the floor of its scores is: a picture.

    python -m benchmarks.query_profile --out docs/images/bench_query.png --threads 2

The map and the texts are those of `govnesf bench`. The floor is what it takes to bring the features
to single precision and to multiply them with the texts that are no contrast words: no score can be
told without.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from govnesf_model.bench import machine
from govnesf_model.bench_map import big_snapshot
from govnesf_model.bench_meter import Meter, duration
from govnesf_model.bench_scene import BenchScene, prepared
from govnesf_model.checkpoint import load_field
from govnesf_model.contrast_totals import ContrastTotals
from govnesf_model.instances import instances_of_labels
from govnesf_model.query import DEFAULT_INSTANCES, Query, answer, encode_query, score_snapshot
from govnesf_model.skinny_product import products
from govnesf_model.vlm import load_vlm

from .charts import FAST, OTHER, lying_bars, new_page, save

VIEWS = 95


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/bench_query.png"))
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    field, vlm = load_field("small"), load_vlm("embedded", "cpu")
    with prepared(arguments.scene, VIEWS) as scene:
        bench = BenchScene.load(field, vlm, scene, VIEWS, measured=True)
    stages, whole, floor, points = _measure(bench)
    count = torch.get_num_threads()
    where = f"{machine(field.device)}, {count} thread{'s' * (count > 1)}"
    page, (axes,) = new_page(
        f"Where the {duration(whole)} of a query of {len(bench.texts)} texts go",
        f"{where}; {points} points, contrast words scored before",
        130 + 34 * (len(stages) + 1),
    )
    lying_bars(
        axes, {f"{name}, {value / whole:.0%}": value for name, value in stages.items()}, FAST
    )
    lying_bars(axes, {"floor of the scores": floor}, OTHER)
    axes.margins(x=0.12)
    save(page, arguments.out)
    for name, value in [*stages.items(), ("whole", whole), ("floor of the scores", floor)]:
        print(f"{name:40s} {1e3 * value:7.1f} ms")


def _measure(bench: BenchScene) -> tuple[dict[str, float], float, float, int]:
    """Return seconds per stage, of the whole, and of the scores' floor; and how many points."""
    snapshot = big_snapshot(bench, bench.part(VIEWS))
    totals = ContrastTotals.of(snapshot, bench.vlm)
    query, meter = Query(bench.texts), Meter(torch.device("cpu"))
    table = encode_query(bench.vlm, query)

    def scores() -> tuple[torch.Tensor, ...]:
        totals.forget_queries()
        return score_snapshot(snapshot, table, totals)

    index, score, _ = scores()
    relevancy = score.numpy()
    label = np.where(relevancy >= table.min_score, index.numpy() + 1, 0).astype(np.uint32)
    texts, few = len(table.texts), (DEFAULT_INSTANCES, snapshot.voxel_size)
    lattice = totals.lattice

    def instances() -> object:
        return instances_of_labels(snapshot.xyz, relevancy, label, texts, *few, lattice=lattice)

    fresh = [n for n, text in enumerate(table.texts) if text not in totals.words]
    words = table.text_features[fresh].float()
    blocks = snapshot.features.blocks
    single = torch.empty(max(map(len, blocks)), snapshot.features.dim)

    def floor_of_scores() -> None:
        for block in blocks:
            products(words, single[: len(block)].copy_(block))

    def asked() -> object:
        totals.forget_queries()
        return answer(snapshot, bench.vlm, query, totals)

    whole, scoring, clusters, objects, floor = (
        _seconds(meter, run)
        for run in (asked, scores, lambda: lattice.clusters(label), instances, floor_of_scores)
    )
    stages = {
        "scores": scoring,
        "clusters": clusters,
        "boxes, ranking": objects - clusters,
        "the rest": max(0.0, whole - scoring - objects),
    }
    return stages, whole, floor, len(snapshot.xyz)


def _seconds(meter: Meter, run: Callable[[], object]) -> float:
    # Another program's bursts differ from one stage to the next: the median of three such medians.
    return statistics.median(meter.row("", run).seconds for _ in range(3))


if __name__ == "__main__":
    main()
