"""Checks that a loaded incident has the form that a diagnosis relies on; incidents come from anybody.

Here, once, every fact that anything reads has its type, and every tensor its shape; the model's yaml has
`model_yaml`. Facts that are not there count as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.diagnosis.forms import (
    CLASSES,
    TEXT,
    Wrong,
    figure,
    identifier,
    listed,
    maybe,
    number,
    one_of,
    plain,
    record,
    shown,
    table,
    text,
    whole,
)
from yolo_nanfix.incident import Incident, NotReadable

THREADS = 1024
"""At most so many threads; the largest machines have some hundred cores."""
WORD = text(200)
PATH = text(4096)
LAYER = listed(lambda value: None if isinstance(value, str) else whole(0, 10_000)(value), 10_000)


def _freeze(value: Any) -> None:
    """`freeze`: how many of the first layers, or which."""
    (LAYER if isinstance(value, list) else whole(0, 10_000))(value)


def _task(value: Any) -> None:
    WORD(value)
    if value and not value.replace("-", "_").isidentifier():
        raise Wrong("is no name of a task")


def _args(value: Any) -> None:
    table(plain, 1000, key=identifier)(value)
    record(
        freeze=_freeze,
        momentum=number,
        data=PATH,
        model=PATH,
        optimizer=WORD,
        **dict.fromkeys(("box", "cls", "dfl", "pose", "kobj", "rle", "angle", "lr0", "nbs", "epochs"), number),
        overlap_mask=figure,
    )(value)


def _names(value: Any) -> None:
    """A list, or a mapping from numbers, which are texts in JSON."""
    form = listed(text(1024), CLASSES) if isinstance(value, list) else table(text(1024), CLASSES, key=_class)
    form(value)


def _class(value: Any) -> None:
    if not isinstance(value, (int, str)) or len(str(value)) > 20:
        raise Wrong(f"has the key {shown(value)}, which is no number of a class")


NUMBERS = table(number)
FACTS: Mapping[str, Any] = {
    "point": WORD,
    "checks": listed(WORD, 20),
    "detail": text(),
    "epoch": whole(),
    "batch": whole(),
    "rank": whole(),
    "number": whole(),
    "task": _task,
    "model": record(
        **{"class": text(1024)},
        yaml=record(),
        ch=whole(),
        nc=whole(0, CLASSES),
        names=_names,
        kpt_shape=listed(whole(1, 10_000), 2),
        kpt_oks_sigmas=listed(number, 10_000),
        class_weights=listed(number, CLASSES),
    ),
    "args": _args,
    "precision": one_of("float32", "float16", "bfloat16", "float64"),
    "loss_scale": number,
    "optimizer": WORD,
    "lr": listed(number),
    "base_lr": number,
    "groups": listed(table(plain)),
    "settings": listed(record(group=whole(), name=WORD, value=lambda value: None, epoch=whole(), step=whole())),
    "callbacks": listed(record(event=WORD, code=PATH)),
    "history": listed(record(loss=number, norm=number)),
    "loss": NUMBERS,
    "sources": listed(
        record(
            file=PATH,
            suspect=text(),
            parents=listed(PATH, 1000),
            on_disk=WORD,
            blamed=listed(PATH, 1000),
            labels=record(file=PATH, rows=listed(text())),
        )
    ),
    "criterion": table(figure),
    "attributes": table(table(figure)),
    "kept": table(record(value=WORD, since=whole())),
    "frozen": listed(WORD),
    "born_non_finite": listed(WORD),
    "other_buffers": listed(WORD),
    "threads": whole(1, THREADS),
    "versions": table(WORD),
    "entries": table(plain, 1000),
    "gradients": record(bad=listed(text(1024)), count=whole(), of=whole(), largest=table(number)),
    "own": record(
        hooks=listed(record(on=text(1024), kind=WORD, code=PATH)),
        replaced=table(PATH),
        edited=table(PATH),
        classes=table(PATH),
        device=WORD,
    ),
    "verdict": record(
        confidence=number,
        lr0=number,
        replays=whole(0, 1 << 31),
        seconds=number,
        **dict.fromkeys(("images", "labels", "evidence", "advice"), listed(text(), 1000)),
        **dict.fromkeys(("cause", "summary", "op", "module", "code", "phase", "tensor", "dtype"), text()),
    ),
    "patches": listed(WORD, 1000),
    "weights": record(sha256=WORD, here=figure),
}
ROWS: Mapping[str, tuple[int, int]] = {"cls": (1, 2), "bboxes": (2, 2), "keypoints": (3, 3)}
"""Entries of a batch with one row an object: how few and how many dimensions they have."""


def check(incident: Incident) -> None:
    """Refuse facts of the wrong type and tensors of the wrong shape.

    Raises:
        NotReadable: the first one that is wrong.
    """
    for key, form in FACTS.items():
        try:
            maybe(form)(incident.facts.get(key))
        except Wrong as wrong:
            place = wrong.inside(key).place
            raise NotReadable(f"'{place[:TEXT]}' {wrong.what}") from None
    for source in incident.facts.get("sources") or ():
        labels = source.get("labels")
        if labels and not ("file" in labels and "rows" in labels):
            raise NotReadable("'sources.labels' must have a file and rows")
    weights = incident.part("model")
    for name, tensor in incident.part("earlier").items():
        if name in weights and weights[name].shape != tensor.shape:
            raise NotReadable(f"its weight '{name[:200]}' has another shape than in its earlier weights")
    _random_state(incident.tensors.get("rng.cpu"))
    _batch(incident.part("batch"))


def _random_state(state: Tensor | None) -> None:
    if state is None:
        return
    try:
        torch.Generator().set_state(state)
    except (RuntimeError, TypeError) as error:
        raise NotReadable("'rng.cpu' is no state of a random number generator") from error


def _batch(batch: Mapping[str, Tensor]) -> None:
    if not batch:
        return
    image = batch.get("img")
    if image is None or image.dim() != 4 or not image.is_floating_point() or not image.numel():
        raise NotReadable(f"its batch.img must be a float tensor of 4 dimensions, but is {_kind(image)}")
    for key in ("masks", "depth"):
        if key in batch and not 2 <= batch[key].dim() <= 4:
            raise NotReadable(f"its batch.{key} is {_kind(batch[key])}")
    index = batch.get("batch_idx")
    if index is None:
        return
    owners = index.reshape(-1)
    if len(owners) and not 0 <= float(owners.min()) <= float(owners.max()) < len(image):
        raise NotReadable(f"its batch.batch_idx points outside of its {len(image)} images")
    for key, (low, high) in ROWS.items():
        rows = batch.get(key)
        if rows is None and key == "keypoints":
            continue
        few = rows is None or not low <= rows.dim() <= high or len(rows) != len(owners)
        if rows is None or few or (key == "bboxes" and len(rows) and rows.shape[1] < 4) or _empty(rows):
            raise NotReadable(f"its batch.{key} is {_kind(rows)}, for {len(owners)} label rows")


def _empty(rows: Tensor) -> bool:
    """Rows without a value."""
    return len(rows) > 0 and not rows.numel()


def _kind(tensor: Tensor | None) -> str:
    if tensor is None:
        return "missing"
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
