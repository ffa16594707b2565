"""The page of a plan: advices with reasons and sources, what is left undecided, and the figures of the set."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from yolo_nanfix.plans import Plan, Strength
from yolo_nanfix.report import plan_words, trial_text
from yolo_nanfix.report.html.page import fragment, render_page
from yolo_nanfix.report.words import figure, grouped
from yolo_nanfix.wording import cut, printable

LEVELS = {Strength.MEASURED: "good", Strength.PUBLISHED: "info", Strength.RULE: "warning"}
"""The colour of each strength."""
CLASSES = 40
"""At most this many classes are listed, the most frequent first."""


SIZES = {
    "longer_sides": "Longer side of the train images in pixels",
    "relative_sides": "Shorter side of the objects over the longer side of their image",
}
"""Figures that are shown as quantiles."""


def page(plan: Plan, text: str, trial: Mapping[str, Any] | None = None) -> str:
    """The page as self-contained HTML.

    Args:
        plan: what it shows.
        text: the content of `plan.yaml`.
        trial: what `Trial.as_dict` gives, if there was one.
    """
    return render_page("plan.html.j2", **context(plan), file=text, trial=_trial(trial) if trial else None)


def notebook(plan: Plan) -> str:
    """The advices as a table, for a notebook."""
    return fragment("plan_notebook.html.j2", **context(plan))


def context(plan: Plan) -> dict[str, Any]:
    """The variables of the templates."""
    return {
        "data": printable(plan.data),
        "sentence": plan_words.headline(plan),
        "machine": plan_words.machine(plan),
        "notes": plan_words.notes(plan),
        "advices": [
            {
                "setting": advice.setting,
                "value": plan_words.value(advice.value),
                "default": plan_words.value(advice.default) if advice.changes else "the same",
                "because": plan_words.because(advice.because),
                "source": advice.source,
                "strength": advice.strength.value,
                "level": LEVELS[advice.strength],
                "where": plan_words.DATA_KEYS.get(advice.setting, ""),
            }
            for advice in plan.advices
        ],
        "undecided": [
            {"setting": one.setting, "because": plan_words.because(one.because), "source": one.source}
            for one in plan.undecided
        ],
        "splits": _splits(plan),
        "classes": _classes(plan),
        "sizes": _sizes(plan),
        "command": printable(f"yolo-nanfix plan {shlex.quote(plan.data)} --output plan.yaml"),
    }


def _trial(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The rounds of a trial, and how it ended."""
    names = [printable(name) for name in trial["rounds"][0]["recipes"]] if trial["rounds"] else []
    return {"outcome": trial_text.outcome(trial), "names": names, "rows": trial_text.rows(trial)}


def _splits(plan: Plan) -> list[dict[str, str]]:
    """One row a split."""
    names = ("images", "distinct", "background", "objects", "most_objects")
    return [
        {"name": split, **{name: grouped(counts[name]) for name in names}}
        for split, counts in plan.figures["splits"].items()
    ]


def _classes(plan: Plan) -> dict[str, Any]:
    """Objects of the most frequent classes by split."""
    names, splits = plan.figures["names"], plan.figures["splits"]
    order = sorted(range(len(names)), key=lambda number: -splits["train"]["classes"][number])
    rows = [
        (printable(cut(names[i])), [grouped(counts["classes"][i]) for counts in splits.values()])
        for i in order[:CLASSES]
    ]
    return {"splits": list(splits), "rows": rows, "more": max(len(names) - CLASSES, 0)}


def _sizes(plan: Plan) -> list[tuple[str, list[tuple[str, str]]]]:
    """Quantiles of sizes, each with its level in percent."""
    return [
        (title, [(f"{float(level):.0%}", figure(held)) for level, held in plan.figures[name].items()])
        for name, title in SIZES.items()
        if plan.figures[name]
    ]
