"""What a sample knows of the files that it was made of, and of what went wrong while it was made.

Ultralytics keeps one file name a sample. The rest travels as attributes of that name, which stays a `str`, so that
batches look to everybody as they always do; it also crosses from dataloader workers by their own pickling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yolo_nanfix.events import Defect


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, or whose sample could not be made.

    Attributes:
        file: the image file.
        error: type and first line of what was raised.
        overcome: it worked at a further try.
    """

    file: str
    error: str
    overcome: bool = False


class Composed(str):
    """A file name that knows more of its sample.

    Attributes:
        parents: the other files that were mixed into it.
        failures: files that could not be read when it was made; another image has the place of each.
        stands_in: the pixels and labels are not of this file but another's, for it is among the failures itself.
        suspect: what in the finished sample is not finite or out of range, or empty.
        defect: what kind of thing that is.
        added: the dataset itself gives its samples no name.
    """

    parents: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    stands_in: bool = False
    suspect: str = ""
    added: bool = False
    defect: Defect | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with all of it."""
        return named, (str(self), self.parents, self.failures, self.stands_in, self.suspect, self.added, self.defect)


def named(
    name: str,
    parents: tuple[str, ...] = (),
    failures: tuple[Failure, ...] = (),
    stands_in: bool = False,
    suspect: str = "",
    added: bool = False,
    defect: Defect | None = None,
) -> Composed:
    """A file name with what is known of its sample."""
    made = Composed(name)
    made.parents, made.failures, made.stands_in, made.suspect = parents, failures, stands_in, suspect
    made.added, made.defect = added, defect
    return made


def parts(dataset: Any) -> list[Any]:
    """The datasets that one is put together from, or takes a part of; as far as it keeps them in Ultralytics' form."""
    several, one = getattr(dataset, "datasets", None), getattr(dataset, "dataset", None)
    if isinstance(several, (list, tuple)) and several:
        return list(several)
    return [one] if one is not None else []


def may_say(name: Any) -> bool:
    """Whether a sample's name can say more without being of another type for those who read it, as a `Path` would."""
    return type(name) is str or isinstance(name, Composed)


def parents(name: Any) -> tuple[str, ...]:
    """The other files of a sample."""
    return name.parents if isinstance(name, Composed) else ()
