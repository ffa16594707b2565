"""The summary of a run: framed on a terminal, plain elsewhere, and its text is text whatever is in it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from yolo_nanfix.report import run_text

HOSTILE = "/d/[red]a[/red] :smile: \x1b[31m\n\u202e[/].jpg"
SHOWN = r"/d/[red]a[/red] :smile: \x1b[31m\n\u202e[/].jpg"


class Terminal(io.StringIO):
    """A page that calls itself a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def summary(name: str = HOSTILE, **more: Any) -> dict[str, Any]:
    event = {"checks": ["loss"], "actions": [{"did": "quarantined", "images": [name]}], "detail": name}
    event |= {"epoch": 1, "batch": 2}
    verdict = {"cause": "data", "confidence": 0.9, "summary": name, "op": name, "module": "", "advice": [name]}
    return {
        "outcome": "finished",
        "healthy": False,
        "reasons": [name],
        "environment": {"ultralytics": "8.4.190"},
        "patches": {"a": {"state": "refused", "reason": name, "counted": 0}, "b": {"state": "on", "counted": 3}},
        "quarantined": {name: [{"code": "IM011", "message": name}]},
        "lint": {"data": name, "findings": [{"severity": "fatal"}]},
        "guard": {
            "dropped_micro_batches": 1,
            "micro_batches": 8,
            "events": [{**event, "sources": [{"file": name, "suspect": True}]}],
            "verdicts": [verdict],
        },
        "metrics": {"metrics/mAP50(B)": 0.5},
        "paths": {"save_dir": name, "incidents": name},
        **more,
    }


def rendered(page: io.StringIO, told: dict[str, Any], **more: Any) -> str:
    console = Console(file=page, width=80, soft_wrap=True, highlight=False, emoji=False, no_color=True)
    run_text.render(told, console, **more)
    return page.getvalue()


def test_hostile_text_is_shown_literally():
    text = rendered(io.StringIO(), summary())
    assert "\x1b" not in text and "\u202e" not in text and text.count(SHOWN) >= 10
    for line in ("The run ended, but failed: 1 of 8 micro-batches dropped", "Lint: 1 fatal", "mAP50(B) 0.5"):
        assert line in text


@pytest.mark.parametrize("healthy", [True, False])
def test_quiet_says_only_what_went_wrong(healthy: bool):
    text = rendered(io.StringIO(), summary("x", healthy=healthy), quiet=True)
    assert text == (
        "" if healthy else "The run ended, but failed: 1 of 8 micro-batches dropped, 1 image left out.\n- x\n"
    )


def test_the_frame_is_for_terminals():
    shown = rendered(Terminal(), summary("x"))
    framed = [line for line in shown.splitlines() if line[:1] in ("╭", "│", "╰")]
    assert {len(line) for line in framed} == {80} and "The run ended" in framed[1]
    assert not set("╭│╰─") & set(rendered(io.StringIO(), summary("x")))
