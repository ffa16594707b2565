"""One page for each rule of lint, `rules/<CODE>.md`, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from generator.markup import block, code, facts, prose, table
from yolo_nanfix.findings import Effect, Safety
from yolo_nanfix.linting.registry import Rule, all_rules

DEFECTS = Path(__file__).resolve().parents[2] / "datasets" / "DEFECTS.md"
FAMILIES = {
    "CF": "data.yaml",
    "FS": "Files and folders",
    "IM": "Images and pixels",
    "TX": "Label text",
    "BX": "Boxes",
    "SG": "Polygons",
    "KP": "Keypoints",
    "OB": "Oriented boxes",
    "CL": "Classes",
    "SP": "Splits",
    "AN": "Annotation files",
}
"""The headline of each family of codes, in the order of the list."""
SEEN = {
    "accepts": "it accepts all of it",
    "crashes": "it crashes",
    "drops": "it drops an image",
    "passes over": "it passes over an image",
    "rewrites": "it rewrites a file or removes rows",
    "not finite": "it hands something to the training that is not finite",
}
"""The words of datasets/DEFECTS.md as sentences."""


def pages() -> Iterator[tuple[str, str]]:
    """Path and text of each page."""
    rules = in_order()
    yield "rules/index.md", _index(rules)
    for before, rule, after in zip((None, *rules), rules, (*rules[1:], None), strict=False):
        yield f"rules/{rule.code}.md", _page(rule, before, after)


def in_order() -> tuple[Rule, ...]:
    """All rules by family and number.

    Raises:
        KeyError: a family has no headline in `FAMILIES`.
    """
    families = list(FAMILIES)
    unknown = {rule.code[:2] for rule in all_rules()} - set(families)
    if unknown:
        raise KeyError(f"docs/generator/rules.py: no headline for the rules {', '.join(sorted(unknown))}")
    return tuple(sorted(all_rules(), key=lambda rule: (families.index(rule.code[:2]), rule.code)))


def _page(rule: Rule, before: Rule | None, after: Rule | None) -> str:
    parts = [
        f"---\norphan: true\n---\n# {rule.code} {rule.name}\n",
        prose(rule.title) + "\n",
        facts(_facts(rule)),
        f"## Why it matters\n\n{prose(rule.why)}\n",
        f"## What Ultralytics does with it\n\n**{rule.effect.value.capitalize()}.** {prose(rule.upstream)}\n",
        _seen(rule),
        f"## Example\n\n{prose(rule.example)}\n",
        f"## Fix it\n\n{prose(rule.fix)}\n",
        _fix(rule),
        "## Ask it, or leave it out\n\n" + block(_commands(rule), "console"),
        f"In `pyproject.toml`:\n\n{block(_settings(rule), 'toml')}",
        _neighbours(before, after),
    ]
    return "\n".join(part for part in parts if part)


def _facts(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "severity", badge(rule)
    yield "Ultralytics", rule.effect.value
    yield "fix", f"{rule.autofix.text} ({rule.autofix.safety.value})" if rule.autofix else "by hand"
    yield "tasks", ", ".join(rule.tasks)
    yield "asked", "with `--deep` only" if rule.deep else "always"


def badge(rule: Rule) -> str:
    """The severity, coloured."""
    return f"[{rule.severity.value}]{{.severity .{rule.severity.value}}}"


def _seen(rule: Rule) -> str:
    """What was seen when Ultralytics read the faulty example of the rule's test; nothing if it was not tried."""
    if rule.code not in _defects():
        return ""
    seen, said = _defects()[rule.code]
    what, _, quoted = seen.removeprefix("**").partition("**")
    told = f"When Ultralytics {_release()} reads the faulty example of this rule's test, {SEEN[what]}"
    told += f", and says\n\n{block(quoted.removeprefix(': '))}" if quoted else ".\n"
    return f"{told}\nLint says of it\n\n{block(said)}" if said.partition(": ")[2] != "nothing" else told


@lru_cache(maxsize=1)
def _defects() -> dict[str, tuple[str, str]]:
    """Code -> what Ultralytics was seen to do, and what lint says, of datasets/DEFECTS.md."""
    rows = [line.split(" | ") for line in DEFECTS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): (row[2], row[3]) for row in rows[1:]}


@lru_cache(maxsize=1)
def _release() -> str:
    return DEFECTS.read_text(encoding="utf-8").partition("read by Ultralytics ")[2].split()[0]


def _fix(rule: Rule) -> str:
    if rule.autofix is None:
        return ""
    safety, option = rule.autofix.safety, rule.autofix.safety.option
    more = "; what reaches out further needs `--unsafe-fixes`" if safety is Safety.SAFE_IF_SLIGHT else ""
    command = f"{_lint(rule)} --select {rule.code} {option}"
    told = f"`{option}` {prose(rule.autofix.text)}{more}. The first command shows it, the second does it:\n\n"
    return told + block(f"{command} --diff\n{command}", "console")


def _lint(rule: Rule) -> str:
    task = "" if "detect" in rule.tasks else f" --task {rule.tasks[0]}"
    return f"$ yolo-nanfix lint data.yaml{task}{' --deep' if rule.deep else ''}"


def _commands(rule: Rule) -> str:
    level = "warning" if rule.severity.value == "info" else "info"
    options = (f"--select {rule.code}", f"--ignore {rule.code}", f"--severity {rule.code}={level}")
    return "\n".join(f"{_lint(rule)} {option}" for option in options)


def _settings(rule: Rule) -> str:
    return f'[tool.yolo-nanfix.lint]\nignore = ["{rule.code}"]'


def _neighbours(before: Rule | None, after: Rule | None) -> str:
    links = [f"[{rule.code}]({rule.code}.md)" for rule in (before, after) if rule]
    return f"---\n\n[All rules](index.md) · {' · '.join(links)}\n"


def _index(rules: tuple[Rule, ...]) -> str:
    head = f"""# Lint rules

{len(rules)} rules. *Fatal* breaks or poisons training, *error* is dropped, altered or trained on as garbage, *warning*
hurts accuracy, *info* does not change the exit code. The column *Ultralytics* says what a training does with it:

{_effects()}
*Fix*: what `yolo-nanfix lint --fix` fixes is *safe*, what it fixes with `--unsafe-fixes` may lose something; see
[the tutorial](../tutorials/check-a-dataset.md).

```{{raw}} html
<div id="rule-filter"></div>
```
"""
    parts = [head]
    for family, members in groupby(rules, lambda rule: rule.code[:2]):
        rows = [_row(rule) for rule in members]
        heads = ("code", "name", "severity", "Ultralytics", "fix", "defect")
        parts.append(f"## {family}: {FAMILIES[family]}\n\n{table(heads, rows)}")
    return "\n".join(parts)


def _row(rule: Rule) -> tuple[str, ...]:
    link, fix = f"[{rule.code}]({rule.code}.md)", rule.autofix.safety.value if rule.autofix else ""
    return link, code(rule.name), badge(rule), rule.effect.value, fix, prose(rule.title, links=False)


def _effects() -> str:
    words = {
        Effect.DROPS: "leaves the whole image out, with at most one line in the log",
        Effect.ACCEPTS: "trains on it as it is",
        Effect.REWRITES: "changes the label in memory, or the file on disk",
        Effect.CRASHES: "raises, at the start or in the middle of an epoch",
        Effect.GARBAGE: "trains on something else than what you see",
        Effect.POISONS: "turns losses, BatchNorm statistics or weights into NaN",
    }
    return table(("word", "what Ultralytics does"), [(f"*{effect.value}*", text) for effect, text in words.items()])
