"""Run folders: reports, curves, arguments and incidents with odd values, for `report`, `compare` and `diagnose`."""

from __future__ import annotations

import json
import random
import shutil
from typing import Any

import numpy as np
import yaml
from fuzz_core import Box, Case, picture, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, mutated, number, text
from safetensors.numpy import save

STEPS = """step,epoch,batch,box_loss,cls_loss,dfl_loss,loss,grad_norm,loss_scale,lr
1,1,1,2.12013,1.50293,1.2706,19.5746,4.32558,,0
2,1,2,0.361774,0.535863,0.211693,NaN,2.87565,65536,0.00333333
"""
RESULTS = """epoch,time,train/box_loss,train/cls_loss,metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,lr/pg0
1,0.79,1.24,1.01,0.1,0.05,0.06,0.0066
2,1.48,2.02,1.41,0.2,0.1,nan,0.005
"""
ARGUMENTS = {
    "task": "detect",
    "mode": "train",
    "model": "yolov8n.pt",
    "data": "set/data.yaml",
    "epochs": 2,
    "lr0": 0.01,
}
IMAGE = "set/images/train/a.jpg"
VERDICT = {
    "cause": "data", "summary": f"{IMAGE}: 126 pixel values are not finite", "evidence": {"replay": "one", "data": "b"},
    "images": [IMAGE], "labels": ["set/labels/train/a.txt:1"], "module": "model.0", "operation": "conv2d",
    "setting": "", "advice": ["fix it"], "next": "yolo-nanfix lint", "incident": "0001-00003-loss.safetensors",
}  # fmt: skip
EVENT = {
    "point": "after-loss", "checks": ["loss", "pixels"], "epoch": 1, "batch": 3, "step": 3, "level": "error",
    "detail": "loss not finite", "says": "loss not finite", "values": {}, "actions": [{"did": "dropped", "count": 1}],
    "incident": "0001-00003-loss.safetensors", "sources": [{"file": IMAGE, "suspect": "nan"}], "ranks": [],
}  # fmt: skip
FINDING = {
    "code": "IM011", "name": "pixel-nan", "severity": "fatal", "effect": "poisons", "split": "train", "image": IMAGE,
    "place": {"file": IMAGE, "pixel": [28, 28, 0]}, "message": "192 NaN pixel values", "fix": "Replace NaN.",
    "because": None, "values": {}, "related": [],
}  # fmt: skip
REPORT: dict[str, Any] = {
    "yolo_nanfix": "0.1.0", "outcome": "finished", "state": "degraded", "healthy": False,
    "reasons": ["2 of 6 micro-batches dropped"],
    "lost": [{"kind": "micro-batches", "state": "degraded", "count": 2, "of": 6, "epochs": []}],
    "environment": {"python": "3.11.7", "platform": "Linux", "torch": "2.4.0", "ultralytics": "8.4.190"},
    "patches": {"clip-spreads-nan": {"state": "on", "reason": "text known", "params": {}, "counted": 1}},
    "on_fatal": "ignore", "quarantined": {IMAGE: [FINDING]}, "not_linted": "",
    "lint": {
        "data": "set/data.yaml", "root": "set", "given_root": "", "task": "detect", "exit_code": 1, "known": 0,
        "basis": {"kind": "asked", "guess": "detect", "numbers": {"files": 16}}, "fixed": None,
        "counts": {"train": {"images": 12, "labels": 12, "rows": 30, "kept": 12, "dropped": 0}},
        "findings": [FINDING], "skipped": [{"code": "CF010", "why": "other-task"}],
    },
    "left": {"train": {"images": 12, "dropped": 0, "aside": 0, "kept": 12, "background": 0}},
    "guard": {
        "settings": {"max_bad_in_a_row": 10, "repair": "state"}, "micro_batches": 6, "dropped_micro_batches": 2,
        "steps_taken": 4, "steps_refused": 2, "rollbacks": 0, "learning_rate_times": 1.0, "epochs_without_step": [],
        "quarantined": [IMAGE], "unreadable": {"x.jpg": "gone"}, "verdicts": [VERDICT], "events": [EVENT, EVENT],
        "changed": {"repair": "state"}, "ema_nan": [1], "resumed_after_epochs": [],
    },
    "trackers": {"tensorboard": {"given": 2}}, "arguments": {"epochs": 2, "lr0": 0.01, "model": "yolov8n.pt"},
    "metrics": {"metrics/mAP50(B)": 0.1, "fitness": "nan"},
    "paths": {"save_dir": "run", "last": "run/weights/last.pt", "report": "run/yolo-nanfix.json"},
}  # fmt: skip
FACTS: dict[str, Any] = {
    "format": 1, "point": "after-loss", "checks": ["loss", "pixels"], "epoch": 1, "batch": 3, "step": 3, "rank": -1,
    "detail": "loss not finite", "task": "detect", "precision": "float32", "loss": {"box_loss": float("nan")},
    "model": {"class": "ultralytics.nn.tasks:DetectionModel", "yaml": {"nc": 2}, "nc": 2, "ch": 3, "names": {"0": "a"}},
    "args": ARGUMENTS, "optimizer": "SGD", "lr": [0.01], "base_lr": 0.01, "groups": [{"lr": 0.01}],
    "history": [{"loss": 19.5, "norm": None}], "entries": {"im_file": [IMAGE]}, "gradients": None,
    "sources": [{"file": IMAGE, "suspect": "", "parents": [], "on_disk": "not-finite", "blamed": [IMAGE],
                 "labels": {"file": "set/labels/train/a.txt", "rows": ["0 0.5 0.5 0.1 0.1"]}}],
}  # fmt: skip


def incident(facts: Any) -> bytes:
    """A small incident, without weights."""
    images = np.full((1, 3, 8, 8), 0.5, np.float32)
    images[0, 0, 3, 3] = np.nan
    batch = {"img": images, "bboxes": np.full((1, 4), 0.5, np.float32), "cls": np.zeros((1, 1), np.float32)}
    batch["batch_idx"] = np.zeros(1, np.float32)
    named = {f"batch.{key}": value for key, value in batch.items()}
    return bytes(save(named, metadata={"yolo-nanfix": json.dumps(facts)}))


def make(box: Box, rng: random.Random, *, diagnosed: bool = False) -> Case:
    """One case; `diagnosed`: its newest incident is."""
    run = box.case / "run"
    files: dict[str, bytes | str] = {
        "yolo-nanfix.json": json.dumps(REPORT),
        "yolo-nanfix.csv": STEPS,
        "results.csv": RESULTS,
        "args.yaml": yaml.safe_dump(ARGUMENTS),
        "incidents/0001-00003-loss.safetensors": incident(FACTS),
        "train_batch0.jpg": picture(),
    }
    put(run, files)
    put(box.case, {IMAGE: picture()})
    name = rng.choice(sorted(files))
    file = run / name
    way = rng.randrange(8)
    if way == 0:
        odd(file, rng, box)
    elif way == 1:
        file.write_bytes(damaged(file.read_bytes(), rng))
    elif name.endswith(".json"):
        file.write_bytes(encoded(_json(mutated(REPORT, rng, box, 5)), rng))
    elif name.endswith(".yaml"):
        file.write_bytes(encoded(_json(mutated(ARGUMENTS, rng, box, 5)), rng))
    elif name.endswith(".csv"):
        file.write_bytes(encoded(cells(STEPS if "nanfix" in name else RESULTS, rng, box), rng))
    elif name.endswith(".safetensors"):
        file.write_bytes(incident(_plain(mutated(FACTS, rng, box, 5))))
    else:
        (run / "yolo-nanfix.json").write_text(_json(mutated(REPORT, rng, box, 20)))
    as_json = ["--json"] if rng.random() < 0.3 else []
    if diagnosed:
        return Case([["diagnose", "run", *as_json]])
    way = rng.randrange(10)
    if way < 7:
        return Case([["report", "run", *as_json]], writes=("run/yolo-nanfix.html",))
    if way < 9:
        shutil.copytree(run, box.case / "other", symlinks=True, ignore=shutil.ignore_patterns("*.safetensors"))
        return Case([["compare", "run", "other", *as_json]], writes=("yolo-nanfix-compare.html",))
    odd_place = rng.choice(("run/yolo-nanfix.json", ".", "run/..", "run/incidents"))
    return Case([["report", odd_place, "-o", "out"]], writes=("out",))


def _json(document: Any) -> str:
    try:
        return json.dumps(document)
    except (RecursionError, TypeError):
        return "[" * 3000


def _plain(document: Any) -> Any:
    """What JSON can hold; a shallow stand-in for what is nested too deeply."""
    try:
        json.dumps(document)
    except (RecursionError, TypeError):
        return {}
    return document


def cells(table: str, rng: random.Random, box: Box) -> str:
    """A table with other cells, rows and columns."""
    rows = [line.split(",") for line in table.splitlines()]
    for _ in range(rng.randint(1, 5)):
        row = rng.choice(rows)
        at = rng.randrange(len(row)) if row else 0
        way = rng.randrange(6)
        if way == 0 and row:
            row[at] = text(rng, box)
        elif way < 3 and row:
            row[at] = repr(number(rng))
        elif way == 3 and row:
            del row[at]
        elif way == 4:
            row += ["1"] * rng.choice((1, 3, 3000))
        else:
            rows += [list(row)] * rng.choice((1, 3, 3000))
    return "\n".join(",".join(row) for row in rows) + rng.choice(("\n", "", "\n\n"))
