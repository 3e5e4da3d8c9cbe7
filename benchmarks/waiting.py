"""How long threads should spin before they sleep: one process alone, and two that share all cores.

    python -m benchmarks.waiting --threads 2

Encodes images of 320x240 and projects the centres of 190,000 voxels, with OpenMP's threads waiting
in several ways; medians in milliseconds. A robot's processor has other work, so the second column
counts as much as the first.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

WAYS = {
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "as shipped": {},
    "5000 turns": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5000"},
    "20000 turns": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000"},
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "spin for ever": {"OMP_WAIT_POLICY": "ACTIVE"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(*measured(arguments.threads, arguments.seconds))
        return
    print(f"{'[ms]':18s}{'encode':>8s}{'of two':>8s}{'project':>9s}{'of two':>8s}")
    for name, settings in WAYS.items():
        alone = run(1, settings, arguments)
        shared = run(2, settings, arguments)
        print(f"{name:18s}{alone[0]:8.1f}{shared[0]:8.1f}{alone[1]:9.2f}{shared[1]:8.2f}")


def run(count: int, settings: dict[str, str], arguments: argparse.Namespace) -> np.ndarray:
    """Return the means over so many processes side by side."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-m", "benchmarks.waiting", "--measure"]
    command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    pipes = {"stdout": subprocess.PIPE, "text": True, "env": clean | settings}
    started = [subprocess.Popen(command, **pipes) for _ in range(count)]
    texts = [process.communicate()[0] for process in started]
    return np.mean([[float(word) for word in text.split()] for text in texts], axis=0)


def measured(threads: int, seconds: float) -> list[float]:
    """Return the medians of both, in milliseconds."""
    # Before torch: the package says how threads wait.
    from govnesf_model.cameras import in_planes, project_seen
    from govnesf_model.vlm import load_vlm

    # isort: split
    import torch

    torch.set_num_threads(threads)
    vlm, image = load_vlm("embedded", "cpu"), torch.rand(1, 3, 240, 320)
    centers = in_planes(torch.rand(190_000, 3))
    K = torch.tensor([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]])
    view = K, torch.eye(4), 320, 240
    with torch.no_grad():
        return [
            median(lambda: vlm.encode_images(image), seconds),
            median(lambda: project_seen(centers, *view), seconds / 2),
        ]


def median(run: Callable[[], object], seconds: float) -> float:
    run()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(taken))


if __name__ == "__main__":
    main()
