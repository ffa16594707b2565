"""What lint remembers of a dataset, outside of it: a file that has not changed is not read again.

Two files a dataset and way of linting, never a pickle: the columns, and the latest findings as JSON with a hash of all
stamps. As long as few files change, the columns stay as they are, and those few are read each time. Both files are
written aside and put in place whole, so a crash leaves the old ones and several runs at once do not disturb each other;
one that cannot be read is as good as none.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_hexdigest

from yolo_nanfix.linting import class_lists
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.options import LintOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 100
COLUMNS, LATEST = ".safetensors", ".json"
_KINDS = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U64": "<u8", "F32": "<f4"}
"""The names that numbers have in a file of safetensors."""
_LOOKS = '"looks":'
ENVIRONMENT = "YOLO_NANFIX_CACHE"
"""Names another folder for what is remembered."""


def folder() -> Path:
    """Where the memories are kept."""
    if given := os.environ.get(ENVIRONMENT):
        return Path(given) / "lint"
    from platformdirs import user_cache_path

    return user_cache_path("yolo-nanfix", appauthor=False) / "lint"


@lru_cache(maxsize=1)
def _code() -> str:
    """Changes when the rules do: names, sizes and times of the files of this wing."""
    here = Path(__file__).parent
    stamps = [(f.relative_to(here).as_posix(), f.stat().st_size, f.stat().st_mtime_ns) for f in here.rglob("*.py")]
    return xxh3_64_hexdigest(repr(sorted(stamps)).encode())


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
    return folder() / f"{name}-{xxh3_64_hexdigest(repr(what).encode('utf-8', 'surrogateescape'))}{COLUMNS}"


class Memory:
    """What was remembered; of its columns is read from the disk what is looked at."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError, ValueError, TypeError, KeyError: there is none, or it is broken.
        """
        import numpy as np

        with path.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        start = 8 + int.from_bytes(data[:8], "little")
        self._columns: dict[str, NDArray[Any]] = {}
        for name, place in json.loads(data[8:start]).items():
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
        return Memory(path)
    except Exception:  # whatever a torn or foreign file makes the readers raise
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


def load_latest(path: Path, tree: str) -> dict[str, Any]:
    """What was found the last time, or nothing if that cannot be read, or was found in another tree of files."""
    try:
        text = path.with_suffix(LATEST).read_bytes()
        latest = json.loads(text) if tree.encode() in text[:200] else None
    except (OSError, ValueError):
        return {}
    return latest if isinstance(latest, dict) and latest.get("tree") == tree else {}


def load_looks(path: Path) -> Any:
    """What was seen in label files the last time, in whatever tree of files; None if that cannot be read."""
    try:
        text = path.with_suffix(LATEST).read_text(encoding="ascii")
        start = text.index(_LOOKS, 0, 200) + len(_LOOKS)
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (OSError, ValueError, RecursionError):
        return None


def save_latest(path: Path, tree: str, latest: Mapping[str, Any]) -> None:
    """Put what was found in a tree of files in place; as `save`, this never raises."""
    _put(path.with_suffix(LATEST), json.dumps({"tree": tree, **latest}, separators=(",", ":")).encode("ascii"))


def _put(path: Path, content: bytes) -> None:
    import tempfile

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        _tidy(path)
    except OSError:
        return


def _tidy(path: Path) -> None:
    """Remove old memories, of columns and of findings: those of a task that was guessed have names of their own."""
    for suffix in (COLUMNS, LATEST):
        by_age = sorted(path.parent.glob(f"*{suffix}"), key=lambda file: file.stat().st_mtime_ns)
        same = [file for file in by_age if file.name.startswith(path.name.partition("-")[0])]
        for old in {*same[:-3], *by_age[:-MOST]}:
            old.unlink(missing_ok=True)
