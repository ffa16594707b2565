"""The commands that repeat a run, and what it ran on."""

from __future__ import annotations

import shlex
from typing import Any

from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import RunFolder

PLACES = ("project", "name", "exist_ok", "save_dir", "resume", "mode", "task", "data", "cfg")
"""Arguments that say where a run is written, or that have a place of their own in the command."""
OTHER_MODES = (
    "source", "vid_stride", "stream_buffer", "visualize", "augment", "agnostic_nms", "classes", "retina_masks", "embed",
    "show", "save_frames", "save_txt", "save_conf", "save_crop", "show_labels", "show_conf", "show_boxes", "line_width",
    "format", "keras", "optimize", "int8", "dynamic", "simplify", "opset", "workspace", "nms", "tracker", "conf", "iou",
    "max_det", "half", "dnn", "save_json", "save_hybrid", "quantize", "end2end", "channels_last",
)  # fmt: skip
"""Arguments of prediction, export and validation, which training does not read."""
SETTINGS = (
    "max_bad_in_a_row",
    "quarantine_after",
    "snapshot_every",
    "max_rollbacks",
    "incidents",
    "incident_mb",
    "repair",
)
SWITCHES = ("leave_fp16", "diagnose")


def command(run: RunFolder) -> str:
    """The `yolo-nanfix train` command with the run's arguments; empty if they are not known.

    Those that differ from the defaults of its release where the report tells them, else all of `args.yaml`.
    """
    given = lenient.mapping(run.summary, "arguments") or {k: v for k, v in run.args.items() if v not in (None, "")}
    if not given:
        return ""
    data = lenient.text(run.args, "data") or lenient.text(given, "data") or "data.yaml"
    task = lenient.text(run.args, "task") or lenient.text(given, "task")
    words = ["yolo-nanfix", "train", data, *_options(run), *([f"task={task}"] if task not in ("", "detect") else [])]
    words += [f"{key}={_value(v)}" for key, v in given.items() if key not in PLACES and key not in OTHER_MODES]
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


def _options(run: RunFolder) -> list[str]:
    """The options of `yolo-nanfix train` as the run had them, those at their defaults left out where that is known."""
    found = []
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
    """As Ultralytics' command line reads it."""
    return str(value) if isinstance(value, bool) else lenient.text(value) or str(value)[:200]
