"""What may follow a lint, joined with what lint knows of the dataset: fixing, undo, handoff."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.dataset import discover
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.find_yaml import find_yaml
from yolo_nanfix.dataset.formats.sniff import sniff
from yolo_nanfix.dataset.grounds import ground as ground_of
from yolo_nanfix.dataset.grounds import too_wide
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.dataset.scene import Album
from yolo_nanfix.dataset.table import Studied, Table
from yolo_nanfix.errors import DataError, NanfixError, UsageError
from yolo_nanfix.files import Within
from yolo_nanfix.findings import Finding, Report
from yolo_nanfix.handoff.export import HandedOver, Options, Progress, Unlabelled, hand_over
from yolo_nanfix.linting.autofix import apply
from yolo_nanfix.linting.autofix import undo as undoing
from yolo_nanfix.linting.autofix.apply import Fixed
from yolo_nanfix.linting.autofix.fix_table import FIXES
from yolo_nanfix.linting.autofix.ground import Ground, Home
from yolo_nanfix.linting.autofix.limits import Whole
from yolo_nanfix.linting.autofix.set_edits import OPERATIONS as SETS
from yolo_nanfix.linting.autofix.set_edits import LabelFile
from yolo_nanfix.linting.autofix.undo import Undone
from yolo_nanfix.linting.causes import choose
from yolo_nanfix.linting.runner import run

MOST_TRIED = 1000
"""Of so many findings with a fix it is tried out how many a fix would mend; of more it is not, for that takes long."""
MOST_LOOKED_AT = 500
"""The same of images, for unsafe fixes: these look at the whole set, so that they take no large part out of it."""


class Mendable(NamedTuple):
    """What fixes would mend.

    Attributes:
        safe: the findings that a safe fix mends.
        unsafe: those that unsafe fixes mend besides.
        tried: whether it was tried out what safe fixes, and what unsafe fixes would do; else that is all that has one.
        outside: how many findings have a fix, but are about files outside of the dataset, and left for that.
    """

    safe: frozenset[Finding] = frozenset()
    unsafe: frozenset[Finding] = frozenset()
    tried: tuple[bool, bool] = (True, True)
    outside: int = 0


def fix(report: Report, *, unsafe: bool, diff: bool, outside: bool) -> Fixed:
    """Mend the findings of a report; `api.fix` says how."""
    _single(report)
    ground = _ground(report, unsafe, outside=outside)
    return apply.preview(report.findings, ground) if diff else apply.fix(report.findings, ground)


def mendable(report: Report, remember: bool) -> Mendable:
    """What fixes would mend of a report; nothing is written.

    Raises:
        UsageError: nothing can be mended in such a dataset.
    """
    _single(report)
    fixes = [f for f in report.findings if f.because is None and f.code in FIXES]
    if not fixes:
        return Mendable()
    ground = _ground(report, False, remember)
    have = _inside(fixes, ground.home)
    few = len(have) <= MOST_TRIED
    small = few and sum(counts["images"] for counts in report.counts.values()) <= MOST_LOOKED_AT
    safe = apply.mendable(report.findings, ground) if few else _safe(have)
    more = apply.mendable(report.findings, _ground(report, True, remember)) if small else have
    return Mendable(safe, more - safe, (few, small), len(frozenset(fixes) - have))


def tried(report: Report) -> tuple[frozenset[Finding], frozenset[Finding]] | None:
    """The findings that safe fixes mend, and those that unsafe ones mend besides; None if that was not tried out."""
    try:
        found = mendable(report, True)
    except NanfixError:  # the dataset has gone meanwhile
        return None
    return (found.safe, found.unsafe) if all(found.tried) else None


def _inside(findings: Iterable[Finding], home: Home) -> frozenset[Finding]:
    """The findings about files of the dataset, or about the set as a whole."""
    files = list(dict.fromkeys(f.place.file for f in findings))
    held = dict(zip(files, home.within.hold(files), strict=True))
    return frozenset(f for f in findings if held[f.place.file] or FIXES[f.code].how in SETS)


def _safe(findings: Iterable[Finding]) -> frozenset[Finding]:
    """The findings that have a fix which may be safe."""
    return frozenset(f for f in findings if FIXES[f.code].safety != "unsafe")


def undo(data: str | Path, *, outside: bool, root: str | Path | None) -> Undone:
    """Take the newest fix run of a dataset back; `api.undo` says how."""
    try:
        config = discover.dataset(data, LintOptions(root=Path(root) if root else None))
    except NanfixError:
        config = None
    return undoing.undo(_home(data, config, root, outside))


def _home(data: str | Path, config: DataConfig | None, root: str | Path | None, outside: bool) -> Home:
    """Where the files of a dataset are; if it cannot be read now, in the folder of its data.yaml."""
    name = _name(data)
    folder = name if os.path.isdir(name) else os.path.dirname(name)  # noqa: PTH112, PTH120
    if config is None:
        return Home(name, folder, Within(() if too_wide(folder) else (folder,)), outside)
    within, top = ground_of(config, root), str(config.root.resolve())
    return Home(name, top if outside or within.holds(top) else folder, within, outside)


def _name(data: str | Path) -> str:
    """What journals call a dataset: the real path of its data.yaml, or of its folder if it has none."""
    try:
        return os.path.realpath(find_yaml(data))
    except DataError:
        return os.path.realpath(data)


def handoff(report: Report, out: Path, options: Options, progress: Progress | None) -> HandedOver:
    """Write the images with findings for labellers; `api.handoff` says how."""
    _single(report)
    config = _config(report)
    within = ground_of(config, report.given_root, follow_links=options.follow_links)
    if report.task == "classify":
        album = Album(report.data, report.task, str(_folder(report)), within, {}, None, lambda image: "")
    else:
        root, split_of = _common(config), partial(_split_of, config)
        album = Album(report.data, report.task, root, within, config.names, config.kpt_shape, label_path, split_of)
    return hand_over(report.findings, album, out, options, progress)


def at_least(report: Report, severity: str) -> Report:
    """The findings that are at least so severe.

    Raises:
        UsageError: there is no such severity.
    """
    try:
        return report.select(at_least=severity)
    except ValueError as error:
        raise UsageError(f"{severity!r} is no severity: fatal, error, warning or info") from error


def unlabelled(report: Report, progress: Progress | None) -> Unlabelled:
    """The images of a dataset that are worth labelling: without a label file, sound, and no copy of another image.

    Args:
        report: all that lint found in it, nothing left out.
        progress: called while the dataset is read again, as far as that is not remembered.

    Raises:
        UsageError: the dataset has no label files.
    """
    _single(report)
    if report.task == "classify":
        raise UsageError("images in class folders have no label files; --unlabelled is about the other tasks")
    studied: list[Studied] = []
    run(report.data, options=_options(report, report.deep), progress=progress, study=studied.append)
    table = studied[0].table
    bare = [file for file, labelled in zip(table.files, table.labelled.tolist(), strict=True) if not labelled]
    chosen = choose(bare, report.findings)
    paired = {f.code for f in report.findings if f.partner is not None}
    unsound = sum(not paired.issuperset(choice.because) for choice in chosen)
    worth = tuple(choice.image for choice in chosen if choice.keep)
    return Unlabelled(worth, unsound, len(chosen) - len(worth) - unsound)


def _common(config: DataConfig) -> str:
    """The folder below which all images of a dataset lie: its root, or what its splits have in common."""
    folders = [str(path if path.is_dir() else path.parent) for paths in config.splits.values() for path in paths]
    root = str(config.root)
    try:
        common = os.path.commonpath([root, *folders])
        return common if common == root else os.path.commonpath([str(Path(folder).parent) for folder in folders])
    except ValueError:  # on several drives
        return root


def _split_of(config: DataConfig, image: str) -> str:
    """The split whose folder holds an image; empty if none does."""
    for split, paths in config.splits.items():
        if any(image.startswith(f"{path}{os.sep}") for path in paths):
            return split
    return ""


def _single(report: Report) -> None:
    """Refuse what is no single YOLO dataset: several at once, or annotations in another format."""
    data = Path(report.data)
    if not data.exists():
        raise UsageError(f"one dataset at a time, please; this report is about {report.data}")
    if report.task != "classify" and sniff(data) is not None:
        raise UsageError(f"only datasets of YOLO labels or class folders can be mended or handed over, not {data}")


def _options(report: Report, deep: bool = False) -> LintOptions:
    """How the dataset of a report is read again."""
    return LintOptions(report.asked, deep, root=Path(report.given_root) if report.given_root else None)


def _config(report: Report) -> DataConfig:
    """The dataset of a report, its images where they were found."""
    return discover.dataset(report.data, _options(report))


def _folder(report: Report) -> Path:
    """The folder of a dataset."""
    data = Path(report.data)
    return data if data.is_dir() else data.parent


def _ground(report: Report, unsafe: bool, remember: bool = True, *, outside: bool = False) -> Ground:
    """What fixing has to know of the dataset."""
    config, classify = _config(report), report.task == "classify"
    classes: Container[int] = range(config.nc) if config.in_order else config.names
    named = (path for paths in config.splits.values() for path in paths if path.suffix == ".txt")
    return Ground(
        home=_home(report.data, config, report.given_root, outside),
        task=report.task,
        classes=() if classify else classes,
        lists=() if classify else tuple(map(str, named)),
        label_of=(lambda image: "") if classify else label_path,
        whole=cache(lambda: _whole(report, remember)),
        since_ns=report.started_ns,
        unsafe=unsafe,
    )


def _whole(report: Report, remember: bool) -> Whole:
    """The dataset as it stands now; files that nothing happened to are not read again."""
    studied: list[Studied] = []
    run(report.data, options=_options(report), study=studied.append, cache=remember)
    table, config = studied[0].table, studied[0].config
    number = {file: i for i, file in enumerate(table.files)}

    def held(image: str) -> list[float]:
        at = number.get(image, -1)
        start, end = table.row_image.searchsorted((at, at + 1))  # rows are sorted by image
        return [float(one) for one in table.row_cls[start:end]]

    splits = {split: [table.files[i] for i in images.tolist()] for split, images in table.members.items()}
    home = table.of_rows(table.split)
    classes = {s: Counter(table.row_cls[home == i].tolist()) for i, s in enumerate(table.split_names)}
    return Whole(_labels(table), splits, int(table.lines.sum()), classes, config.nc, held)


def _labels(table: Table) -> tuple[LabelFile, ...]:
    """The label files of a dataset, each once.

    One that two images use has the size 0 x 0 unless both are of one size, and turned alike.
    """
    splits: dict[int, list[str]] = {}
    for split, images in table.members.items():
        for image in images.tolist():
            splits.setdefault(image, []).append(split)
    found: dict[str, LabelFile] = {}
    sizes = zip(table.width.tolist(), table.height.tolist(), table.turn.tolist(), strict=True)
    for image, (path, labelled, size) in enumerate(zip(table.labels, table.labelled.tolist(), sizes, strict=True)):
        if labelled:
            one = found.get(path)
            inside = splits.get(image, [])
            if one is not None:
                size = size if (one.width, one.height, one.turn) == size else (0, 0, 0)
                inside = list(dict.fromkeys([*one.splits, *inside]))
            found[path] = LabelFile(path, tuple(inside), *size)
    return tuple(found.values())
