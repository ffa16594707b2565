"""Write the README's tables from the code, between their markers; `--check` says whether they are up to date.

python scripts/readme.py [--check]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import yaml

from yolo_nanfix import api, cards
from yolo_nanfix.files import write_text
from yolo_nanfix.linting.registry import all_rules

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def patches() -> str:
    """One row a card."""
    rows = ["| patch | symptom | what it does | releases with the defect | on |", "|---|---|---|---|---|"]
    for card in cards.load_all().values():
        spans = ", ".join(
            f"{s.introduced} to before {s.fixed}" if s.fixed else f"{s.introduced} on" for s in card.affected
        )
        rows.append(f"| `{card.name}` | {card.symptom} | {card.does} | {spans} | {card.default} |")
    return "\n".join(_cells(row) for row in rows)


def measured() -> str:
    """One line a card: what it changes in a healthy run."""
    return "\n".join(f"- **`{card.name}`**: {card.measured}" for card in cards.load_all().values())


def rules() -> str:
    """One row a lint rule."""
    rows = ["| code | defect | severity | Ultralytics | fix | |", "|---|---|---|---|---|---|"]
    for rule in all_rules():
        fix = rule.autofix.safety.value if rule.autofix else ""
        told = (f"`{rule.name}`", rule.severity.value, rule.effect.value, fix, rule.title)
        rows.append(f"| {rule.code} | {' | '.join(told)} |")
    return "\n".join(_cells(row) for row in rows)


def sensors() -> str:
    """One row a sensor of the guard."""
    rows = ["| sensor | looks at | when | costs of a step | then |", "|---|---|---|---|---|"]
    known = yaml.safe_load((ROOT / "docs" / "sensors.yaml").read_text(encoding="utf-8"))
    rows += [f"| `{name}` | {' | '.join(facts.values())} |" for name, facts in known.items()]
    return "\n".join(rows)


def settings() -> str:
    """One row a setting of the guard."""
    rows = ["| setting | default | |", "|---|---|---|"]
    rows += [f"| `{name}` | {str(default).lower()} | {text} |" for name, default, text in api.guard_settings()]
    return "\n".join(rows)


def _cells(row: str) -> str:
    """Underscores and angle brackets of prose as Markdown shows them literally."""
    return row.replace("<", "&lt;")


def put(text: str, name: str, content: str) -> str:
    """The text with one generated block replaced."""
    block = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
    if not block.search(text):
        raise SystemExit(f"readme: README.md has no block '<!-- {name}: ... -->'")
    return block.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


BLOCKS = {"sensors": sensors, "settings": settings, "patches": patches, "measured": measured, "rules": rules}


def filled(text: str) -> str:
    """The text with each block that is made from the code replaced."""
    for name, make in BLOCKS.items():
        text = put(text, name, make())
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the tables are stale")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    fresh = filled(text)
    if fresh == text:
        return 0
    if check:
        print("readme: the tables are stale; run: python scripts/readme.py")
        return 1
    write_text(README, fresh)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
