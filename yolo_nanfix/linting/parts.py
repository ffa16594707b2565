"""Reads a dataset in parts, and joins them with what is cached of it.

The rules about single files are run on each part, in the process that reads it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.clues import COUNT
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import shared
from yolo_nanfix.dataset.images import Columns, Images, Part, read_images
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.label_parser import read_labels
from yolo_nanfix.dataset.labels import Labels, masked
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.dataset.whole_set import columns
from yolo_nanfix.findings import Place
from yolo_nanfix.linting.cache import Cached
from yolo_nanfix.linting.registry import Hit, all_rules

IMAGE_COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    "size": ((), "int64"),
    "inode": ((2,), "int64"),
    "width": ((), "int32"),
    "height": ((), "int32"),
    "content": ((), "uint64"),
    "looks": ((8,), "uint64"),
    "turn": ((), "int8"),
    "grey": ((), "bool"),
    "alpha": ((), "bool"),
    "polygons": ((), "bool"),
    "lines": ((), "int32"),
    "npy": ((), "int8"),
    "clues": ((COUNT,), "int32"),
    "fate": ((), "uint8"),
}
"""Shape of one row and dtype of each column about images."""
ROW_COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    "row_image": ((), "int32"),
    "row_line": ((), "int32"),
    "row_cls": ((), "float32"),
    "row_box": ((4,), "float32"),
}
"""The same of each column about label rows."""


Context = tuple[DataConfig, LintOptions]
"""What is the same for all parts of a dataset: its data.yaml and the options."""


Found = tuple[int, str, Hit]
"""A hit of a rule about files, without image and split: the index of the image, the rule's code, and the hit."""
_FIELDS = Hit._fields.index("explains")


Facts = tuple[list[Found], Columns]
"""The hits in a part or in a whole set, and the columns that `Table` is made of; images are counted in the same."""


def read_part(part: Part, context: Context) -> Facts:
    """Read the files of a part and run all rules about single files; never raises for what is in the files."""
    config, options = context
    with _quiet():
        images = read_images(part, config.channels, deep=options.deep)
        chosen = np.flatnonzero(np.array(part.labelled) & np.array(part.owns)).tolist()
        paths, sizes = [part.labels[i] for i in chosen], [part.sizes[i] for i in chosen]
        labels = masked(read_labels(paths, chosen, options.settled, config.kpt_shape, sizes), config, options.root)
        found = list(_hits(images, labels, config, options))
        return found, columns(images, labels, config, options.settled, deep=options.deep)


def _hits(images: Images, labels: Labels, config: DataConfig, options: LintOptions) -> Iterator[Found]:
    place: dict[str | None, int] = {}
    facts = about_files(images, labels, config, options)
    for rule in all_rules():
        if rule.about_files and not rule.skipped(options):
            for hit in rule.check(**{name: facts[name] for name in rule.asks}):
                place = place or _image_places(images)
                image = place[hit.image if hit.image is not None else hit.file]
                yield image, rule.code, hit._replace(image=None, split=None)


def about_files(images: Images, labels: Labels, config: DataConfig, options: LintOptions) -> dict[str, Any]:
    """What rules about single files may ask for, by name."""
    facts: dict[str, Any] = {"images": images, "unusual": images.unusual(), "labels": labels}
    return {**facts, "config": config, "task": options.settled, "options": options}


def _image_places(images: Images) -> dict[str | None, int]:
    """The index of each image, by its label file, its .npy and its own path."""
    place: dict[str | None, int] = {image.label: i for i, image in enumerate(images)}
    place |= {image.npy: i for i, image in enumerate(images) if image.npy}
    return place | {image.file: i for i, image in enumerate(images)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of decoders and numpy: the findings say it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


Unchanged = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The unchanged images, by their indices now and in the cache; sorted by the first."""


def unchanged(survey: Survey, cached: Cached | None, *, same_files: bool) -> Unchanged:
    """The images that are the same as in the cache.

    Args:
        survey: the dataset as it is now.
        cached: its columns as they were cached.
        same_files: whether no file came or went since; both index arrays are then the same object.
    """
    none = np.zeros(0, np.int64)
    if cached is None:
        return none, none
    columns, texts = cached
    listed, rows = columns["listed"], columns["rows"]
    if same_files:
        differs = (survey.listed != listed).any(axis=1)
        now = np.flatnonzero(~differs[rows].any(axis=1))
        return now, now
    old = {file: i for i, file in enumerate(texts["files"].split("\0"))}
    places = np.array([old.get(file, -1) for file in survey.files], np.int64)
    now = np.flatnonzero(places >= 0)
    then = places[now]
    same = (survey.listed[survey.rows[now]] == listed[rows[then]]).all(axis=(1, 2))
    same &= survey.owns[now] == columns["owns"][then]
    return now[same], then[same]


def assemble(
    survey: Survey, cached: Cached | None, kept: Unchanged, read: Iterable[tuple[Part, Facts]], *, deep: bool
) -> Facts:
    """Join the unchanged images with those that were read.

    Args:
        survey: the dataset as it is now.
        cached: its columns as they were cached.
        kept: the unchanged images.
        read: the others.
        deep: whether there are perceptual hashes of the images.
    """
    count = len(survey.files)
    if cached is not None and len(kept[0]):
        columns, rows, found = _from_cache(cached, kept, count)
    else:
        columns = {name: np.zeros((count, *shape), kind) for name, (shape, kind) in IMAGE_COLUMNS.items()}
        rows = {name: np.zeros((0, *shape), kind) for name, (shape, kind) in ROW_COLUMNS.items()}
        found = []
    if not deep:
        columns["looks"] = columns["looks"][:0]
    fresh = {name: [rows[name][:0]] for name in ROW_COLUMNS}
    for part, (hits, read_columns) in read:
        places = np.array(part.numbers, np.int32)
        for name in columns:
            if len(columns[name]):
                columns[name][places] = read_columns[name]
        fresh["row_image"].append(places[read_columns["row_image"].astype(np.int64)])
        for name in ("row_line", "row_cls", "row_box"):
            fresh[name].append(read_columns[name])
        found += [(part.numbers[image], code, hit) for image, code, hit in hits]
    changed = np.ones(count, np.bool_)
    changed[kept[0]] = False
    new = _by_image({name: np.concatenate(parts) for name, parts in fresh.items()})
    return found, {**columns, **_woven(rows, new, np.flatnonzero(changed).astype(np.int32))}


def table_of(survey: Survey, columns: Columns, context: Context) -> Table:
    """A dataset as the rules over the whole set see it."""
    if not survey.owns.all():
        columns = {**columns, "fate": shared(np.asarray(columns["fate"], np.uint8), survey.labels, survey.owns)}
    return Table(
        files=survey.files,
        labels=survey.labels,
        split_names=survey.split_names,
        split=survey.split,
        splits=survey.splits,
        labelled=survey.labelled,
        **columns,
        config=context[0],
        task=context[1].settled,
        where={},
    )


def _from_cache(cached: Cached, kept: Unchanged, count: int) -> tuple[Columns, Columns, list[Found]]:
    """Columns, rows by image (perhaps also of images that changed) and hits from the cache, for so many images."""
    (held, texts), (now, then) = cached, kept
    columns, rows = ({name: held[name] for name in names} for names in (IMAGE_COLUMNS, ROW_COLUMNS))
    moved = np.full(len(held["owns"]), -1, np.int32)
    moved[then] = now
    place, found = moved.tolist(), json.loads(texts["found"])
    found = [(place[image], code, _unpacked(hit)) for image, code, hit in found if place[image] >= 0]
    if now is then:
        return columns, _by_image(rows), found
    for name, old in columns.items():
        columns[name] = np.zeros((count if len(old) else 0, *old.shape[1:]), old.dtype)
        if len(old):
            columns[name][now] = old[then]
    owner = moved[rows["row_image"]]
    alive = owner >= 0
    rows = {name: column[alive] for name, column in {**rows, "row_image": owner}.items()}
    return columns, _by_image(rows), found


def pack_found(found: Sequence[Found]) -> str:
    """Hits as JSON, without the fields that only hits about the whole set have; of related places file and line."""
    plain = [(image, code, hit[:_FIELDS]) for image, code, hit in found]
    return json.dumps(plain, separators=(",", ":"), default=lambda place: (place.file, place.line))


def _unpacked(values: Sequence[Any]) -> Hit:
    """A hit from JSON, where lists stand for tuples."""
    file, says, line, pixel, _, _, facts, related = values
    at = tuple(pixel) if pixel else None
    return Hit(file, says, line, at, values=facts, related=tuple(Place(*other) for other in related))


def _by_image(rows: Columns) -> Columns:
    """Rows sorted by image."""
    image = np.asarray(rows["row_image"], np.int32)
    if (image[1:] >= image[:-1]).all():
        return rows
    order = np.argsort(image, kind="stable")
    return {name: column[order] for name, column in rows.items()}


def _woven(old: Columns, new: Columns, changed: NDArray[np.int32]) -> Columns:
    """The rows of `old`, with those of the images `changed` replaced by `new`; all are sorted by image."""
    if not len(old["row_image"]) or not len(changed):
        return old if len(old["row_image"]) else new
    starts, ends = (np.searchsorted(old["row_image"], changed, side) for side in ("left", "right"))
    put = [np.searchsorted(new["row_image"], changed, side) for side in ("left", "right")]
    if (ends - starts == put[1] - put[0]).all():
        places = np.concatenate([np.arange(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
        for name in ROW_COLUMNS:
            old[name][places] = new[name]
        return old
    cuts = list(zip([0, *ends.tolist()], [*starts.tolist(), len(old["row_image"])], strict=True))
    fills = [*zip(put[0].tolist(), put[1].tolist(), strict=True), (0, 0)]

    def woven(name: str) -> NDArray[np.generic]:
        pairs = zip(cuts, fills, strict=True)
        return np.concatenate([part for (a, b), (c, d) in pairs for part in (old[name][a:b], new[name][c:d])])

    return {name: woven(name) for name in ROW_COLUMNS}
