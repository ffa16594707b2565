"""One part of a dataset: its files are read, and the rules about single files are asked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images, Listed, read_images
from yolo_nanfix.dataset.label_parser import read_labels
from yolo_nanfix.dataset.labels import Labels, veiled
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.whole_set import Columns, columns
from yolo_nanfix.linting.collection import no_collection
from yolo_nanfix.linting.registry import Hit, Rule, all_rules


class Context(NamedTuple):
    """What is the same for all parts of a dataset."""

    config: DataConfig
    options: LintOptions


class Part(NamedTuple):
    """Some images of a dataset.

    Attributes:
        numbers: their places in the survey.
        files, labels: as in `Survey`.
        splits: the name of the split in which each is met first.
        labelled: whether each has a label file.
        owns: whether that file is read for it.
        npys: the .npy that is loaded in the place of each.
        stamps: (n, 5) int64, of each image file.
        sizes: bytes of each label file.
    """

    numbers: tuple[int, ...]
    files: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    labelled: tuple[bool, ...]
    owns: tuple[bool, ...]
    npys: tuple[str | None, ...]
    stamps: NDArray[np.int64]
    sizes: tuple[int, ...]

    def split_up(self) -> tuple[Part, ...]:
        """Two halves of it."""
        half = len(self.files) // 2
        first: Any = [column[:half] for column in self]
        second: Any = [column[half:] for column in self]
        return Part(*first), Part(*second)


class Found(NamedTuple):
    """One hit of a rule about files: the place of its image in the part, the rule's code, and the rest of the hit.

    Attributes:
        values: the names and values of the hit; as JSON knows them, so lists may stand for tuples.
        related: file and line of each.
    """

    image: int
    code: str
    file: str
    line: int | None
    pixel: tuple[int, int, int] | None
    says: str
    values: Mapping[str, Any]
    related: Sequence[tuple[str, int | None]]


class Facts(NamedTuple):
    """What came out of a part: the hits, and the columns that `Table` is made of (`row_image` counts in the part)."""

    found: list[Found]
    columns: Columns


def read_part(part: Part, context: Context) -> Facts:
    """Read the files of a part and ask all rules about single files; whatever they hold, the answer is facts."""
    config, options = context
    with _quiet(), no_collection():
        listed = Listed(part.files, part.splits, part.labels, part.labelled, part.npys, part.stamps)
        images = read_images(listed, config.channels, deep=options.deep)
        chosen = np.flatnonzero(np.array(part.labelled) & np.array(part.owns)).tolist()
        paths, sizes = [part.labels[i] for i in chosen], [part.sizes[i] for i in chosen]
        labels = veiled(read_labels(paths, chosen, options.settled, config.kpt_shape, sizes), config, options.root)
        found = list(_ask(images, labels, context))
        return Facts(found, columns(images, labels, config, options.settled, deep=options.deep))


def _ask(images: Images, labels: Labels, context: Context) -> Iterator[Found]:
    facts = {
        "images": images,
        "unusual": images.unusual(),
        "labels": labels,
        "config": context.config,
        "task": context.options.settled,
        "options": context.options,
    }
    place: dict[str | None, int] = {}
    for rule in file_rules(context.options):
        for hit in rule.check(**{name: facts[name] for name in rule.asks}):
            place = place or _places(images)
            yield _found(hit, rule, place)


def _places(images: Images) -> dict[str | None, int]:
    """Where each image stands, by its label file, its .npy and its own path."""
    place: dict[str | None, int] = {image.label: i for i, image in enumerate(images)}
    place |= {image.npy: i for i, image in enumerate(images) if image.npy}
    return place | {image.file: i for i, image in enumerate(images)}


def file_rules(options: LintOptions) -> list[Rule]:
    """The rules about single files that are asked under these options."""
    return [rule for rule in all_rules() if rule.about_files and not rule.skipped(options)]


def _found(hit: Hit, rule: Rule, place: dict[str | None, int]) -> Found:
    image = place[hit.image if hit.image is not None else hit.file]
    return Found(
        image, rule.code, hit.file, hit.line, hit.pixel, hit.says, hit.values, [(p.file, p.line) for p in hit.related]
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """What decoders and numpy warn of, the findings say."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
