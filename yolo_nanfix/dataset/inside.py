"""The dataset inside a folder: archives unpack to a folder in a folder, and a data.yaml may lie below the images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from yolo_nanfix.dataset.find_yaml import dataset_yamls
from yolo_nanfix.dataset.suffixes import is_image
from yolo_nanfix.dataset.yaml_lines import read_yaml
from yolo_nanfix.errors import DataError

_LEAVES = ("*/*.yaml", "*/*.yml", "*/*/*.yaml", "*/*/*.yml")
_BESIDE = (".md", ".zip", ".pdf", ".html", ".rst")
"""Files that lie beside the folder of a dataset and say nothing about it."""
_READ_ME = ("readme", "license", "licence", "citation")
DEEPEST = 4
"""So many folders with nothing but a folder in them are gone through."""
_TOLD = 5


def inside(data: str | Path) -> str | Path:
    """What is to be linted for `data`: the one data.yaml below it, or the one folder in it; mostly itself.

    Raises:
        DataError: several datasets lie in the folder, and nothing in it is one by itself.
    """
    path = Path(str(data).strip())
    try:
        if not path.is_dir():
            return data
        from yolo_nanfix.dataset.layouts import NAMES  # where it is wanted

        for _ in range(DEEPEST):
            if dataset_yamls(path) or any(path.glob("*.data")):
                return path if str(path) != str(data).strip() else data
            found = _whole_yamls(path)
            if len(found) == 1:
                return found[0]
            folders, files = _listed(path)
            itself = any(name.lower() in NAMES for name in folders) or any(map(is_image, files))
            if len(found) > 1 and not itself:
                some = ", ".join(os.path.relpath(file, path) for file in found[:_TOLD])
                raise DataError(f"'{data}' holds {len(found)} yaml files ({some}); say which one")
            if itself or len(folders) != 1 or not all(map(_says_nothing, files)):
                break
            path /= folders[0]
    except (OSError, ValueError):
        return data
    return path if str(path) != str(data).strip() else data


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The folders and the files in a folder, hidden ones aside."""
    names = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__"))]
    return [entry.name for entry in names if entry.is_dir()], [entry.name for entry in names if not entry.is_dir()]


def _says_nothing(name: str) -> bool:
    return name.lower().endswith(_BESIDE) or name.lower().startswith(_READ_ME) or name.lower() == "thumbs.db"


def _whole_yamls(folder: Path) -> Sequence[Path]:
    """The yaml files up to two folders below that name both images and classes; settings of a run do not."""
    files = sorted({file for leaf in _LEAVES for file in folder.glob(leaf)})
    return [file for file in files if not _hidden(file.relative_to(folder)) and _whole(file)]


def _hidden(file: Path) -> bool:
    return any(part.startswith((".", "__")) for part in file.parts)


def _whole(file: Path) -> bool:
    try:
        values = read_yaml(file).values
    except DataError:
        return False
    named = isinstance(values.get("names"), (list, dict)) or "nc" in values
    return named and any(isinstance(values.get(split), (str, list)) for split in ("train", "val"))
