"""The cache of lint in the user's cache folder: files of a dataset that have not changed are not read again.

Two files per dataset and options, never a pickle: the columns, and the latest report as JSON with a hash of all stamps.
If few files change, the columns are not written again, and those few are read each time. Both files are replaced
atomically, so a crash leaves the old ones and concurrent runs do not disturb each other. Each holds the stamps of its
content, so the two need not be of one run.

Each begins with its length and a hash of its name and content, which detects corruption, truncation and swapped files.
It is read whole, not memory-mapped, so it cannot be truncated while in use. The hash has no secret: only the user may
write into the cache folder, and files of other users are not read.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_hexdigest, xxh3_128_digest, xxh3_128_hexdigest

from yolo_nanfix import files
from yolo_nanfix.dataset import class_lists
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Choice, Effect, Finding, Place, Report, Severity, Skip, frozen
from yolo_nanfix.tasks import Basis

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_FILES = 100
"""How many files of each kind are kept."""
COLUMNS, LATEST = ".columns", ".findings"
READERS = ("numpy", "PIL", "cv2", "simplejpeg", "yaml")
"""The packages that read the files of a dataset."""
ENVIRONMENT = "YOLO_NANFIX_CACHE"
"""The environment variable for another cache folder."""
MAGIC = b"nanfix1\n"
BEGIN = len(MAGIC) + 8 + 16
"""Bytes before the content: magic, length of the whole file, and hash; a multiple of 8, to align the columns."""
_LENGTH = 8
_KINDS = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U64": "<u8", "F32": "<f4"}
"""The names of dtypes in a safetensors file."""
TEXT = "text."
"""What the name of a text begins with there."""


def folder() -> Path:
    """The folder of the cache."""
    if given := os.environ.get(ENVIRONMENT):
        return Path(given).absolute() / "lint"
    from platformdirs import user_cache_path

    return user_cache_path("yolo-nanfix", appauthor=False) / "lint"


@lru_cache(maxsize=1)
def _code() -> str:
    """A hash that changes with Python, this package's code, or the packages that read files."""
    here = Path(__file__).parent
    code = sorted((*here.rglob("*.py"), *here.with_name("dataset").rglob("*.py"), *here.parent.glob("*.py")))
    stamps = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in code]
    return xxh3_64_hexdigest(repr((sys.version, stamps, list(map(_package, READERS)))).encode())


def _package(name: str) -> tuple[object, ...]:
    """The path, size and times of a package, which is not imported."""
    try:
        origin = getattr(find_spec(name), "origin", None)
        status = os.stat(origin or "")  # noqa: PTH116
    except (OSError, ValueError):
        return ()
    return origin, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def place(config: DataConfig, options: LintOptions) -> Path:
    """The file for one dataset and options; another one if data.yaml, the options or the rules change."""
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


Cached = tuple[dict[str, "NDArray[Any]"], dict[str, str]]
"""The columns and the texts of a dataset, by their names; writing to a column does not change the file."""


def load_columns(path: Path) -> Cached | None:
    """What `save_columns` wrote to a file, or None if there is nothing usable."""
    try:
        data = read_whole(path)
        return None if data is None else _from_safetensors(data)
    except Exception:  # whatever the readers raise
        return None


def _from_safetensors(data: memoryview) -> Cached:
    """Columns and texts from the content of a safetensors file."""
    import numpy as np

    start = 8 + int.from_bytes(data[:8], "little")
    columns, texts = {}, {}
    for name, place in json.loads(bytes(data[8:start])).items():
        first, end = place["data_offsets"]
        kind = np.dtype(_KINDS[place["dtype"]])
        flat = np.frombuffer(data, kind, (end - first) // kind.itemsize, start + first)
        if name.startswith(TEXT):
            texts[name.removeprefix(TEXT)] = str(flat.data, "utf-8", "surrogateescape")
        else:
            columns[name] = flat.reshape(place["shape"])
    return columns, texts


def save_columns(path: Path, columns: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> None:
    """Write columns, and texts as columns of bytes; does nothing if the folder cannot be written.

    The last three files of one dataset (with other options, say) are kept, and the last `MOST_FILES` of all.
    """
    import numpy as np
    from safetensors.numpy import save as dumps

    kept = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    for name, text in texts.items():
        kept[TEXT + name] = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
    _put(path, dumps(kept))


def has_latest(path: Path) -> bool:
    """Whether there is a latest report, of whatever state of the files."""
    return path.with_suffix(LATEST).exists()


def load_latest(path: Path) -> dict[str, Any]:
    """The values that `save_latest` wrote, of whatever state of the files; empty if there are none."""
    data = read_whole(path.with_suffix(LATEST))
    try:
        latest = json.loads(str(data, "ascii")) if data is not None else None
    except (ValueError, RecursionError):
        return {}
    return latest if isinstance(latest, dict) else {}


def save_latest(path: Path, latest: Mapping[str, Any]) -> None:
    """Write the latest report, with a hash of the files it is about; does nothing if that is not possible."""
    _put(path.with_suffix(LATEST), json.dumps(latest, separators=(",", ":")).encode("ascii"))


def pack(report: Report) -> dict[str, Any]:
    """A report as values for JSON, without those of the dataset and the options."""
    own_last = sorted(report.findings, key=lambda f: f.because is None)  # those have the `fix` of their rule
    return {
        "task": report.task,
        "basis": report.basis.as_dict() if report.basis is not None else None,
        "choice": [choice.as_dict() for choice in report.choice],
        "counts": report.counts,
        "skipped": report.skipped,
        "rules": {f.code: (f.name, f.fix) for f in own_last},
        "findings": list(map(_packed, report.findings)),
    }


def _packed(f: Finding) -> tuple[Any, ...]:
    """A finding as values for JSON, without `name` and `fix` of its rule."""
    place, related = f.place, [(other.file, other.line) for other in f.related]
    where = place.file, place.line, place.pixel
    return f.code, f.severity.value, f.effect.value, where, f.says, f.split, f.image, f.because, f.values, related


def unpack(packed: Mapping[str, Any], data: str, root: str) -> Report | None:
    """The report from what `pack` returned; None if that is incomplete."""
    try:
        return Report(
            data=data,
            task=packed["task"],
            findings=tuple(_unpacked(packed["findings"], packed["rules"])),
            skipped=tuple((code, Skip(why)) for code, why in packed["skipped"]),
            counts=packed["counts"],
            root=root,
            basis=Basis.from_dict(packed["basis"]),
            choice=tuple(map(Choice.from_dict, packed["choice"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _unpacked(packed: Iterable[Any], rules: Mapping[str, Any]) -> Iterator[Finding]:
    """The findings from what `_packed` returned."""
    severities = {severity.value: severity for severity in Severity}
    effects = {effect.value: effect for effect in Effect}
    for code, severity, effect, (file, line, pixel), says, split, image, because, values, related in packed:
        (name, fix), place = rules[code], Place(file, line, tuple(pixel) if pixel else None)
        facts, others = frozen(values) if values else {}, tuple(Place(other, at) for other, at in related)
        levels = severities[severity], effects[effect]
        finding = Finding(code, name, *levels, place, says, fix, split, image, None, facts, others)
        yield finding if because is None else finding.explained(because)


def read_whole(path: Path) -> memoryview | None:
    """The content of a file, as writable memory; None if `write_whole` did not write it so, or of another user."""
    if not path.is_absolute():  # without a home folder it would be in the current folder: a dataset, say
        return None
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb", buffering=0) as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not _own(status):
                return None
            begin = stream.read(BEGIN)
            if begin[: len(MAGIC) + _LENGTH] != _begin(status.st_size):
                return None  # before memory for an invalid size is allocated
            data = memoryview(bytearray(status.st_size - BEGIN))
            at = 0
            while at < len(data) and (count := stream.readinto(data[at:])):
                at += count
    except (OSError, ValueError, MemoryError):
        return None
    return data if at == len(data) and begin[len(MAGIC) + _LENGTH :] == _hash(path, data) else None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: it cannot be written.
    """
    if not path.is_absolute():
        raise OSError(f"{path} is not absolute")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.file(path, 0o600) as aside, open(aside, "wb") as stream:
        stream.write(_begin(BEGIN + len(content)) + _hash(path, content))
        stream.write(content)


def _begin(length: int) -> bytes:
    return MAGIC + length.to_bytes(_LENGTH, "little")


def _hash(path: Path, content: bytes | memoryview) -> bytes:
    """A hash of a file's name and content."""
    name = os.fsencode(path.name)
    return xxh3_128_digest(b"".join((xxh3_128_digest(name), xxh3_128_digest(content))))


def _own(status: os.stat_result) -> bool:
    """Whether a file belongs to the user; on Windows always."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _put(path: Path, content: bytes) -> None:
    with suppress(OSError):
        write_whole(path, content)
        _tidy(path)


def _tidy(path: Path) -> None:
    """Remove old files, of columns and of reports, which have other names if the task was guessed."""
    for suffix in (COLUMNS, LATEST):
        by_age = sorted(path.parent.glob(f"*{suffix}"), key=lambda file: file.lstat().st_mtime_ns)
        same = [file for file in by_age if file.name.startswith(path.name.partition("-")[0])]
        for old in {*same[:-3], *by_age[:-MOST_FILES]} - {path}:
            old.unlink(missing_ok=True)
    files.clear_leftovers(path.parent)
