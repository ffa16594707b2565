"""Reads an incident that may come from anybody, and refuses it unless it has the types and shapes a diagnosis needs.

`FACTS` has the type of every fact, `check_incident` checks the shapes of tensors, `model_yaml` the model's yaml.
Missing facts count as unknown. A `Form` checks one value, and raises what is wrong with it, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import wording
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.incident import Incident, NotReadable, load_incident, newest

CLASSES = 100_000
"""Most classes."""
TEXT = 1 << 16
"""Longest text, in characters."""
MOST_ENTRIES = 100_000
"""Most entries of a list or mapping."""
INT64 = 2**63
NESTED = 8


class Wrong(Exception):  # noqa: N818 - becomes NotReadable where the place is known
    """What is wrong, and at which place in the facts."""

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(what)
        self.what, self.place = what, place

    def inside(self, key: object) -> Wrong:
        """The same with a place that begins with `key`."""
        return Wrong(self.what, f"{key}.{self.place}" if self.place else f"{key}")


Form = Callable[[Any], Any]
"""Checks a value; raises `Wrong`."""
shown = partial(wording.shown, most=60)


def text_of(most: int = TEXT) -> Form:
    """Text of at most so many characters."""

    def look(value: Any) -> None:
        if not isinstance(value, str):
            raise Wrong(f"must be a text, not {shown(value)}")
        if len(value) > most:
            raise Wrong(f"is a text of {len(value)} characters; at most {most} are read")

    return look


def number(value: Any) -> None:
    """A number of at most 64 bits, also a non-finite one; no bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Wrong(f"must be a number, not {shown(value)}")
    if isinstance(value, int) and abs(value) >= INT64:
        raise Wrong("is a number of more than 64 bits")


def figure(value: Any) -> None:
    """A number or a bool."""
    if not isinstance(value, bool):
        number(value)


def requirement(what: str, fits: Callable[[Any], Any]) -> Form:
    """Values that fit, and what they are in words; it returns the value."""

    def look(value: Any) -> Any:
        if not fits(value):
            raise Wrong(f"must be {what}, not {shown(value)}")
        return value

    return look


def whole_number(low: int = -INT64, high: int = INT64) -> Form:
    """A whole number from `low` to `high`."""
    span = f" from {low} to {high}" if high < INT64 else ""
    return requirement(f"a whole number{span}", lambda value: type(value) is int and low <= value <= high)


def one_of(*values: str) -> Form:
    """One of the given texts."""
    return requirement(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def maybe(form: Form) -> Form:
    """Values of a form, or None."""

    def look(value: Any) -> None:
        if value is not None:
            form(value)

    return look


def list_of(form: Form, most: int = MOST_ENTRIES) -> Form:
    """A list of at most `most` entries of a form."""

    def look(value: Any) -> None:
        if not isinstance(value, (list, tuple)):
            raise Wrong(f"must be a list, not {shown(value)}")
        if len(value) > most:
            raise Wrong(f"has {len(value)} entries; at most {most} are read")
        for place, entry in enumerate(value):
            _at(place, form, entry)

    return look


def table(form: Form, most: int = MOST_ENTRIES, key: Form | None = None) -> Form:
    """A mapping of at most `most` texts to values of a form."""
    key = key or text_of(1024)

    def look(value: Any) -> None:
        _check_mapping(value, most)
        for name, entry in value.items():
            key(name)
            _at(name, form, entry)

    return look


def record(**forms: Form) -> Form:
    """A mapping whose named entries have forms, where they exist; others are not read."""

    def look(value: Any) -> None:
        _check_mapping(value, MOST_ENTRIES)
        for name, form in forms.items():
            if value.get(name) is not None:
                _at(name, form, value[name])

    return look


def any_json(value: Any, depth: int = 0) -> None:
    """Whatever JSON holds, not too deep, and with numbers of at most 64 bits."""
    if depth > NESTED:
        raise Wrong(f"is nested deeper than {NESTED}")
    if isinstance(value, Mapping):
        table(lambda entry: any_json(entry, depth + 1))(value)
    elif isinstance(value, (list, tuple)):
        list_of(lambda entry: any_json(entry, depth + 1))(value)
    elif isinstance(value, str):
        text_of()(value)
    elif value is not None:
        figure(value)


def identifier(value: Any) -> None:
    """The name of a Python attribute without leading double underscores."""
    if not isinstance(value, str) or not value.isidentifier() or value.startswith("__") or len(value) > 64:
        raise Wrong(f"has the key {shown(value)}, which is no name")


def _check_mapping(value: Any, most: int) -> None:
    if not isinstance(value, Mapping):
        raise Wrong(f"must be a mapping, not {shown(value)}")
    if len(value) > most:
        raise Wrong(f"has {len(value)} entries; at most {most} are read")


def _at(place: object, form: Form, value: Any) -> None:
    try:
        form(value)
    except Wrong as wrong:
        raise wrong.inside(place if len(str(place)) < 60 else f"{str(place)[:59]}…") from None


THREADS = 1024
"""Most threads; the largest machines have some hundred cores."""
WORD = text_of(200)
PATH = text_of(4096)
LAYER = list_of(lambda value: None if isinstance(value, str) else whole_number(0, 10_000)(value), 10_000)


def _freeze(value: Any) -> None:
    """`freeze`: how many of the first layers, or which."""
    (LAYER if isinstance(value, list) else whole_number(0, 10_000))(value)


def _task_name(value: Any) -> None:
    WORD(value)
    if value and not value.replace("-", "_").isidentifier():
        raise Wrong("is no name of a task")


def _args(value: Any) -> None:
    table(any_json, 1000, key=identifier)(value)
    record(
        freeze=_freeze,
        momentum=number,
        data=PATH,
        model=PATH,
        optimizer=WORD,
        **dict.fromkeys(("box", "cls", "dfl", "pose", "kobj", "rle", "angle", "lr0", "nbs", "epochs"), number),
        overlap_mask=figure,
    )(value)


def _class_names(value: Any) -> None:
    """A list, or a mapping from numbers, which are texts in JSON."""
    form = list_of(text_of(1024), CLASSES) if isinstance(value, list) else table(text_of(1024), CLASSES, key=_class)
    form(value)


def _class(value: Any) -> None:
    if not isinstance(value, (int, str)) or len(str(value)) > 20:
        raise Wrong(f"has the key {shown(value)}, which is no number of a class")


NUMBERS = table(number)
FACTS: Mapping[str, Any] = {
    "point": WORD,
    "checks": list_of(WORD, 20),
    "detail": text_of(),
    "epoch": whole_number(),
    "batch": whole_number(),
    "rank": whole_number(),
    "number": whole_number(),
    "task": _task_name,
    "model": record(
        **{"class": text_of(1024)},
        yaml=record(),
        ch=whole_number(),
        nc=whole_number(0, CLASSES),
        names=_class_names,
        kpt_shape=list_of(whole_number(1, 10_000), 2),
        kpt_oks_sigmas=list_of(number, 10_000),
        class_weights=list_of(number, CLASSES),
    ),
    "args": _args,
    "precision": one_of("float32", "float16", "bfloat16", "float64"),
    "loss_scale": number,
    "optimizer": WORD,
    "lr": list_of(number),
    "base_lr": number,
    "groups": list_of(table(any_json)),
    "settings": list_of(
        record(group=whole_number(), name=WORD, value=lambda value: None, epoch=whole_number(), step=whole_number())
    ),
    "callbacks": list_of(record(event=WORD, code=PATH)),
    "history": list_of(record(loss=number, norm=number)),
    "loss": NUMBERS,
    "sources": list_of(
        record(
            file=PATH,
            suspect=text_of(),
            parents=list_of(PATH, 1000),
            on_disk=WORD,
            blamed=list_of(PATH, 1000),
            labels=record(file=PATH, rows=list_of(text_of())),
        )
    ),
    "criterion": table(figure),
    "attributes": table(table(figure)),
    "kept": table(record(value=WORD, since=whole_number())),
    "frozen": list_of(WORD),
    "born_non_finite": list_of(WORD),
    "other_buffers": list_of(WORD),
    "threads": whole_number(1, THREADS),
    "versions": table(WORD),
    "entries": table(any_json, 1000),
    "gradients": record(bad=list_of(text_of(1024)), count=whole_number(), of=whole_number(), largest=table(number)),
    "own": record(
        hooks=list_of(record(on=text_of(1024), kind=WORD, code=PATH)),
        replaced=table(PATH),
        edited=table(PATH),
        classes=table(PATH),
        device=WORD,
    ),
    "verdict": record(
        confidence=number,
        lr0=number,
        replays=whole_number(0, 1 << 31),
        seconds=number,
        evidence=table(text_of(), 1000),
        **dict.fromkeys(("images", "labels", "advice", "commands"), list_of(text_of(), 1000)),
        **dict.fromkeys(("cause", "summary", "op", "module", "code", "phase", "tensor", "dtype"), text_of()),
    ),
    "patches": list_of(WORD, 1000),
}
ROW_DIMENSIONS: Mapping[str, tuple[int, int]] = {"cls": (1, 2), "bboxes": (2, 2), "keypoints": (3, 3)}
"""Entries of a batch with one row an object: least and most dimensions."""


def check_incident(incident: Incident) -> None:
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
        raise NotReadable(f"its batch.img must be a float tensor of 4 dimensions, but is {_tensor_kind(image)}")
    for key in ("masks", "depth"):
        if key in batch and not 2 <= batch[key].dim() <= 4:
            raise NotReadable(f"its batch.{key} is {_tensor_kind(batch[key])}")
    index = batch.get("batch_idx")
    if index is None:
        return
    owners = index.reshape(-1)
    if len(owners) and not 0 <= float(owners.min()) <= float(owners.max()) < len(image):
        raise NotReadable(f"its batch.batch_idx points outside of its {len(image)} images")
    for key, (low, high) in ROW_DIMENSIONS.items():
        rows = batch.get(key)
        if rows is None and key == "keypoints":
            continue
        if (
            rows is None
            or not low <= rows.dim() <= high
            or len(rows) != len(owners)
            or (len(rows) and (not rows.numel() or (key == "bboxes" and rows.shape[1] < 4)))
        ):
            raise NotReadable(f"its batch.{key} is {_tensor_kind(rows)}, for {len(owners)} label rows")


def _tensor_kind(tensor: Tensor | None) -> str:
    if tensor is None:
        return "missing"
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


NOT_REPLAYED = ("compat-torch-load",)
"""Patches that no replay needs: they change how checkpoints are loaded, and a replay loads none."""


@contextmanager
def received(path: str | Path) -> Iterator[Incident]:
    """The incident of a file, or the newest of a run folder, checked; errors inside the block name the file, too.

    Raises:
        DataError: it does not exist, or cannot be replayed here.
        NotReadable: it does not have the form of an incident.
    """
    file = newest(path)
    incident = load_incident(file)
    try:
        check_incident(incident)
        yield incident
    except NotReadable as error:
        raise NotReadable(error.what, file) from error
    except UsageError as error:
        raise DataError(f"{file}: {error}") from error


def replayed_patches(incident: Incident) -> tuple[str, ...] | None:
    """The patches under which its run trained, without those that no replay needs; None if not recorded."""
    names = incident.facts.get("patches")
    return None if names is None else tuple(name for name in names if name not in NOT_REPLAYED)
