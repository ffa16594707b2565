"""Why samples are no good that their batch was seen to be without: from what their files are on disk.

Nothing has to be replayed for it: the sample was looked at where it was made.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from yolo_nanfix.events import Defect, OnDisk, Source
from yolo_nanfix.guard import target_checks
from yolo_nanfix.guard.incident_writer import label_rows
from yolo_nanfix.tasks import option
from yolo_nanfix.verdicts import Cause, Verdict
from yolo_nanfix.wording import sentence

SURE = 0.95
"""The sample was seen, and its files were read again."""
LOOKED = 0.6
"""The sample was seen; its files could not be read again."""
WHOSE = {OnDisk.FINITE: ", though the file is in order", OnDisk.NOT_FINITE: ", as in the file"}
"""How an event goes on that names the first sample."""
STOCK = ("ultralytics.", "torchvision.", "torch.", "albumentations.")


def still(batch: Mapping[str, Any], place: int, defect: Defect | None, nc: int | None) -> bool:
    """Whether a preprocessed batch on the CPU still has what was seen in one of its samples."""
    entry = batch.get("semantic_mask" if defect is Defect.CLASS else "img")
    if not isinstance(entry, Tensor) or not target_checks.on_host(entry) or place >= len(entry):
        return False
    if defect is Defect.CLASS:
        return bool(target_checks.bad_classes(entry[place], nc))
    return entry.is_floating_point() and not bool(entry[place].isfinite().all())


def verdict(sources: tuple[Source, ...], trainer: Any, nc: int | None) -> Verdict:
    """Why samples are no good that were taken out of their batch."""
    labels = any(s.defect is Defect.CLASS for s in sources)
    tensor = "batch.cls" if labels else "batch.img"
    blamed = tuple(dict.fromkeys(file for s in sources for file in s.blamed))
    shown = f"{sources[0].file}: {sources[0].suspect}"
    if blamed and labels:
        places = tuple(place for file in blamed for place in _bad_rows(trainer, file, nc))
        where = places or tuple(f"the labels of {file}" for file in blamed)
        lint = f"yolo-nanfix lint {shlex.quote(str(trainer.args.data))}{option(str(trainer.args.task), None)}"
        advice = tuple(f"correct {place}" for place in where[:5])
        verdict = Verdict(Cause.LABEL, shown, images=blamed, labels=places, confidence=SURE)
        return replace(verdict, advice=advice, commands=(lint,))
    if any(s.on_disk is not OnDisk.FINITE for s in sources):
        advice = ("look at the file and at the code of the dataset",)
        return Verdict(Cause.UNKNOWN, f"{shown}; its file could not be read again", confidence=LOOKED, advice=advice)
    what = "label rows" if labels else "pixels"
    summary = f"augmentation or other code of the dataset spoils {what}: the files themselves are in order"
    evidence = {"data": f"{shown}; read again from disk, it is in order"}
    return Verdict(
        Cause.DEFINITION,
        summary,
        tensor=tensor,
        confidence=SURE,
        evidence=evidence,
        advice=tuple(_advice(trainer)),
    )


def strays(says: str, values: Mapping[str, Any]) -> Verdict:
    """Why a micro-batch is no good whose label rows belong to no image: nothing of the kind stands in a file."""
    summary = f"the code that puts batches together numbers images wrongly: {sentence(says, values)}"
    advice = ("look at collate_fn, and at what changes batch_idx after it",)
    return Verdict(Cause.DEFINITION, summary, tensor="batch.batch_idx", confidence=SURE, advice=advice)


def _advice(trainer: Any) -> Iterator[str]:
    own = list(dict.fromkeys(_own_transforms(getattr(trainer.train_loader, "dataset", None))))
    if own:
        yield f"look at the augmentation of your own: {', '.join(own[:5])}"
    else:
        yield "look at augmentation settings and at code of the dataset and its transforms"


def _own_transforms(dataset: Any) -> Iterator[str]:
    """Transforms that are neither Ultralytics' nor torchvision's."""
    for part in getattr(dataset, "datasets", None) or [dataset]:
        for name in ("transforms", "torch_transforms"):
            held = getattr(part, name, None)
            listed: Iterable[Any] = getattr(held, "transforms", None) or ([held] if callable(held) else [])
            for transform in listed:
                kind = type(transform)
                if not f"{kind.__module__}.".startswith(STOCK):
                    yield f"{kind.__module__}.{kind.__qualname__}"


def _bad_rows(trainer: Any, image: str, nc: int | None) -> Iterator[str]:
    """The rows (`file:line`) of an image's label file whose class does not exist."""
    found = label_rows(trainer, image)
    for number, row in enumerate(found["rows"] if found else (), 1):
        try:
            cls = float(row.split()[0])
        except (ValueError, IndexError):
            continue
        if found and not (nc is None or 0 <= cls < nc):
            yield f"{Path(found['file'])}:{number}"
