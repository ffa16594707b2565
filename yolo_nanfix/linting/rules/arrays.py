"""FS010 to FS012: .npy files that Ultralytics loads in place of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import npy_difference
from yolo_nanfix.dataset.paths import folder_of
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.file_set import Images, some


@rule("FS010", "npy-replaces-image", Severity.INFO, Effect.ACCEPTS)
def npy_replaces_image(table: Table) -> Iterator[Hit]:
    """Arrays of the same size stand beside the images.

    Why: they are loaded in place of the images; editing an image by a tool that keeps its date has no effect.
    Ultralytics: loads x.npy instead of x.jpg unless it is older; `cache="disk"` writes such files.
    Example: x.npy beside x.jpg, left by an earlier run.
    Fix: delete the .npy files if the images changed since.
    """
    folders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for image in np.flatnonzero(table.npy == 1).tolist():
        file = table.files[image]
        folders[folder_of(file), table.split_of(image)].append(file.rpartition(".")[0] + ".npy")
    for (folder, split), files in folders.items():
        yield Hit(folder, f"{len(files)} .npy files are loaded in place of images: {some(files)}", split=split)


@rule("FS011", "npy-unlike-image", Severity.ERROR, Effect.GARBAGE)
def npy_unlike_image(unusual: Images) -> Iterator[Hit]:
    """The array beside an image differs from it in size or type.

    Why: the array is trained on in place of the image, with the labels of the image.
    Ultralytics: loads x.npy instead of x.jpg unless it is older.
    Example: a mask or depth map saved as x.npy beside x.jpg.
    Fix: move arrays that are no images out of the image folder.
    """
    for image in unusual:
        if image.npy is not None and (difference := npy_difference(image)):
            message = f"is loaded in place of {some([image.file])}, but {difference}"
            yield Hit(image.npy, message, split=image.split, image=image.file)


@rule("FS012", "npy-unusable", Severity.WARNING, Effect.REWRITES)
def npy_unusable(unusual: Images, config: DataConfig) -> Iterator[Hit]:
    """The array beside an image cannot serve as its pixels.

    Why: a file of yours that only happens to have that name is lost.
    Ultralytics: deletes a .npy it cannot read, and overwrites one of other channels or of type uint16.
    Example: x.npy with one channel beside x.jpg in a set of 3 channels.
    Fix: move arrays that are no images out of the image folder.
    """
    for image in unusual:
        pixels = image.pixels
        if image.npy is None or pixels is None:
            continue
        why = f"cannot be used ({pixels.reason})" if not pixels.dtype else ""
        if pixels.dtype == "uint16" or (pixels.dtype and pixels.shape[2] != config.channels):
            why = f"has {pixels.shape[2]} channels of {pixels.dtype}"
        if why:
            yield Hit(image.npy, f"{why} and will be deleted or overwritten", split=image.split, image=image.file)
