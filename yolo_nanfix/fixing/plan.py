"""From findings to edits: which file gets which bytes, or which place. Reads files, writes nothing."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Finding
from yolo_nanfix.fixing.catalogue import FIXES
from yolo_nanfix.fixing.edits import Edit as Edit
from yolo_nanfix.fixing.edits import Kept as Kept
from yolo_nanfix.fixing.files import look
from yolo_nanfix.fixing.pictures import complete_jpeg, end_jpeg, suffix_of
from yolo_nanfix.fixing.rows import Left
from yolo_nanfix.fixing.sets import OPERATIONS as SETS
from yolo_nanfix.fixing.sets import LabelFile, Rewriting
from yolo_nanfix.fixing.texts import allowed, mend_text, relist

PICTURES = ("quarantine", "complete", "end", "rename")
"""The operations on image files, in the order in which they are asked; quarantine ends the matter."""
_SUFFIXES = ("avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp")


@dataclass(frozen=True)
class Ground:
    """The dataset in which files are mended.

    Attributes:
        data: path of its data.yaml, which names its journals.
        task: the task whose label format it has.
        root: its folder; the quarantine stands beside it.
        lists: the .txt files that list images.
        label_of: the path of the label file of an image; empty for the task classify.
        labels: gives all label files of the dataset; asked only where a finding about the whole set is to be mended.
        since_ns: when it was linted; files that changed later are left alone. None: do not ask.
        unsafe: whether unsafe fixes are allowed.
    """

    data: str
    task: str
    root: str
    lists: tuple[str, ...]
    label_of: Callable[[str], str] = field(repr=False)
    labels: Callable[[], tuple[LabelFile, ...]] = field(repr=False)
    since_ns: int | None
    unsafe: bool

    @property
    def quarantine(self) -> str:
        """The folder for unusable files: beside the dataset, named after it."""
        return f"{self.root.rstrip(os.sep)}-quarantine"


def plan(findings: Iterable[Finding], ground: Ground) -> Iterator[Edit | Kept]:
    """The edits that mend the findings, one a file, and what is left as it is though it has a fixer.

    Each file is read when its turn comes, so that the bytes of one file at a time are held. Findings that another one
    explains are left to its fix. While a set is rewritten as a whole, everything else waits for the next run.
    """
    _real.cache_clear()
    asked = [f for f in dict.fromkeys(findings) if allowed(f, ground.unsafe)]
    whole = [f for f in asked if FIXES[f.code].how in SETS]
    others = [f for f in asked if FIXES[f.code].how not in SETS]
    rewritten = (yield from _sets(whole, ground)) if whole else None
    if rewritten is None:
        yield from _files(others, ground)
    elif others:
        codes = ",".join(sorted({f.code for f in others}))
        yield Kept(ground.data, codes, f"{len(others)} others wait until {rewritten} is mended: lint and fix again")


def _sets(whole: list[Finding], ground: Ground) -> Generator[Edit | Kept, None, str | None]:
    """The edits of the first finding about the set that can be mended; gives its code, None if there is none."""
    labels = tuple(label._replace(path=_canonical(label.path)) for label in ground.labels())
    mended = None
    for finding in whole:
        if mended is not None:
            yield Kept(str(finding.place), finding.code, f"waits until {mended} is mended: lint and fix again")
            continue
        rewriting = Rewriting(finding, ground.task, labels, ground.data, ground.since_ns)
        try:
            rewriting.check()
        except Left as why:
            yield Kept(str(finding.place), finding.code, str(why))
        else:
            mended = finding.code
            try:
                yield from rewriting.edits()
            except Left as why:  # between the two looks
                raise UsageError(f"{why}; nothing changed") from None
    return mended


def _files(findings: list[Finding], ground: Ground) -> Iterator[Edit | Kept]:
    """The edits of findings about single files."""
    pictures: dict[str, list[Finding]] = {}
    texts: dict[str, list[Finding]] = {}
    for finding in findings:
        path = _canonical(finding.place.file)
        group = pictures if FIXES[finding.code].how in PICTURES else texts
        if group is pictures or path.endswith(".txt"):
            group.setdefault(path, []).append(finding)
    renamed: dict[str, str | None] = {}
    taken: set[str] = set()
    for path, found in pictures.items():
        for step in _guarded(_picture(path, found, ground, taken), path, found):
            if isinstance(step, Edit):
                taken.add(step.target)
                texts.pop(step.path, None)
                if step.target != step.path and not step.path.endswith((".npy", ".txt")):
                    away = step.target.startswith(ground.quarantine + os.sep)
                    renamed.update({f.place.file: None if away else step.target for f in step.done})
            yield step
    for path, found in texts.items():
        yield from _guarded(_text(path, found, ground), path, found)
    for path in ground.lists if renamed else ():
        yield from _guarded(_list(_canonical(path), path, renamed, ground), path, [])


def _canonical(path: str) -> str:
    """The path with links among its folders resolved, not the file itself: one name for one file."""
    folder, name = os.path.split(path)
    return os.path.join(_real(folder), name)  # noqa: PTH118


@lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    """A folder with all links resolved; remembered for one plan."""
    return os.path.realpath(folder)


def _guarded(steps: Iterator[Edit | Kept], path: str, found: list[Finding]) -> Iterator[Edit | Kept]:
    """The steps; where a file cannot be mended, the reason, once a file."""
    try:
        yield from steps
    except Left as why:
        yield Kept(path, ",".join(sorted({f.code for f in found})), str(why))


def _text(path: str, found: list[Finding], ground: Ground) -> Iterator[Edit | Kept]:
    """The edit of one label file."""
    seen = look(path, ground.since_ns, rewrite=True)
    mended = mend_text(seen.content, found, ground.task, ground.unsafe)
    for finding, why in mended.left:
        yield Kept(str(finding.place), finding.code, why)
    if mended.content != seen.content:
        codes = " ".join(sorted({f.code for f in mended.done}))
        yield Edit(path, path, seen, mended.content, mended.done, codes)


def _picture(path: str, found: list[Finding], ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The edit of one image file (or .npy); with an image that goes to quarantine goes its label file."""
    hows = {FIXES[f.code].how for f in found}
    codes = " ".join(sorted({f.code for f in found}))
    after = None
    if "complete" in hows:
        seen = look(path, ground.since_ns, rewrite=True)
        with contextlib.suppress(Left):
            after = complete_jpeg(seen.content)
    if "quarantine" in hows or ("complete" in hows and after is None):
        seen = look(path, ground.since_ns, rewrite=False)
        yield Edit(path, _away(path, ground, taken), seen, seen.content, tuple(found), f"{codes} to quarantine")
        if not path.endswith(".npy"):
            yield from _label_along(path, found[0].place.file, ground, taken)
        return
    seen = look(path, ground.since_ns, rewrite=True)
    after = after or (end_jpeg(seen.content) if "end" in hows else seen.content)
    target = path
    if "rename" in hows:
        target = f"{path.rpartition('.')[0]}.{suffix_of(after)}"
        if target != path and (os.path.lexists(target) or target in taken):
            raise Left(f"cannot be renamed: {os.path.basename(target)} is there already")  # noqa: PTH119
    if target != path or after != seen.content:
        yield Edit(path, target, seen, after, tuple(found), codes)


def _label_along(path: str, image: str, ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The label file of an image that goes to quarantine, unless another image uses it too."""
    named = ground.label_of(image)
    label = _canonical(named)
    if not named or not os.path.lexists(label):
        return
    stem = path.rpartition(".")[0]
    others = (f"{stem}.{s}" for suffix in _SUFFIXES for s in (suffix, suffix.upper()))
    other = next((o for o in others if o != path and os.path.exists(o)), None)  # noqa: PTH110
    if other is not None:
        yield Kept(label, "", f"stays where it is: it is the label file of {os.path.basename(other)} too")  # noqa: PTH119
        return
    seen = look(label, ground.since_ns, rewrite=False)
    yield Edit(label, _away(label, ground, taken), seen, seen.content, (), "label file of the image above")


def _away(path: str, ground: Ground, taken: set[str]) -> str:
    """A free place for a file in the quarantine, which repeats the folders of the dataset."""
    root = os.path.realpath(ground.root)
    inside = path.startswith(root + os.sep)
    part = path[len(root) + 1 :] if inside else f"outside{os.sep}{path.lstrip(os.sep).replace(':', '')}"
    wanted = f"{ground.quarantine}{os.sep}{part}"
    head, dot, suffix = wanted.rpartition(".")
    number = 0
    while os.path.lexists(wanted) or wanted in taken:
        number += 1
        wanted = f"{head}~{number}{dot}{suffix}"
    folder = Path(wanted).parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Left(f"the quarantine {ground.quarantine} cannot be made: {folder} is read-only")
    return wanted


def _list(path: str, named: str, renamed: dict[str, str | None], ground: Ground) -> Iterator[Edit | Kept]:
    """The edit of a list of images, some of which were renamed or went to quarantine."""
    if not os.path.isfile(path):  # noqa: PTH113
        return
    content = Path(path).read_bytes()
    after = relist(content, os.path.dirname(named), os.sep, renamed)  # noqa: PTH120
    if after != content:
        seen = look(path, ground.since_ns, rewrite=True)
        yield Edit(path, path, seen, after, (), "list of images")


def diff(edit: Edit) -> str:
    """An edit for people: a unified diff of a text, one line for anything else."""
    lines = [] if edit.target == edit.path else [f"move {edit.path} -> {edit.target} ({edit.what})"]
    if edit.after != edit.seen.content:
        if edit.path.endswith((".txt", ".yaml", ".yml")):
            old, new = (c.decode("utf-8", "backslashreplace").splitlines() for c in (edit.seen.content, edit.after))
            shown = list(difflib.unified_diff(old, new, edit.path, edit.path, lineterm=""))
            lines += shown or [f"--- {edit.path}", f"+++ {edit.path}", _invisible(edit)]
        else:
            lines.append(f"rewrite {edit.target} ({edit.what}): {len(edit.seen.content)} -> {len(edit.after)} bytes")
    return "".join(line + "\n" for line in lines)


def _invisible(edit: Edit) -> str:
    """What changed in a text whose lines look the same."""
    return f"@@ {edit.what}: byte order mark or line ends, {len(edit.seen.content)} -> {len(edit.after)} bytes @@"
