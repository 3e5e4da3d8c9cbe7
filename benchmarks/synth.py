"""Images a second of the room generator, and where its time goes.

    python -m benchmarks.synth                       # CPU time of one process, by stage
    python -m benchmarks.synth --workers 2           # wall time of several, on top

Rooms are made once before, so that prepared models and painted textures are cached as in a long
run. CPU time says what a free core would do, whatever else runs on the machine.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2

from govnesf_model.data.synthetic import generate, lighting, render
from govnesf_model.data.synthetic.generate import Settings
from govnesf_model.data.synthetic.workers import map_in_processes

# (owner, attribute, stage): time in a stage is its own, without that of stages inside it.
STAGES = (
    (generate, "build_room", "furnish the room"),
    (generate, "Stage", "textures, normals"),
    (generate, "camera_path", "camera path"),
    (render.Stage, "render", "shade"),
    (render.Stage, "_cast", "cast rays, ray tree"),
    (render.Stage, "_smooth_edges", "smooth edges"),
    (lighting.Lighting, "over_image", "light"),
    (lighting.Lighting, "_meets", "shadow rays"),
    (generate, "expose", "lens"),
    (generate, "make_lens", "lens"),
    (generate, "_write", "write"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rooms", type=int, default=3)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=[320, 240], metavar=("W", "H"))
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--assets", choices=("catalogues", "procedural"), default="catalogues")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = arguments.size
    settings = Settings(views=arguments.views, width=width, height=height, assets=arguments.assets)
    seeds = range(arguments.seed, arguments.seed + arguments.rooms)
    for seed in seeds:
        generate._room_with_views(seed, "train", generate.checked_catalogues(settings), settings)
    clock = Clock()
    for owner, name, stage in STAGES:
        setattr(owner, name, clock.timed(getattr(owner, name), stage))
    rates = []
    for seed in seeds:
        began = time.process_time()
        make((seed, settings))
        rates.append(settings.views / (time.process_time() - began))
    total = sum(settings.views / rate for rate in rates)
    images = arguments.rooms * settings.views
    print(f"{images} images of {width}x{height} in {arguments.rooms} rooms, {settings.assets}")
    print(
        f"a worker   {images / total:.1f} images a second of CPU time "
        f"(rooms: {min(rates):.1f} to {max(rates):.1f}, median {statistics.median(rates):.1f})"
    )
    clock.seconds["other"] = total - sum(clock.seconds.values())
    for stage, seconds in clock.seconds.most_common():
        print(f"  {stage:22}{1e3 * seconds / images:7.1f} ms an image {seconds / total:5.0%}")
    if arguments.workers > 1:
        began = time.perf_counter()
        jobs = [(seed, settings) for seed in seeds] * arguments.workers
        made = sum(map_in_processes(make, jobs, arguments.workers))
        wall = time.perf_counter() - began
        print(f"{arguments.workers} workers  {made / wall:.1f} images a second, start included")


def make(job: tuple[int, Settings]) -> int:
    """Make a room as the command does, and return how many images it has."""
    cv2.setNumThreads(1)
    seed, settings = job
    with tempfile.TemporaryDirectory() as folder:
        generate.generate_scene(Path(folder) / "room", seed, "train", settings)
    return settings.views


class Clock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.inner = [0.0]

    def timed(self, function, stage: str):
        """Return the function, its own time added to a stage."""

        def run(*arguments, **options):
            began = time.process_time()
            self.inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                spent = time.process_time() - began
                self.seconds[stage] += spent - self.inner.pop()
                self.inner[-1] += spent

        return run


if __name__ == "__main__":
    main()
