"""`yolo-nanfix completion SHELL`: the script that lets a shell complete our command lines."""

from __future__ import annotations

import argparse
from functools import partial

from yolo_nanfix.cli.output import Answer

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = (
    ("bash, for this shell", 'eval "$(yolo-nanfix completion bash)"'),
    ("bash, for later ones", "yolo-nanfix completion bash >> ~/.bash_completion"),
    ("zsh, in a folder of $fpath", "yolo-nanfix completion zsh > ~/.zfunc/_yolo-nanfix"),
    ("fish", "yolo-nanfix completion fish > ~/.config/fish/completions/yolo-nanfix.fish"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete: bash, zsh or fish")
    parser.epilog = "Commands, options, rules, patches, settings, training arguments and files are completed."


def run(args: argparse.Namespace) -> Answer:
    """The script; it asks the installed command, so that it need not be made again after an update."""
    from argcomplete.shell_integration import shellcode

    from yolo_nanfix.files import json_text

    script = shellcode(["yolo-nanfix"], shell=args.shell) + "\n"
    document = partial(json_text, {"shell": args.shell, "script": script})
    return Answer(0, document, partial(print, script, end=""))
