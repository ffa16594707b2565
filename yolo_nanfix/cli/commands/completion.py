"""`yolo-nanfix completion SHELL`: the script for shell completion, and the words that it offers."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from yolo_nanfix.cli.output import Answer
from yolo_nanfix.cli.parsing import build_parser

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = (
    ("bash, for this shell", 'eval "$(yolo-nanfix completion bash)"'),
    ("bash, for later ones", "yolo-nanfix completion bash >> ~/.bash_completion"),
    ("zsh, in a folder of $fpath", "yolo-nanfix completion zsh > ~/.zfunc/_yolo-nanfix"),
    ("fish", "yolo-nanfix completion fish > ~/.config/fish/completions/yolo-nanfix.fish"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete: bash, zsh or fish")
    parser.epilog = "Commands, options, rules, patches, settings, training arguments and files are completed."


def run(args: argparse.Namespace) -> Answer:
    """Print the script; it calls the installed command, so that it stays valid after an update."""
    from argcomplete.shell_integration import shellcode

    script = shellcode(["yolo-nanfix"], shell=args.shell) + "\n"
    return Answer(0, {"shell": args.shell, "script": script}, partial(print, script, end=""))


def answer() -> None:
    """Answer a completion request in the environment, from the parsers themselves, and end the process."""
    import argcomplete
    from argcomplete.completers import FilesCompleter

    completers: dict[str, Callable[..., Iterable[str]]] = {
        **dict.fromkeys(("select", "extend_select", "ignore"), _rules),
        **dict.fromkeys(("enable", "disable"), _patches),
        "severity": _severities,
        "arguments": _training_arguments,
        "name": _rules_and_patches,
        "data": FilesCompleter(("yaml", "yml", "json", "ndjson")),
    }
    parser = build_parser(os.environ.get("COMP_LINE", "").split()[1:])
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for action in (action for sub in commands.choices.values() for action in sub._actions):
        if action.choices is None and action.dest in completers:
            action.completer = completers[action.dest]  # all others get files from argcomplete
    argcomplete.autocomplete(parser, always_complete_options=False)


def _rules(prefix: str, **given: Any) -> Iterator[str]:
    """`ALL`, families and codes of rules, also after a comma."""
    from yolo_nanfix import api

    before, comma, _ = prefix.rpartition(",")
    codes = [rule.code for rule in api.rules()]
    for word in ("ALL", *dict.fromkeys(code[:2] for code in codes), *codes):
        yield f"{before}{comma}{word}"


def _severities(prefix: str, **given: Any) -> Iterator[str]:
    """`RULE=LEVEL`: first the rule, then the level."""
    from yolo_nanfix import api
    from yolo_nanfix.findings import Severity

    rule, equals, _ = prefix.partition("=")
    return (f"{rule}={level.value}" for level in Severity) if equals else (f"{one.code}=" for one in api.rules())


def _patches(prefix: str, **given: Any) -> Iterable[str]:
    """Names of patches."""
    from yolo_nanfix import api

    return api.cards()


def _rules_and_patches(prefix: str, parsed_args: argparse.Namespace, **given: Any) -> Iterator[str]:
    """Codes and names of rules; for `explain` also patches."""
    from yolo_nanfix import api

    yield from api.cards() if parsed_args.command == "explain" else ()
    for rule in api.rules():
        yield from (rule.code, rule.name)


def _training_arguments(prefix: str, **given: Any) -> Iterator[str]:
    """Ultralytics' training arguments as `key=`, then values of the key, if known."""
    from argcomplete.completers import FilesCompleter

    defaults = _defaults()
    key, equals, start = prefix.partition("=")
    if not equals:
        yield from (f"{name}=" for name in defaults)
    elif isinstance(defaults.get(key), bool):
        yield from (f"{key}=True", f"{key}=False")
    else:
        suffixes = ("pt", "yaml", "yml") if key == "model" else ()
        yield from (f"{key}={file}" for file in FilesCompleter(suffixes)(start))


def _defaults() -> dict[str, Any]:
    """Ultralytics' arguments and their defaults, from its file: an import would take seconds."""
    from yolo_nanfix import safe_yaml

    spec = importlib.util.find_spec("ultralytics")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "cfg" / "default.yaml"
        if path.is_file():
            found: dict[str, Any] = safe_yaml.load_yaml(path.read_text(encoding="utf-8"))
            return found
    return {}
