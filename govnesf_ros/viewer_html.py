"""The page's own pieces of HTML. Every text from outside is escaped here, and nowhere else.

Words, messages and file names come from people and other programs; viser puts HTML into the page as
it is, and evaluates its markdown as code: so no text reaches the page but through these functions,
or as plain text of a button, an input or a label.
"""

import time
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from govnesf_model.palette import heat_colors, label_colors
from govnesf_ros.viewer_state import Found

MAX_LEGEND = 40  # entries; more are counted
_LABEL_CHARACTERS = 60

# What is highlighted in a mode, for the line under the choice of colours.
_HEAT_TEXTS = {
    "relevancy": ("not what you asked for", "likely"),
    "confidence": ("unsure", "sure"),
}

STYLE = """<style>
.gov { padding: 0 .75em .6em; font-size: .8125rem; line-height: 1.45; }
.gov b { font-weight: 600; }
.gov-soft { color: #909296; }
.gov-bar { display: flex; flex-wrap: wrap; gap: .15em .9em; align-items: center; }
.gov-dot { display: inline-block; width: .6em; height: .6em; border-radius: 50%;
  margin-right: .45em; }
.gov-note { margin: 0 .95em .7em; padding: .5em .75em; border-radius: 4px; font-size: .8125rem;
  line-height: 1.45; border-left: 3px solid; overflow-wrap: anywhere; }
.gov-info { background: #1f2b38; border-color: #4b9fea; }
.gov-good { background: #1c2f25; border-color: #46b17b; }
.gov-warn { background: #352a16; border-color: #e0a030; }
.gov-bad { background: #3a2023; border-color: #e5565b; }
.gov-found { margin: 0 .95em .45em; padding: .45em .75em; border-radius: 4px; background: #2e2e2e;
  border-left: 4px solid; font-size: .8125rem; line-height: 1.4; min-height: 3.4em;
  padding-right: 6.5em; overflow-wrap: anywhere; }
.gov-meter { height: 3px; background: #444; border-radius: 2px; margin: .3em 0 .25em;
  max-width: 11em; }
.gov-meter div { height: 3px; border-radius: 2px; }
div:has(> .gov-found) + div { position: relative; height: 0; padding: 0; }
div:has(> .gov-found) + div button { position: absolute; right: .5em; top: -3.15em; width: 5.4em;
  height: 1.9em !important; padding: 0; font-size: .75rem; }
.gov-legend { display: flex; flex-wrap: wrap; gap: .1em .9em; }
.gov-legend i { display: inline-block; width: .7em; height: .7em; border-radius: 2px;
  margin-right: .4em; }
.gov-heat { height: .55em; border-radius: 3px; margin-bottom: .2em; }
.gov-ends { display: flex; justify-content: space-between; }
.gov table { border-collapse: collapse; width: 100%; }
.gov td { padding: .16em 0; border-bottom: 1px solid #333; vertical-align: top; }
.gov td:first-child { color: #909296; width: 42%; padding-right: .8em; }
.gov td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
</style>"""


def note(kind: str, *sentences: str) -> str:
    """Return a box with a message; kinds are info, good, warn and bad. Nothing for no message."""
    lines = [escape(sentence) for sentence in sentences if sentence]
    return f'<div class="gov-note gov-{kind}">{"<br>".join(lines)}</div>' if lines else ""


def status_line(status: Any | None, age: float | None) -> str:
    """Return one line on what the mapper does; `age` is the status' age in seconds."""
    if status is None or age is None or age > 3.0:
        text = "no mapper" if status is None else f"mapper silent for {age or 0:.0f} s"
        return f'<div class="gov gov-bar">{_dot("#e5565b")}{text}</div>'
    color = {"active": "#46b17b", "paused": "#e0a030"}.get(status.state, "#909296")
    parts = [
        f"<span>{_dot(color)}<b>{escape(status.state)}</b></span>",
        f"<span>{_count(status.keyframes, 'keyframe')}</span>",
        f"<span>{_count(status.points, 'point')}</span>",
    ]
    if status.last_query_ms > 0:
        parts.append(f'<span class="gov-soft">answered in {status.last_query_ms:.0f} ms</span>')
    return f'<div class="gov gov-bar">{"".join(parts)}</div>'


def status_table(status: Any | None) -> str:
    """Return all that the mapper says about itself."""
    if status is None:
        return ""
    rows = [
        ("Model", status.model or "-"),
        ("Runs on", status.device or "-"),
        ("Frame of the map", status.header.frame_id or "-"),
        ("Images", f"{status.frames_received:,} received, {status.frames_used:,} used"),
        ("Skipped", f"{status.frames_skipped:,}"),
        ("Dropped", f"{status.frames_dropped:,}"),
        ("Waiting", f"{status.frames_waiting:,}"),
        ("Why", ", ".join(_reasons(status)) or "-"),
        ("Keyframes", f"{status.keyframes:,} held, {status.keyframes_evicted:,} given up"),
        ("Loop closures", _corrections(status)),
        ("Points", f"{status.points:,}"),
        ("Memory", f"{status.memory_mib:.0f} MiB map, {status.resident_mib:.0f} MiB process"),
        (
            "Last keyframe",
            f"{status.last_keyframe_ms:.0f} ms ({status.encode_ms:.0f} encoders, "
            f"{status.integrate_ms:.0f} map)",
        ),
        ("Last query", f"{status.last_query_ms:.0f} ms"),
        ("Age of transforms", _milliseconds(status.tf_age_ms)),
        ("Active query", status.last_query or "none"),
    ]
    cells = "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f'<div class="gov"><table>{cells}</table></div>'


def _corrections(status: Any) -> str:
    if not status.corrections:
        return "none"
    return f"{status.corrections:,}, the last by up to {status.last_correction_m:.2f} m"


def found_card(found: Found, color: np.ndarray) -> str:
    """Return a row of the result list: what, how sure, how large, where."""
    size = " × ".join(f"{value:.2f}" for value in found.size)
    place = ", ".join(f"{value:.2f}" for value in found.center)
    paint = css_color(color)
    return (
        f'<div class="gov-found" style="border-color:{paint}">'
        f'<b>{escape(shortened(found.text))}</b> <span class="gov-soft">{found.score:.2f}</span>'
        f'<div class="gov-meter"><div style="background:{paint};'
        f'width:{100 * min(max(found.score, 0), 1):.0f}%"></div></div>'
        f'{size} m <span class="gov-soft">at ({place})</span></div>'
    )


def legend(mode: str, texts: Sequence[str]) -> str:
    """Return what the colours of a mode mean.

    Args:
        mode: photo, words, relevancy or confidence.
        texts: of the labels 1, 2, ...; the vocabulary, or the words of the query.
    """
    parts = []
    if mode in _HEAT_TEXTS:
        low, high = _HEAT_TEXTS[mode]
        stops = ",".join(css_color(color) for color in heat_colors(np.linspace(0, 1, 7)))
        parts.append(
            f'<div class="gov-heat" style="background:linear-gradient(90deg,{stops})"></div>'
            f'<div class="gov-ends gov-soft"><span>{low}</span><span>{high}</span></div>'
        )
    if mode in ("words", "relevancy") and texts:
        colors = label_colors(len(texts))[1:]
        entries = [
            f'<span><i style="background:{css_color(color)}"></i>{escape(shortened(text))}</span>'
            for color, text in zip(colors[:MAX_LEGEND], texts[:MAX_LEGEND], strict=False)
        ]
        if len(texts) > MAX_LEGEND:
            entries.append(f"<span>and {len(texts) - MAX_LEGEND} more</span>")
        parts.append(f'<div class="gov-legend">{"".join(entries)}</div>')
    return f'<div class="gov">{"".join(parts)}</div>' if parts else ""


def soft(text: str) -> str:
    """Return a remark in grey."""
    return f'<div class="gov gov-soft">{escape(text)}</div>' if text else ""


def css_color(color: np.ndarray) -> str:
    """Return a colour [3] in 0..255 as CSS has it."""
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in color))


def shortened(text: str) -> str:
    """Return a text that fits a line."""
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"


def clock_time() -> str:
    """Return the time of day, for messages that stay on the page."""
    return time.strftime("%H:%M:%S")


def _dot(color: str) -> str:
    return f'<i class="gov-dot" style="background:{color}"></i>'


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}" + ("" if number == 1 else "s")


def _reasons(status: Any) -> list[str]:
    pairs = zip(status.reasons, status.reason_counts, strict=False)
    return [f"{reason.replace('_', ' ')} {count:,}" for reason, count in pairs]


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if np.isfinite(value) else "-"
