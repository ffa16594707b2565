"""Reports as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from yolo_nanfix import files
from yolo_nanfix.findings import Report

text, write_text, write_json = files.json_text, files.write_text, files.write_json


def dumps(report: Report) -> str:
    """The report as strict JSON text: no NaN or Infinity tokens, ASCII only, one line for each finding."""
    parts = (f'  "{key}": {_lines(value)}' for key, value in report.as_dict().items())
    return "{\n" + ",\n".join(parts) + "\n}\n"


def rows(objects: Iterable[Any]) -> str:
    """A JSON list with one line for each object; for lists that are too long to be laid out key by key."""
    lines = ",\n".join(json.dumps(obj, allow_nan=False) for obj in objects)
    return f"[\n{lines}\n]" if lines else "[]"


def _lines(value: Any) -> str:
    return rows(value) if isinstance(value, list) else json.dumps(value, allow_nan=False)
