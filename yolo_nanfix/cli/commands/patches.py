"""`yolo-nanfix patches`: every card, and what becomes of it on the installed release."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--output-format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Put the default set, say what became of it, take it back."""
    import json

    from yolo_nanfix import api

    with api.patched() as status:
        print(json.dumps(status.as_dict(), indent=2) if args.output_format == "json" else status)
    return 0
