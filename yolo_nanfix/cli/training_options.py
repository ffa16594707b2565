"""What the commands that train have in common on their command lines."""

from __future__ import annotations

import argparse


def add_trust(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The option that takes settings files of datasets whole."""
    parser.add_argument(
        "--trust-dataset-settings",
        action="store_true",
        help="take a nanfix.yaml or pyproject.toml that came with the dataset as one of your own",
    )


def add_arguments(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The dataset, and training arguments as Ultralytics' own command takes them, with what is said of those."""
    parser.add_argument("data", help="data.yaml, as Ultralytics takes it")
    parser.add_argument("arguments", nargs="*", metavar="key=value", help=help_text)
