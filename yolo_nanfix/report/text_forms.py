"""The forms of a lint report that are plain text for files and programs, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from yolo_nanfix.findings import Report, RuleText
from yolo_nanfix.report.words import json_rows


def strict_json(report: Report) -> str:
    """The report as strict JSON text: no NaN or Infinity tokens, ASCII only, one line for each finding."""
    parts = (
        f'  "{key}": {json_rows(value) if isinstance(value, list) else json.dumps(value, allow_nan=False)}'
        for key, value in report.as_dict().items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _module(name: str) -> Any:
    """What writes a form, imported once it is wanted: the command line needs the names alone."""
    return import_module(f"yolo_nanfix.report.{name}")


def jsonl(report: Report) -> str:
    """One line of strict ASCII JSON a finding, as `Finding.as_dict` gives it; no line for a clean report."""
    return "".join(json.dumps(finding.as_dict(), allow_nan=False) + "\n" for finding in report.findings)


FORMATS: dict[str, Callable[[Report, Sequence[RuleText]], str]] = {
    "full": lambda report, rules: _module("plain").full(report, rules),
    "concise": lambda report, rules: _module("plain").concise(report),
    "json": lambda report, rules: strict_json(report),
    "jsonl": lambda report, rules: jsonl(report),
    "csv": lambda report, rules: _module("csvout").dumps(report),
    "sarif": lambda report, rules: _module("sarif").dumps(report, rules),
    "github": lambda report, rules: _module("github").dumps(report),
    "gitlab": lambda report, rules: _module("gitlab").dumps(report),
    "junit": lambda report, rules: _module("junit").dumps(report, rules),
}
"""Name -> what writes it. `text`, which depends on a terminal, is in `text.render`."""
