"""What the commands that train have in common on their command lines."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The dataset, and training arguments as Ultralytics' own command takes them, with what is said of those."""
    parser.add_argument("data", help="data.yaml, as Ultralytics takes it")
    parser.add_argument("arguments", nargs="*", metavar="key=value", help=help_text)
