"""How a run ended whose processes a launcher started, as the process that waited for it learns from their report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolo_nanfix import stopping
from yolo_nanfix.errors import NanfixError, RankLost
from yolo_nanfix.guard.lost_ranks import LostRank
from yolo_nanfix.health import State
from yolo_nanfix.report.jsonout import REPORT_NAME
from yolo_nanfix.run_folder import summary as run_report
from yolo_nanfix.run_folder.summary import RunContext, summarise

SLACK = 2.0
"""Seconds by which clocks of this machine and of the folder's may differ."""


def report(folder: Path, since: float = 0.0) -> dict[str, Any]:
    """The report that rank 0, or the rank that stood in for it, left in a run folder; empty if there is none.

    Args:
        folder: the run's.
        since: when the run was launched, in seconds since the epoch: an older report is of another one.
    """
    path = folder / REPORT_NAME
    if not path.is_file() or path.stat().st_mtime < since - SLACK:
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


def complete(folder: Path, summary: dict[str, Any], context: RunContext) -> dict[str, Any]:
    """Add what is known here alone to the report of the ranks, and draw its page again."""
    known_here = summarise(context, {**summary, "ultralytics": "", "guard": None}, "", ())
    summary |= {key: known_here[key] for key in ("on_fatal", "quarantined", "lint", "not_linted", "left", "settings")}
    if summary["outcome"] == "interrupted" and (signalled := stopping.received()) is not None:  # and passed on
        summary["signal"] = signalled.signal
    run_report.save(folder / REPORT_NAME, summary, context.show)
    return summary


def without(folder: Path, code: int, context: RunContext, force: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Write the report of a run of which no rank could: all that is known is that the launcher failed."""
    last = folder / "weights" / "last.pt"
    kept = f"the last whole epoch is in {last}" if last.is_file() else "no epoch was saved yet"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    reason, outcome = f"the launcher of the processes {how}, and none of them could say why; {kept}", "failed"
    if (signalled := stopping.received()) is not None:
        reason, outcome = f"{signalled}; {kept}", "interrupted"
    summary = summarise(context, force(), outcome, (reason,), State.FAILED)
    summary["signal"] = signalled.signal if signalled is not None else None
    summary["ranks"] = {"processes": 0, "lost": []}
    summary["paths"] = {"save_dir": str(folder), "report": str(folder / REPORT_NAME)}
    if folder.is_dir():
        run_report.save(folder / REPORT_NAME, summary, context.show)
    return summary


def error(summary: Mapping[str, Any]) -> BaseException:
    """What to raise for a run that its guard did not stop."""
    reasons = "; ".join(map(str, summary["reasons"]))
    if summary["outcome"] == "interrupted":
        return KeyboardInterrupt(reasons)
    lost = [LostRank.from_dict(one) for one in summary.get("ranks", {}).get("lost", ())]
    return RankLost("; ".join(map(str, lost))) if lost else NanfixError(reasons)
