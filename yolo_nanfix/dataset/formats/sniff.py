"""Tells whether what is linted is a dataset of another format, and of which."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.dataset import layouts
from yolo_nanfix.dataset.find_yaml import dataset_yamls
from yolo_nanfix.dataset.formats.foreign import in_folder, json_kind
from yolo_nanfix.errors import DataError

_HEAD, _TAIL = 1 << 16, 1 << 12
_SPLITS = ("train", "val", "valid", "validation", "test")
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')


class Kind(NamedTuple):
    """A format (`coco`, `voc` or `ndjson`) and its annotation files."""

    name: str
    files: tuple[Path, ...]


def sniff(data: str | Path) -> Kind | None:
    """The format of a file by its suffix, or of a folder that holds no yaml by its content; None for a YOLO dataset.

    A folder is COCO by the JSON files in it, in its folder `annotations` or in those of its splits; VOC by the XML
    files in it or in its folder `Annotations`; NDJSON if it holds one such file.

    Raises:
        DataError: the folder cannot be listed, holds several NDJSON files, or labels of another tool alone.
    """
    if "://" in str(data):
        return None
    path = Path(str(data).strip())
    suffix = path.suffix.lower()
    try:
        if path.is_file():
            names = {".json": "coco", ".xml": "voc", ".ndjson": "ndjson"}
            return Kind(names[suffix], (path.absolute(),)) if suffix in names else None
        return _in_folder(path.absolute()) if path.is_dir() else None
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from error


def is_annotations(file: Path) -> bool:
    """Whether a file holds the annotations of a dataset of another format."""
    suffix = file.suffix.lower()
    return suffix in (".ndjson", ".xml") or (suffix == ".json" and _is_coco(file))


def _in_folder(folder: Path) -> Kind | None:
    """The format of a folder."""
    here = _listed(folder)
    if dataset_yamls(folder):
        return None
    rows = [file for file in here if file.suffix.lower() == ".ndjson"]
    if len(rows) > 1:
        raise DataError(f"'{folder}' holds {len(rows)} NDJSON files ({rows[0].name}, ...); say which one")
    if rows:
        return Kind("ndjson", tuple(rows))
    splits = [file / "_annotations.coco.json" for file in here if file.is_dir()]
    found = [*here, *_listed(folder / "annotations"), *splits]
    coco = [file for file in found if file.suffix.lower() == ".json" and _is_coco(file)]
    if coco:
        return Kind("coco", tuple(coco))
    inner = [file for split in here if split.is_dir() and split.name.lower() in _SPLITS for file in _listed(split)]
    for notes in (_listed(folder / "Annotations"), here, _listed(folder / "annotations"), inner):
        voc = [file for file in notes if file.suffix.lower() == ".xml" and file.is_file()]
        if voc:
            break
    if not voc and not any(_speaks_of_yolo(file) for file in here) and (other := in_folder(found)) is not None:
        raise DataError(other[1].said_of(other[0], "COCO"))
    return Kind("voc", tuple(voc)) if voc else None


def _speaks_of_yolo(file: Path) -> bool:
    """Whether what is in a folder may be labels or images of a YOLO dataset, or a description of one."""
    return file.suffix.lower() in (".txt", ".data") or (file.name.lower() in layouts.NAMES and file.is_dir())


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without hidden files; nothing if there is none."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_coco(file: Path) -> bool:
    """Whether the beginning or end of a JSON file names one of COCO's lists, and it is not of another tool."""
    if not file.is_file():  # a pipe would be waited for
        return False
    try:
        with open(file, "rb") as stream:
            head = stream.read(_HEAD)
            stream.seek(-min(_TAIL, file.stat().st_size), os.SEEK_END)
            parts = head + stream.read(_TAIL)
    except OSError:
        return False
    named = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(key in parts for key in _COCO_KEYS)
    return named and json_kind(file) is None
