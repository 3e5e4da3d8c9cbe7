"""`govnesf bench`: time and memory of everything, beside the plain form of the method.

    govnesf bench --json bench.json                      # a room is rendered for it
    govnesf bench --json bench.json --scene DIR --threads 2 --docs docs/benchmarks.md

What is fast and what it is compared with run in one process with the same number of threads, and
accuracy stands beside speed. docs/benchmarks.md explains the rows.
"""

import argparse
import gc
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from . import __version__
from .atomic_file import replacing
from .bench_cases import QUICK, Amounts, encoding, frame, labelling, volume
from .bench_map import growth, query
from .bench_meter import Meter, Others, Row, as_markdown, as_text
from .bench_scaling import scaling
from .bench_scene import BenchScene, Part, prepared
from .checkpoint import load_field
from .precision import WORDS
from .vlm import load_vlm

VIEWS = (30, 95)
_DISTURBED = 0.05  # of the processors, used by others, from which on a table says so
CASES = ("encode", "volume", "frame", "label", "query", "scaling", "map")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command `bench`."""
    parser = subparsers.add_parser(
        "bench",
        help="measure speed and memory beside the plain form of the method",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the table into a document")
    parser.add_argument("--scene", type=Path, metavar="DIR", help="any posed scene; else a room")
    parser.add_argument("--checkpoint", default="small", help="name or path of a field")
    parser.add_argument("--vlm", default="embedded", help="open-vocabulary encoder")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0: torch's own")
    parser.add_argument(
        "--precision", default="auto", choices=WORDS, help="of the convolutional networks"
    )
    parser.add_argument("--quick", action="store_true", help="a minute or two, rougher")
    parser.add_argument("--views", type=int, nargs="+", default=VIEWS, help="reference views")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, help="some of the cases")
    parser.add_argument("--keyframes", type=int, default=0, help="of the map's growth")
    parser.add_argument(
        "--measured", action="store_true", help="take the scene's depth, no stereo; --quick does"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    amounts = QUICK if arguments.quick else Amounts()
    if arguments.keyframes:
        amounts = Amounts(**{**asdict(amounts), "keyframes": arguments.keyframes})
    field = load_field(arguments.checkpoint, arguments.device)
    field.use_precision(arguments.precision)
    vlm = load_vlm(arguments.vlm, arguments.device)
    measured = arguments.measured or arguments.quick
    began = time.time()
    with prepared(arguments.scene, max(arguments.views)) as scene:
        bench = BenchScene.load(field, vlm, scene, max(arguments.views), measured)
        gc.collect()
        gc.freeze()  # as the node does: looking through all of torch takes a quarter of a second
        others = Others()
        rows = measure(bench, amounts, arguments.views, arguments.only, _say)
        report = {
            "machine": machine(field.device),
            "threads": torch.get_num_threads(),
            "checkpoint": arguments.checkpoint,
            "vlm": arguments.vlm,
            "precision": arguments.precision,
            "waiting": os.environ.get("OMP_WAIT_POLICY", "").lower(),
            "others": others.share(),
            "version": __version__,
            "scene": "rendered room" if arguments.scene is None else scene.name,
            "views": len(bench.tensors),
            "surface": "measured" if measured and bench.tensors.depth is not None else "stereo",
            "quick": arguments.quick,
            "amounts": asdict(amounts),
            "seconds": time.time() - began,
            "rows": [asdict(row) | {"ratio": row.ratio} for row in rows],
        }
    print(headline(report))
    print(as_text(rows))
    if arguments.json:
        with replacing(arguments.json) as path:
            path.write_text(json.dumps(report, indent=1))
    if arguments.docs:
        write_table(arguments.docs, report, rows)
    return 0


def measure(
    bench: BenchScene,
    amounts: Amounts,
    counts: Sequence[int] = VIEWS,
    only: Sequence[str] = CASES,
    say: Callable[[str], None] | None = None,
) -> list[Row]:
    """Return the rows of the cases that are asked for.

    Args:
        bench: the scene.
        amounts: how much is measured.
        counts: numbers of reference views.
        only: cases.
        say: takes the name of each case before it runs.
    """
    meter = Meter(bench.field.device)
    say = say or (lambda name: None)
    rows: list[Row] = []
    if "encode" in only:
        say("encode")
        rows += encoding(bench, meter, amounts)
    if "volume" in only:
        say("volume")
        rows += volume(bench, meter, amounts)
    parts: dict[int, Part] = {}
    for count in sorted({min(count, len(bench.tensors)) for count in counts}):
        if not {"frame", "label", "query"} & set(only):
            break
        parts = {count: bench.part(count)}  # one at a time: memory
        for case, run_case in (("frame", frame), ("label", labelling)):
            if case in only:
                say(f"{case}, {count} views")
                rows += run_case(bench, parts[count], meter, amounts)
    if "query" in only:
        say("query")
        rows += query(bench, next(iter(parts.values())), meter, amounts)
    parts.clear()
    if "scaling" in only:
        say("scaling")
        rows += scaling(bench, meter, amounts)
    if "map" in only:
        say("map")
        rows += growth(bench, meter, amounts)
    return rows


def machine(device: torch.device) -> str:
    """Return the name of what computes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = []
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
    return names[0].strip() if names else platform.processor() or platform.machine()


def headline(report: dict) -> str:
    """Return what a table was measured on, in one sentence."""
    kind = "quick, " if report["quick"] else ""
    threads = f"{report['threads']} thread{'s' * (report['threads'] > 1)}"
    if report["waiting"] == "active":
        threads += " (spinning)"
    sentence = (
        f"{report['machine']}, {threads}; {kind}"
        f"{report['scene']} of {report['views']} views, {report['surface']} depth, field "
        f"{Path(report['checkpoint']).name}, {report['vlm']}"
    )
    others = report["others"] or 0.0
    if others > _DISTURBED:
        sentence += f"; others used {others:.0%} of the processors, so that times are too long"
    return sentence


def _say(case: str) -> None:
    print(f"measuring: {case}", file=sys.stderr)


def write_table(document: Path, report: dict, rows: Sequence[Row]) -> None:
    """Put the table between its device's markers in a document; new devices go to the end."""
    kind = "quick" if report["quick"] else "full"
    key = re.sub(r"[^a-z0-9]+", "-", f"{report['machine']} {report['threads']} {kind}".lower())
    start, end = f"<!-- bench {key.strip('-')} -->", "<!-- /bench -->"
    block = f"{start}\n### {headline(report)}\n\n{as_markdown(rows)}\n{end}"
    text = document.read_text() if document.is_file() else "# Benchmarks\n"
    there = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if there.search(text):
        text = there.sub(lambda _: block, text)
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    with replacing(document) as path:
        path.write_text(text)
