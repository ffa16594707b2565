"""Tells what is to be linted: a data.yaml, class folders, or images and labels without either."""

from __future__ import annotations

from pathlib import Path

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.config import DataConfig, read_config
from yolo_nanfix.linting.locate import dataset_yamls
from yolo_nanfix.linting.options import LintOptions


def dataset(data: str | Path, options: LintOptions) -> DataConfig:
    """The dataset that `data` means, annotations of other formats aside.

    Args:
        data: data.yaml, Darknet's data file, a folder, or the name of a dataset.
        options: `task` and `root` count.

    Raises:
        DataError: it cannot be used, or there is none.
    """
    if str(data).lower().endswith((".yaml", ".yml")) and options.task != "classify":
        return read_config(data, options.root)
    from yolo_nanfix.linting import layouts  # where it is wanted
    from yolo_nanfix.linting.classify import holds_classes, read_folder
    from yolo_nanfix.linting.inside import inside

    if options.task == "classify":
        return read_folder(data)
    path = Path(str(data).strip())
    try:
        if path.suffix.lower() == ".data" and path.is_file():
            return layouts.read_darknet(path)
        if not path.is_dir() or dataset_yamls(path):
            return read_config(data, options.root)
        path = Path(inside(path))
        if path.is_file() or dataset_yamls(path):
            return read_config(path, options.root)
        if holds_classes(path):
            return read_folder(path) if options.task is None else read_config(path)
        found = layouts.read(path.absolute())
    except (OSError, ValueError) as error:
        raise DataError(f"'{data}' cannot be read: {error}") from error
    return found if found is not None else read_config(data, options.root)
