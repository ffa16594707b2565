"""FS: names that hide a file from Ultralytics, and files that it never looks at."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.census import Census, Other
from yolo_nanfix.linting.listing import Folders
from yolo_nanfix.linting.paths import folder_of
from yolo_nanfix.linting.rule import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.files import some, twins
from yolo_nanfix.linting.suffixes import is_image
from yolo_nanfix.linting.table import Table

IGNORED = frozenset(
    ("arw", "cr2", "dcm", "exr", "gif", "hdr", "ico", "jfif", "jpe", "jpf", "jpx", "jxl", "nef", "pbm", "pcx")
) | frozenset(("pgm", "pjp", "pjpeg", "pnm", "ppm", "psd", "raw", "svg", "tga", "xcf"))
"""Suffixes of images that Ultralytics does not list."""
NOTES = frozenset(("json", "xml", "csv"))
LONG = 250
_CONTROLS = tuple(map(chr, (*range(32), 127)))
_AWKWARD = frozenset(" ()[]{}'\"&;#%*?!$|<>,")


def _name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition(os.sep)[2]


def _grouped(others: Iterable[Other]) -> Iterator[tuple[str, str, list[str]]]:
    """Folder, suffix and sorted names of files that share both."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for other in others:
        found[other.folder, other.suffix].append(other.name)
    for (folder, suffix), names in sorted(found.items()):
        yield folder, suffix, sorted(names)


@rule("FS013", "label-name-case", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_case(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file differs from the name that is looked for in capital letters only.

    Why: on Linux the label is not found, so the image is trained as pure background; on Windows it is found.
    Ultralytics: looks for the stem of the image with `.txt`, letter by letter.
    Example: labels/train/IMG_7.TXT or img_7.txt for images/train/IMG_7.jpg.
    Mend: rename the label file to the name that the finding gives.
    """
    yield from _twin_hits(strays, table, census, "case", "capital letters")


@rule("FS014", "label-name-unicode", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_unicode(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file has the name of its image in another Unicode form.

    Why: both names look the same, but the label is not found, so the image is trained as pure background.
    Ultralytics: compares names byte by byte; macOS and zip tools turn one `é` into `e` and an accent.
    Example: images/train/caf\\u00e9.jpg and labels/train/cafe\\u0301.txt.
    Mend: rename both to one form (NFC), or to plain ASCII.
    """
    yield from _twin_hits(strays, table, census, "unicode", "the Unicode form of its letters")


@rule("FS015", "label-name-suffix", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_suffix(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file carries a suffix or a blank too many in its name.

    Why: the label is not found, so the image is trained as pure background.
    Ultralytics: replaces the suffix of the image by `.txt`; a.jpg has its label in a.txt, not in a.jpg.txt.
    Example: labels/train/7.jpg.txt or `7 .txt` for images/train/7.jpg.
    Mend: rename the label file to the name that the finding gives.
    """
    yield from _twin_hits(strays, table, census, "suffix", "a suffix or blank")


def _twin_hits(strays: tuple[str, ...], table: Table, census: Census, kind: str, what: str) -> Iterator[Hit]:
    """A hit for each label file that is looked for under a name that differs so."""
    for path, (image, how) in twins(strays, table, census).items():
        if how == kind:
            message = f"differs in {what} from {_name(table.labels[image])}, which is looked for"
            yield Hit(path, message, split=table.split_of(image), image=table.files[image])


@rule("FS016", "label-link-broken", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_link_broken(table: Table) -> Iterator[Hit]:
    """A label file is a link that leads nowhere, or a folder.

    Why: the image is trained as pure background although it seems to be labelled.
    Ultralytics: takes what is no regular file for a missing label.
    Example: labels/train/7.txt -> /mnt/old-disk/7.txt.
    Mend: restore the target, or copy the labels into the dataset.
    """
    names: dict[str, frozenset[str]] = {}
    for image in np.flatnonzero(~table.labelled).tolist():
        label = table.labels[image]
        folder, _, name = label.rpartition(os.sep)
        if folder not in names:
            names[folder] = _listed(folder)
        if name in names[folder] and not os.path.isfile(label):  # noqa: PTH113
            kind = "is a folder or a device" if os.path.exists(label) else "is a link that leads nowhere"  # noqa: PTH110
            yield Hit(label, kind, split=table.split_of(image), image=table.files[image])


@rule("FS017", "link-loop", Severity.WARNING, Effect.ACCEPTS)
def link_loop(census: Census) -> Iterator[Hit]:
    """A link leads to a folder above it.

    Why: every image is met about 40 times in an epoch; two such links in one folder never end.
    Ultralytics: follows links until the system says that there are too many.
    Example: images/train/all -> ../train.
    Mend: remove the link.
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
    Mend: rename .jfif, .jpe and .pjpeg to .jpg, which they are; convert the others.
    """
    files = (o for o in census.others if o.kind == "file" and o.suffix in IGNORED and o.name[0] != ".")
    for folder, suffix, names in _grouped(files):
        yield Hit(folder, f"{len(names)} .{suffix} files are never listed: {some(names)}")


@rule("FS019", "name-ends-in-blank", Severity.ERROR, Effect.DROPS)
def name_ends_in_blank(census: Census) -> Iterator[Hit]:
    """The name of an image or label ends in a blank.

    Why: the file is not taken for an image or label, though it looks like one; Windows cannot even open it.
    Ultralytics: the suffix `jpg ` is none that it knows.
    Example: `7.jpg ` with a blank at the end.
    Mend: rename the file without the blank.
    """
    for other in census.others:
        bare = other.name.strip()
        if other.kind == "file" and bare != other.name and (is_image(bare) or other.suffix == "txt"):
            yield Hit(other.path, f"the name is {other.name!r}")


@rule("FS020", "image-hidden", Severity.WARNING, Effect.DROPS, LABELLED)
def image_hidden(census: Census) -> Iterator[Hit]:
    """Images are hidden: their name, or that of a folder, begins with a dot.

    Why: they are not trained on, and no message says so.
    Ultralytics: lists folders by a pattern that passes over hidden files and folders.
    Example: images/train/.7.jpg, or images inside images/train/.extra.
    Mend: rename what should be trained on, and remove the rest.
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
    return sorted(name for name in _listed(folder) if is_image(name) and name[0] != ".")


def _listed(folder: str) -> frozenset[str]:
    """The names in a folder; none if it cannot be read."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names alone
    except (OSError, ValueError):
        return frozenset()


@rule("FS021", "image-among-labels", Severity.WARNING, Effect.DROPS, LABELLED)
def image_among_labels(census: Census, folders: Folders) -> Iterator[Hit]:
    """The folder of labels holds images.

    Why: they are not trained on; if they are masks, they are not read as labels either.
    Ultralytics: reads nothing but .txt files of images in the folder of labels.
    Example: labels/train/7.png beside labels/train/7.txt.
    Mend: move the images to the folder of images; turn masks into polygons with `convert_segment_masks_to_yolo_seg`.
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
    Mend: convert the annotations; `yolo-nanfix lint` reads COCO and Pascal VOC as they are.
    """
    notes = [o for o in census.others if o.kind == "file" and o.suffix in NOTES and o.name[0] != "."]
    if not notes:
        return
    bare = {_name(table.labels[i])[:-4] for i in np.flatnonzero(~table.labelled).tolist()}
    unread = [o for o in notes if o.name.rpartition(".")[0] in bare]
    for folder, suffix, names in _grouped(unread):
        yield Hit(folder, f"{len(names)} images without labels have a .{suffix} file: {some(names)}")


@rule("FS023", "name-control-character", Severity.WARNING, Effect.ACCEPTS)
def name_control_character(table: Table) -> Iterator[Hit]:
    """The name of an image holds a newline, a tab or another control character.

    Why: a list of images (train.txt) cannot name the file, and every tool that prints names is misled.
    Ultralytics: trains on it if it lists the folder; in a list the name breaks into two that do not exist.
    Example: a download saved as `cat\\n.jpg`.
    Mend: rename the image and its label file.
    """
    together = "".join(table.files)
    if together.isascii() and not any(c in together for c in _CONTROLS):
        return
    for i, file in enumerate(table.files):
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in _name(file)):
            yield Hit(file, f"the name is {_name(file)!a}", split=table.split_of(i), image=file)


@rule("FS024", "name-case-clash", Severity.WARNING, Effect.ACCEPTS)
def name_case_clash(table: Table) -> Iterator[Hit]:
    """Two files differ in capital letters only.

    Why: on Windows and macOS one overwrites the other, as soon as the dataset is copied or unpacked there.
    Ultralytics: trains on both; on a file system that ignores case there is only one.
    Example: IMG_7.jpg and img_7.JPG in one folder.
    Mend: rename one of the two, and its label file.
    """
    small = "\0".join(table.files).lower().split("\0")
    if len(set(small)) == len(small):
        return
    first: dict[str, int] = {}
    for i, name in enumerate(small):
        other = first.setdefault(name, i)
        if other != i:
            message = f"differs from {_name(table.files[other])} in capital letters only"
            yield Hit(table.files[i], message, split=table.split_of(i), image=table.files[i])


@rule("FS025", "name-awkward", Severity.INFO, Effect.ACCEPTS)
def name_awkward(table: Table) -> Iterator[Hit]:
    """Names of images hold blanks, brackets or letters beyond ASCII.

    Why: training works, but shell scripts, archives and other systems often garble such names.
    Ultralytics: reads them all; a name that ends in a blank is the exception (FS019).
    Example: `photo (1).jpg`, `größe.png`.
    Mend: nothing if everything works; else rename the images and their labels to plain letters.
    """
    together = "".join(table.files)
    if together.isascii() and not any(c in together for c in _AWKWARD):
        return
    for split, listed in table.splits.items():
        names = [_name(table.files[i]) for i in listed.tolist()]
        odd = [name for name in names if not name.isascii() or not _AWKWARD.isdisjoint(name)]
        if not odd:
            continue
        folder = folder_of(table.files[int(listed[0])])
        yield Hit(folder, f"{len(odd)} names with blanks, brackets or letters beyond ASCII: {some(odd)}", split=split)


@rule("FS026", "path-long", Severity.INFO, Effect.ACCEPTS)
def path_long(table: Table) -> Iterator[Hit]:
    """The path of an image is very long.

    Why: Windows opens no path over 259 characters unless it was told to, and archives drop them.
    Ultralytics: reads the file wherever the system can open it.
    Example: a chain of export folders, each named after the whole project.
    Mend: move the dataset to a shorter path.
    """
    if max(map(len, table.files), default=0) > LONG:
        long = [i for i, file in enumerate(table.files) if len(file) > LONG]
        longest = max((table.files[i] for i in long), key=len)
        yield Hit(longest, f"{len(long)} paths over {LONG} characters; this one has {len(longest)}")


@rule("FS027", "npy-orphan", Severity.INFO, Effect.ACCEPTS)
def npy_orphan(table: Table, census: Census) -> Iterator[Hit]:
    """Arrays lie among the images, and no image belongs to them.

    Why: they take much space, and become training data as soon as an image of that name arrives.
    Ultralytics: writes them under `cache=disk` and never removes those of deleted images.
    Example: images/train/8.npy without 8.jpg.
    Mend: remove them.
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
    Mend: remove the file; the next training writes it anew.
    """
    for cache in census.caches:
        folder = Path(cache).with_suffix("")
        try:
            if folder.stat().st_mtime_ns > Path(cache).stat().st_mtime_ns:
                yield Hit(cache, f"older than {folder.name}{os.sep}, in which files came or went since")
        except OSError:
            continue


@rule("FS029", "folder-empty", Severity.INFO, Effect.ACCEPTS)
def folder_empty(census: Census) -> Iterator[Hit]:
    """A folder of images or labels is empty.

    Why: usually harmless; sometimes an export or copy that broke off.
    Ultralytics: passes over it.
    Example: images/train/extra without a file.
    Mend: fill the folder or remove it.
    """
    for folder in census.empty:
        yield Hit(folder, "the folder is empty")
