"""`govnesf data synth` makes rooms, `govnesf data assets` gets the furniture for them."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from govnesf_model.data.synthetic.workers import map_in_processes

PACKAGE = "sweethome3d-furniture"
DEMO_WISHES = (
    ("sofa", None, "b:couch"),
    ("table", None, "b:table"),
    ("cabinet", "red", "b:cupboard"),
    ("bookcase", None, "b:bookcase"),
    ("potted plant", None, "b:decorativePlant"),
    ("chair", "blue", "b:sillaBlanca"),
    ("mug", "red", None),
    ("mug", "white", None),
    ("bowl", "green", None),
    ("book", None, None),
    ("bottle", "blue", None),
    ("laptop", None, None),
)


def add_synth_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `synth` command."""
    parser = subparsers.add_parser("synth", help="make rendered rooms with depth and labels")
    parser.add_argument("--scenes", type=int, default=1, help="how many rooms")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one folder each")
    parser.add_argument("--split", choices=("train", "val", "test", "demo"), default="train")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first room")
    parser.add_argument("--views", type=int, default=16, help="images a room")
    parser.add_argument("--size", default="320x240", help="image size, WIDTHxHEIGHT")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--assets", choices=("catalogues", "procedural"), default="catalogues")
    parser.add_argument(
        "--photos", action="store_true", help="photographed floors, walls and woods, too"
    )
    parser.add_argument("--clean", action="store_true", help="no noise, blur or vignetting")
    parser.add_argument("--png", action="store_true", help="colour as png instead of jpg")
    parser.add_argument(
        "--demo", action="store_true",
        help="the demo room: CC0 and parametric things only, one smooth path",
    )  # fmt: skip
    parser.set_defaults(run=run_synth)


def add_assets_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `assets` command."""
    parser = subparsers.add_parser("assets", help="find or install the furniture catalogues")
    parser.add_argument(
        "--photos", action="store_true",
        help="fetch photographed surfaces, too (17 MB, for `data synth --photos`)",
    )  # fmt: skip
    parser.set_defaults(run=run_assets)


def run_synth(args: argparse.Namespace) -> int:
    """Make scenes in parallel; scenes that are there already are kept."""
    from govnesf_model.data.synthetic.generate import (
        Settings,
        checked_catalogues,
        checked_photos,
    )

    width, height = _size(args.size)
    demo = args.demo
    settings = Settings(
        views=args.views,
        width=width,
        height=height,
        assets=args.assets,
        photos=args.photos,
        clean=args.clean,
        smooth=demo,
        image_suffix=".png" if args.png else ".jpg",
        wishes=DEMO_WISHES if demo else (),
        size=(6.0, 4.8, 2.6) if demo else None,
        theme="living" if demo else None,
    )
    checked_catalogues(settings)
    checked_photos(settings)
    split = "demo" if demo else args.split
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (args.out / f"{split}_{seed:05d}", seed, split, settings)
        for seed in range(args.seed, args.seed + args.scenes)
    ]
    failed = []
    try:
        with tqdm(total=len(jobs), unit="room") as bar, closing(_run(jobs, args.workers)) as rooms:
            for folder, problem in rooms:
                bar.update()
                if problem:
                    failed.append(problem)
                    bar.write(f"{folder.name}: {problem}", file=sys.stderr)
    finally:
        _clear(args.out, {job[0].name for job in jobs})
    made = [job[0] for job in jobs if (job[0] / "scene.json").is_file()]
    if made:
        sheet = contact_sheet(made[:24])
        path = args.out / "contact_sheet.png"
        cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        print(f"{len(made)} rooms in {args.out}; look at {path}")
    return 1 if failed else 0


def run_assets(args: argparse.Namespace) -> int:
    """Say whether the catalogues are there; install them with apt where that is possible."""
    from govnesf_model.data.synthetic.assets import Catalogues
    from govnesf_model.data.synthetic.photos import Photos, fetch

    library = Catalogues.find()
    if library is None and shutil.which("apt-get") and os.geteuid() == 0:
        command = ["apt-get", "install", "-y", "--no-install-recommends", PACKAGE]
        print("installing:", " ".join(command))
        if subprocess.run(command, check=False).returncode == 0:
            library = Catalogues.find()
    if library is None:
        how = (
            f"run: sudo apt-get install {PACKAGE}"
            if shutil.which("apt-get")
            else f"unpack the Debian package {PACKAGE} into /usr/share/sweethome3d/furniture"
        )
        print(f"the furniture catalogues are not installed; {how}", file=sys.stderr)
        return 1
    print(f"furniture catalogues found in {library.folder}")
    if args.photos:
        photos = Photos.find() or Photos(fetch())
        print(f"{len(photos.images)} photographs found in {photos.jar}")
    return 0


def contact_sheet(folders: list[Path], columns: int = 6, width: int = 240) -> np.ndarray:
    """Return one RGB picture of scenes: a row each with colours, depth and instances."""
    from govnesf_model.data.posed_scene import open_scene

    rows = []
    for folder in folders:
        scene = open_scene(folder)
        tiles = []
        pick = np.linspace(0, len(scene) - 1, columns - 2).astype(int)
        for i in pick:
            tiles.append(scene[int(i)].rgb)
        frame = scene[int(pick[0])]
        depth = np.clip(frame.depth / 6 * 255, 0, 255).astype(np.uint8)
        tiles.append(cv2.cvtColor(cv2.applyColorMap(depth, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB))
        ids = cv2.imread(str(folder / "instance" / f"{frame.name}.png"), cv2.IMREAD_UNCHANGED)
        tiles.append(np.random.default_rng(1).integers(40, 255, (65536, 3), np.uint8)[ids])
        h = width * scene.height // scene.width
        rows.append(
            np.concatenate(
                [cv2.resize(t, (width, h), interpolation=cv2.INTER_AREA) for t in tiles], 1
            )
        )
    return np.concatenate(rows)


def _run(jobs: list[tuple], workers: int) -> Iterator[tuple[Path, str | None]]:
    if workers <= 1 or len(jobs) == 1:
        return (_work(job) for job in jobs)
    return map_in_processes(_work, jobs, min(workers, len(jobs)))


def _work(job) -> tuple[Path, str | None]:
    from govnesf_model.data.synthetic.generate import generate_scene

    cv2.setNumThreads(1)
    try:
        generate_scene(*job)
    except OSError:  # no catalogues, a full disk: no other room will fare better
        raise
    except Exception as error:  # one bad room must not end a night's work; it is reported
        return job[0], f"{type(error).__name__}: {error}"
    return job[0], None


def _clear(out: Path, names: set[str]) -> None:
    """Remove what an ended worker left of unfinished scenes."""
    for part in out.glob(".*.part"):
        if part.name[1:].rsplit(".", 2)[0] in names:
            shutil.rmtree(part, ignore_errors=True)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(x) for x in text.lower().split("x"))
    except ValueError:
        raise SystemExit(f"--size '{text}': give it as WIDTHxHEIGHT, such as 320x240") from None
    return width, height
