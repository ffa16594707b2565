"""Draws pages of runs: into the run folder when the run ends, and again whenever they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import upstream
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Report
from yolo_nanfix.report.html.dataset_facts import Show
from yolo_nanfix.report.jsonout import PAGE_NAME, write_text
from yolo_nanfix.run_folder import own_mark

if TYPE_CHECKING:
    from yolo_nanfix.run_folder.read import RunFolder

Progress = Callable[[int, int, str], None]
MOST_IMAGES = 20_000
"""Larger datasets are shown by their findings alone."""
COMPARISON_NAME = "yolo-nanfix-compare.html"
"""The page of two runs, in the current folder unless another file is asked for."""


@dataclass(frozen=True)
class Drawn:
    """A page that was written.

    Attributes:
        page: its file.
        sentences: how each run on it went.
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


def draw(
    folder: str | Path,
    out: str | Path | None = None,
    show: Show | None = None,
    progress: Progress | None = None,
    *,
    pictures: bool | None = None,
    follow_links: bool = False,
) -> Drawn:
    """Write the page of a run.

    Args:
        folder: the run folder.
        out: the file to write; by default `yolo-nanfix.html` in the run folder.
        show: what is known of its dataset besides what lint found; None to read the dataset again for it.
        pictures: read the dataset that the run names again, which may be any in a folder that somebody else made; None
            for the runs of this user alone, in the folder in which they ran.
        follow_links: follow links that lead out of the run folder, or out of the dataset's folders.
        progress: called with (done, total, what) as the dataset is read.

    Raises:
        DataError: it is not the folder of a training run.
        UsageError: the page cannot be written.
    """
    from yolo_nanfix.report.html import run_advice, run_page
    from yolo_nanfix.run_folder.read import read

    found = read(folder, follow_links=follow_links)
    path = Path(out) if out is not None else found.path / PAGE_NAME
    notes = list(found.notes)
    if show is None:
        show = _show_again(found, pictures, follow_links, progress, notes)
    text = run_page.page(found, show)
    steps = tuple(" ".join((step.why, *step.what, *step.commands)) for step in run_advice.to_do(found))
    return _written(path, text, (run_advice.sentence(found),), steps, tuple(notes))


def compare(
    first: str | Path, second: str | Path, out: str | Path | None = None, *, follow_links: bool = False
) -> Drawn:
    """Write the page of two runs beside each other.

    Args:
        first, second: run folders.
        out: the file to write; by default `yolo-nanfix-compare.html` in the current folder.
        follow_links: follow links that lead out of the run folders.

    Raises:
        DataError: one of them is not the folder of a training run.
        UsageError: the page cannot be written.
    """
    from yolo_nanfix.report.html import comparison_page as comparison
    from yolo_nanfix.report.html import run_advice
    from yolo_nanfix.run_folder.read import read

    pair = (read(first, follow_links=follow_links), read(second, follow_links=follow_links))
    sentences = tuple(f"{one.name}: {run_advice.sentence(one)}" for one in pair)
    notes = tuple(f"{one.name}: {note}" for one in pair for note in one.notes)
    return _written(Path(out or COMPARISON_NAME), comparison.page(pair), sentences, (), notes)


def show(report: Report, progress: Progress | None = None, *, follow_links: bool = False) -> Show:
    """What a page shows of a dataset besides what lint found: pictures and distributions, if it is not too large."""
    from yolo_nanfix.report.html import dataset_pictures

    images = sum(counts.get("images", 0) for counts in report.counts.values())
    known = dataset_pictures.study(report, progress) if images <= MOST_IMAGES else []
    return dataset_pictures.gather(report, known, progress, follow_links=follow_links)


def _show_again(
    found: RunFolder, pictures: bool | None, follow_links: bool, progress: Progress | None, notes: list[str]
) -> Show:
    """The same for the dataset of a run, as far as it is still there and may be read; what is not is noted."""
    from yolo_nanfix.report.html import dataset_pictures, run_page

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
            return dataset_pictures.gather(report, [], progress)
        return show(report, progress, follow_links=follow_links)
    except Exception as problem:  # the report may name anything as its dataset
        notes.append(f"What lint found cannot be shown with pictures: {type(problem).__name__}: {problem}")
        return Show()


def at_the_end(folder: Path, known: Show | None) -> bool:
    """Write the page of a run that ends now; whatever goes wrong with it is one line in the log.

    Args:
        folder: the run folder.
        known: what is known of its dataset besides what lint found.

    Returns:
        Whether it was written.
    """
    try:
        draw(folder, show=known or Show())
    except Exception as problem:  # the run's own outcome must not be hidden by this
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
