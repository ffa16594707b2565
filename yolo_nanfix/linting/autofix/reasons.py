"""Why something is not fixed: an enum of reasons with values, from which a sentence is made on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from yolo_nanfix.wording import sentence


class Why(Enum):
    """A reason; its value is the format of a sentence, see `wording.sentence`."""

    # files
    BEHIND_LINK = "lies behind another link than before; lint again"
    CANNOT_BE_CHANGED = "cannot be changed ({error}); it is as it was"
    CANNOT_BE_LOOKED_AT = "cannot be looked at ({error})"
    CANNOT_BE_READ = "cannot be read ({error})"
    CHANGED = "changed since the lint; lint again"
    CHANGED_LATER = (
        "changed in the future, by the clock of this machine, so whether it changed since the lint is not known; "
        "set the clock right, or touch the file, and lint again"
    )
    CHANGED_MEANWHILE = "changed while it was read; lint again"
    HARD_LINKS = "has {names} names (hard links); a fix would part them"
    IS_THERE = "{target} is there already"
    LINK = "is a symbolic link; fix the file that it points to"
    NOT_REGULAR = "is not a regular file"
    NOT_TRIED = "not tried: {error} before"
    OTHER_USER = "belongs to another user"
    READ_ONLY = "is read-only"
    READ_ONLY_FOLDER = "is in a read-only folder"
    TOO_LARGE = "is larger than {megabytes} MB, more than is kept for an undo"
    VANISHED = "vanished since the lint"
    # the journal
    BYTES_DAMAGED = "its bytes in {pack} are damaged"
    BYTES_UNREADABLE = "its bytes in {pack} cannot be read ({error})"
    CHANGED_SINCE_FIX = "changed since the fix; left as it is"
    NOT_RESTORED = "cannot be restored ({error}); --undo tries again"
    PARTED = "is changed, others that belong to it are not ({because}): --undo takes it back"
    # the place in the dataset
    IN_FIXED_LIST = "is in a list that cannot be changed along: {list} {because}"
    OUTSIDE = "lies outside of the dataset; --fix-outside changes it, too"
    OUTSIDE_FOLDER = (
        "lies outside of the dataset; --fix-outside fixes {findings:finding|findings} in {files:file|files} there, too"
    )
    OUTSIDE_LINK = (
        "lies outside of the dataset, where a link leads: {target}; --fix-outside fixes {findings:finding|findings} in "
        "{files:file|files} there, too"
    )
    QUARANTINE_LINK = (
        "the quarantine {quarantine} is a link to {target}, outside of the dataset; --fix-outside moves files there"
    )
    QUARANTINE_BEHIND_LINK = "the quarantine {quarantine} cannot be made: {folder} is a link"
    QUARANTINE_NO_FOLDER = "the quarantine {quarantine} cannot be made: {folder} is no folder"
    QUARANTINE_READ_ONLY = "the quarantine {quarantine} cannot be made: {folder} is read-only"
    SHARED_LABEL = "stays where it is: it is the label file of {other!n} too"
    # the plan
    OTHERS_WAIT = "{findings:other waits|others wait} until {code} is fixed: lint and fix again"
    WAITS = "waits until {code} is fixed: lint and fix again"
    # losses
    ALL_IMAGES = "all images of {split} would go to quarantine: see what is wrong with them"
    CLASS_GONE = (
        "would take all rows of class {class:g} out of {where}; a class is not dropped row by row: see what is wrong "
        "with it"
    )
    MANY_ROWS = (
        "would take out {rows} of {of} rows, more than {share:.0%} of the set: that is no slip, see what they have in "
        "common"
    )
    MANY_ROWS_TOGETHER = (
        "would take out {rows} of {of} rows and with other fixes {together}, more than {share:.0%} of the set: that is "
        "no slip, see what they have in common"
    )
    NO_ROW_LEFT = "no row would be left, and its image count as background: --unsafe-fixes moves both to quarantine"
    NO_ROW_LEFT_AGAIN = "no row would be left, and its image count as background; lint and fix again"
    NO_ROW_LEFT_HELD = "no row would be left, and its image cannot go to quarantine: {path} {because}"
    # images
    NAME_TAKEN = "cannot be renamed: {target!n} is there already"
    NOT_DECODED = "the image cannot be decoded whole ({error})"
    NO_SUFFIX = "the content is of no format with a known suffix ({error})"
    PIXELS_MISSING = "pixels are missing"
    # label files
    BOXES_LEFT = "boxes are left where polygons are needed: Ultralytics would stop at a file that it leaves out now"
    NOT_UTF8 = "the file is not UTF-8 text"
    NOT_UTF16 = "cannot be read as UTF-16 text ({error})"
    NO_NUMBERS = "the file does not hold numbers in UTF-16"
    NO_SUCH_LINE = "the file has no such line"
    # rows
    AMONG_BOXES = "the row is a polygon among boxes"
    AMONG_POLYGONS = "the row is a box among polygons"
    BOX_OUTSIDE = "nothing of the box is inside the image"
    BOX_OUTSIDE_KEPT = "nothing of the box is inside the image: --unsafe-fixes drops the row"
    CLASS_UNKNOWN = "class {class:g} is none of data.yaml's"
    CORNERS_OUTSIDE = "corners are outside the image"
    EMPTY_ROW = "the row is empty"
    FAR = "reaches out by {reach:.1%} of the image, more than 1 %: --unsafe-fixes clips it"
    INSIDE = "the box is inside the image"
    LOOKS_LIKE_PIXELS = "the numbers look like pixels; clipping would destroy them"
    MAY_BE_CORNER = "with positive sides the box reaches out of the image: x y may be a corner of it; draw it again"
    NOT_FINITE = "the row holds nan or inf"
    NOT_NUMBERS = "the row holds something that is not a number"
    NOT_REPEATED = "no earlier row of the file is exactly the same"
    NO_BOX = "the row is neither a box nor a polygon"
    NO_CONFIDENCE = "the sixth number is no confidence; boxes with an angle are labels of the task obb"
    NO_PLAIN_BOX = "the row is no plain box"
    ROTATED = "corners of rotated boxes are not clipped"
    SIDE_NEGATIVE = "a side of the box is negative"
    SIDE_NOT_POSITIVE = "a side of the box is not positive"
    # the whole set
    CLASS_NO_KEY = "has the class {class:g}, which is none of the keys of 'names'"
    CLASS_TOO_LOW = "has the class {class}, from which {by} cannot be taken"
    CLASS_UNSURE = "begins with two numbers, either of which may be the class"
    FORM_UNSURE = "may begin with the centre or with a corner of the box: the numbers do not show which"
    KEYS_STAY = "has 'names' whose keys cannot be numbered anew"
    KEY_NO_NUMBER = "has the key {key!r} in 'names', which is no number"
    NOTHING_TO_REWRITE = "there is nothing to rewrite"
    NOT_PROVEN = "is not proven: look at some of the images with their labels"
    NO_NAMES = "has no mapping 'names'"
    NO_YAML_AFTERWARDS = "would be no valid YAML with other keys in 'names' ({error})"
    SEVERAL_SPLITS = "is a label file of the splits {splits:,}; the finding is not about all"
    SIZE_UNKNOWN = "belongs to an image whose size is not known"
    TURN_UNKNOWN = "is of an image whose size and orientation are not known, or of several"
    UNIT_UNKNOWN = "is in an unknown unit"
    WHERE_UNSURE = "has a column too many, which may be beside the class or after the outline"


_TO_UNSAFE = frozenset((Why.NO_ROW_LEFT, Why.BOX_OUTSIDE_KEPT, Why.FAR))
_TO_OUTSIDE = frozenset((Why.OUTSIDE, Why.QUARANTINE_LINK))


@dataclass(frozen=True)
class Reason:
    """Why something is not fixed; as text a sentence.

    Attributes:
        why: the reason.
        values: its facts, by name.
        file: the file that it is about, if that is not the one that is not fixed.
        line: the line in that file.
    """

    why: Why
    values: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int | None = None

    @property
    def to_unsafe(self) -> bool:
        """Whether unsafe fixes would fix it."""
        return self.why in _TO_UNSAFE

    @property
    def to_outside(self) -> bool:
        """Whether the only reason is that it lies outside of the dataset."""
        return self.why in _TO_OUTSIDE

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file else ""
        where += f"line {self.line} " if self.line is not None else ""
        return where + sentence(self.why.value, self.values)


class Left(Exception):  # noqa: N818 - an answer, not an error
    """A defect is not fixed, or a file is not changed; `reason` says why."""

    def __init__(self, why: Why, **values: Any) -> None:
        """The reason and its values; a value that is a `Left` becomes its reason."""
        super().__init__(why)
        facts = {name: value.reason if isinstance(value, Left) else value for name, value in values.items()}
        self.reason: Reason = Reason(why, facts)

    def __str__(self) -> str:
        return str(self.reason)

    def at(self, file: str = "", line: int | None = None) -> Left:
        """The same reason, with the file or line that it is about."""
        self.reason = replace(self.reason, file=file or self.reason.file, line=line or self.reason.line)
        return self


class Kept(NamedTuple):
    """One thing that is not fixed.

    Attributes:
        place: a file or `file:line`.
        code: the codes of the findings, separated by commas; may be empty.
        reason: why.
    """

    place: str
    code: str
    reason: Reason
