"""From findings to edits: which file gets which bytes, or which place. Reads files, writes nothing."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Generator, Iterable, Iterator

from yolo_nanfix.errors import UsageError
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.edits import Edit as Edit
from yolo_nanfix.linting.autofix.edits import Kept as Kept
from yolo_nanfix.linting.autofix.file_changes import look
from yolo_nanfix.linting.autofix.fix_table import FIXES
from yolo_nanfix.linting.autofix.ground import Ground as Ground
from yolo_nanfix.linting.autofix.ground import away, canonical, forget, siblings, unlabelled
from yolo_nanfix.linting.autofix.image_edits import complete_jpeg, end_jpeg, suffix_of
from yolo_nanfix.linting.autofix.losses import judge, none
from yolo_nanfix.linting.autofix.row_edits import ASK, OUTSIDE, Left
from yolo_nanfix.linting.autofix.set_edits import OPERATIONS as SETS
from yolo_nanfix.linting.autofix.set_edits import Rewriting
from yolo_nanfix.linting.autofix.text_edits import allowed, is_background, mend_text, relist

PICTURES = ("quarantine", "complete", "end", "rename")
"""The operations on image files, in the order in which they are asked; quarantine ends the matter."""
LIST = "list of images"
"""What is said of the edit of a list of images."""


def plan(findings: Iterable[Finding], ground: Ground) -> Iterator[Edit | Kept]:
    """The edits that mend the findings, one a file, and what is left as it is though it has a fixer.

    Each file is read when its turn comes, so that the bytes of one file at a time are held. Findings that another one
    explains are left to its fix. While a set is rewritten as a whole, everything else waits for the next run. No image
    becomes background that was none: where no row of a label file would be left, image and label go to quarantine.
    """
    forget()
    asked = [f for f in dict.fromkeys(findings) if allowed(f, ground.unsafe)]
    asked, elsewhere = _in_dataset(asked, ground)
    yield from elsewhere
    whole = [f for f in asked if FIXES[f.code].how in SETS]
    others = [f for f in asked if FIXES[f.code].how not in SETS]
    rewritten = (yield from _sets(whole, ground)) if whole else None
    if rewritten is None:
        yield from _files(others, ground)
    elif others:
        codes = ",".join(sorted({f.code for f in others}))
        yield Kept(ground.data, codes, f"{len(others)} others wait until {rewritten} is mended: lint and fix again")


def _in_dataset(findings: list[Finding], ground: Ground) -> tuple[list[Finding], list[Kept]]:
    """The findings about files of the dataset; and one line for each folder outside of it, unless that may change."""
    if ground.home.outside:
        return findings, []
    inside: list[Finding] = []
    outside: dict[str, list[Finding]] = {}
    for finding in findings:
        if FIXES[finding.code].how in SETS or ground.home.holds(finding.place.file):
            inside.append(finding)
        else:
            outside.setdefault(os.path.dirname(finding.place.file), []).append(finding)  # noqa: PTH120
    return inside, [_elsewhere(folder, found) for folder, found in outside.items()]


def _elsewhere(folder: str, found: list[Finding]) -> Kept:
    """What is said of a folder outside of the dataset."""
    real = canonical(os.path.join(folder, ""))[: -len(os.sep)]  # noqa: PTH118
    led = "" if real == os.path.normpath(folder) else f", where a link leads: {real}"
    count, files = len(found), len({f.place.file for f in found})
    what = f"{count} finding{'' if count == 1 else 's'} in {files} file{'' if files == 1 else 's'}"
    codes = ",".join(sorted({f.code for f in found}))
    return Kept(folder, codes, f"lies outside of the dataset{led}; {OUTSIDE} mends {what} there, too")


def _sets(whole: list[Finding], ground: Ground) -> Generator[Edit | Kept, None, str | None]:
    """The edits of the first finding about the set that can be mended; gives its code, None if there is none."""
    labels = tuple(label._replace(path=canonical(label.path)) for label in ground.whole().labels)
    mended = None
    for finding in whole:
        if mended is not None:
            yield Kept(str(finding.place), finding.code, f"waits until {mended} is mended: lint and fix again")
            continue
        rewriting = Rewriting(finding, ground.task, labels, ground.data, ground.since_ns, ground.home.check)
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
        path = canonical(finding.place.file)
        group = pictures if FIXES[finding.code].how in PICTURES else texts
        if group is pictures or path.endswith(".txt"):
            group.setdefault(path, []).append(finding)
    losses = judge(pictures, texts, ground) if ground.unsafe else none()
    yield from (Kept(ground.data, code, why) for code, why in losses.reasons())
    renamed: dict[str, str | None] = {}
    taken: set[str] = set()
    for path, found in (*losses.spared(pictures), *losses.spared(texts)):
        if path in taken:
            continue  # a label file that went with its image
        work = _picture if path in pictures else _text
        for step in _guarded(work(path, found, ground, taken), path, found):
            if isinstance(step, Edit):
                taken.update((step.path, step.target))
                if step.target != step.path and not step.path.endswith((".npy", ".txt")):
                    gone = ground.is_aside(step.target)
                    renamed.update(dict.fromkeys(_named(step, found), None if gone else step.target))
            yield step
    for path in ground.lists if renamed else ():
        yield from _guarded(_list(canonical(path), path, renamed, ground), path, [])


def _named(step: Edit, found: list[Finding]) -> set[str]:
    """How lists of images may call an image that moves: as findings do, whatever links are among its folders."""
    name = os.path.basename(step.path)  # noqa: PTH119
    folders = {os.path.dirname(f.image or f.place.file) for f in found}  # noqa: PTH120
    return {os.path.join(folder, name) for folder in folders}  # noqa: PTH118


def _guarded(steps: Iterator[Edit | Kept], path: str, found: list[Finding]) -> Iterator[Edit | Kept]:
    """The steps; where a file cannot be mended, the reason, once a file."""
    try:
        yield from steps
    except Left as why:
        yield Kept(path, ",".join(sorted({f.code for f in found})), str(why), why.to_unsafe)


def _text(path: str, found: list[Finding], ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The edit of one label file; where no row would be left, it goes to quarantine with its images."""
    seen = look(path, ground.since_ns, rewrite=True)
    mended = mend_text(seen.content, found, ground.task, ground.unsafe, ground.classes)
    codes = " ".join(sorted({f.code for f in mended.done}))
    if is_background(mended.content) and not is_background(seen.content):
        if not ground.unsafe:
            reason = f"no row would be left, and its image count as background: {ASK} moves both to quarantine"
            raise Left(reason, to_unsafe=True)
        yield from _set_aside(path, mended.done, ground, taken, f"{codes}, no row left, to quarantine")
    elif mended.content != seen.content:
        yield Edit(path, path, seen, mended.content, mended.done, codes)
    for finding, why in mended.left:
        yield Kept(str(finding.place), finding.code, str(why), why.to_unsafe)


def _set_aside(
    label: str, done: tuple[Finding, ...], ground: Ground, taken: set[str], what: str
) -> Iterator[Edit | Kept]:
    """The images of a label file, and behind them the file itself as it is, to quarantine: all of them or none."""
    image = next((canonical(f.image) for f in done if f.image), "")
    images = [image, *siblings(image)] if image else []
    if not images or any(path in taken for path in images):
        raise Left("no row would be left, and its image count as background; lint and fix again")
    ground.check_names(f.image for f in done if f.image)
    edits = []
    for path in (*images, label):
        try:
            ground.home.check(path)
            seen = look(path, ground.since_ns, rewrite=False)
        except Left as why:
            raise Left(f"no row would be left, and its image cannot go to quarantine: {path} {why}") from None
        edits.append(Edit(path, away(path, ground, taken), seen, seen.content, (), what, group=label))
    yield from edits[:-1]
    yield edits[-1]._replace(done=done)


def _picture(path: str, found: list[Finding], ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The edit of one image file (or .npy); with an image that goes to quarantine goes its label file."""
    hows = {FIXES[f.code].how for f in found}
    codes = " ".join(sorted({f.code for f in found}))
    after = None
    if "complete" in hows:
        seen = look(path, ground.since_ns, rewrite=True)
        with contextlib.suppress(Left):
            if not unlabelled(found[0].place.file, ground):
                after = complete_jpeg(seen.content)
    if "quarantine" in hows or ("complete" in hows and after is None):
        ground.check_names(f.place.file for f in found)
        seen = look(path, ground.since_ns, rewrite=False)
        yield Edit(path, away(path, ground, taken), seen, seen.content, tuple(found), f"{codes} to quarantine")
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
        if target != path:
            ground.check_names(f.place.file for f in found)
    if target != path or after != seen.content:
        yield Edit(path, target, seen, after, tuple(found), codes)


def _label_along(path: str, image: str, ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The label file of an image that goes to quarantine, unless another image uses it too."""
    named = ground.label_of(image)
    label = canonical(named)
    if not named or not os.path.lexists(label):
        return
    if others := siblings(path):
        name = os.path.basename(others[0])  # noqa: PTH119
        yield Kept(label, "", f"stays where it is: it is the label file of {name} too")
        return
    ground.home.check(label)
    seen = look(label, ground.since_ns, rewrite=False)
    yield Edit(label, away(label, ground, taken), seen, seen.content, (), "label file of the image above")


def _list(path: str, named: str, renamed: dict[str, str | None], ground: Ground) -> Iterator[Edit | Kept]:
    """The edit of a list of images, some of which were renamed or went to quarantine."""
    try:
        content = ANYWHERE.read(path)
    except OSError:
        return
    after = relist(content, os.path.dirname(named), os.sep, renamed)  # noqa: PTH120
    if after != content:
        ground.home.check(path)
        seen = look(path, ground.since_ns, rewrite=True)
        yield Edit(path, path, seen, after, (), LIST)


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
