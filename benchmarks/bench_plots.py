"""Pictures of what `govnesf bench --json FILE` measured: ratios, stages of a keyframe, and how cost
grows with views, points, texts and the size of the map.

python -m benchmarks.bench_plots bench.json --out docs/images
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullLocator

from govnesf_model.bench import headline
from govnesf_model.bench_meter import duration

from .charts import (
    BOUND,
    DURATIONS,
    FAST,
    INK,
    OTHER,
    PALETTE,
    PLAIN,
    QUIET,
    lying_axes,
    new_page,
    save,
)

RUNS = {"keyframe": ("with depth", FAST), "keyframe without depth": ("without depth", OTHER)}
STAGES = {
    "encode": "open-vocabulary map",
    "field": "field's maps, stereo",
    "volume": "statistics, evidence",
    "unet": "3D U-Net",
    "points": "new surface points",
    "fuse": "features of points",
    "publish": "snapshot",
}
STEPS = (1, 2, 2.5, 5, 10)  # between the marks of an axis
READABLE = 0.03  # of the longest bar: shorter parts have no room for their milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    report = json.loads(arguments.json.read_text())
    for name, picture in PICTURES.items():
        page = picture(report)
        if page is None:
            print(f"{name}: {arguments.json} has no rows for it (govnesf bench --only ...)")
        else:
            save(page, arguments.out / name)
            print(f"{arguments.out / name}")


def ratios(report: dict) -> Figure | None:
    """Return bars of everything that has a plain form, beside it; None where nothing has."""
    rows = [row for row in report["rows"] if row["reference"]]
    if not rows:
        return None
    page, (axes,) = new_page(
        "Ours beside the plain form, shorter is faster", headline(report), 130 + 52 * len(rows)
    )
    places = np.arange(len(rows))
    ours = [row["seconds"] for row in rows]
    plain = [row["reference"] for row in rows]
    # Bars of a logarithmic axis have no beginning: the decade below the shortest serves as one.
    axes.set_xscale("log")
    axes.set_xlim(10 ** np.floor(np.log10(min(ours)) - 0.3), 6 * max(plain))
    first = axes.barh(places - 0.19, ours, 0.36, color=FAST, label="ours")
    second = axes.barh(places + 0.19, plain, 0.36, color=PLAIN, label="plain form")
    texts = axes.bar_label(first, [duration(value) for value in ours], padding=4, color=INK)
    axes.bar_label(second, [duration(value) for value in plain], padding=4, color=QUIET)
    for row, text in zip(rows, texts, strict=True):
        axes.annotate(
            f"  {times(row['ratio'])}",
            (1, 0),
            xycoords=text,
            va="bottom",
            weight="bold",
            color=FAST,
        )
    axes.set_yticks(places, [fill(row["name"], 30) for row in rows])
    lying_axes(axes)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("time, logarithmic; in bold how many times as long the plain form takes")
    page.legend(loc="upper right", ncols=2)
    return page


def times(ratio: float) -> str:
    """Return a ratio with the digits that count."""
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2g}×"


def keyframe(report: dict) -> Figure | None:
    """Return the stages of a keyframe end to end, a bar for each run; None where there are none."""
    runs = {}
    for name, (title, _) in RUNS.items():
        found = [row for row in report["rows"] if row["name"].startswith(f"{name}: ")]
        if found:
            whole = f"{name} of "
            count = [row["name"] for row in report["rows"] if row["name"].startswith(whole)]
            title += "".join(f"\n(of {each.removeprefix(whole)})" for each in count)
            runs[title] = {row["name"].split(": ")[1]: row["seconds"] for row in found}
    if not runs:
        return None
    page, (axes,) = new_page("Where a keyframe's time goes", headline(report), 195 + 70 * len(runs))
    longest = max(sum(stages.values()) for stages in runs.values())
    begin = np.zeros(len(runs))
    names = list(dict.fromkeys(name for stages in runs.values() for name in stages))
    for number, name in enumerate(names):
        seconds = np.array([stages.get(name, 0.0) for stages in runs.values()])
        color = PALETTE[number % len(PALETTE)]
        label = f"{name}: {STAGES[name]}" if name in STAGES else name
        bars = axes.barh(
            list(runs), seconds, 0.62, begin, color=color, label=label, edgecolor="white"
        )
        texts = [milliseconds(value) if value > READABLE * longest else "" for value in seconds]
        axes.bar_label(bars, texts, label_type="center", size=8.5, color=ink_on(color))
        begin += seconds
    for place, total in enumerate(begin):
        axes.annotate(
            f"{milliseconds(total)} ms", (total, place), (6, 0), textcoords="offset points",
            va="center", weight="bold",
        )  # fmt: skip
    axes.set_xlim(0, 1.09 * longest)
    lying_axes(axes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{1e3 * value:g}"))
    axes.set_xlabel("milliseconds")
    page.legend(loc="outside lower center", ncols=4, handlelength=1, columnspacing=1.6)
    return page


def milliseconds(seconds: float) -> str:
    """Return them without a unit, as short as a part of a bar needs it."""
    return f"{1e3 * seconds:.{0 if seconds >= 0.01 else 1}f}"


def ink_on(color: str) -> str:
    """Return what is readable on a colour: ink or white, by its luminance."""
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"


def growth(report: dict) -> Figure | None:
    """Return curves against keyframes, views, points and texts; None without any series."""
    rows = [row for row in report["rows"] if (row.get("series") or {}).get("seconds")]
    grown = [row for row in rows if "MiB" in row["series"]]
    varied = [row for row in rows if "MiB" not in row["series"]]
    height = 3 - (not grown) - (not varied)
    if height == 1:
        return None
    page, panels = new_page(
        "How cost grows", headline(report), 75 + 275 * (height - 1), (height - 1, 3)
    )
    if grown:
        draw_map(panels[:3], grown)
        page.legend(*panels[0].get_legend_handles_labels(), loc="upper right", ncols=len(grown))
    for axes, row in zip(panels[-3:][: len(varied)], varied, strict=True):
        draw_varied(axes, row)
    for axes in panels:
        axes.set_visible(axes.has_data())
    return page


def draw_map(panels: list[Axes], rows: list[dict]) -> None:
    """Draw seconds, MiB and points against keyframes, a curve for each run of the map."""
    time, memory, points = panels
    for row in rows:
        title, color = RUNS.get(row["name"].split(" of ")[0], (row["name"], PALETTE[5]))
        series = row["series"]
        number = np.arange(1, len(series["seconds"]) + 1)
        wide = max(1, len(number) // 20)
        if wide > 1:
            time.plot(number, series["seconds"], color=color, alpha=0.3, linewidth=0.8)
        smooth = np.convolve(series["seconds"], np.ones(wide) / wide, mode="valid")
        mean = f", mean of {wide}" if wide > 1 else ""
        time.plot(number[wide - 1 :], smooth, color=color, linewidth=1.8, label=f"{title}{mean}")
        memory.plot(number, series["MiB"], color=color, linewidth=1.8)
        points.plot(number, series["points"], color=color, linewidth=1.8)
    titles = ("Seconds per keyframe", "MiB of the map", "Points of the map")
    for axes, title in zip(panels, titles, strict=True):
        from_zero(axes, title, "keyframes")
    for bound in sorted({row["values"].get("bound MiB") for row in rows} - {None}):
        memory.axhline(bound, color=BOUND, linewidth=1.4, linestyle="--")
        memory.annotate(
            f"bound: {bound:.0f} MiB", (0, bound), (5, -4), textcoords="offset points", va="top",
            color=BOUND,
        )  # fmt: skip
        memory.set_ylim(top=max(memory.get_ylim()[1], 1.08 * bound))
    points.yaxis.set_major_formatter(EngFormatter(sep=""))


def draw_varied(axes: Axes, row: dict) -> None:
    """Draw what labelling took against the one thing that was varied."""
    series = dict(row["series"])
    seconds = series.pop("seconds")
    what, numbers = next(iter(series.items()))
    axes.plot(numbers, seconds, color=FAST, linewidth=1.8, marker="o", markersize=5)
    from_zero(axes, f"Time to {row['name'].split(':')[0]}", what)
    axes.yaxis.set_major_formatter(DURATIONS)
    if max(numbers) >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def from_zero(axes: Axes, title: str, across: str) -> None:
    """Name a panel; both its axes begin at 0, so that twice as high is twice as much."""
    axes.set_title(title)
    axes.set_xlabel(across)
    right, top = axes.dataLim.max
    axes.set_xlim(0, 1.04 * right)
    axes.set_ylim(0, 1.1 * top)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))


PICTURES: dict[str, Callable[[dict], Figure | None]] = {
    "bench_ratios.png": ratios,
    "bench_keyframe.png": keyframe,
    "bench_growth.png": growth,
}

if __name__ == "__main__":
    main()
