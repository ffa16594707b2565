"""The dataset that a path or name means: its data.yaml or folder, and which settings files came with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from yolo_nanfix.dataset.config import DataConfig, Layout, class_numbers, read_config
from yolo_nanfix.dataset.find_yaml import dataset_yamls, find_yaml, read_yaml
from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import is_image
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.files import Within
from yolo_nanfix.findings import Report

_LEAVES = ("*/*.yaml", "*/*.yml", "*/*/*.yaml", "*/*/*.yml")
_BESIDE = (".md", ".zip", ".pdf", ".html", ".rst")
"""Files that lie beside the folder of a dataset and say nothing about it."""
_READ_ME = ("readme", "license", "licence", "citation")
NESTED_FOLDERS = 4
"""So many nested folders with nothing but a folder in them are entered."""
_TOLD = 5


def inside(data: str | Path) -> str | Path:
    """The path to lint for `data`: the one data.yaml below it, or the one folder in it; mostly itself.

    Raises:
        DataError: several datasets lie in the folder, and nothing in it is one by itself.
    """
    path = Path(str(data).strip())
    try:
        if not path.is_dir():
            return data
        from yolo_nanfix.dataset.layouts import NAMES  # where it is wanted

        for _ in range(NESTED_FOLDERS):
            if dataset_yamls(path) or any(path.glob("*.data")):
                return path if str(path) != str(data).strip() else data
            found = _whole_yamls(path)
            if len(found) == 1:
                return found[0]
            folders, files = _folders_and_files(path)
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


def _folders_and_files(folder: Path) -> tuple[list[str], list[str]]:
    """The folders and the files in a folder, except hidden ones."""
    names = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__"))]
    return [entry.name for entry in names if entry.is_dir()], [entry.name for entry in names if not entry.is_dir()]


def _says_nothing(name: str) -> bool:
    return name.lower().endswith(_BESIDE) or name.lower().startswith(_READ_ME) or name.lower() == "thumbs.db"


def _whole_yamls(folder: Path) -> Sequence[Path]:
    """The yaml files up to two folders below that name both images and classes, unlike settings of a run."""
    files = sorted({file for leaf in _LEAVES for file in folder.glob(leaf)})
    return [file for file in files if not _hidden(file.relative_to(folder)) and _names_images(file)]


def _hidden(file: Path) -> bool:
    return any(part.startswith((".", "__")) for part in file.parts)


def _names_images(file: Path) -> bool:
    try:
        values = read_yaml(file).values
    except DataError:
        return False
    named = isinstance(values.get("names"), (list, dict)) or "nc" in values
    return named and any(isinstance(values.get(split), (str, list)) for split in ("train", "val"))


def dataset(data: str | Path, options: LintOptions) -> DataConfig:
    """The dataset that `data` means; not for annotations of other formats.

    Args:
        data: data.yaml, Darknet's data file, a folder, or the name of a dataset.
        options: of which `task` and `root` are used.

    Raises:
        DataError: it cannot be used, or there is none.
    """
    if str(data).lower().endswith((".yaml", ".yml")) and options.task != "classify":
        return _of_yaml(data, options)
    from yolo_nanfix.dataset import layouts
    from yolo_nanfix.dataset.classification import holds_classes, read_folder

    if options.task == "classify":
        return read_folder(data)
    path = Path(str(data).strip())
    try:
        if path.suffix.lower() == ".data" and path.is_file():
            return layouts.read_darknet(path)
        if not path.is_dir() or dataset_yamls(path):
            return _of_yaml(data, options)
        path = Path(inside(path))
        if path.is_file() or dataset_yamls(path):
            return _of_yaml(path, options)
        if holds_classes(path):
            return read_folder(path) if options.task is None else read_config(path)
        found = layouts.read_layout(path.absolute())
    except (OSError, ValueError) as error:
        raise DataError(f"'{data}' cannot be read: {error}") from error
    return found if found is not None else read_config(data, options.root)


def _of_yaml(data: str | Path, options: LintOptions) -> DataConfig:
    """The dataset of a data.yaml; without splits in it, as supervision writes it, that of the folder around it."""
    try:
        return read_config(data, options.root)
    except DataError:
        found = _by_names_alone(find_yaml(data))
        if found is None:
            raise
        return found


def _by_names_alone(file: Path) -> DataConfig | None:
    """The images and labels beside a yaml that has no splits, with its names; None if there is no such thing."""
    from yolo_nanfix.dataset import layouts

    said = read_yaml(file).values
    names = said.get("names")
    if {"train", "val", "validation", "test"} & set(said) or not names or not isinstance(names, (list, dict)):
        return None
    numbered = class_numbers(names if isinstance(names, dict) else dict(enumerate(names)))
    found = layouts.read_layout(file.parent) if numbered else None
    if numbered is None or found is None or found.layout is not Layout.FOLDERS:
        return None
    return replace(found, names=numbered, nc=len(numbered), raw={"names": numbered}, source=file)


def home(data: str | Path) -> Path:
    """The folder where the search for settings starts: that of data.yaml, or the dataset's."""
    path = Path(data)
    try:
        if path.exists():
            return path if path.is_dir() else path.absolute().parent
        return find_yaml(data).parent
    except (DataError, ValueError, OSError):
        return Path.cwd()


def belongs(data: str | Path) -> Callable[[Path], bool]:
    """A function that tells whether a settings file came with a dataset, or is the user's own.

    A file came with it if it lies in its folders (`grounds.ground`), or neither in the current folder nor in one above:
    then it can only have been found from data.yaml upward.

    Args:
        data: data.yaml, a folder, a name or a file of annotations; it is read when the first file is judged.
    """

    @cache
    def folders() -> Within:
        place = home(data)
        try:
            return Within((place, *ground(dataset(data, LintOptions())).folders))
        except (DataError, UsageError, OSError, ValueError):
            return Within((place,))

    def came_with_it(file: Path) -> bool:
        try:
            here = Path.cwd().resolve()
            above = file.parent.resolve() in (here, *here.parents)
        except (OSError, RuntimeError):  # of a loop of links
            return True
        return not above or folders().holds(file.parent)

    return came_with_it


def datasets_of(files: Iterable[Path]) -> tuple[Path, ...]:
    """The data.yaml files in the nearest folder above each of these files, up to the top of a git repository."""
    met: dict[Path, tuple[Path, ...]] = {}
    found: dict[Path, None] = {}
    for file in files:
        way: list[Path] = []
        here: tuple[Path, ...] = ()
        for folder in Path(os.path.abspath(file)).parents:  # noqa: PTH100 - links stay links
            way.append(folder)
            here = met[folder] if folder in met else _datasets_in(folder)
            if here or (folder / ".git").exists():
                break
        met |= dict.fromkeys(way, here)
        found |= dict.fromkeys(here)
    return tuple(found)


def about(report: Report, files: Iterable[Path]) -> Report:
    """The report with the findings whose place or image is one of these files."""
    wanted = {os.path.realpath(file) for file in files}
    names = {os.path.basename(file) for file in wanted} | {Path(file).name for file in files}  # noqa: PTH119
    known: dict[str, bool] = {}

    def given(file: str | None) -> bool:
        if file is None or file.rpartition(os.sep)[2] not in names:
            return False
        if file not in known:
            known[file] = os.path.realpath(file) in wanted
        return known[file]

    return replace(report, findings=tuple(f for f in report.findings if given(f.place.file) or given(f.image)))


def _datasets_in(folder: Path) -> tuple[Path, ...]:
    """The yaml files in a folder that name images to train on; also data.yaml when it cannot be read."""
    try:
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".yaml", ".yml"))
    except OSError:
        return ()
    return tuple(file for file in found if file.is_file() and _is_dataset(file))


def _is_dataset(file: Path) -> bool:
    try:
        keys = read_yaml(file).values
    except DataError:
        return file.stem == "data"
    return "train" in keys and not {"names", "nc", "val"}.isdisjoint(keys)
