"""The command `govnesf vlm train embedded`; it imports the training only when it runs."""

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of rooms")
    parser.add_argument("--val", type=Path, nargs="*", default=[], help="folders of held-out rooms")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--cache", type=Path, help="folder for decoded rooms (default: OUT/rooms)")
    parser.add_argument("--minutes", type=float, default=70.0, help="length of the run")
    parser.add_argument("--steps", type=int, default=0, help="length in steps instead of minutes")
    parser.add_argument("--batch", type=int, default=6, help="crops a step")
    parser.add_argument("--workers", type=int, default=1, help="threads that make batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    parser.add_argument("--resume", action="store_true", help="continue the run in OUT")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import torch

    from govnesf_model.vlm.train_embedded import TrainConfig, Trainer

    if args.threads:
        torch.set_num_threads(args.threads)
    taken = ("minutes", "steps", "batch", "workers", "seed")
    config = TrainConfig(**{name: getattr(args, name) for name in taken})
    try:
        trainer = Trainer(args.data, args.val, args.out, config, args.cache)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.resume and not trainer.resume():
        print(f"nothing to resume in {args.out}: starting anew")
    result = trainer.run()
    (args.out / "validation.json").write_text(json.dumps(result, indent=1))
    print(f"wrote {args.out / 'model.safetensors'}")
    return 0
