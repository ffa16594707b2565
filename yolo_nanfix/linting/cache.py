"""What lint remembers of a dataset, outside of it: a file that has not changed is not read again.

Two files a dataset and way of linting, never a pickle: the columns, and the latest findings as JSON with a hash of all
stamps. As long as few files change, the columns stay as they are, and those few are read each time. Both files are
written aside and put in place whole, so a crash leaves the old ones and several runs at once do not disturb each other.
Each is true by itself, since it holds the stamps that it speaks of, so the two need not be of one run.

Nothing is believed that is damaged or not the user's own (`sealed`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_hexdigest, xxh3_128_hexdigest

from yolo_nanfix import files as unfinished
from yolo_nanfix.dataset import class_lists
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting import sealed

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 100
COLUMNS, LATEST = ".columns", ".findings"
OLD = (".safetensors", ".json")
"""What earlier releases kept, which nobody reads any more."""
READERS = ("numpy", "PIL", "cv2", "simplejpeg", "yaml")
"""What reads the files of a dataset for the rules."""
_KINDS = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U64": "<u8", "F32": "<f4"}
"""The names that numbers have in a file of safetensors."""
_LOOKS = '"looks":'
ENVIRONMENT = "YOLO_NANFIX_CACHE"
"""Names another folder for what is remembered."""


def folder() -> Path:
    """Where the memories are kept."""
    if given := os.environ.get(ENVIRONMENT):
        return Path(given).absolute() / "lint"
    from platformdirs import user_cache_path

    return user_cache_path("yolo-nanfix", appauthor=False) / "lint"


@lru_cache(maxsize=1)
def _code() -> str:
    """Changes when the rules do, Python, or what reads files: names, sizes and times of what the findings hang on."""
    here = Path(__file__).parent
    files = sorted((*here.rglob("*.py"), *here.parent.glob("*.py")))
    stamps = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return xxh3_64_hexdigest(repr((sys.version, stamps, list(map(_package, READERS)))).encode())


def _package(name: str) -> tuple[object, ...]:
    """Where a package is, and when it was put there; it is not imported."""
    try:
        origin = getattr(find_spec(name), "origin", None)
        status = os.stat(origin or "")  # noqa: PTH116
    except (OSError, ValueError):
        return ()
    return origin, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def place(config: DataConfig, options: LintOptions) -> Path:
    """The file for one dataset and way of linting; another one when data.yaml, the options or the rules change."""
    what = (
        str(config.yaml_file),
        config.yaml_file.read_bytes() if config.yaml_file.is_file() else b"",
        {split: [str(path) for path in paths] for split, paths in config.splits.items()},
        (config.layout.value, dict(config.names), dict(config.lists)),
        class_lists.stamps(config),
        asdict(options),
        _code(),
    )
    name = xxh3_64_hexdigest(str(config.yaml_file).encode("utf-8", "surrogateescape"))
    return folder() / f"{name}-{xxh3_128_hexdigest(repr(what).encode('utf-8', 'surrogateescape'))}{COLUMNS}"


class Memory:
    """What was remembered, column by column."""

    def __init__(self, data: memoryview) -> None:
        """Find the columns in the content of a file of safetensors.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        import numpy as np

        start = 8 + int.from_bytes(data[:8], "little")
        self._columns: dict[str, NDArray[Any]] = {}
        for name, place in json.loads(bytes(data[8:start])).items():
            first, end = place["data_offsets"]
            kind = np.dtype(_KINDS[place["dtype"]])
            flat = np.frombuffer(data, kind, (end - first) // kind.itemsize, start + first)
            self._columns[name] = flat.reshape(place["shape"])
        self.facts: dict[str, Any] = json.loads(self.text("facts"))
        if not isinstance(self.facts, dict):
            raise ValueError("not a mapping")

    def column(self, name: str) -> NDArray[Any]:
        """One column, by its name; what is written into it stays in memory."""
        return self._columns[name]

    def text(self, name: str) -> str:
        """A text that was kept as a column of bytes."""
        return str(self._columns[name].data, "utf-8", "surrogateescape")


def load(path: Path) -> Memory | None:
    """The memory in a file, or None if there is no usable one."""
    try:
        data = sealed.read(path)
        return None if data is None else Memory(data)
    except Exception:  # whatever the readers raise
        return None


def save(path: Path, facts: Mapping[str, Any], columns: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> None:
    """Put a memory in place; a folder that cannot be written is no fault of the lint, so that nothing is raised.

    Of the memories of one dataset the last three stay (of other options, say), and of all the last `MOST`.
    """
    import numpy as np
    from safetensors.numpy import save as dumps

    kept = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    for name, text in {**texts, "facts": json.dumps(dict(facts))}.items():
        kept[name] = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
    _put(path, dumps(kept))


def has_latest(path: Path) -> bool:
    """Whether it is known what was found the last time, in whatever tree of files."""
    return path.with_suffix(LATEST).exists()


def load_latest(path: Path) -> str:
    """What was found the last time, in whatever tree of files, as `report_of` and `looks_of` read it; empty if none."""
    data = sealed.read(path.with_suffix(LATEST))
    try:
        return "" if data is None else str(data, "ascii")
    except ValueError:
        return ""


def report_of(text: str, tree: str) -> dict[str, Any]:
    """The findings in what `load_latest` gave, or nothing if they were found in another tree of files."""
    try:
        latest = json.loads(text) if tree in text[:200] else None
    except (ValueError, RecursionError):
        return {}
    return latest if isinstance(latest, dict) and latest.get("tree") == tree else {}


def looks_of(text: str) -> Any:
    """What was seen in label files, in what `load_latest` gave; None if nothing."""
    try:
        start = text.index(_LOOKS, 0, 200) + len(_LOOKS)
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def save_latest(path: Path, tree: str, latest: Mapping[str, Any]) -> None:
    """Put what was found in a tree of files in place; as `save`, this never raises."""
    _put(path.with_suffix(LATEST), json.dumps({"tree": tree, **latest}, separators=(",", ":")).encode("ascii"))


def _put(path: Path, content: bytes) -> None:
    with suppress(OSError):
        sealed.write(path, content)
        _tidy(path)


def _tidy(path: Path) -> None:
    """Remove old memories, of columns and of findings: those of a task that was guessed have names of their own."""
    for suffix in (COLUMNS, LATEST):
        by_age = sorted(path.parent.glob(f"*{suffix}"), key=lambda file: file.lstat().st_mtime_ns)
        same = [file for file in by_age if file.name.startswith(path.name.partition("-")[0])]
        for old in {*same[:-3], *by_age[:-MOST]} - {path}:
            old.unlink(missing_ok=True)
    for suffix in OLD:
        for old in path.parent.glob(f"????????????????-????????????????{suffix}"):
            old.unlink(missing_ok=True)
    unfinished.clear(path.parent)
