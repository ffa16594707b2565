"""The page of a training run, made from its folder."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolo_nanfix import overrides
from yolo_nanfix.findings import Report
from yolo_nanfix.overrides import join_overrides, unguarded_note, unguarded_warning
from yolo_nanfix.report import recipe_text
from yolo_nanfix.report.html import charts, dataset_page, event_list, incident_list, run_advice
from yolo_nanfix.report.html.dataset_facts import Show
from yolo_nanfix.report.html.dataset_page import NO_FACTS
from yolo_nanfix.report.html.page import fragment, render_page
from yolo_nanfix.report.words import figure, grouped, printable
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.csv_tables import Table
from yolo_nanfix.run_folder.read import RunFolder

NOTEBOOK_STEPS = 3
"""At most this many pieces of advice are shown in a notebook."""
COUNTED = (("steps_refused", "steps held back"), ("rollbacks", "rollbacks"), ("steps_undone", "steps undone"))
"""Counts of the guard that are shown unless they are 0, and their names."""
STATES = ("refused", "replaced", "partly-on", "on", "off", "fixed", "not-needed")
"""States of patches, in the order in which they are listed."""
PLACES = ("project", "name", "exist_ok", "save_dir", "resume", "mode", "task", "data", "cfg")
"""Arguments that say where a run is written, or that are handled separately in the command."""
OTHER_MODES = (
    "source", "vid_stride", "stream_buffer", "visualize", "augment", "agnostic_nms", "classes", "retina_masks", "embed",
    "show", "save_frames", "save_txt", "save_conf", "save_crop", "show_labels", "show_conf", "show_boxes", "line_width",
    "format", "keras", "optimize", "int8", "dynamic", "simplify", "opset", "workspace", "nms", "tracker", "conf", "iou",
    "max_det", "half", "dnn", "save_json", "save_hybrid", "quantize", "end2end", "channels_last",
)  # fmt: skip
"""Arguments of prediction, export and validation, which training does not use."""
SETTINGS = (
    "max_bad_in_a_row", "quarantine_after", "snapshot_every", "max_rollbacks", "incidents", "incident_mb", "repair",
)  # fmt: skip
"""Settings of the guard that are options with a value."""
SWITCHES = ("leave_fp16", "diagnose")
"""Settings of the guard that are switches."""


def page(run: RunFolder, show: Show = NO_FACTS) -> str:
    """The page of a run as self-contained HTML."""
    notes = list(run.notes)
    part = dataset_part(run, show, notes)
    return render_page(
        "run.html.j2",
        ("run.js", *(dataset_page.SCRIPTS if part is not None else ())),
        ("run.css", *(dataset_page.STYLES if part is not None else ())),
        **context(run),
        dataset=part,
        notes=notes,
    )


def notebook(summary: Mapping[str, Any]) -> str:
    """How a run went, as a few lines of HTML for a notebook, from the content of `yolo-nanfix.json`."""
    paths = lenient.mapping(summary, "paths")
    found = RunFolder(Path(lenient.raw(paths, "save_dir") or "."), summary, {}, Table(), Table(), (), ())
    page = lenient.raw(paths, "page")
    return fragment(
        "run_notebook.html.j2",
        sentence=run_advice.headline(found),
        level=run_advice.level(found),
        tiles=tiles(found),
        unguarded=unguarded(found, unguarded_note),
        settings=settings(summary),
        to_do=run_advice.to_do(found)[:NOTEBOOK_STEPS],
        page=printable(page),
        address=Path(page).absolute().as_uri() if page else "",
    )


def context(run: RunFolder) -> dict[str, Any]:
    """The values of `run.html.j2` about the run itself."""
    axis = charts.axis(run)
    listed = event_list.grouped_events(run, axis)
    marks = event_list.marks(listed)
    shapes = [s for chart in charts.charts(run, axis) if (s := charts.shape(chart, axis, marks)) is not None]
    views, hidden = incident_list.views(run)
    return {
        "name": run.name,
        "sentence": run_advice.headline(run),
        "level": run_advice.level(run),
        "tiles": tiles(run),
        "unguarded": unguarded(run, unguarded_warning),
        "unguarded_last": unguarded(run, unguarded_note),
        "settings": [printable(line) for line in overrides.read_overrides(run.summary).lines()],
        "recipe": recipe_text.told(run.summary),
        "to_do": run_advice.to_do(run),
        "charts": shapes,
        "readings": {"name": axis.name, "epochs": list(axis.epochs), "charts": [s.pop("data") for s in shapes]},
        "events": listed[: event_list.LISTED],
        "events_hidden": max(0, len(listed) - event_list.LISTED),
        "events_left_out": lenient.count(run.summary, "guard", "events_left_out"),
        "measured": event_list.MEASURED,
        "stock": next(((e.number, e.stock) for e in listed if e.stock and e.stock != event_list.SURVIVES), None),
        "incidents": views,
        "incidents_hidden": hidden,
        "guarded": bool(run.summary),
        "patches": patches(run),
        "patch_counts": patch_counts(run),
        "facts": facts(run),
        "command": command(run),
        "folder": printable(str(run.path)),
    }


def settings(summary: Mapping[str, Any]) -> list[str]:
    """The settings of lint and training and what they change, one line for each source."""
    found = join_overrides((overrides.read_overrides(summary, "lint"), overrides.read_overrides(summary)))
    return [printable(line) for line in found.lines()]


def unguarded(run: RunFolder, words: Callable[[str], str]) -> str:
    """A line that there was no guard, and what switched it off; empty if there was one."""
    off = lenient.text(run.summary, "guard", "off")
    return printable(words(off)) if off else ""


def tiles(run: RunFolder) -> list[tuple[str, str]]:
    """The most important numbers of a run: name and value."""
    guard = lenient.mapping(run.summary, "guard")
    found = []
    if lenient.count(guard, "micro_batches"):
        found.append(("micro-batches", grouped(lenient.count(guard, "micro_batches"))))
        found.append(("dropped", grouped(lenient.count(guard, "dropped_micro_batches"))))
    if (processes := lenient.count(run.summary, "ranks", "processes")) > 1:
        found.append(("processes", grouped(processes)))
    for key, name in COUNTED:
        if count := lenient.count(guard, key):
            found.append((name, grouped(count)))
    if (times := lenient.number(guard, "learning_rate_times")) not in (None, 1.0):
        found.append(("learning rate, times", figure(times)))
    if skipped := lenient.count(guard, "steps_skipped_by_grad_scaler"):
        found.append(("steps skipped by the GradScaler", grouped(skipped)))
    out = {*lenient.mapping(run.summary, "quarantined"), *lenient.texts(guard, "quarantined")}
    found += [("images left out", grouped(len(out)))] if run.summary else []
    found += [("epochs in results.csv", grouped(run.results.rows))] if run.results.rows else []
    for key, value in lenient.mapping(run.summary, "metrics").items():
        number = lenient.number(value)
        if number is not None and key.startswith("metrics/") and len(found) < 12:
            found.append((lenient.text(key).removeprefix("metrics/"), figure(number)))
    return found


def patches(run: RunFolder) -> list[dict[str, str]]:
    """The patches, those that need attention first."""
    found = []
    for name, patch in lenient.mapping(run.summary, "patches").items():
        params = ", ".join(f"{lenient.text(k)}={lenient.text(v)}" for k, v in lenient.mapping(patch, "params").items())
        acted = lenient.count(patch, "counted")
        found.append(
            {
                "name": lenient.text(name),
                "state": lenient.text(patch, "state") or "unknown",
                "reason": lenient.text(patch, "reason"),
                "params": params,
                "acted": grouped(acted) if acted else "",
            }
        )
    order = {state: number for number, state in enumerate(STATES)}
    return sorted(found, key=lambda p: (order.get(p["state"], len(order)), not p["acted"], p["name"]))


def patch_counts(run: RunFolder) -> str:
    """`26 on, 7 fixed`."""
    counts = Counter(lenient.text(patch, "state") for patch in lenient.mapping(run.summary, "patches").values())
    known = [state for state in STATES if counts[state]]
    return ", ".join(f"{counts[state]} {state.replace('-', ' ')}" for state in known)


def dataset_part(run: RunFolder, show: Show, notes: list[str]) -> dict[str, Any] | None:
    """The values of the part about the dataset; None if the run has no readable lint report."""
    try:
        report = lint_of(run)
    except ValueError as error:
        notes.append(f"What lint found cannot be shown: {printable(str(error))[:200]}.")
        return None
    return dataset_page.context(report, show) if report is not None else None


def lint_of(run: RunFolder) -> Report | None:
    """The lint report before the run; None if the run was not linted.

    Raises:
        ValueError: it cannot be read.
    """
    lint = run.summary.get("lint")
    return None if lint is None else Report.from_dict(lint)


def command(run: RunFolder) -> str:
    """The `yolo-nanfix train` command of a run; empty if its arguments are not known.

    The arguments are those that differ from the defaults, from the report, else all of `args.yaml`.
    """
    given = lenient.mapping(run.summary, "arguments") or {k: v for k, v in run.args.items() if v not in (None, "")}
    if not given:
        return ""
    data = lenient.text(run.args, "data") or lenient.text(given, "data") or "data.yaml"
    task = lenient.text(run.args, "task") or lenient.text(given, "task")
    words = ["yolo-nanfix", "train", data, *_options(run), *([f"task={task}"] if task not in ("", "detect") else [])]
    left_out = {*PLACES, *OTHER_MODES, *_of_recipe(run)}
    words += [f"{key}={_value(v)}" for key, v in given.items() if key not in left_out]
    return " ".join(map(shlex.quote, map(lenient.text, words)))


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """The environment of the run, and the guard's settings."""
    environment = lenient.mapping(run.summary, "environment")
    names = {"ultralytics": "Ultralytics", "torch": "torch", "python": "Python", "platform": "platform"}
    found = [("yolo-nanfix", lenient.text(run.summary, "yolo_nanfix"))]
    found += [(names.get(key, key), lenient.text(value)) for key, value in environment.items()]
    found += [("run folder", lenient.text(str(run.path))), ("dataset", lenient.text(run.args, "data"))]
    settings = lenient.mapping(run.summary, "guard", "settings")
    said = ", ".join(f"{lenient.text(key)} {_value(value)}" for key, value in settings.items())
    if off := lenient.text(run.summary, "guard", "off"):
        said = f"off ({off})"
    return [(name, value) for name, value in (*found, ("guard", said)) if value]


def _of_recipe(run: RunFolder) -> set[str]:
    """The training arguments that the recipe of a run sets, and will set again."""
    changes = lenient.entries(run.summary, "recipe", "changes")
    keys = {lenient.text(change, "key") for change in changes if lenient.text(change, "by") != "user"}
    return keys | ({"lr0"} if "learning_rate.cap" in keys else set())


def _options(run: RunFolder) -> list[str]:
    """The options of `yolo-nanfix train` of the run, without those at their defaults if that is known."""
    found = []
    if recipe := lenient.text(run.summary, "recipe", "given"):
        found += ["--recipe", recipe]
    if word := lenient.text(run.summary, "on_fatal"):
        found += ["--on-fatal", word]
    settings = lenient.mapping(run.summary, "guard", "settings")
    if isinstance(run.summary.get("guard"), dict) and "changed" in run.summary["guard"]:
        settings = {key: settings[key] for key in lenient.texts(run.summary, "guard", "changed") if key in settings}
    for key in SETTINGS:
        if value := lenient.text(settings, key):
            found += [f"--{key.replace('_', '-')}", value]
    for key in SWITCHES:
        if isinstance(settings.get(key), bool):
            found.append(f"--{'' if settings[key] else 'no-'}{key.replace('_', '-')}")
    return found


def _value(value: Any) -> str:
    return str(value) if isinstance(value, bool) else lenient.text(value) or str(value)[:200]
