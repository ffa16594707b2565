"""Reports as strict JSON, and files that are either written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any

from yolo_nanfix import files
from yolo_nanfix.findings import Report

REPORT_NAME = "yolo-nanfix.json"
"""The file in a run's folder that says how the run went."""
PAGE_NAME = "yolo-nanfix.html"
"""The page in a run's folder."""


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


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as strict JSON; another process sees the old file or the whole new one.

    Numbers that JSON lacks become their names ("nan", "inf", "-inf"), enums their values, paths text.

    Raises:
        OSError: if the file cannot be written; then nothing is left behind.
        TypeError: if `obj` holds something that has no form in JSON.
    """
    write_text(path, text(obj))


def write_text(path: str | Path, content: str) -> None:
    """Write UTF-8 text in one step: to a new file beside `path`, which then takes its place.

    A link in its place is replaced, wherever it leads. Only the names of devices and of open files (`/dev/null`,
    `/dev/stdout`, what a shell gives for `>(...)`) are never replaced: they are written to.

    Raises:
        OSError: if the file cannot be written; then nothing is left behind.
    """
    if _is_of_system(Path(path)):
        with open(path, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
        return
    with files.file(Path(path)) as fresh, open(fresh, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(content)


def _is_of_system(path: Path) -> bool:
    """Whether a name is one of a device or of an open file, which is no file itself."""
    named = os.path.abspath(path)  # noqa: PTH100 - without following links
    if not named.startswith(("/dev/", "/proc/")):
        return False
    try:
        return not stat.S_ISREG(os.lstat(named).st_mode)
    except OSError:
        return False


def text(obj: Any) -> str:
    """Strict JSON text, ASCII, with a final newline; what JSON lacks is replaced as in `write_json`."""
    return json.dumps(_plain(obj), allow_nan=False, indent=2) + "\n"


def _plain(obj: Any) -> Any:
    """`obj` with what JSON lacks replaced: non-finite numbers, enums, paths, tuples."""
    if isinstance(obj, Enum):
        return _plain(obj.value)
    if isinstance(obj, float) and not isfinite(obj):
        return str(obj)
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(value) for value in obj]
    return str(obj) if isinstance(obj, Path) else obj
