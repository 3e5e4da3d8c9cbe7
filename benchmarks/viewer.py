"""What the web page costs at 300,000 points: time to cut, what travels, frames a second.

    python benchmarks/viewer.py                    # the cloud, without a browser
    python benchmarks/viewer.py --browser          # and in a headless Chromium, drawn by the CPU
    python benchmarks/viewer.py --points 1000000 --json viewer.json

Without a ROS graph: the drawing thread is given clouds as the mapper would send them. A room of
depth-camera points grows by one keyframe at a time; a keyframe changes what one view sees.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from govnesf_ros.viewer_cloud import MapPoints, colors_of, cut
from govnesf_ros.viewer_drawing import CloudDrawing, Sent, plan
from govnesf_ros.viewer_server import open_server
from govnesf_ros.viewer_state import first_view

PLACED, PAINTED = 9, 3  # bytes a point: three half floats and a colour; a colour
ROUNDS = 10
MOVING_SECONDS = 6.0

# Turns the camera as a user who drags, and counts the frames that are drawn meanwhile.
DRAG = """async (seconds) => {
  const canvas = [...document.querySelectorAll('canvas')]
    .sort((a, b) => b.width * b.height - a.width * a.height)[0];
  const box = canvas.getBoundingClientRect();
  const at = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
    clientX: box.x + x, clientY: box.y + y, button: 0, buttons: 1, pointerId: 1, bubbles: true,
    pointerType: 'mouse', isPrimary: true }));
  const begin = performance.now();
  const gaps = [];
  let last = begin, x = 300;
  at('pointerdown', x, 300);
  while (performance.now() - begin < seconds * 1000) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    x += 2;
    at('pointermove', x, 300);
  }
  at('pointerup', x, 300);
  return gaps.slice(2);
}"""


def main() -> int:
    options = _parse()
    rng = np.random.default_rng(0)
    points = room(options.points, rng)
    results: dict[str, Any] = {"points": options.points}
    results |= measure_cloud(points, rng)
    if options.browser:
        results |= measure_browser(points, options.budget, rng)
    for name, value in results.items():
        number = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        print(f"{name:<34}{number:>12}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def room(count: int, rng: np.random.Generator) -> MapPoints:
    """Return floor, walls and clutter of a room with points about 3 cm apart."""
    parts = rng.choice(6, count, p=[0.3, 0.15, 0.15, 0.1, 0.15, 0.15])
    side = np.sqrt(count * 0.03**2 / 2.5)
    xyz = rng.random((count, 3)) * [side, side, 2.5]
    xyz[parts == 0, 2] = 0
    xyz[parts == 1, 0] = 0
    xyz[parts == 2, 1] = 0
    xyz[parts == 3, 0] = side
    xyz[parts >= 4, 2] *= 0.3
    photo = (60 + 195 * rng.random((count, 3))).astype(np.uint8)
    label = rng.integers(0, 20, count).astype(np.uint32)
    return MapPoints(xyz.astype(np.float32), photo, label, rng.random(count, np.float32))


def one_keyframe_later(points: MapPoints, rng: np.random.Generator) -> MapPoints:
    """Return the map after a keyframe: what lies within 2 m of some place has moved a little."""
    middle = points.xyz[rng.integers(len(points))]
    seen = np.linalg.norm(points.xyz - middle, axis=1) < 2.0
    xyz = points.xyz.copy()
    xyz[seen] += rng.normal(0, 0.002, (int(seen.sum()), 3)).astype(np.float32)
    order = rng.permutation(len(xyz))  # the mapper promises no order
    return MapPoints(xyz, points.photo, points.label, points.value).where(order)


def one_patch_later(points: MapPoints, rng: np.random.Generator, count: int = 5000) -> MapPoints:
    """Return the map after a keyframe that has changed a few thousand points in one place."""
    middle = points.xyz[rng.integers(len(points))]
    near = np.argsort(np.linalg.norm(points.xyz - middle, axis=1))[:count]
    xyz = points.xyz.copy()
    xyz[near] += rng.normal(0, 0.002, (count, 3)).astype(np.float32)
    order = rng.permutation(len(xyz))
    return MapPoints(xyz, points.photo, points.label, points.value).where(order)


def measure_cloud(points: MapPoints, rng: np.random.Generator) -> dict[str, float]:
    """Return times to colour and cut, and what one keyframe, query or nothing makes travel."""
    begin = time.process_time()
    blocks = cut(points.xyz, colors_of(points, "photo"))
    first = time.process_time() - begin
    figures = {}
    for name, later in (("keyframe", one_keyframe_later), ("5000 points", one_patch_later)):
        times, placed = [], []
        for _ in range(ROUNDS):
            sent = {key: Sent(b.shape, b.paint, 0) for key, b in blocks.by_key.items()}
            points = later(points, rng)
            begin = time.process_time()
            blocks = cut(points.xyz, colors_of(points, "photo"), blocks)
            times.append(time.process_time() - begin)
            steps = plan(blocks, dict.fromkeys(blocks.by_key, 0), sent)
            placed.append(sum(len(blocks.by_key[s.key].xyz) for s in steps if s.kind == "place"))
        figures[f"{name}, cut, median [CPU ms]"] = 1e3 * statistics.median(times)
        figures[f"{name}, sent, median [KiB]"] = statistics.median(placed) * PLACED / 1024
    sent = {key: Sent(b.shape, b.paint, 0) for key, b in blocks.by_key.items()}
    begin = time.process_time()
    blocks = cut(points.xyz, colors_of(points, "relevancy"), blocks)
    query = time.process_time() - begin
    steps = plan(blocks, dict.fromkeys(blocks.by_key, 0), sent)
    assert all(step.kind == "paint" for step in steps)
    painted = sum(len(blocks.by_key[step.key].xyz) for step in steps)
    return {
        "blocks": len(blocks.by_key),
        "first cut [CPU ms]": 1e3 * first,
        "whole cloud [KiB]": len(points) * PLACED / 1024,
        **figures,
        "query, cut [CPU ms]": 1e3 * query,
        "query, sent [KiB]": painted * PAINTED / 1024,
    }


def measure_browser(points: MapPoints, budget: int, rng: np.random.Generator) -> dict[str, float]:
    """Return how soon a browser has the map, and how it draws while the camera turns."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "system"))
    from browser import OPTIONS, chromium
    from playwright.sync_api import sync_playwright

    server = open_server("127.0.0.1", 0, label="benchmark")
    drawing = CloudDrawing(server, budget)
    server.initial_camera.position, server.initial_camera.look_at = first_view(points.xyz)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium(), args=OPTIONS)
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.goto(server.url)
            while not server.get_clients():
                time.sleep(0.05)
            begin = time.perf_counter()
            drawing.show(points, "photo")
            wanted = min(len(points), budget) * 0.5
            while not (drawing.idle and drawing.traffic.placed >= wanted):
                time.sleep(0.02)
            arrived = time.perf_counter() - begin
            drawn = drawing.traffic.placed
            page.wait_for_timeout(3000)
            gaps = sorted(page.evaluate(DRAG, MOVING_SECONDS))
            before, times = drawing.traffic, []
            for _ in range(ROUNDS):
                points = one_patch_later(points, rng)
                begin = time.perf_counter()
                drawing.show(points, "photo")
                while not drawing.idle:
                    time.sleep(0.005)
                times.append(time.perf_counter() - begin)
            after = drawing.traffic
            sent = PLACED * (after.placed - before.placed)
            sent += PAINTED * (after.painted - before.painted)
            browser.close()
    finally:
        drawing.stop()
        server.stop()
    return {
        "points drawn": drawn,
        "map sent to the browser [s]": arrived,
        "5000 points, until all is sent [ms]": 1e3 * statistics.median(times),
        "5000 points, sent by detail [KiB]": sent / ROUNDS / 1024,
        "frame while turning, median [ms]": statistics.median(gaps),
        "frame while turning, p90 [ms]": gaps[int(0.9 * len(gaps))],
        "frames a second": 1e3 * len(gaps) / sum(gaps),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300_000)
    parser.add_argument("--budget", type=int, default=300_000, help="the parameter max_points")
    parser.add_argument("--browser", action="store_true", help="draw in a headless Chromium, too")
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
