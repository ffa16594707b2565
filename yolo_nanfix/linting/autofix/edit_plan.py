"""From findings to edits: which file gets which bytes, or which place. Reads files, writes nothing."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Generator, Iterable, Iterator

from yolo_nanfix.errors import UsageError
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.file_changes import Edit, look
from yolo_nanfix.linting.autofix.ground import Ground, away, canonical, forget, siblings, unlabelled
from yolo_nanfix.linting.autofix.image_edits import complete_jpeg, end_jpeg, suffix_of
from yolo_nanfix.linting.autofix.label_edits import allowed, edit_text, is_background, operation_of, relist
from yolo_nanfix.linting.autofix.losses import too_much
from yolo_nanfix.linting.autofix.operations import Operation, Scope
from yolo_nanfix.linting.autofix.reasons import Kept, Left, Reason, Why
from yolo_nanfix.linting.autofix.set_edits import edits_of_set


def plan(findings: Iterable[Finding], ground: Ground) -> Iterator[Edit | Kept]:
    """The edits that fix the findings, one for each file, and what is not fixed although it has an autofix.

    Files are read one by one, so that only one is in memory. Findings that another one explains are left to its fix.
    While the whole set is rewritten, everything else waits for the next run. No image becomes background: if no row of
    its label file would remain, image and label file go to quarantine.
    """
    forget()
    asked = [f for f in dict.fromkeys(findings) if allowed(f, ground.unsafe)]
    asked, elsewhere = _in_dataset(asked, ground)
    yield from elsewhere
    whole = [f for f in asked if operation_of(f).scope is Scope.SET]
    others = [f for f in asked if operation_of(f).scope is not Scope.SET]
    rewritten = (yield from _sets(whole, ground)) if whole else None
    if rewritten is None:
        yield from _file_edits(others, ground)
    elif others:
        codes = ",".join(sorted({f.code for f in others}))
        yield Kept(ground.home.data, codes, Reason(Why.OTHERS_WAIT, {"findings": len(others), "code": rewritten}))


def _in_dataset(findings: list[Finding], ground: Ground) -> tuple[list[Finding], list[Kept]]:
    """The findings about files of the dataset; and a reason for each folder outside, unless these may be changed."""
    if ground.home.outside:
        return findings, []
    inside: list[Finding] = []
    outside: dict[str, list[Finding]] = {}
    for finding in findings:
        if operation_of(finding).scope is Scope.SET or ground.home.holds(finding.place.file):
            inside.append(finding)
        else:
            outside.setdefault(os.path.dirname(finding.place.file), []).append(finding)  # noqa: PTH120
    kept = []
    for folder, found in outside.items():
        real = canonical(os.path.join(folder, ""))[: -len(os.sep)]  # noqa: PTH118
        why = Why.OUTSIDE_FOLDER if real == os.path.normpath(folder) else Why.OUTSIDE_LINK
        values = {"findings": len(found), "files": len({f.place.file for f in found}), "target": real}
        kept.append(Kept(folder, ",".join(sorted({f.code for f in found})), Reason(why, values)))
    return inside, kept


def _sets(whole: list[Finding], ground: Ground) -> Generator[Edit | Kept, None, str | None]:
    """The edits of the first finding about the set that can be fixed; returns its code, None if there is none."""
    labels = tuple(label._replace(path=canonical(label.path)) for label in ground.whole().labels)
    fixed = None
    for finding in whole:
        if fixed is not None:
            yield Kept(str(finding.place), finding.code, Reason(Why.WAITS, {"code": fixed}))
            continue
        try:
            if not sum(1 for _ in edits_of_set(finding, labels, ground)):
                raise Left(Why.NOTHING_TO_REWRITE)
        except Left as why:
            yield Kept(str(finding.place), finding.code, why.reason)
        else:
            fixed = finding.code
            try:
                yield from edits_of_set(finding, labels, ground)
            except Left as why:  # a file changed after the check
                raise UsageError(f"{why}; nothing changed") from None
    return fixed


def _file_edits(findings: list[Finding], ground: Ground) -> Iterator[Edit | Kept]:
    pictures: dict[str, list[Finding]] = {}
    texts: dict[str, list[Finding]] = {}
    for finding in findings:
        path = canonical(finding.place.file)
        group = pictures if operation_of(finding).scope is Scope.IMAGE else texts
        if group is pictures or path.endswith(".txt"):
            group.setdefault(path, []).append(finding)
    if ground.unsafe:
        losses = too_much(pictures, texts, ground)
        yield from (Kept(ground.home.data, code, reason) for code, reason in losses.reasons())
        pictures, texts = dict(losses.spared(pictures)), dict(losses.spared(texts))
    renamed: dict[str, str | None] = {}
    taken: set[str] = set()
    for path, found in (*pictures.items(), *texts.items()):
        if path in taken:
            continue  # a label file that goes with its image
        work = _picture if path in pictures else _label_edit
        for step in _guarded(work(path, found, ground, taken), path, found):
            if isinstance(step, Edit):
                taken.update((step.path, step.target))
                if step.target != step.path and not step.path.endswith((".npy", ".txt")):
                    gone = ground.is_aside(step.target)
                    renamed.update(dict.fromkeys(_names_in_lists(step, found), None if gone else step.target))
            yield step
    for path in ground.lists if renamed else ():
        yield from _guarded(_list_edit(canonical(path), path, renamed, ground), path, [])


def _names_in_lists(step: Edit, found: list[Finding]) -> set[str]:
    """The paths by which lists may name an image that moves: those of findings, whatever links are in them."""
    name = os.path.basename(step.path)  # noqa: PTH119
    folders = {os.path.dirname(f.image or f.place.file) for f in found}  # noqa: PTH120
    return {os.path.join(folder, name) for folder in folders}  # noqa: PTH118


def _guarded(steps: Iterator[Edit | Kept], path: str, found: list[Finding]) -> Iterator[Edit | Kept]:
    """The steps; if a file cannot be fixed, the reason instead."""
    try:
        yield from steps
    except Left as why:
        yield Kept(path, ",".join(sorted({f.code for f in found})), why.reason)


def _label_edit(path: str, found: list[Finding], ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The edit of one label file; if no row would remain, it goes to quarantine with its images."""
    seen = look(path, ground.since_ns, rewrite=True)
    edited = edit_text(seen.content, found, ground.task, ground.unsafe, ground.classes)
    codes = " ".join(sorted({f.code for f in edited.done}))
    if is_background(edited.content) and not is_background(seen.content):
        if not ground.unsafe:
            raise Left(Why.NO_ROW_LEFT)
        yield from _set_aside(path, edited.done, ground, taken, f"{codes}, no row left, to quarantine")
    elif edited.content != seen.content:
        yield Edit(path, path, seen, edited.content, edited.done, codes)
    yield from (Kept(str(finding.place), finding.code, reason) for finding, reason in edited.left)


def _set_aside(
    label: str, done: tuple[Finding, ...], ground: Ground, taken: set[str], what: str
) -> Iterator[Edit | Kept]:
    """Moves the images of a label file, then the file itself, to quarantine: all of them or none."""
    image = next((canonical(f.image) for f in done if f.image), "")
    images = [image, *siblings(image)] if image else []
    if not images or any(path in taken for path in images):
        raise Left(Why.NO_ROW_LEFT_AGAIN)
    ground.check_names(f.image for f in done if f.image)
    edits = []
    for path in (*images, label):
        try:
            ground.home.check(path)
            seen = look(path, ground.since_ns, rewrite=False)
        except Left as why:
            raise Left(Why.NO_ROW_LEFT_HELD, path=path, because=why) from None
        edits.append(Edit(path, away(path, ground, taken), seen, seen.content, (), what, group=label))
    yield from edits[:-1]
    yield edits[-1]._replace(done=done)


def _picture(path: str, found: list[Finding], ground: Ground, taken: set[str]) -> Iterator[Edit | Kept]:
    """The edit of one image file (or .npy); if it goes to quarantine, its label file does, too."""
    asked = {operation_of(f) for f in found}
    codes = " ".join(sorted({f.code for f in found}))
    after = None
    if Operation.COMPLETE in asked:
        seen = look(path, ground.since_ns, rewrite=True)
        with contextlib.suppress(Left):
            if not unlabelled(found[0].place.file, ground):
                after = complete_jpeg(seen.content)
    if Operation.QUARANTINE in asked or (Operation.COMPLETE in asked and after is None):
        ground.check_names(f.place.file for f in found)
        seen = look(path, ground.since_ns, rewrite=False)
        yield Edit(path, away(path, ground, taken), seen, seen.content, tuple(found), f"{codes} to quarantine")
        if not path.endswith(".npy"):
            yield from _label_along(path, found[0].place.file, ground, taken)
        return
    seen = look(path, ground.since_ns, rewrite=True)
    after = after or (end_jpeg(seen.content) if Operation.END in asked else seen.content)
    target = path
    if Operation.RENAME in asked:
        target = f"{path.rpartition('.')[0]}.{suffix_of(after)}"
        if target != path and (os.path.lexists(target) or target in taken):
            raise Left(Why.NAME_TAKEN, target=target)
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
        yield Kept(label, "", Reason(Why.SHARED_LABEL, {"other": others[0]}))
        return
    ground.home.check(label)
    seen = look(label, ground.since_ns, rewrite=False)
    yield Edit(label, away(label, ground, taken), seen, seen.content, (), "label file of the image above")


def _list_edit(path: str, named: str, renamed: dict[str, str | None], ground: Ground) -> Iterator[Edit | Kept]:
    try:
        content = ANYWHERE.read(path)
    except OSError:
        return
    after = relist(content, os.path.dirname(named), os.sep, renamed)  # noqa: PTH120
    if after != content:
        ground.home.check(path)
        seen = look(path, ground.since_ns, rewrite=True)
        yield Edit(path, path, seen, after, (), "list of images")


def diff(edit: Edit) -> str:
    """A unified diff of a text file; one line for any other edit."""
    lines = [] if edit.target == edit.path else [f"move {edit.path} -> {edit.target} ({edit.what})"]
    if edit.after != edit.seen.content:
        if edit.path.endswith((".txt", ".yaml", ".yml")):
            old, new = (c.decode("utf-8", "backslashreplace").splitlines() for c in (edit.seen.content, edit.after))
            shown = list(difflib.unified_diff(old, new, edit.path, edit.path, lineterm=""))
            sizes = f"{len(edit.seen.content)} -> {len(edit.after)} bytes"
            invisible = f"@@ {edit.what}: byte order mark or line ends, {sizes} @@"
            lines += shown or [f"--- {edit.path}", f"+++ {edit.path}", invisible]
        else:
            lines.append(f"rewrite {edit.target} ({edit.what}): {len(edit.seen.content)} -> {len(edit.after)} bytes")
    return "".join(line + "\n" for line in lines)
