"""FS: names, links and folders that hide files from Ultralytics, or break other tools."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.formats.sniff import json_kind
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.other_files import suffix_in
from yolo_nanfix.dataset.paths import folder_of, folders_of, is_image
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.dataset.unlisted import images_below, siblings
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.file_set import image_hit, some, twins

LONG_PATH = 250
_CONTROLS = tuple(map(chr, (*range(32), 127)))
_AWKWARD = frozenset(" ()[]{}'\"&;#%*?!$|<>,")
_DIFFERS = {
    "case": "differs in case from {wanted!n}, which is looked for",
    "unicode": "differs in the Unicode form of its letters from {wanted!n}, which is looked for",
    "suffix": "differs in a suffix or space from {wanted!n}, which is looked for",
}
IGNORED = frozenset(
    ("arw", "cr2", "dcm", "exr", "gif", "hdr", "ico", "jfif", "jpe", "jpf", "jpx", "jxl", "nef", "pbm", "pcx")
) | frozenset(("pgm", "pjp", "pjpeg", "pnm", "ppm", "psd", "raw", "svg", "tga", "xcf"))
"""Suffixes of images that Ultralytics does not list."""
NOTE_SUFFIXES = frozenset(("json", "xml", "csv"))


def _last_part(path: str) -> str:
    return path.rpartition(os.sep)[2]


@rule("FS013", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_case(survey: Survey, table: Table) -> Iterator[Hit]:
    """The name of a label file differs from the one that is looked for only in case.

    Why: on Linux the label is not found, so the image is trained as pure background; on Windows it is found.
    Ultralytics: looks for the stem of the image with `.txt`, letter by letter.
    Example: labels/train/IMG_7.TXT or img_7.txt for images/train/IMG_7.jpg.
    Fix: rename the label file to the name that the finding gives.
    """
    yield from _twin_hits(survey, table, "case")


@rule("FS014", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_unicode(survey: Survey, table: Table) -> Iterator[Hit]:
    """A label file has its name in another Unicode form than the image.

    Why: both names look the same, but the label is not found, so the image is trained as pure background.
    Ultralytics: compares names byte by byte; macOS and zip tools turn one `é` into `e` and an accent.
    Example: images/train/caf\\u00e9.jpg and labels/train/cafe\\u0301.txt.
    Fix: rename both to one form (NFC), or to plain ASCII.
    """
    yield from _twin_hits(survey, table, "unicode")


@rule("FS015", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_suffix(survey: Survey, table: Table) -> Iterator[Hit]:
    """The name of a label file has a suffix or a space too many.

    Why: the label is not found, so the image is trained as pure background.
    Ultralytics: replaces the suffix of the image by `.txt`; a.jpg has its label in a.txt, not in a.jpg.txt.
    Example: labels/train/7.jpg.txt or `7 .txt` for images/train/7.jpg.
    Fix: rename the label file to the name that the finding gives.
    """
    yield from _twin_hits(survey, table, "suffix")


def _twin_hits(survey: Survey, table: Table, kind: str) -> Iterator[Hit]:
    """A hit for each label file whose name differs in this way (a key of `_DIFFERS`) from the one looked for."""
    for path, (image, how) in twins(survey, table).items():
        if how == kind:
            yield image_hit(table, image, _DIFFERS[kind], path, wanted=table.labels[image])


@rule("FS016", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_link_broken(table: Table) -> Iterator[Hit]:
    """A label file is a link that leads nowhere, or a folder.

    Why: the image is trained as pure background although it seems to be labelled.
    Ultralytics: treats anything but a regular file as a missing label.
    Example: labels/train/7.txt -> /mnt/old-disk/7.txt.
    Fix: restore the target, or copy the labels into the dataset.
    """
    names: dict[str, frozenset[str]] = {}
    for image in np.flatnonzero(~table.labelled).tolist():
        label = table.labels[image]
        folder, _, name = label.rpartition(os.sep)
        if folder not in names:
            names[folder] = names_in(folder)
        if name in names[folder] and not os.path.isfile(label):  # noqa: PTH113
            exists = os.path.exists(label)  # noqa: PTH110
            says = "is a folder or a device" if exists else "is a link that leads nowhere"
            yield image_hit(table, image, says, label, exists=exists)


@rule("FS019", Severity.ERROR, Effect.DROPS)
def name_ends_in_blank(survey: Survey) -> Iterator[Hit]:
    """The name of an image or label ends in a space.

    Why: the file does not count as an image or label, though it looks like one; Windows cannot even open it.
    Ultralytics: does not know the suffix `jpg `.
    Example: `7.jpg ` with a space at the end.
    Fix: rename the file without the space.
    """
    for path, kind in survey.others.items():
        name = _last_part(path)
        bare = name.strip()
        if kind == "file" and bare != name and (is_image(bare) or suffix_in(name) == "txt"):
            yield Hit(path, "the name is {name!r}", values={"name": name})


@rule("FS023", Severity.WARNING, Effect.ACCEPTS)
def name_control_character(table: Table) -> Iterator[Hit]:
    """The name of an image holds a newline, a tab or another control character.

    Why: a list of images (train.txt) cannot name the file, and tools that print names show something else.
    Ultralytics: trains on it if it reads the folder; in a list the name becomes two that do not exist.
    Example: a download saved as `cat\\n.jpg`.
    Fix: rename the image and its label file.
    """
    joined = "".join(table.files)
    if joined.isascii() and not any(c in joined for c in _CONTROLS):
        return
    for i, file in enumerate(table.files):
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in _last_part(file)):
            yield image_hit(table, i, "the name is {name!a}", name=_last_part(file))


@rule("FS024", Severity.WARNING, Effect.ACCEPTS)
def name_case_clash(table: Table) -> Iterator[Hit]:
    """The names of two files differ only in case.

    Why: on Windows and macOS one overwrites the other, as soon as the dataset is copied or unpacked there.
    Ultralytics: trains on both; on a file system that ignores case there is only one.
    Example: IMG_7.jpg and img_7.JPG in one folder.
    Fix: rename one of the two, and its label file.
    """
    lower = "\0".join(table.files).lower().split("\0")
    if len(set(lower)) == len(lower):
        return
    first: dict[str, int] = {}
    for i, name in enumerate(lower):
        other = first.setdefault(name, i)
        if other != i:
            yield image_hit(table, i, "differs from {other!n} in case only", other=table.files[other])


@rule("FS025", Severity.INFO, Effect.ACCEPTS)
def name_awkward(table: Table) -> Iterator[Hit]:
    """Names of images hold spaces, brackets or letters beyond ASCII.

    Why: training works, but shell scripts, archives and other systems often garble such names.
    Ultralytics: reads all of them, except names that end in a space (FS019).
    Example: `photo (1).jpg`, `größe.png`.
    Fix: nothing if everything works; else rename the images and their labels to plain letters.
    """
    joined = "".join(table.files)
    if joined.isascii() and not any(c in joined for c in _AWKWARD):
        return
    for split, listed in table.splits.items():
        names = [_last_part(table.files[i]) for i in listed.tolist()]
        awkward = [name for name in names if not name.isascii() or not _AWKWARD.isdisjoint(name)]
        if not awkward:
            continue
        folder = folder_of(table.files[int(listed[0])])
        says = "{names:name|names} with spaces, brackets or letters beyond ASCII: {examples:,}{more:more}"
        yield Hit(folder, says, split=split, values={"names": len(awkward), **some(awkward)})


@rule("FS026", Severity.INFO, Effect.ACCEPTS)
def path_long(table: Table) -> Iterator[Hit]:
    """The path of an image is very long.

    Why: Windows opens no path over 259 characters unless that is enabled, and archives drop them.
    Ultralytics: reads the file wherever the system can open it.
    Example: a chain of export folders, each named after the whole project.
    Fix: move the dataset to a shorter path.
    """
    if max(map(len, table.files), default=0) > LONG_PATH:
        long = [i for i, file in enumerate(table.files) if len(file) > LONG_PATH]
        longest = max((table.files[i] for i in long), key=len)
        values = {"paths": len(long), "most": LONG_PATH, "characters": len(longest)}
        says = "{paths:path|paths} over {most} characters; this one has {characters}"
        yield Hit(longest, says, values=values)


def names_in(folder: str) -> frozenset[str]:
    """The names in a folder; none if it cannot be read."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names alone
    except (OSError, ValueError):
        return frozenset()


def _grouped(files: Iterable[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Files by folder and suffix: both, and the sorted names."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        folder, _, name = file.rpartition(os.sep)
        found[folder, suffix_in(name)].append(name)
    for (folder, suffix), names in sorted(found.items()):
        yield folder, suffix, sorted(names)


@rule("FS017", Severity.WARNING, Effect.ACCEPTS)
def link_loop(survey: Survey) -> Iterator[Hit]:
    """A link leads to a folder above it.

    Why: every image occurs about 40 times in an epoch; with two such links in one folder listing never ends.
    Ultralytics: follows links until the system refuses.
    Example: images/train/all -> ../train.
    Fix: remove the link.
    """
    for path, kind in survey.others.items():
        if kind == "loop":
            values = {"target": os.path.realpath(path)}
            yield Hit(path, "a link to the folder above, {target}", values=values)


@rule("FS018", Severity.ERROR, Effect.DROPS)
def image_suffix_ignored(survey: Survey) -> Iterator[Hit]:
    """Images have a suffix that Ultralytics does not list.

    Why: they are not trained on, and no message says so.
    Ultralytics: takes avif, bmp, dng, heic, heif, jp2, jpeg, jpg, mpo, png, tif, tiff and webp, in either case.
    Example: 7.gif, 7.jfif.
    Fix: rename .jfif, .jpe and .pjpeg to .jpg, which they are; convert the others.
    """
    for folder, suffix, names in _grouped(survey.other_files(*IGNORED)):
        values = {"files": len(names), "suffix": suffix, **some(names)}
        yield Hit(folder, "{files} .{suffix} files are never listed: {examples:,}{more:more}", values=values)


@rule("FS020", Severity.WARNING, Effect.DROPS, LABELLED)
def image_hidden(survey: Survey) -> Iterator[Hit]:
    """Images are hidden: their name, or that of a folder, begins with a dot.

    Why: they are not trained on, and no message says so.
    Ultralytics: lists folders by a pattern that passes over hidden files and folders.
    Example: images/train/.7.jpg, or images inside images/train/.extra.
    Fix: rename what should be trained on, and remove the rest.
    """
    for path, kind in survey.others.items():
        name = _last_part(path)
        if not name.startswith(".") or name.startswith("._"):
            continue
        if kind == "file" and is_image(name[1:]):
            yield Hit(path, "hidden, so it is never listed")
        elif kind == "folder":
            names = _images_among(names_in(path))
            if names:
                says = "{images:image|images} in a hidden folder are never listed: {examples:,}{more:more}"
                yield Hit(path, says, values={"images": len(names), **some(names)})


def _images_among(names: Iterable[str]) -> list[str]:
    """The names of images that are not hidden, sorted."""
    return sorted(name for name in names if is_image(name) and name[0] != ".")


@rule("FS021", Severity.WARNING, Effect.DROPS, LABELLED)
def image_among_labels(survey: Survey, folders: Folders) -> Iterator[Hit]:
    """The folder of labels holds images.

    Why: they are not trained on; if they are masks, they are not read as labels either.
    Ultralytics: reads nothing but .txt files of images in the folder of labels.
    Example: labels/train/7.png beside labels/train/7.txt.
    Fix: move the images to the folder of images; turn masks into polygons with `convert_segment_masks_to_yolo_seg`.
    """
    for folder in survey.label_folders:
        if names := _images_among(folders.names(folder)):
            values = {"images": len(names), **some(names)}
            yield Hit(folder, "{images:image|images} among the labels: {examples:,}{more:more}", values=values)


@rule("FS022", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def annotation_unread(survey: Survey, table: Table) -> Iterator[Hit]:
    """Images without a label file have annotations in another format beside them.

    Why: they are trained as pure background although someone annotated them.
    Ultralytics: reads .txt files only.
    Example: labels/train/7.xml of Pascal VOC, or images/train/7.json of labelme, and no 7.txt.
    Fix: convert the annotations; `yolo-nanfix lint` reads COCO and Pascal VOC as they are.
    """
    notes = survey.other_files(*NOTE_SUFFIXES)
    if not notes:
        return
    bare = {table.labels[i].rpartition(os.sep)[2][:-4] for i in np.flatnonzero(~table.labelled).tolist()}
    unread = [note for note in notes if _last_part(note).rpartition(".")[0] in bare]
    for folder, suffix, names in _grouped(unread):
        kind = json_kind(Path(folder) / names[0]) if suffix == "json" else None
        says = "{images:image has|images have} no labels, but a .{suffix} file: {examples:,}{more:more}"
        says += "; {examples[0]} is {format}: {convert}" if kind else ""
        about = {"format": kind.what, "convert": kind.how} if kind else {}
        yield Hit(folder, says, values={"images": len(names), "suffix": suffix, **some(names), **about})


@rule("FS027", Severity.INFO, Effect.ACCEPTS)
def npy_orphan(table: Table, survey: Survey) -> Iterator[Hit]:
    """Arrays among the images belong to no image.

    Why: they take much space, and become training data as soon as an image of that name arrives.
    Ultralytics: writes them under `cache=disk` and never removes those of deleted images.
    Example: images/train/8.npy without 8.jpg.
    Fix: remove them.
    """
    arrays = [path for path, kind in survey.others.items() if kind == "file" and suffix_in(path) == "npy"]
    if not arrays:
        return
    stems = {file.rpartition(".")[0] for file in table.files}
    for folder, _, names in _grouped(path for path in arrays if path.rpartition(".")[0] not in stems):
        values = {"arrays": len(names), **some(names)}
        yield Hit(folder, "{arrays:array|arrays} of no image: {examples:,}{more:more}", values=values)


@rule("FS028", Severity.INFO, Effect.ACCEPTS)
def cache_older_than_labels(survey: Survey) -> Iterator[Hit]:
    """Ultralytics' cache is older than the folder that it describes.

    Why: files came or went since, so the next start scans the whole split again; the file is a pickle besides, and
        loading it runs whatever code it names: do not take one from strangers.
    Ultralytics: unpickles it, compares a hash of names, sizes and times, and scans again if that differs.
    Example: labels/train.cache from before the last export.
    Fix: remove the file; the next training writes it anew.
    """
    for cache in survey.caches:
        folder = Path(cache).with_suffix("")
        try:
            if folder.stat().st_mtime_ns > Path(cache).stat().st_mtime_ns:
                says = "older than the folder {folder!n}, in which files came or went since"
                yield Hit(cache, says, values={"folder": str(folder)})
        except OSError:
            continue


@rule("FS029", Severity.INFO, Effect.ACCEPTS)
def folder_empty(survey: Survey, config: DataConfig, task: str) -> Iterator[Hit]:
    """A folder of images or labels is empty.

    Why: usually harmless; sometimes an export or copy that broke off.
    Ultralytics: ignores it.
    Example: images/train/extra without a file.
    Fix: fill the folder or remove it.
    """
    classes = str(config.splits["train"][0]) if task == "classify" else None  # FS043 is about these
    for folder in survey.empty:
        if classes is None or folder_of(folder) != classes:
            yield Hit(folder, "the folder is empty")


@rule("FS060", Severity.INFO, Effect.ACCEPTS, LABELLED)
def images_in_no_split(config: DataConfig, table: Table, folders: Folders) -> Iterator[Hit]:
    """Images lie beside those of the splits, but are in no split.

    Why: they are neither trained on nor evaluated; often a split was forgotten in data.yaml, or a list is too short.
    Ultralytics: reads what `train`, `val` and `test` name.
    Example: images/test beside images/train, and no `test:` in data.yaml.
    Fix: name the folder in data.yaml, or add the images to a list; nothing if they are kept out on purpose.
    """
    beside = siblings(config)
    listing = not all(path.is_dir() for paths in config.splits.values() for path in paths)
    if not beside and not listing:
        return
    homes = folders_of(table.files)
    for folder in beside:
        names = images_below(folder)
        if names and not any(f"{home}{os.sep}".startswith(f"{folder}{os.sep}") for home in homes):
            says = "{images:image|images} in a folder of no split: {examples:,}{more:more}"
            yield Hit(folder, says, values={"images": len(names), **some(names)})
    if not listing:
        return
    listed = set(table.files)
    for folder in sorted(homes):
        names = [name for name in folders.names(folder) if is_image(name) and name[0] != "."]
        unlisted = sorted(name for name in names if f"{folder}{os.sep}{name}" not in listed)
        if unlisted:
            says = "{images} of {of} images are in no list: {examples:,}{more:more}"
            yield Hit(folder, says, values={"images": len(unlisted), "of": len(names), **some(unlisted)})
