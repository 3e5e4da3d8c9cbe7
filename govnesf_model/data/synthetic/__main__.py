"""`python -m govnesf_model.data.synthetic synth|assets`: the data commands by themselves."""

import argparse
import sys

from govnesf_model.data.synthetic.cli import add_assets_parser, add_synth_parser


def main() -> int:
    parser = argparse.ArgumentParser(prog="govnesf data")
    subparsers = parser.add_subparsers(required=True)
    add_synth_parser(subparsers)
    add_assets_parser(subparsers)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
