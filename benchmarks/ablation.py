"""What each part of the method is worth: fields trained without it, on rooms that none of them saw.

    python -m benchmarks.ablation --out ablation --steps 300 --jobs 2

Renders rooms, goes on training a field once with all its parts and once without each, for the same
steps from the same seed, and measures all of them with `govnesf tables`, whose Table 4 is the
answer. All begin with the weights of the same field as far as they fit, so that a part that is
missing is made up for by the others as well as they can. What is there already is not made again.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from govnesf_model.checkpoint import field_path
from govnesf_model.vlm import load_vlm

VARIANTS = {
    "all_parts": (),
    "no_cva": ("field.use_cva=false",),
    "no_vfa": ("field.use_vfa=false",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for rooms, runs and tables")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--rooms", type=int, default=40, help="to train on")
    parser.add_argument("--test-rooms", type=int, default=4, help="to measure on")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, a thread each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", default="small", help="field that all begin with")
    parser.add_argument("--no-distill", action="store_true", help="leave the run without MJF out")
    arguments = parser.parse_args()
    out: Path = arguments.out
    rooms, test = out / "rooms", out / "test"
    synth(rooms, "train", arguments.rooms, 20, 7000, arguments.jobs)
    synth(test, "test", arguments.test_rooms, 40, 950, arguments.jobs)
    start = field_path(arguments.start)

    def trained(item: tuple[str, tuple[str, ...]]) -> Path:
        name, settings = item
        vlm = ("--vlm", "embedded") if name == "distill" else ()
        run = out / "runs" / name
        if not (run / "field.safetensors").is_file():
            govnesf(
                *("train", "small", "--data", rooms, "--out", run, "--threads", 1, *vlm),
                *("--steps", arguments.steps, "--seed", arguments.seed),
                *(word for setting in settings for word in ("--set", setting)),
                *("--set", f"optimizer.start={start}", "--set", "sampling.views_per_scene=16"),
                *("--set", "optimizer.learning_rate=5e-4"),
            )
        return run / "field.safetensors"

    variants = dict(VARIANTS)
    if not arguments.no_distill:
        dim = load_vlm("embedded", "cpu").dim
        variants["distill"] = ("field.use_mjf=false", f"field.distill_dim={dim}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        fields = dict(zip(variants, pool.map(trained, variants.items()), strict=True))
    ours, distill = fields.pop("all_parts"), fields.pop("distill", None)
    govnesf(
        *("tables", test, "--out", out / "tables", "--title", "Parts of the method"),
        *("--checkpoint", ours, "--figures", 0, "--seed", arguments.seed),
        *(() if distill is None else ("--distill-checkpoint", distill)),
        *(word for field in fields.values() for word in ("--ablation", field)),
    )


def synth(folder: Path, split: str, rooms: int, views: int, seed: int, workers: int) -> None:
    """Render rooms of a split unless they are there."""
    if not folder.is_dir():
        govnesf(
            *("data", "synth", "--out", folder, "--split", split, "--scenes", rooms),
            *("--views", views, "--seed", seed, "--workers", workers),
        )


def govnesf(*words: object) -> None:
    """Run the command; its output is this one's."""
    command = [sys.executable, "-m", "govnesf_model.cli", *map(str, words)]
    print("+ govnesf", *map(str, words), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
