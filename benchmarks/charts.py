"""How our charts look: white pages with a heading, one palette, figures beside the bars.

    page, (axes,) = new_page("Seconds of a keyframe", "one machine, 2 threads", height=300)
    lying_bars(axes, {"encode": 0.04, "fuse": 0.07}, FAST)
    save(page, Path("docs/images/bench_keyframe.png"))

Pages are `Figure`s of their own: pyplot would keep them, and would look for a display.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from textwrap import fill

import matplotlib
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from govnesf_model.bench_meter import duration

WIDTH = 1000  # pixels: a README shows about so many
FAST, PLAIN, OTHER, BOUND = "#2b6cb0", "#c3c9d1", "#dd7a1f", "#b3261e"
INK, QUIET, GRID = "#1f2933", "#5b6673", "#e3e7eb"
# Neighbours differ in lightness as well, for those who do not tell red from green.
PALETTE = ("#2b6cb0", "#8ec3ee", "#1f8a70", "#f0c24b", "#dd7a1f", "#a23b72", "#6b7280")

DURATIONS = FuncFormatter(lambda value, _: duration(value) if value else "0")

_DPI = 100
_COLORS = 128  # none is further than 9 of 255 from the one it stands for
_HEADING = 66  # pixels of title and subtitle
_LETTERS = 118  # of a subtitle's line
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": PLAIN,
    "axes.labelcolor": QUIET,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
}
# Whatever settings the user has: a picture drawn again should differ by its figures alone.
matplotlib.rcdefaults()
matplotlib.rcParams.update(_STYLE)


def new_page(
    title: str, subtitle: str, height: int, panels: tuple[int, int] = (1, 1)
) -> tuple[Figure, list[Axes]]:
    """Return a white page with a heading, and its panels, row by row.

    Args:
        title: what is shown.
        subtitle: what it was measured on.
        height: of the whole page, pixels.
        panels: rows and columns.
    """
    subtitle = fill(subtitle, _LETTERS)
    top = _HEADING + 15 * subtitle.count("\n")
    page = Figure((WIDTH / _DPI, height / _DPI), _DPI, facecolor="white", layout="constrained")
    page.get_layout_engine().set(
        rect=(0.008, 0.01, 0.984, 0.99 - top / height), h_pad=0.08, w_pad=0.08
    )
    page.text(0.014, 1 - 12 / height, title, size=13, weight="bold", va="top")
    page.text(0.014, 1 - 37 / height, subtitle, size=9, color=QUIET, va="top")
    return page, page.subplots(*panels, squeeze=False).ravel().tolist()


def save(page: Figure, path: Path) -> None:
    """Write a page as an opaque PNG of few colours; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    page.savefig(drawn, format="png", dpi=_DPI, facecolor="white")
    # Smooth letters have colours that nobody tells apart: a palette leaves a third of the file.
    few = Image.open(drawn).convert("RGB")
    few = few.quantize(_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)


def lying_bars(
    axes: Axes, seconds: Mapping[str, float], color: str, label: str | None = None
) -> BarContainer:
    """Draw bars from top to bottom, their seconds written behind them.

    Args:
        axes: where.
        seconds: of each bar, by its name.
        color: of the bars.
        label: for a legend.
    """
    bars = axes.barh(list(seconds), list(seconds.values()), 0.64, color=color, label=label)
    axes.bar_label(bars, [duration(value) for value in seconds.values()], padding=5, color=INK)
    lying_axes(axes)
    return bars


def lying_axes(axes: Axes) -> None:
    """Let the first bar be the topmost; only what runs along the bars keeps a grid and ticks."""
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(DURATIONS)
