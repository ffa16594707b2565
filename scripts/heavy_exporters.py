"""Run the exporters that are too heavy for the tests, and compare what they write with what is recorded of them.

    pip install -e '.[exporters]'     label-studio-sdk and datumaro, half a gigabyte
    python scripts/heavy_exporters.py       those of them that are installed here
    python scripts/heavy_exporters.py --write label_studio      record anew what it writes

X-AnyLabeling is a desktop program of 1.2 GB: `pip install x-anylabeling-cvhub` in an environment of its own, and then
`python scripts/heavy_exporters.py x_anylabeling` there. Exit code 1 if an exporter is missing that was asked for,
another release is there than was recorded, or a text differs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests"))

from exporters import facts  # noqa: E402
from exporters.heavy import written  # noqa: E402

EXTRA = ("label_studio", "datumaro")
"""The modules of the exporters that the extra brings."""


def look(tool: dict[str, object], write: bool) -> list[str]:
    """What differs from the record of one exporter, in lines; with `write` the record is made anew."""
    module, exporter = str(tool["module"]), str(tool["exporter"])
    version = importlib.metadata.version(exporter)
    found = {"exporter": exporter, "version": version, "cases": _run(module)}
    file = facts.HERE / "recorded" / f"{module}.json"
    if write:
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return []
    held = facts.recorded(module)
    told = [] if version == held["version"] else [f"release {version}, recorded {held['version']}"]
    for case, texts in found["cases"].items():
        before = held["cases"].get(case, {})
        told += [f"{case}: {path}" for path in sorted({*texts, *before}) if texts.get(path) != before.get(path)]
    return told


def _run(module: str) -> dict[str, dict[str, str]]:
    cases: dict[str, dict[str, str]] = {}
    for name, case in facts.heavy(module).items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            case.draw(root)
            case.export(root)
            cases[name] = written(root)
    return cases


def main() -> int:
    tools = {fact.tool["module"]: fact.tool for fact in facts.facts() if fact.recorded}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="EXPORTER", help=f"of {', '.join(tools)}; default: the extra's")
    parser.add_argument("--write", action="store_true", help="record what they write")
    chosen = parser.parse_args()
    if unknown := set(chosen.modules) - set(tools):
        parser.error(f"no exporter {', '.join(sorted(unknown))}; there are {', '.join(tools)}")
    differs = False
    for module in chosen.modules or EXTRA:
        try:
            told = look(tools[module], chosen.write)
        except importlib.metadata.PackageNotFoundError:
            told = [f"{tools[module]['exporter']} is not installed"]
        differs |= bool(told)
        print(f"{module}: {'as recorded' if not told else 'differs'}")
        print("".join(f"  {line}\n" for line in told), end="")
    return int(differs)


if __name__ == "__main__":
    raise SystemExit(main())
