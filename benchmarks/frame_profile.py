"""Where the time of a rendered frame goes, and what the floor is: a picture from torch's profiler.

    python -m benchmarks.frame_profile --out docs/images/bench_frame.png --threads 2

Operators are grouped by what they do. The floor is the arithmetic of the networks at the speed at
which this machine multiplies large matrices; everything above it is moving data about.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile

from govnesf_model.bench import machine
from govnesf_model.bench_cases import render_lines
from govnesf_model.bench_meter import duration
from govnesf_model.bench_scene import BenchScene, prepared
from govnesf_model.blending import project_text
from govnesf_model.checkpoint import load_field
from govnesf_model.vlm import load_vlm

from .charts import FAST, OTHER, lying_bars, new_page, save

# Patterns of operators' names, without underscores around them.
GROUPS = {
    "matrix products of the networks": ("addmm", "mm", "bmm", "baddbmm"),
    "attention across views": ("scaled_dot*",),
    "activations": ("silu", "softplus", "softmax", "tanh", "exp", "log"),
    "normalisation": ("native_layer_norm",),
    "gathers from maps and voxels": ("embedding_bag*", "index*", "gather", "take"),
    "choice of views": ("topk", "sort", "cosine_similarity", "linalg_vector_norm"),
    "copies and concatenation": ("copy", "to_copy", "cat", "stack", "fill", "zero"),
    "products and quotients": ("mul", "div", "addcmul"),
    "sums and differences": ("add", "sub", "rsub", "sum", "mean"),
}
REST = "comparisons and the rest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/bench_frame.png"))
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--views", type=int, default=30)
    parser.add_argument("--step", type=int, default=4, help="every so many-th line is rendered")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    field, vlm = load_field("small"), load_vlm("embedded", "cpu")
    with prepared(arguments.scene, arguments.views) as scene:
        bench = BenchScene.load(field, vlm, scene, arguments.views, measured=True)
    part = bench.part(arguments.views)
    with torch.no_grad():
        table = project_text(part.views, bench.text)
        render_lines(bench, part, table, arguments.step)
        with profile(activities=[ProfilerActivity.CPU], with_flops=True) as seen:
            render_lines(bench, part, table, arguments.step)
    events = seen.key_averages()
    seconds: dict[str, float] = defaultdict(float)
    for event in events:
        seconds[group_of(event.key)] += event.self_cpu_time_total * 1e-6 * arguments.step
    work = sum(event.flops for event in events) * arguments.step
    floor = work / matrix_speed()
    count = torch.get_num_threads()
    where = f"{machine(field.device)}, {count} thread{'s' * (count > 1)}"
    page = operators(seconds, work, floor, f"{where}; 320x240, {arguments.views} views")
    save(page, arguments.out)
    for name, value in [*longest_first(seconds).items(), ("floor", floor)]:
        print(f"{name:40s} {value:8.3f} s")


def operators(seconds: Mapping[str, float], work: float, floor: float, subtitle: str) -> Figure:
    """Return bars of the groups of operators, the longest first, and the floor under them.

    Args:
        seconds: by group.
        work: floating-point operations of the networks.
        floor: seconds that these take at the speed of large matrix products.
        subtitle: what was rendered, and on what.
    """
    whole = sum(seconds.values())
    title = f"Where a frame's {duration(whole)} go"
    page, (axes,) = new_page(title, subtitle, 130 + 34 * (len(seconds) + 1))
    shares = {
        f"{name}, {value / whole:.0%}": value for name, value in longest_first(seconds).items()
    }
    lying_bars(axes, shares, FAST)
    lying_bars(axes, {f"floor: {work / 1e9:.0f} GFLOP as one large product": floor}, OTHER)
    axes.margins(x=0.12)
    return page


def longest_first(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the same, sorted."""
    return dict(sorted(seconds.items(), key=lambda group: -group[1]))


def group_of(operator: str) -> str:
    """Return the group that an operator belongs to."""
    name = operator.removeprefix("aten::").strip("_")
    for group, patterns in GROUPS.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return group
    return REST


def matrix_speed(size: int = 1024, repeats: int = 5) -> float:
    """Return floating-point operations per second of large matrix products."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    a @ b
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        took.append(time.perf_counter() - began)
    return 2 * size**3 / min(took)


if __name__ == "__main__":
    main()
