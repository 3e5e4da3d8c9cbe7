"""The command `govnesf vlm measure SPEC --rooms FOLDER`: the figures of a model card."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from govnesf_model.vlm import VLM_HELP, load_vlm

ROWS = {
    "miou": "mIoU of the names present in a room, pooled over rooms",
    "room_miou": "the same, mean over rooms",
    "oacc": "share of right cells (oAcc)",
    "found_when_present": "a name in view passes the threshold on the thing",
    "pointing": "a name in view: the best cell lies on the thing",
    "quiet_when_absent": "a name of nothing in view passes nowhere in the frame",
    "attribute": "of two like things the colour or material picks the right one",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("vlm", help=VLM_HELP)
    parser.add_argument("--rooms", type=Path, nargs="+", required=True, help="folders of rooms")
    parser.add_argument("--frames", type=int, default=256, help="images to look at in all")
    parser.add_argument("--cache", type=Path, help="folder for decoded rooms (default: none kept)")
    parser.add_argument("--seed", type=int, default=0, help="of the names that are asked")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write everything here, names one by one too")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import torch

    from govnesf_model.vlm.measure import evaluate
    from govnesf_model.vlm.train_embedded_rooms import RoomSet

    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        encoder = load_vlm(args.vlm, args.device)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        rooms = RoomSet(args.rooms, args.cache or Path(folder)).rooms
        if not rooms:
            where = ", ".join(map(str, args.rooms))
            print(f"error: no labelled rooms under {where}: `govnesf data synth`", file=sys.stderr)
            return 2
        result = evaluate(encoder, rooms, args.frames, args.seed)
    result["key"] = encoder.key
    print(f"{encoder.key}: {result['frames']} images of {len(rooms)} rooms", end=", ")
    print(f"{len(result['per_class'])} names, threshold {encoder.default_threshold:.2f}")
    for name, meaning in ROWS.items():
        if name in result:
            print(f"  {result[name]:.3f}  {meaning}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    return 0
