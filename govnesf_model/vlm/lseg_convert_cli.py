"""The command `govnesf vlm convert lseg CKPT OUT.safetensors`; it imports torch when it runs."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("checkpoint", type=Path, help="demo_e200.ckpt of isl-org/lang-seg")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument(
        "--half",
        action="store_true",
        help="round weights to half precision: half the size, not exactly the same features",
    )
    parser.add_argument(
        "--inert",
        action="append",
        default=[],
        metavar="NAME",
        help="a class that the pickle names and that may be left empty; nothing of it is run",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from tqdm import tqdm

    from govnesf_model.vlm.lseg_checkpoint import convert, file_sha256, unused_layout

    def bar(total: int | None, what: str) -> tqdm:
        return tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=None)

    try:
        if args.checkpoint.is_file():
            with bar(args.checkpoint.stat().st_size, "checksum") as progress:
                print(f"sha256 {file_sha256(args.checkpoint, progress.update)}  {args.checkpoint}")
        with bar(None, "weights") as progress:
            weights = convert(
                args.checkpoint, args.out, args.half, inert=args.inert, progress=progress.update
            )
        with bar(args.out.stat().st_size, "checksum") as progress:
            checksum = file_sha256(args.out, progress.update)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    dropped = len(unused_layout(weights.config))
    print(
        f"left out {dropped} entries that no feature depends on: CLIP's image tower and its "
        "temperature, the ViT's last norm and classifier, the first unit of refinenet4"
    )
    print(f"sha256 {checksum}  {args.out}")
    print(f"use it as --vlm lseg:{args.out}")
    return 0
