"""Commands of the encoders: `govnesf relevancy` and the tree under `govnesf vlm`.

govnesf_model/cli.py calls both functions with its subparsers; each command sets `run`.
"""

import argparse
import importlib.util

from govnesf_model.resources import resource_dir
from govnesf_model.vlm import ENCODERS, Kind
from govnesf_model.vlm.relevancy import add_relevancy_parser

__all__ = ["add_relevancy_parser", "add_vlm_parser"]


def add_vlm_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare `vlm list`, `vlm measure`, `vlm train embedded` and `vlm convert lseg`."""
    from govnesf_model.vlm import lseg_convert_cli, measure_cli, train_embedded_cli

    vlm = subparsers.add_parser("vlm", help="list, measure, train, convert encoders")
    commands = vlm.add_subparsers(dest="vlm_command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the kinds of encoders and what each needs")
    listing.set_defaults(run=list_encoders)
    measure = commands.add_parser("measure", help="score an encoder on labelled rooms")
    measure_cli.add_arguments(measure)
    measure.set_defaults(run=measure_cli.run)
    train = commands.add_parser("train", help="train an encoder")
    kinds = train.add_subparsers(dest="vlm_kind", required=True, metavar="ENCODER")
    embedded = kinds.add_parser(
        "embedded", help="the small offline encoder, on labelled rooms with colours and materials"
    )
    train_embedded_cli.add_arguments(embedded)
    embedded.set_defaults(run=train_embedded_cli.run)
    convert = commands.add_parser("convert", help="make a safe file of published weights")
    kinds = convert.add_subparsers(dest="vlm_kind", required=True, metavar="ENCODER")
    lseg = kinds.add_parser("lseg", help="LSeg ViT-L/16, a pickled Lightning checkpoint")
    lseg_convert_cli.add_arguments(lseg)
    lseg.set_defaults(run=lseg_convert_cli.run)


def list_encoders(_: argparse.Namespace) -> int:
    """Print the kinds of encoders, what each needs and whether that is here."""
    for kind in ENCODERS.values():
        print(f"{kind.usage}\n    example  {kind.example}\n    needs    {kind.needs}")
        print(f"    here     {_readiness(kind)}")
    print("docs/encoders.md compares them and explains the options")
    return 0


def _readiness(kind: Kind) -> str:
    missing = [name for name in kind.packages if importlib.util.find_spec(name) is None]
    if missing:
        return f"not ready: the Python package {', '.join(missing)} is not installed"
    if not kind.shipped:
        return "ready for the weights that you name"
    file = resource_dir("weights") / kind.shipped
    return "ready" if file.is_file() else f"not ready: {file} is missing"
