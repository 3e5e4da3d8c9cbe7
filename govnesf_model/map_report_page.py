"""The report as one HTML page, made from the content of answers.json and a few pictures.

html_text = page(record, Pictures(photos={0: (data_uri, "000012")}, plan=svg, side=svg))

No script, no other file, no network: the page may be mailed, printed and kept. All text that comes
from outside (texts, names of scenes and frames) is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

from govnesf_model.map_recording import MEANINGS
from govnesf_model.map_report_pictures import css_color
from govnesf_model.map_report_style import STYLE
from govnesf_model.pictures import CEILING

REASON_COLORS = {
    "accepted": "#1d7f5f",
    "static": "#c9d1d9",
    "known": "#9fb3c8",
    "too_soon": "#e3dccb",
    "blurred": "#e5a000",
    "unreadable": "#b3261e",
    "unusable": "#d9534f",
}
STAGES = {
    "read": "reading and decoding images",
    "gate": "keyframe gate",
    "encode": "open-vocabulary encoder",
    "field": "image encoder of the field",
    "volume": "volume: adding the view",
    "unet": "volume: 3D network",
    "points": "surface points",
    "fuse": "features of the points",
    "publish": "snapshot",
}


@dataclass(frozen=True)
class Pictures:
    """The page's pictures.

    Attributes:
        photos: data URI and frame name per text, from 0; texts without one are told in words.
        plan: SVG of the map from above.
        side: SVG of the map from the side.
    """

    photos: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    plan: str = ""
    side: str = ""


def page(record: Mapping[str, Any], pictures: Pictures) -> str:
    """Return the page.

    Args:
        record: content of answers.json, see `map_report.record`.
        pictures: see `Pictures`.
    """
    name = escape(record["scene"]["name"])
    sections = (
        _head(record),
        _answers(record, pictures),
        _maps(record, pictures),
        _boxes(record),
        _images(record),
        _time(record),
        _settings(record),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{name}: map report</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _head(record: Mapping[str, Any]) -> str:
    scene, texts, seconds = record["scene"], record["texts"], record["seconds"]
    found = sum(bool(text["instances"]) for text in texts)
    count = record["images"]["count"]
    what = [
        f"{count} images",
        f"{scene['width']} × {scene['height']} pixels",
        "with depth" if scene["depth"] else "colour only",
    ]
    if scene["recorded_seconds"]:
        what.insert(1, _duration(scene["recorded_seconds"]))
    if scene["source"]:
        what.append(scene["source"])
    tiles = [
        (f"{found} of {len(texts)}", "texts found"),
        (f"{sum(len(text['instances']) for text in texts)}", "boxes"),
        (f"{record['images']['reasons'].get('accepted', 0)}", f"keyframes of {count} images"),
        (f"{record['map']['points']:,}".replace(",", " "), "points in the map"),
        (
            (f"{seconds['speed']:.2f} ×", "real time")
            if seconds["speed"]
            else (f"{1e3 * seconds['map'] / max(count, 1):.0f} ms", "per image")
        ),
    ]
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in record["warnings"])
    return (
        f'<div class="over">govnesf map · {escape(record["made"].replace("T", " "))}</div>'
        f"<h1>{escape(scene['name'])}</h1>"
        f'<p class="soft">{escape(" · ".join(what))}</p><div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{big}</b><span>{small}</span></div>' for big, small in tiles
        )
        + f"</div>{notes}"
    )


def _answers(record: Mapping[str, Any], pictures: Pictures) -> str:
    limit = record["min_score"]
    bars, cards = [], []
    for number, text in enumerate(record["texts"], start=1):
        name, best = escape(text["text"]), text["best"]
        dot = f'<span class="dot" style="background:{css_color(number)}"></span>'
        fill = css_color(number) if text["instances"] else "#b6bfc9"
        bars.append(
            f'<span class="name">{dot}{name}</span><span class="bar">'
            f'<i style="width:{100 * best:.1f}%;background:{fill}"></i>'
            f'<u style="left:{100 * limit:.1f}%"></u></span><span class="n">{best:.2f}</span>'
        )
        if number - 1 in pictures.photos:
            uri, frame = pictures.photos[number - 1]
            cards.append(_card(text, dot + name, limit, uri, escape(frame)))
    rest = [t["text"] for i, t in enumerate(record["texts"]) if i not in pictures.photos]
    more = f'<p class="soft">Without a picture: {escape(", ".join(rest))}.</p>' if rest else ""
    return (
        f'<h2>Answers</h2><div class="scores">{"".join(bars)}</div>'
        '<p class="soft">Bars: the highest probability of the text anywhere in the map. Line: the '
        f"threshold, {limit:.2f}; what lies beyond it and holds together is a box.</p>"
        f'<div class="cards">{"".join(cards)}</div>{more}'
    )


def _card(text: Mapping[str, Any], name: str, limit: float, uri: str, frame: str) -> str:
    found = text["instances"]
    if found:
        box = found[0]
        state = f'<span class="yes">{len(found)} found</span>'
        told = (
            f"Best at {_metres(box['center'])}, {_metres(box['size'], ' × ')} large, "
            f"score {box['score']:.2f}. Image {frame}."
        )
    else:
        state = '<span class="no">not found</span>'
        reached = "only scattered points" if text["best"] >= limit else "nothing"
        told = (
            f"{reached.capitalize()} above {limit:.2f}; the best is {text['best']:.2f}. Image "
            f"{frame} shows where it is most likely: the brightest."
        )
    alternative = escape(f"{text['text']} in image {frame}", quote=True)
    return (
        f'<div class="card"><img src="{uri}" alt="{alternative}"><div class="said">'
        f'<div class="top"><h3>{name}</h3>{state}</div><p class="soft">{told}</p></div></div>'
    )


def _maps(record: Mapping[str, Any], pictures: Pictures) -> str:
    caption = (
        "{} Coordinates are the recording's map frame, metres, z up. Blue: the camera's path and "
        f"the keyframes that the map holds. What is higher than {CEILING} m is left out."
    )
    figures = [
        f"<figure>{svg}<figcaption>{caption.format(what)}</figcaption></figure>"
        for svg, what in ((pictures.plan, "From above."), (pictures.side, "From the side."))
        if svg
    ]
    return f"<h2>The map</h2>{''.join(figures)}"


def _boxes(record: Mapping[str, Any]) -> str:
    rows = []
    for number, text in enumerate(record["texts"], start=1):
        dot = f'<span class="dot" style="background:{css_color(number)}"></span>'
        for rank, box in enumerate(text["instances"], start=1):
            rank_shown = f" {rank}" if len(text["instances"]) > 1 else ""
            rows.append(
                [
                    dot + escape(text["text"]) + rank_shown,
                    _metres(box["center"]),
                    _metres(box["size"], " × "),
                    f"{57.29578 * box['yaw']:.0f}°",
                    f"{box['score']:.2f}",
                    str(box["points"]),
                    escape(box.get("seen_in", "-")),
                    str(box.get("keyframes", 0)),
                ]
            )
    if not rows:
        return "<h2>Boxes</h2><p>None of the texts was found.</p>"
    heads = [
        "text",
        "centre x, y, z [m]",
        "size [m]",
        "yaw",
        "score",
        "points",
        "best image",
        "keyframes",
    ]
    return "<h2>Boxes</h2>" + _table(heads, rows, left=(0, 6))


def _images(record: Mapping[str, Any]) -> str:
    images, count = record["images"], max(record["images"]["count"], 1)
    outcomes = [reason for _, _, reason in images["outcomes"]]
    ticks, at = [], 0
    for reason, run in groupby(outcomes):
        length = len(list(run))
        ticks.append(f'<rect x="{at}" width="{length}" height="1" fill="{REASON_COLORS[reason]}"/>')
        at += length
    rows = [
        [
            f'<span class="dot" style="background:{REASON_COLORS[reason]}"></span>{reason}',
            MEANINGS[reason],
            str(number),
            f"{100 * number / count:.0f} %",
        ]
        for reason, number in images["reasons"].items()
    ]
    problems = "".join(f'<p class="note">{escape(text)}</p>' for text in images["problems"])
    evicted = record["map"]["evicted"]
    given_up = (
        f"<p>{evicted} keyframes were given up again to stay within the bounds; their points "
        "stay.</p>"
        if evicted
        else ""
    )
    return (
        "<h2>Images</h2>"
        f'<svg class="strip" viewBox="0 0 {count} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="what became of each image, in order">{"".join(ticks)}</svg>'
        + _table(["outcome", "meaning", "images", "share"], rows, left=(0, 1))
        + given_up
        + problems
    )


def _time(record: Mapping[str, Any]) -> str:
    seconds, memory = record["seconds"], record["memory_mib"]
    total = max(seconds["map"], 1e-9)
    rows = []
    for stage, values in sorted(seconds["stages"].items(), key=lambda item: -item[1]["total_s"]):
        share = 100 * values["total_s"] / total
        bar = f'<span class="bar"><i style="width:{share:.1f}%;background:#5b7fa6"></i></span>'
        rows.append(
            [
                STAGES.get(stage, escape(stage)),
                f'<div style="width:150px">{bar.replace("span", "div")}</div>',
                f"{values['total_s']:.2f}",
                str(values["count"]),
                f"{values['median_ms']:.1f}",
                f"{values['p95_ms']:.1f}",
            ]
        )
    heads = ["mapping", "share", "total [s]", "times", "median [ms]", "95 % below [ms]"]
    facts = [("mapping, all stages", f"{seconds['map']:.2f} s")]
    if seconds["speed"]:
        recorded = record["scene"]["recorded_seconds"]
        facts.append(("recording", _duration(recorded)))
        facts.append(("speed of mapping", f"{seconds['speed']:.2f} × real time"))
    named = {"open": "opening the recording", "load": "loading the models", "query": "the query"}
    facts += [(text, f"{seconds[key]:.2f} s") for key, text in named.items() if key in seconds]
    facts.append(("memory of the map", f"{memory['map']:.0f} of {memory['bound']:.0f} MiB"))
    facts.append(("memory of the process, peak", f"{memory['process_peak']:.0f} MiB"))
    if "gpu_peak" in memory:
        facts.append(("memory on the GPU, peak", f"{memory['gpu_peak']:.0f} MiB"))
    return "<h2>Time and memory</h2>" + _facts(facts) + "<p></p>" + _table(heads, rows, left=(0, 1))


def _settings(record: Mapping[str, Any]) -> str:
    command = f"<code>{escape(record['command'])}</code>" if record["command"] else ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in record["scene"]["notes"])
    return (
        "<h2>Settings</h2>"
        + command
        + notes
        + _facts(record["settings"].items())
        + "<h2>Versions</h2>"
        + _facts(record["versions"].items())
        + "<footer>The same figures for programs: answers.json. The points: cloud.ply (photo "
        "colours, label, relevancy) and labels.ply.</footer>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int]) -> str:
    """Return a table of ready HTML; columns that are not `left` hold numbers."""
    kind = ["" if i in left else ' class="n"' for i in range(len(heads))]
    head = "".join(f"<th{k}>{text}</th>" for k, text in zip(kind, heads, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{cell}</td>" for k, cell in zip(kind, row, strict=True)) + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _facts(facts: Iterable[tuple[str, Any]]) -> str:
    rows = "".join(
        f"<div><dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(_plain(value))}</dd></div>"
        for name, value in facts
    )
    return f'<dl class="facts">{rows}</dl>'


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metres(values: Sequence[float], between: str = ", ") -> str:
    return between.join(f"{value:.2f}" for value in values)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
