"""FS: names that hide a file from Ultralytics, or trouble other tools."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator

import numpy as np

from yolo_nanfix.dataset.other_files import Census
from yolo_nanfix.dataset.paths import folder_of, is_image
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.file_set import some, twins
from yolo_nanfix.linting.rules.strays import names_in

LONG = 250
_CONTROLS = tuple(map(chr, (*range(32), 127)))
_AWKWARD = frozenset(" ()[]{}'\"&;#%*?!$|<>,")


def _name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition(os.sep)[2]


@rule("FS013", "label-name-case", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_case(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file differs from the name that is looked for in capital letters only.

    Why: on Linux the label is not found, so the image is trained as pure background; on Windows it is found.
    Ultralytics: looks for the stem of the image with `.txt`, letter by letter.
    Example: labels/train/IMG_7.TXT or img_7.txt for images/train/IMG_7.jpg.
    Fix: rename the label file to the name that the finding gives.
    """
    yield from _twin_hits(strays, table, census, "case", "capital letters")


@rule("FS014", "label-name-unicode", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_unicode(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file has the name of its image in another Unicode form.

    Why: both names look the same, but the label is not found, so the image is trained as pure background.
    Ultralytics: compares names byte by byte; macOS and zip tools turn one `é` into `e` and an accent.
    Example: images/train/caf\\u00e9.jpg and labels/train/cafe\\u0301.txt.
    Fix: rename both to one form (NFC), or to plain ASCII.
    """
    yield from _twin_hits(strays, table, census, "unicode", "the Unicode form of its letters")


@rule("FS015", "label-name-suffix", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_name_suffix(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file carries a suffix or a blank too many in its name.

    Why: the label is not found, so the image is trained as pure background.
    Ultralytics: replaces the suffix of the image by `.txt`; a.jpg has its label in a.txt, not in a.jpg.txt.
    Example: labels/train/7.jpg.txt or `7 .txt` for images/train/7.jpg.
    Fix: rename the label file to the name that the finding gives.
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
    Fix: restore the target, or copy the labels into the dataset.
    """
    names: dict[str, frozenset[str]] = {}
    for image in np.flatnonzero(~table.labelled).tolist():
        label = table.labels[image]
        folder, _, name = label.rpartition(os.sep)
        if folder not in names:
            names[folder] = names_in(folder)
        if name in names[folder] and not os.path.isfile(label):  # noqa: PTH113
            kind = "is a folder or a device" if os.path.exists(label) else "is a link that leads nowhere"  # noqa: PTH110
            yield Hit(label, kind, split=table.split_of(image), image=table.files[image])


@rule("FS019", "name-ends-in-blank", Severity.ERROR, Effect.DROPS)
def name_ends_in_blank(census: Census) -> Iterator[Hit]:
    """The name of an image or label ends in a blank.

    Why: the file is not taken for an image or label, though it looks like one; Windows cannot even open it.
    Ultralytics: the suffix `jpg ` is none that it knows.
    Example: `7.jpg ` with a blank at the end.
    Fix: rename the file without the blank.
    """
    for other in census.others:
        bare = other.name.strip()
        if other.kind == "file" and bare != other.name and (is_image(bare) or other.suffix == "txt"):
            yield Hit(other.path, f"the name is {other.name!r}")


@rule("FS023", "name-control-character", Severity.WARNING, Effect.ACCEPTS, lasting=True)
def name_control_character(table: Table) -> Iterator[Hit]:
    """The name of an image holds a newline, a tab or another control character.

    Why: a list of images (train.txt) cannot name the file, and every tool that prints names is misled.
    Ultralytics: trains on it if it lists the folder; in a list the name breaks into two that do not exist.
    Example: a download saved as `cat\\n.jpg`.
    Fix: rename the image and its label file.
    """
    together = "".join(table.files)
    if together.isascii() and not any(c in together for c in _CONTROLS):
        return
    for i, file in enumerate(table.files):
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in _name(file)):
            yield Hit(file, f"the name is {_name(file)!a}", split=table.split_of(i), image=file)


@rule("FS024", "name-case-clash", Severity.WARNING, Effect.ACCEPTS, lasting=True)
def name_case_clash(table: Table) -> Iterator[Hit]:
    """Two files differ in capital letters only.

    Why: on Windows and macOS one overwrites the other, as soon as the dataset is copied or unpacked there.
    Ultralytics: trains on both; on a file system that ignores case there is only one.
    Example: IMG_7.jpg and img_7.JPG in one folder.
    Fix: rename one of the two, and its label file.
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


@rule("FS025", "name-awkward", Severity.INFO, Effect.ACCEPTS, lasting=True)
def name_awkward(table: Table) -> Iterator[Hit]:
    """Names of images hold blanks, brackets or letters beyond ASCII.

    Why: training works, but shell scripts, archives and other systems often garble such names.
    Ultralytics: reads them all; a name that ends in a blank is the exception (FS019).
    Example: `photo (1).jpg`, `größe.png`.
    Fix: nothing if everything works; else rename the images and their labels to plain letters.
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


@rule("FS026", "path-long", Severity.INFO, Effect.ACCEPTS, lasting=True)
def path_long(table: Table) -> Iterator[Hit]:
    """The path of an image is very long.

    Why: Windows opens no path over 259 characters unless it was told to, and archives drop them.
    Ultralytics: reads the file wherever the system can open it.
    Example: a chain of export folders, each named after the whole project.
    Fix: move the dataset to a shorter path.
    """
    if max(map(len, table.files), default=0) > LONG:
        long = [i for i, file in enumerate(table.files) if len(file) > LONG]
        longest = max((table.files[i] for i in long), key=len)
        yield Hit(longest, f"{len(long)} paths over {LONG} characters; this one has {len(longest)}")
