"""The files that a sample was made of, and what went wrong while it was made.

Ultralytics keeps one file name a sample. The rest travels as attributes of that name, which stays a `str`, so that
batches look as they do without the guard; it also crosses from dataloader workers by their own pickling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from yolo_nanfix import batches
from yolo_nanfix.events import Defect


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, or whose sample could not be made.

    Attributes:
        file: the image file.
        error: type and first line of what was raised.
        overcome: a further try succeeded.
    """

    file: str
    error: str
    overcome: bool = False


class Composed(str):
    """A file name with more facts about its sample.

    Attributes:
        parents: the other files that were mixed into it.
        failures: files that could not be read when it was made; another image takes the place of each.
        stands_in: the pixels and labels are not of this file but another's, for it is among the failures itself.
        suspect: what in the finished sample is not finite or out of range, or empty.
        defect: the kind of that.
        added: the dataset itself gives its samples no name.
    """

    parents: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    stands_in: bool = False
    suspect: str = ""
    added: bool = False
    defect: Defect | None = None

    def __new__(cls, name: str, **facts: Any) -> Composed:
        """A name, with facts by attribute."""
        made = super().__new__(cls, name)
        vars(made).update(facts)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Composed, **vars(self)), (str(self),)


def without_added_names(batch: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Any]]:
    """A batch as the user's own code expects it, without names where the dataset gives none; and these names."""
    names = batches.names(batch)
    if not names or not all(isinstance(name, Composed) and name.added for name in names):
        return batch, ()
    return {key: value for key, value in batch.items() if key != "im_file"}, names


def with_names(batch: Mapping[str, Any], names: Sequence[Any]) -> Mapping[str, Any]:
    """The batch with the names that were taken out of it, if it still has as many images."""
    return {"im_file": names, **batch} if names and len(names) == len(batch["img"]) else batch


def length(dataset: Any) -> int:
    """The number of samples of a dataset, 0 where it has no length, as one that can only be iterated."""
    try:
        return len(dataset)
    except TypeError:
        return 0


def parts(dataset: Any) -> list[Any]:
    """The datasets that one concatenates, or is a subset of, where it keeps them under the usual names."""
    several, one = getattr(dataset, "datasets", None), getattr(dataset, "dataset", None)
    if isinstance(several, (list, tuple)) and several:
        return list(several)
    return [one] if one is not None else []


def may_say(name: Any) -> bool:
    """Whether a name can become a `Composed` without changing its type for others, as a `Path` would."""
    return type(name) is str or isinstance(name, Composed)


def parents(name: Any) -> tuple[str, ...]:
    """The other files of a sample."""
    return name.parents if isinstance(name, Composed) else ()
