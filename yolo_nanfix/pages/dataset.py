"""The page of a dataset: what lint found in it, as pictures, and what to do about it; also a part of the page of a run."""

from __future__ import annotations

from typing import Any

from yolo_nanfix.findings import Report
from yolo_nanfix.pages.page import render
from yolo_nanfix.pages.show import Show

SCRIPTS = ("dataset.js",)
"""The scripts of a page that includes `dataset.html.j2`."""
STYLES = ("dataset.css",)
"""Its styles."""
NOTHING = Show()


def lint_page(report: Report, show: Show = NOTHING) -> str:
    """The page of a lint run as HTML text that stands alone.

    Args:
        report: what lint found.
        show: what is known of the dataset besides.
    """
    return render("lint.html.j2", SCRIPTS, STYLES, dataset=context(report, show))


def context(report: Report, show: Show = NOTHING) -> dict[str, Any]:
    """What the partial template `dataset.html.j2` shows, as its variable `dataset`.

    Args:
        report: what lint found, perhaps from `Report.from_dict`.
        show: what is known of the dataset besides; without it there are no pictures and no distributions.
    """
    return {"data": report.data, "sentence": ""}
