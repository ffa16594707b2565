"""Write the fingerprints of the cards: hash each target's text in releases of ultralytics.

    python scripts/fingerprint.py                     every release with a patch: 8.0.35 to the newest
    python scripts/fingerprint.py --check             write nothing; exit code 1 and a DRIFT line where a card is stale
    python scripts/fingerprint.py --check 8.4.190     look at these releases only

Each card's `fingerprints:` entry is rewritten; a range in it covers every release on the index between its ends.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import zipfile

import releases
from rich.progress import track

from yolo_nanfix import cards, upstream
from yolo_nanfix.files import write_text
from yolo_nanfix.patching.fixes import load_fixes


def function_text(source: str, qualname: str) -> str | None:
    """The lines of `Class.function` in a module's source, with its decorators, or None if it is not there."""
    body: list[ast.stmt] = ast.parse(source).body
    node: ast.stmt | None = None
    for name in qualname.split("."):
        named = [n for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == name]
        if not named:
            return None
        node, body = named[-1], named[-1].body
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.end_lineno is not None
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno]) + "\n"


def wrapping() -> list[cards.Card]:
    """The cards whose code depends on the text of their targets; the others install something of their own."""
    return [card for card in cards.load_all().values() if load_fixes()[card.name].install is None]


def targets() -> list[str]:
    """Every target in ultralytics whose text a card must know."""
    return sorted({t for card in wrapping() for t in card.targets if t.startswith("ultralytics")})


_known: dict[tuple[int, str], str | None] = {}
"""Fingerprints by checksum of the module and by target: most modules are the same in many releases."""


def marks(release: str, paths: list[str]) -> dict[str, str]:
    """The fingerprints of the targets that a release has."""
    found = {}
    with zipfile.ZipFile(releases.wheel(release)) as wheel:
        modules = {info.filename: info for info in wheel.infolist()}
        for path in paths:
            module, _, qualname = path.partition(":")
            info = modules.get(module.replace(".", "/") + ".py")
            if info is None:
                continue
            if (info.CRC, path) not in _known:
                text = function_text(wheel.read(info).decode("utf-8"), qualname)
                _known[info.CRC, path] = text and upstream.text_fingerprint(text)
            if mark := _known[info.CRC, path]:
                found[path] = mark
    return found


def ranges(by_release: dict[str, str | None]) -> dict[str, str]:
    """Fingerprint -> the releases that have it, as ranges over the releases looked at."""
    spans: dict[str, list[list[str]]] = {}
    last = None
    for release, mark in by_release.items():
        if mark is not None:
            runs = spans.setdefault(mark, [])
            if mark == last:
                runs[-1].append(release)
            else:
                runs.append([release])
        last = mark
    return {m: ", ".join(r[0] if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs) for m, runs in spans.items()}


def of_card(card: cards.Card, found: dict[str, dict[str, str]]) -> dict[str, str]:
    """The `fingerprints:` entry of a card; where it has several targets, each range names its own."""
    entry: dict[str, list[str]] = {}
    for path in card.targets:
        label = f"{path.partition(':')[2]} " if len(card.targets) > 1 else ""
        for mark, span in ranges({r: marks_of.get(path) for r, marks_of in found.items()}).items():
            entry.setdefault(mark, []).append(label + span)
    return {mark: "; ".join(spans) for mark, spans in entry.items()}


def rewrite(card: cards.Card, found: dict[str, str]) -> None:
    """Replace the `fingerprints:` entry of a card file and leave the rest as it is."""
    path = cards.directory() / f"{card.name}.yaml"
    lines = "".join(f'\n  "{mark}": "{span}"' for mark, span in found.items())
    entry = f"fingerprints:{lines}\n" if found else "fingerprints: {}\n"
    text = re.sub(r"^fingerprints:.*\n(?:  .*\n)*", entry, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    write_text(path, text)


def drift(found: dict[str, dict[str, str]]) -> list[str]:
    """One line for each text that no card knows, and for each card that has a defect but no target any more."""
    lines = []
    for card in wrapping():
        for release, marks_of in found.items():
            here = upstream.release(release)
            spans = [s for s in card.affected if upstream.release(s.introduced) <= here]
            if not any(s.fixed is None or here < upstream.release(s.fixed) for s in spans):
                continue
            ours = [path for path in card.targets if path.startswith("ultralytics")]
            unknown = [p for p in ours if p in marks_of and marks_of[p] not in card.fingerprints]
            lines += [f"DRIFT {release}: {path} has a text that card '{card.name}' does not know" for path in unknown]
            if ours and not any(path in marks_of for path in ours):
                lines.append(f"DRIFT {release}: no target of card '{card.name}' exists")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", help="ultralytics releases; default: all from 8.0.35 on")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a card is stale")
    args = parser.parse_args()
    if args.releases and not args.check:
        parser.error("a card's fingerprints cover every release: name releases only with --check")
    chosen = sorted(args.releases, key=releases.key) or releases.supported(releases.FIRST_OF_RECT)
    paths = targets()
    found = {release: marks(release, paths) for release in track(chosen, "hashing", disable=not sys.stderr.isatty())}
    if args.check:
        lines = drift(found)
        print("\n".join(lines) or f"no drift in {len(chosen)} releases, {chosen[0]} to {chosen[-1]}")
        return 1 if lines else 0
    for card in wrapping():
        entry = of_card(card, found)
        rewrite(card, entry)
        print(f"{card.name}: {len(entry)} texts")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
