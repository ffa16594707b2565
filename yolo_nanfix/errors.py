"""The errors of yolo-nanfix.

    NanfixError                 every error below
    ├── UsageError              something the caller gave is wrong: a flag, a key, a file
    │   ├── DataError           data.yaml or the dataset it names cannot be used
    │   │   └── LabelsTooLarge  a label file is too large to be read
    │   ├── CardError           a patch card is malformed
    │   └── PatchRefused        a patch that was asked for by name cannot be applied here
    └── GuardStop               the guard ended a training run
        ├── PoisonedState       weights, buffers or EMA are not finite, and no clean state is left
        ├── TooManyBadBatches   the limit of bad micro-batches in a row was reached
        ├── TooManyUnreadable   too many images of the set cannot be read
        └── RankLost            a process of a distributed run ended, was stopped or hangs

Each message says what is wrong, where, and what to do next. The command line turns `UsageError` into exit code 2, and
all others into exit code 1.
"""

from __future__ import annotations

from collections.abc import Iterable


class NanfixError(Exception):
    """Base class of all errors of yolo-nanfix."""


class UsageError(NanfixError):
    """Something the caller gave is wrong: a flag, a key, a value, a file."""


class DataError(UsageError):
    """data.yaml or the dataset it names cannot be used; also a folder that is not that of a training run."""


class LabelsTooLarge(DataError):  # noqa: N818 - a fact about a file
    """A label file is too large to be read.

    Attributes:
        kind: `large` (the file), `many` (its lines), `numbers` (its words) or `long` (one of its lines).
        number: bytes of the file or line, or how many lines or words there are.
        lines: lines of the file; 1 if they were not counted.
        line: 1-based, the long one.
    """

    def __init__(self, kind: str, number: int, lines: int = 1, line: int | None = None) -> None:
        super().__init__(kind, number, lines, line)
        self.kind, self.number, self.lines, self.line = kind, number, lines, line


class CardError(UsageError):
    """A patch card is malformed."""


class PatchRefused(UsageError):  # noqa: N818 - the public name says what happened, not that it is an error
    """A patch cannot be applied to the installed release.

    Attributes:
        name: of the card.
        reason: why.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"patch '{name}' refused: {reason}")
        self.name = name
        self.reason = reason


class GuardStop(NanfixError):  # noqa: N818 - the run was stopped; not every stop is a fault
    """The guard ended a training run; the last clean checkpoint is in place."""


class PoisonedState(GuardStop):
    """Weights, buffers or EMA hold NaN or Inf, and there is no clean state to go back to."""


class TooManyBadBatches(GuardStop):
    """The limit of bad micro-batches in a row was reached."""


class TooManyUnreadable(GuardStop):
    """Too many images of the training or validation set cannot be read."""


class RankLost(GuardStop):
    """A process of a distributed run ended, was stopped or hangs, so that the others could not go on."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The hint about an unknown name: the most similar known one, or all of them."""
    names = list(names)
    near = close(name, names) or next((known for known in names if name in known), None)
    return f"did you mean '{near}'?" if near else f"known: {', '.join(names) or 'none'}"


def close(word: str, choices: Iterable[str]) -> str | None:
    """The most similar choice, ignoring case and the order of parts joined by `-`; None if none is similar."""
    from difflib import SequenceMatcher  # only imported for errors

    def likeness(choice: str) -> float:
        pairs = ((word.lower(), choice.lower()), (_sorted_parts(word), _sorted_parts(choice)))
        return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    best = max(((likeness(choice), choice) for choice in choices), key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= 0.6 else None


def _sorted_parts(word: str) -> str:
    return "-".join(sorted(filter(None, word.lower().split("-"))))
