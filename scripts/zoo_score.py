"""Judges the runs of the zoo against the specs, and writes the scoreboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_specs import Case

LEARNT, LOST_IT, GARBAGE = 0.3, 0.05, 0.1
"""mAP50 from which a twin counts as having learnt; below which a run has lost everything; a fall that is garbage."""
FAULTY = {"broken", "raises", "stops", "map-zero", "nan-loss", "garbage"}
"""Outcomes of runs that may not be called healthy."""
HUGE = 1e6
"""A loss beyond this is garbage although it is finite."""


@dataclass
class Score:
    """One line of the scoreboard; `misses` says what is not as the spec wants it, and is empty where all is."""

    case: Case
    stock: str
    ours: str
    lost: int | None
    quarantined: int | None
    map_ours: float | None
    map_twin: float | None
    verdict: str
    seconds: float
    misses: list[str] = field(default_factory=list)


def score(case: Case, stock: Mapping[str, Any], ours: Mapping[str, Any], twin: Mapping[str, Any]) -> Score:
    """Compare the two runs of a case, and its healthy twin's stock run, with what the spec says."""
    guard = ours.get("report", {}).get("guard", {})
    line = Score(
        case,
        outcome(stock, twin),
        _our_outcome(case, ours, twin),
        guard.get("dropped_micro_batches"),
        _quarantined(guard),
        final_map(ours),
        final_map(twin),
        "",
        stock.get("seconds", 0) + ours.get("seconds", 0),
    )
    if line.stock != case.stock.outcome:
        line.misses.append(f"stock {line.stock}, not {case.stock.outcome}")
    if line.ours != case.ours.outcome:
        line.misses.append(f"ours {line.ours}, not {case.ours.outcome}")
    for what, seen, wanted in (
        ("lost", line.lost, case.ours.lost),
        ("quarantined", line.quarantined, case.ours.quarantined),
    ):
        if wanted is not None and (seen or 0) != wanted:
            line.misses.append(f"{what} {seen}, not {wanted}")
    if case.ours.outcome == "survives" and _learnt(twin) and not _kept(line):
        line.misses.append(f"mAP50 {_figure(line.map_ours)} against {_figure(line.map_twin)}")
    line.misses += [f"{side}: {run['broken']}" for side, run in (("stock", stock), ("ours", ours)) if "broken" in run]
    line.verdict, wrong = _judge_verdict(case, ours, guard)
    line.misses += wrong
    line.misses += _judge_state(case, ours, line.ours)
    if case.healthy and guard.get("events"):
        line.misses.append(f"{len(guard['events'])} events in a healthy run")
    return line


def _judge_state(case: Case, ours: Mapping[str, Any], ended: str) -> list[str]:
    """What is wrong with how our report calls a run: a faulty one healthy, or a healthy one not."""
    state = ours.get("report", {}).get("state")
    if state is None:
        return []
    if case.healthy:
        return [f"a healthy run is called {state}"] if state != "healthy" else []
    return [f"{ended}, and is called healthy"] if state == "healthy" and ended in FAULTY else []


def outcome(facts: Mapping[str, Any], twin: Mapping[str, Any]) -> str:
    """How a run ended, the worst that holds of it."""
    if "broken" in facts:
        return "broken"
    if facts.get("error"):
        return "raises"
    rows = facts.get("rows", [])
    final = final_map(facts)
    lost_map = _learnt(twin) and (final is None or final < LOST_IT)
    checkpoints = set(facts.get("checkpoints", {}).values())  # nothing is known of a half that was not run
    faulty = facts.get("model_not_finite") or {"zeroed", "not-finite", "unreadable"} & checkpoints
    if lost_map or faulty:
        return "map-zero"
    losses = [float(v) for row in rows for k, v in row.items() if "loss" in k]
    if any(v != v or abs(v) == float("inf") for v in losses):
        return "nan-loss"
    trained = [float(v) for k, v in rows[-1].items() if k.startswith("train/") and "loss" in k] if rows else []
    fell = _learnt(twin) and final is not None and final < (final_map(twin) or 0) - GARBAGE
    if fell or any(v > HUGE for v in losses) or (trained and not any(trained)):
        return "garbage"
    return "silent-drop" if facts.get("images", 0) < facts.get("files", 0) else "survives"


def final_map(facts: Mapping[str, Any]) -> float | None:
    """The mAP50 (classify: accuracy) that a run ends with: the worse of its last epoch and its best.pt."""
    found = [v for k in ("map_last", "map_best") if (v := facts.get(k)) is not None]
    return min(found) if found else None


def _our_outcome(case: Case, facts: Mapping[str, Any], twin: Mapping[str, Any]) -> str:
    if case.ours.outcome == "reported" and set(case.ours.findings) <= set(facts.get("lint", ())):
        return "reported"
    if facts.get("stopped"):
        faulty = {"zeroed", "not-finite"} & set(facts.get("checkpoints", {}).values())
        return "map-zero" if faulty and case.fault["kind"] != "checkpoint" else "stops"
    return outcome(facts, twin)


def _learnt(twin: Mapping[str, Any]) -> bool:
    return (final_map(twin) or 0) >= LEARNT


def _kept(line: Score) -> bool:
    return (
        line.map_ours is not None and line.map_twin is not None and line.map_ours >= line.map_twin - line.case.ours.fall
    )


def _quarantined(guard: Mapping[str, Any]) -> int | None:
    """How many images the guard left out of the run; None where there was no guard."""
    return len(guard["quarantined"]) if "quarantined" in guard else None


def _judge_verdict(case: Case, ours: Mapping[str, Any], guard: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The causes named, and what is wrong with them: every verdict must be as the spec says."""
    verdicts = guard.get("verdicts") or []
    named = ", ".join(sorted({str(v.get("cause")) for v in verdicts})) or "none"
    wanted = case.ours.verdict
    if wanted is None:
        return named, [f"verdict {named} where there is nothing to explain"] if verdicts and case.healthy else []
    if not verdicts:
        return named, [f"no verdict, not {wanted['cause']}"]
    wrong = sorted({f"{key} {_said(v, key)}" for v in verdicts for key in wanted if not _right(v, key, wanted, ours)})
    return named, [f"verdict: {', '.join(wrong)}"] if wrong else []


def _right(verdict: Mapping[str, Any], key: str, wanted: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    said = verdict.get(key)
    if key == "images":  # exactly some of the planted ones
        return bool(said) and {Path(str(i)).name for i in said} <= {Path(p).name for p in ours["planted"]}
    if key == "labels":
        return bool(said)
    return str(wanted[key]) in str(said) if key in ("op", "module") else said == wanted[key]


def _said(verdict: Mapping[str, Any], key: str) -> str:
    said = verdict.get(key)
    return (", ".join(Path(str(s)).name for s in said) or "none") if isinstance(said, (list, tuple)) else str(said)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def table(scores: Iterable[Score]) -> str:
    """The scoreboard as markdown, healthy twins last."""
    rows = [
        "| case | run | stock | ours | lost (expected) | mAP50 ours / twin | verdict | as it must be |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in sorted(scores, key=lambda s: (s.case.healthy, s.case.name)):
        case, wanted = line.case, line.case.ours.lost
        run = ", ".join(filter(None, (case.model.removesuffix(".yaml"), case.precision, case.optimizer, case.release)))
        lost = "" if line.lost is None else f"{line.lost}" + (f" ({wanted})" if wanted is not None else "")
        figures = f"{_figure(line.map_ours)} / {_figure(line.map_twin)}"
        asked = (case.ours.verdict or {}).get("cause", "")
        verdict = line.verdict if line.verdict == asked or not asked else f"{line.verdict} ({asked})"
        right = "yes" if not line.misses else f"**no**: {'; '.join(line.misses)}"
        rows.append(
            f"| `{case.name}` | {run} | {line.stock} | {line.ours} | {lost} | {figures} | {verdict} | {right} |"
        )
    return "\n".join(rows)


def summary(scores: list[Score]) -> str:
    """The totals in a few sentences."""
    faults = [s for s in scores if not s.case.healthy]
    healthy = [s for s in scores if s.case.healthy]
    hurt = [s for s in faults if s.stock != "survives"]
    kept = [s for s in hurt if s.ours == "survives"]
    asked = [s for s in faults if s.case.ours.verdict]
    right = [s for s in asked if not any("verdict" in miss for miss in s.misses)]
    quiet = [s for s in healthy if not s.misses]
    good = [s for s in scores if not s.misses]
    return (
        f"{len(scores)} cases, {len(good)} as they must be. {len(faults)} faults: stock is hurt by {len(hurt)}, "
        f"of those ours survives {len(kept)}, stops {sum(s.ours == 'stops' for s in hurt)}, "
        f"reports beforehand {sum(s.ours == 'reported' for s in hurt)}. Verdicts right: {len(right)} of {len(asked)}. "
        f"Healthy twins without an alarm or a dropped batch: {len(quiet)} of {len(healthy)}."
    )


def as_dict(line: Score) -> dict[str, Any]:
    """A JSON-ready dict."""
    shown = {k: v for k, v in vars(line).items() if k != "case"}
    return {"name": line.case.name, "rows": list(line.case.rows), **shown}
