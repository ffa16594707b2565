"""Writes HTML pages: of a lint report, of a training run, and of two training runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import upstream
from yolo_nanfix.errors import NanfixError, UsageError
from yolo_nanfix.files import write_text
from yolo_nanfix.findings import Report

if TYPE_CHECKING:
    from yolo_nanfix.dataset.table import Table
    from yolo_nanfix.report.html.dataset_facts import Show
    from yolo_nanfix.run_folder.read import RunFolder

Progress = Callable[[int, int, str], None]
MOST_IMAGES = 20_000
"""The page of a run has no pictures of datasets with more images."""
COMPARISON_NAME = "yolo-nanfix-compare.html"
"""The default page of two runs, in the current folder."""


@dataclass(frozen=True)
class Drawn:
    """A page that was written.

    Attributes:
        page: its file.
        sentences: the outcome of each run.
        to_do: what the user should do about the run, in order; empty for a comparison.
        notes: what could not be read.
        bytes: the size of the file.
    """

    page: Path
    sentences: tuple[str, ...]
    to_do: tuple[str, ...]
    notes: tuple[str, ...]
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {**asdict(self), "page": str(self.page)}


def lint_page(
    report: Report,
    studied: Iterable[Table] | None = None,
    progress: Progress | None = None,
    *,
    follow_links: bool = False,
) -> str:
    """The HTML page of a report, as `lint --output-format html` writes it: one self-contained file.

    Args:
        report: of `lint`, or from `Report.from_dict`.
        studied: the datasets as `lint(study=...)` gave them; by default they are read again, unless they are cached.
            Without them the page shows findings only: pass `()` for a report of somebody else, which may name any
            dataset of yours.
        progress: called with (done, total, what) as pictures are made.
        follow_links: also show images that links or lists name outside of a dataset's folders.
    """
    from yolo_nanfix.linting.autofix import autofix
    from yolo_nanfix.report.html import dataset_page

    read = study(report, progress) if studied is None else list(studied)
    shown = _gathered(report, read, progress, follow_links)
    return dataset_page.lint_page(report, replace(shown, tried=autofix.tried(report)) if shown.fixable else shown)


def draw(
    folder: str | Path,
    out: str | Path | None = None,
    progress: Progress | None = None,
    *,
    show: Show | None = None,
    pictures: bool | None = None,
    follow_links: bool = False,
) -> Drawn:
    """Write the page of a training run.

    Args:
        folder: the run folder.
        out: the file to write; by default `yolo-nanfix.html` in the run folder.
        progress: called with (done, total, what) as the dataset is read.
        show: what to show of its dataset besides findings; None to read the dataset again.
        pictures: whether to read the dataset that the run names, which may be any dataset if somebody else made the
            folder; by default only for runs of this user in the folder in which they ran.
        follow_links: follow links that lead out of the run folder, or out of the dataset's folders.

    Raises:
        DataError: it is not the folder of a training run.
        UsageError: the page cannot be written.
    """
    from yolo_nanfix.report.html import run_advice, run_page
    from yolo_nanfix.run_folder.read import read_run
    from yolo_nanfix.run_folder.summary import PAGE_NAME

    found = read_run(folder, follow_links=follow_links)
    notes = list(found.notes)
    if show is None:
        show = _show_again(found, pictures, follow_links, progress, notes)
    steps = tuple(" ".join((step.why, *step.what, *step.commands)) for step in run_advice.to_do(found))
    path = Path(out) if out is not None else found.path / PAGE_NAME
    return _written(path, run_page.page(found, show), (run_advice.headline(found),), steps, tuple(notes))


def compare(
    first: str | Path, second: str | Path, out: str | Path | None = None, *, follow_links: bool = False
) -> Drawn:
    """Write the page of two training runs side by side.

    Args:
        first, second: run folders.
        out: the file to write; by default `yolo-nanfix-compare.html` in the current folder.
        follow_links: follow links that lead out of the run folders.

    Raises:
        DataError: one of them is not the folder of a training run.
        UsageError: the page cannot be written.
    """
    from yolo_nanfix.report.html import comparison_page, run_advice
    from yolo_nanfix.run_folder.read import read_run

    pair = (read_run(first, follow_links=follow_links), read_run(second, follow_links=follow_links))
    sentences = tuple(f"{one.name}: {run_advice.headline(one)}" for one in pair)
    notes = tuple(f"{one.name}: {note}" for one in pair for note in one.notes)
    return _written(Path(out or COMPARISON_NAME), comparison_page.page(pair), sentences, (), notes)


def study(report: Report, progress: Progress | None = None) -> list[Table]:
    """Read the dataset of a report again, unless it is cached; empty if it cannot be read."""
    from yolo_nanfix.dataset.options import LintOptions
    from yolo_nanfix.linting.runner import run

    studied: list[Table] = []
    options = LintOptions(report.asked, report.deep, root=Path(report.given_root) if report.given_root else None)
    try:
        run(report.data, options=options, progress=progress, study=studied.append)
    except NanfixError:
        return []
    return studied


def show(report: Report, progress: Progress | None = None, *, follow_links: bool = False) -> Show:
    """What the page of a run shows of its dataset besides findings: pictures, up to `MOST_IMAGES` images."""
    images = sum(counts.get("images", 0) for counts in report.counts.values())
    studied = study(report, progress) if images <= MOST_IMAGES else []
    return _gathered(report, studied, progress, follow_links)


def _gathered(report: Report, studied: list[Table], progress: Progress | None, follow_links: bool) -> Show:
    from yolo_nanfix.linting.registry import all_rules, autofixes
    from yolo_nanfix.report.html.dataset_pictures import gather

    fixes = {code: (fix.safety, fix.text) for code, fix in autofixes().items()}
    return gather(report, studied, all_rules(), fixes, progress, follow_links=follow_links)


def _show_again(
    found: RunFolder, pictures: bool | None, follow_links: bool, progress: Progress | None, notes: list[str]
) -> Show:
    """`show` for the dataset of a run folder, if it still exists and may be read; else `notes` gets the reason."""
    from yolo_nanfix.report.html import run_page
    from yolo_nanfix.report.html.dataset_facts import Show
    from yolo_nanfix.run_folder import own_mark

    try:
        report = run_page.lint_of(found)
        if report is None:
            return Show()
        if pictures is None:
            pictures = own_mark.holds(found.summary.get("own"), str(found.path), report.data, report.given_root)
        if not pictures:
            notes.append(
                f"The dataset that the run names ({report.data}) was not read for pictures: this is not known as a run "
                "of yours, and others may name anything. --pictures reads it."
            )
            return _gathered(report, [], progress, False)
        return show(report, progress, follow_links=follow_links)
    except Exception as problem:  # the report may name anything as its dataset
        notes.append(f"What lint found cannot be shown with pictures: {type(problem).__name__}: {problem}")
        return Show()


def at_the_end(folder: Path, known: Show | None) -> bool:
    """Write the page of a run that ends now, and return whether that worked; an error is only logged."""
    try:
        from yolo_nanfix.report.html.dataset_facts import Show

        draw(folder, show=known or Show())
    except Exception as problem:  # it must not hide the outcome of the run
        upstream.log(f"yolo-nanfix: the page of the run could not be drawn: {type(problem).__name__}: {problem}")
        return False
    return True


def _written(
    path: Path, text: str, sentences: tuple[str, ...], to_do: tuple[str, ...], notes: tuple[str, ...]
) -> Drawn:
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another file with -o FILE") from error
    return Drawn(path.resolve(), sentences, to_do, notes, len(text.encode()))
