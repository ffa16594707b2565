"""What is said before a training starts: what lint found in its data, and what is left of each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.report.words import printable

SHOWN = 5
"""So many findings about the set are told."""


def lines(report: Report, left: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, bool]]:
    """The findings that cost or twist whole splits, and a line for each split; with each whether it is good news.

    Args:
        report: what lint found.
        left: for each split its numbers by the names of `fates.Left`.
    """
    heavy = (Severity.FATAL, Severity.ERROR)
    found = [f for f in report.findings if f.image is None and f.because is None and f.severity in heavy]
    for finding in sorted(found, key=lambda f: f.severity.rank)[:SHOWN]:
        yield printable(f"{finding.place}: {finding.code} {finding.message}"), False
    if len(found) > SHOWN:
        yield f"... and {len(found) - SHOWN} more findings about the set", False
    for split, numbers in left.items():
        whole = numbers["kept"] == numbers["images"]
        if report.starts or not whole:
            yield f"{split}: {_left(numbers)}", whole and numbers["images"] > numbers["background"]


def _left(numbers: Mapping[str, int]) -> str:
    """`12 of 20 images are left, 3 of them without objects: Ultralytics drops 5, the run puts 3 aside`."""
    images, kept, background = numbers["images"], numbers["kept"], numbers["background"]
    of = f"all {images} images are kept" if kept == images else f"{kept} of {images} images are left"
    empty = f", {background} of them without objects" if background else ""
    dropped, aside = (
        f"Ultralytics drops {numbers['dropped']}",
        f"the run puts {numbers['aside']} aside (fatal findings)",
    )
    out = [dropped] * (numbers["dropped"] > 0) + [aside] * (numbers["aside"] > 0)
    return f"{of}{empty}" + (f": {', '.join(out)}" if out else "")


def nothing_left(split: str, numbers: Mapping[str, int]) -> str:
    """Why a run cannot start."""
    return f"no image of '{split}' is left: {_left(numbers)}"
