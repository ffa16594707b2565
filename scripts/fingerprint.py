"""Write the fingerprints of the cards: hash each target's text in the given ultralytics releases.

    python scripts/fingerprint.py                     the installed release
    python scripts/fingerprint.py 8.4.100 8.4.190     these releases, downloaded as wheels by pip

Each card's `fingerprints:` line is rewritten; a range in it covers the releases that were looked at, in order.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from yolo_nanfix import cards, upstream


def sources(release: str, folder: Path) -> zipfile.ZipFile:
    """The wheel of one release, downloaded unless it is there already."""
    found = list(folder.glob(f"ultralytics-{release}-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, f"ultralytics=={release}"], check=True)
        found = list(folder.glob(f"ultralytics-{release}-*.whl"))
    return zipfile.ZipFile(found[0])


def function_text(wheel: zipfile.ZipFile, target: str) -> str | None:
    """The source lines of `package.module:Class.function` with its decorators, or None if it is not there."""
    module, _, qualname = target.partition(":")
    try:
        text = wheel.read(module.replace(".", "/") + ".py").decode("utf-8")
    except KeyError:
        return None
    body: list[ast.stmt] = ast.parse(text).body
    node: ast.stmt | None = None
    for name in qualname.split("."):
        named = [n for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == name]
        if not named:
            return None
        node, body = named[-1], named[-1].body
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.end_lineno is not None
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"


def ranges(marks: dict[str, str | None]) -> dict[str, str]:
    """Fingerprint -> the releases that have it, as ranges over the releases looked at."""
    spans: dict[str, list[list[str]]] = {}
    last = None
    for release, mark in marks.items():
        if mark is not None:
            runs = spans.setdefault(mark, [])
            if mark == last:
                runs[-1].append(release)
            else:
                runs.append([release])
        last = mark
    return {m: ", ".join(r[0] if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs) for m, runs in spans.items()}


def rewrite(card: cards.Card, found: dict[str, str]) -> None:
    """Replace the `fingerprints:` entry of a card file and leave the rest as it is."""
    path = cards.directory() / f"{card.name}.yaml"
    lines = "".join(f'\n  "{mark}": "{span}"' for mark, span in found.items())
    entry = f"fingerprints:{lines}\n" if found else "fingerprints: {}\n"
    text = re.sub(r"^fingerprints:.*\n(?:  .*\n)*", entry, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", help="ultralytics releases; default: the installed one")
    parser.add_argument("--wheels", type=Path, help="keep downloaded wheels in this folder")
    args = parser.parse_args()
    releases = sorted(args.releases or [upstream.version()], key=upstream.release)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.wheels or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        wheels = {release: sources(release, folder) for release in releases}
        for card in cards.load_all().values():
            if not card.targets[0].startswith("ultralytics"):
                continue
            texts = {release: function_text(wheel, card.target) for release, wheel in wheels.items()}
            found = ranges({r: t and upstream.text_fingerprint(t) for r, t in texts.items()})
            rewrite(card, found)
            print(f"{card.name}: {', '.join(found.values()) or 'target not found'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
