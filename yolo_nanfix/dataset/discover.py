"""Tells what is to be linted: a data.yaml, class folders, or images and labels without either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from yolo_nanfix.dataset.config import DataConfig, Layout, class_numbers, read_config
from yolo_nanfix.dataset.find_yaml import dataset_yamls, find_yaml
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.yaml_lines import read_yaml
from yolo_nanfix.errors import DataError


def dataset(data: str | Path, options: LintOptions) -> DataConfig:
    """The dataset that `data` means, annotations of other formats aside.

    Args:
        data: data.yaml, Darknet's data file, a folder, or the name of a dataset.
        options: `task` and `root` count.

    Raises:
        DataError: it cannot be used, or there is none.
    """
    if str(data).lower().endswith((".yaml", ".yml")) and options.task != "classify":
        return _of_yaml(data, options)
    from yolo_nanfix.dataset import layouts
    from yolo_nanfix.dataset.classification import holds_classes, read_folder
    from yolo_nanfix.dataset.inside import inside

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
        found = layouts.read(path.absolute())
    except (OSError, ValueError) as error:
        raise DataError(f"'{data}' cannot be read: {error}") from error
    return found if found is not None else read_config(data, options.root)


def _of_yaml(data: str | Path, options: LintOptions) -> DataConfig:
    """The dataset of a data.yaml; of one that names classes and no splits, as supervision writes it, the folders'."""
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
    found = layouts.read(file.parent) if numbered else None
    if numbered is None or found is None or found.layout is not Layout.FOLDERS:
        return None
    return replace(found, names=numbered, nc=len(numbered), raw={"names": numbered}, source=file)
