"""FS: links, folders and files that Ultralytics passes over, or should."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.formats.sniff import json_kind
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.other_files import Census, Other
from yolo_nanfix.dataset.paths import folder_of, folders_of, is_image
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.dataset.unlisted import images_below, siblings
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.file_set import some

IGNORED = frozenset(
    ("arw", "cr2", "dcm", "exr", "gif", "hdr", "ico", "jfif", "jpe", "jpf", "jpx", "jxl", "nef", "pbm", "pcx")
) | frozenset(("pgm", "pjp", "pjpeg", "pnm", "ppm", "psd", "raw", "svg", "tga", "xcf"))
"""Suffixes of images that Ultralytics does not list."""
NOTES = frozenset(("json", "xml", "csv"))


def names_in(folder: str) -> frozenset[str]:
    """The names in a folder; none if it cannot be read."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names alone
    except (OSError, ValueError):
        return frozenset()


def _grouped(others: Iterable[Other]) -> Iterator[tuple[str, str, list[str]]]:
    """Folder, suffix and sorted names of files that share both."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for other in others:
        found[other.folder, other.suffix].append(other.name)
    for (folder, suffix), names in sorted(found.items()):
        yield folder, suffix, sorted(names)


@rule("FS017", "link-loop", Severity.WARNING, Effect.ACCEPTS)
def link_loop(census: Census) -> Iterator[Hit]:
    """A link leads to a folder above it.

    Why: every image is met about 40 times in an epoch; two such links in one folder never end.
    Ultralytics: follows links until the system says that there are too many.
    Example: images/train/all -> ../train.
    Fix: remove the link.
    """
    for other in census.others:
        if other.kind == "loop":
            yield Hit(other.path, f"a link to the folder above, {os.path.realpath(other.path)}")


@rule("FS018", "image-suffix-ignored", Severity.ERROR, Effect.DROPS)
def image_suffix_ignored(census: Census) -> Iterator[Hit]:
    """Images have a suffix that Ultralytics does not list.

    Why: they are not trained on, and no message says so.
    Ultralytics: takes avif, bmp, dng, heic, heif, jp2, jpeg, jpg, mpo, png, tif, tiff and webp, in small or capitals.
    Example: 7.gif, 7.jfif.
    Fix: rename .jfif, .jpe and .pjpeg to .jpg, which they are; convert the others.
    """
    files = (o for o in census.others if o.kind == "file" and o.suffix in IGNORED and o.name[0] != ".")
    for folder, suffix, names in _grouped(files):
        yield Hit(folder, f"{len(names)} .{suffix} files are never listed: {some(names)}")


@rule("FS020", "image-hidden", Severity.WARNING, Effect.DROPS, LABELLED)
def image_hidden(census: Census) -> Iterator[Hit]:
    """Images are hidden: their name, or that of a folder, begins with a dot.

    Why: they are not trained on, and no message says so.
    Ultralytics: lists folders by a pattern that passes over hidden files and folders.
    Example: images/train/.7.jpg, or images inside images/train/.extra.
    Fix: rename what should be trained on, and remove the rest.
    """
    for other in census.others:
        if not other.name.startswith(".") or other.name.startswith("._"):
            continue
        if other.kind == "file" and is_image(other.name[1:]):
            yield Hit(other.path, "hidden, so it is never listed")
        elif other.kind == "folder":
            names = _images_in(other.path)
            if names:
                yield Hit(other.path, f"{len(names)} images in a hidden folder are never listed: {some(names)}")


def _images_in(folder: str) -> list[str]:
    """The names of images directly in a folder."""
    return sorted(name for name in names_in(folder) if is_image(name) and name[0] != ".")


@rule("FS021", "image-among-labels", Severity.WARNING, Effect.DROPS, LABELLED, lasting=True)
def image_among_labels(census: Census, folders: Folders) -> Iterator[Hit]:
    """The folder of labels holds images.

    Why: they are not trained on; if they are masks, they are not read as labels either.
    Ultralytics: reads nothing but .txt files of images in the folder of labels.
    Example: labels/train/7.png beside labels/train/7.txt.
    Fix: move the images to the folder of images; turn masks into polygons with `convert_segment_masks_to_yolo_seg`.
    """
    for folder in census.label_folders:
        names = sorted(
            name for name in folders.names(folder) if name[-4:] != ".txt" and is_image(name) and name[0] != "."
        )
        if names:
            yield Hit(folder, f"{len(names)} images among the labels: {some(names)}")


@rule("FS022", "annotation-unread", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def annotation_unread(census: Census, table: Table) -> Iterator[Hit]:
    """Images without a label file have annotations in another format beside them.

    Why: they are trained as pure background although someone annotated them.
    Ultralytics: reads .txt files only.
    Example: labels/train/7.xml of Pascal VOC, or images/train/7.json of labelme, and no 7.txt.
    Fix: convert the annotations; `yolo-nanfix lint` reads COCO and Pascal VOC as they are.
    """
    notes = [o for o in census.others if o.kind == "file" and o.suffix in NOTES and o.name[0] != "."]
    if not notes:
        return
    bare = {table.labels[i].rpartition(os.sep)[2][:-4] for i in np.flatnonzero(~table.labelled).tolist()}
    unread = [o for o in notes if o.name.rpartition(".")[0] in bare]
    for folder, suffix, names in _grouped(unread):
        kind = json_kind(Path(folder) / names[0]) if suffix == "json" else None
        which = f"; {names[0]} is {kind.what}: {kind.how}" if kind else ""
        yield Hit(folder, f"{len(names)} images without labels have a .{suffix} file: {some(names)}{which}")


@rule("FS027", "npy-orphan", Severity.INFO, Effect.ACCEPTS)
def npy_orphan(table: Table, census: Census) -> Iterator[Hit]:
    """Arrays lie among the images, and no image belongs to them.

    Why: they take much space, and become training data as soon as an image of that name arrives.
    Ultralytics: writes them under `cache=disk` and never removes those of deleted images.
    Example: images/train/8.npy without 8.jpg.
    Fix: remove them.
    """
    arrays = [o for o in census.others if o.kind == "file" and o.suffix == "npy"]
    if not arrays:
        return
    stems = {file.rpartition(".")[0] for file in table.files}
    for folder, _, names in _grouped(o for o in arrays if o.path.rpartition(".")[0] not in stems):
        yield Hit(folder, f"{len(names)} arrays of no image: {some(names)}")


@rule("FS028", "cache-older-than-labels", Severity.INFO, Effect.ACCEPTS)
def cache_older_than_labels(census: Census) -> Iterator[Hit]:
    """Ultralytics' cache is older than the folder that it describes.

    Why: files came or went since, so the next start scans the whole split again; the file is a pickle besides, and
        loading it runs whatever code it names: do not take one from strangers.
    Ultralytics: unpickles it, compares a hash of names, sizes and times, and scans again if that differs.
    Example: labels/train.cache from before the last export.
    Fix: remove the file; the next training writes it anew.
    """
    for cache in census.caches:
        folder = Path(cache).with_suffix("")
        try:
            if folder.stat().st_mtime_ns > Path(cache).stat().st_mtime_ns:
                yield Hit(cache, f"older than {folder.name}{os.sep}, in which files came or went since")
        except OSError:
            continue


@rule("FS029", "folder-empty", Severity.INFO, Effect.ACCEPTS)
def folder_empty(census: Census, config: DataConfig, task: str) -> Iterator[Hit]:
    """A folder of images or labels is empty.

    Why: usually harmless; sometimes an export or copy that broke off.
    Ultralytics: passes over it.
    Example: images/train/extra without a file.
    Fix: fill the folder or remove it.
    """
    classes = str(config.splits["train"][0]) if task == "classify" else None  # FS043 tells of these
    for folder in census.empty:
        if classes is None or folder_of(folder) != classes:
            yield Hit(folder, "the folder is empty")


@rule("FS060", "images-in-no-split", Severity.INFO, Effect.ACCEPTS, LABELLED)
def images_in_no_split(config: DataConfig, table: Table, folders: Folders) -> Iterator[Hit]:
    """Images lie beside those of the splits, and no split names them.

    Why: they are neither trained on nor evaluated; often a split was forgotten in data.yaml, or a list is too short.
    Ultralytics: reads what `train`, `val` and `test` name.
    Example: images/test beside images/train, and no `test:` in data.yaml.
    Fix: name the folder in data.yaml, or add the images to a list; nothing if they are put by.
    """
    beside = siblings(config)
    listing = not all(path.is_dir() for paths in config.splits.values() for path in paths)
    if not beside and not listing:
        return
    homes = folders_of(table.files)
    for folder in beside:
        names = images_below(folder)
        if names and not any(f"{home}{os.sep}".startswith(f"{folder}{os.sep}") for home in homes):
            message = f"{len(names)} images in a folder of no split: {some(names)}"
            yield Hit(folder, message, values={"images": len(names)})
    if not listing:
        return
    listed = set(table.files)
    for folder in sorted(homes):
        names = [name for name in folders.names(folder) if is_image(name) and name[0] != "."]
        left = sorted(name for name in names if f"{folder}{os.sep}{name}" not in listed)
        if left:
            message = f"{len(left)} of {len(names)} images are in no list: {some(left)}"
            yield Hit(folder, message, values={"images": len(left)})
