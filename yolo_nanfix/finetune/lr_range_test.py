"""The learning rate range test with the user's own trainer, data, augmentation and optimizer. It writes nothing."""

from __future__ import annotations

import logging
import math
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yolo_nanfix import api, files, stopping, training, upstream
from yolo_nanfix.errors import DataError, NanfixError, UsageError
from yolo_nanfix.json_values import JsonValue
from yolo_nanfix.numerics.finite import first_not_finite
from yolo_nanfix.numerics.lr_range import Curve, Suggestion, Sweep, group_ratios, set_rate, suggest
from yolo_nanfix.overrides import NO_OVERRIDES, Overrides

OURS = {
    "project": "a temporary folder is used",
    "name": "a temporary folder is used",
    "resume": "start from the weights with model=last.pt instead",
    "lr0": "it is what lr-find looks for",
}
"""Training arguments that are refused, and why."""
PATIENCE = 50
"""Give up after this many non-finite batches in a row, or batches beyond `nbs` without an optimizer step."""
BRIGHTEST = 65504.0
"""Pixels beyond it (images are scaled to 0 to 1) overflow in float16, and in float32 soon after."""


@dataclass(frozen=True)
class LrReport(JsonValue):
    """The result of a range test: the suggestion, the curve, and how to train with it.

    Attributes:
        optimizer: the class that trained (`AdamW`).
        automatic: whether Ultralytics chose it, for `optimizer=auto`.
        default_lr: the rate that training would have used, by `optimizer=auto` or Ultralytics' default `lr0`.
        suggestion, curve: see `numerics.lr_range`.
        arguments: what to add to the training command; with `optimizer=auto` Ultralytics ignores `lr0`, so they name
            the optimizer, with the settings that the automatic choice would have made.
        groups: name of each parameter group and its multiple of the learning rate.
        left_out: image files of the batches that were non-finite and so were not trained on.
        batches_left_out: the number of these batches.
        micro_batches: batches per optimizer step (`nbs / batch`).
        seconds: how long the test took.
        settings: the settings files in force, and what they change.
    """

    optimizer: str
    automatic: bool
    default_lr: float
    suggestion: Suggestion
    curve: Curve
    arguments: Mapping[str, Any]
    groups: tuple[tuple[str, float], ...] = ()
    left_out: tuple[str, ...] = ()
    batches_left_out: int = 0
    micro_batches: int = 1
    seconds: float = field(default=0.0, compare=False)
    settings: Overrides = NO_OVERRIDES

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        curve = {"rates": self.curve.rates, "losses": self.curve.losses, "smoothed": self.curve.smoothed}
        groups = [{"name": name, "multiple": multiple} for name, multiple in self.groups]
        return {**super().as_dict(), "curve": curve, "groups": groups}


class _Enough(Exception):  # noqa: N818 - control flow out of Ultralytics' training loop
    """The sweep is done."""


def lr_find(
    data: str | Path,
    *,
    steps: int = 100,
    min_lr: float = 1e-6,
    max_lr: float = 10.0,
    trust_dataset_settings: bool = False,
    progress: api.Progress | None = None,
    **arguments: Any,
) -> LrReport:
    """Train for some steps at growing rates in a temporary folder, and suggest a rate from the losses.

    Args:
        data: data.yaml, as for training.
        steps: optimizer steps, unless the loss diverges before.
        min_lr, max_lr: the first and the last rate; they grow exponentially.
        trust_dataset_settings: treat settings files that came with the dataset as your own.
        progress: called with (steps done, steps, what).
        arguments: Ultralytics' training arguments (`model`, `imgsz`, `batch`, `optimizer`, ...); `optimizer=auto`
            depends on `epochs`. Warm-up is off.

    Raises:
        UsageError: an argument, the model or the dataset cannot be used.
        NanfixError: the data gives no batch to train on.
    """
    _refuse_impossible(data, arguments)
    if steps < 10:
        raise UsageError(f"steps must be at least 10, not {steps}")
    try:
        plan = Sweep(min_lr, max_lr, steps)
    except ValueError as error:
        raise UsageError(f"not 0 < min_lr < max_lr: {error}") from error
    trust = {"data": data, "trust_dataset_settings": trust_dataset_settings}
    began, place = time.monotonic(), Path(tempfile.gettempdir()) / "yolo-nanfix-lr"
    with api.prepared(**trust):
        training.check_arguments({**arguments, "data": str(data)})
        model = training.load_model(arguments.get("model"), arguments.get("task"))
        probe = _Probe(plan, progress, arguments.get("optimizer", "auto"))
        for event in ("on_train_start", "on_train_batch_start", "on_train_batch_end"):
            model.add_callback(event, getattr(probe, event))
        with files.folder(place, 0o700) as folder, _quiet(), api.unguarded(**trust) as status:
            try:
                training.start(model, _quiet_arguments(data, str(folder), arguments))
            except _Enough:
                pass
            except (RuntimeError, OSError, ValueError) as error:
                if probe.trainer is not None:
                    raise
                raise DataError(f"{data}: training cannot start: {' '.join(str(error).split())}") from error
            finally:
                probe.close()
    return replace(probe.report(time.monotonic() - began), settings=status.settings)


def _refuse_impossible(data: str | Path, arguments: Mapping[str, Any]) -> None:
    """Check the arguments and data.yaml before a model is loaded or downloaded."""
    from yolo_nanfix.dataset.config import read_config

    for name in OURS:
        if name in arguments:
            raise UsageError(f"{name} cannot be given to lr-find: {OURS[name]}")
    if "," in str(arguments.get("device", "")):
        raise UsageError(f"lr-find trains on one device, not on device={arguments['device']}")
    if Path(data).suffix in (".yaml", ".yml"):
        config = read_config(data)
        lost = next((one for one in config.astray if one.key != "test"), None)
        if lost is not None or not config.splits["val"]:
            what = f"'{lost.key}' leads to {lost.looked}, where nothing is" if lost is not None else "'val' is empty"
            raise DataError(f"{config.yaml_file}: {what}; yolo-nanfix lint {shlex.quote(str(data))} says what to write")


def _quiet_arguments(data: str | Path, folder: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The user's arguments, without those that write files, validate, warm up or end early."""
    quiet = {"project": folder, "name": "run", "exist_ok": True, "save": False, "plots": False, "val": False}
    theirs = {k: v for k, v in arguments.items() if k != "time" and (k, v) != ("cache", "disk")}
    return {**theirs, **quiet, "warmup_epochs": 0, "verbose": False, "data": str(data)}


@contextmanager
def _quiet() -> Iterator[None]:
    """In a `with` block, Ultralytics logs warnings only and writes no `labels.cache` (before 8.0.200 it still does)."""

    def set_version_only(prefix: str, path: Path, x: dict[str, Any], version: str) -> None:
        x["version"] = version  # which the caller reads

    logger = logging.getLogger("ultralytics")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with upstream.swapped("ultralytics.data.utils:save_dataset_cache_file", set_version_only):
            yield
    finally:
        logger.setLevel(level)


class _Probe:
    """Drives a trainer through the sweep by its callbacks, and leaves the training loop when it is done.

    The loss of a rate is the mean over the micro-batches after the step at that rate.
    """

    def __init__(self, plan: Sweep, progress: api.Progress | None, optimizer: str) -> None:
        self.plan, self.progress = plan, progress
        self.automatic = str(optimizer).lower() == "auto"
        self.trainer: Any = None
        self.left_out: dict[str, None] = {}
        self.batches_left_out = 0
        self._good: Any = None
        self._stepped = 0
        self._new_step = False
        self._since: list[float] = []

    def on_train_start(self, trainer: Any) -> None:
        """Hook batches and optimizer steps, and let the epochs go on without end."""
        self.trainer = trainer
        self.micro_batches = int(trainer.accumulate)
        self.ratios = group_ratios(trainer.optimizer)
        self.default_lr = min(float(group["initial_lr"]) for group in trainer.optimizer.param_groups)
        trainer.epochs = 10**9
        preprocess = trainer.preprocess_batch
        trainer.preprocess_batch = lambda batch: self._usable(preprocess(batch), preprocess)
        trainer.optimizer.register_step_post_hook(lambda *_: setattr(self, "_new_step", True))

    def on_train_batch_start(self, trainer: Any) -> None:
        """Set the rate of the next step."""
        stopping.raise_if_stopped()
        planned = self.plan.planned
        set_rate(trainer.optimizer, self.ratios, planned[min(self._stepped, len(planned) - 1)])

    def on_train_batch_end(self, trainer: Any) -> None:
        """Record the loss; after an optimizer step, the mean since the one before, as the loss of that one's rate."""
        items = trainer.loss_items
        values = list(items.values()) if isinstance(items, Mapping) else items.reshape(-1).tolist()
        total = sum(float(value) for value in values)  # the mean over the images: the last batch may be smaller
        self._since.append(total if math.isfinite(float(trainer.loss.detach())) else math.nan)
        if not math.isfinite(self._since[-1]) or len(self._since) > PATIENCE + self.micro_batches:
            self.plan.record(math.nan)
        elif self._new_step:
            if self._stepped:
                self.plan.record(sum(self._since) / len(self._since))
            self._stepped += 1
            self._new_step, self._since = False, []
        if self.progress:
            self.progress(min(self._stepped, len(self.plan.planned)), len(self.plan.planned), "learning rates")
        if self.plan.done:
            raise _Enough

    def _usable(self, batch: Any, preprocess: Any) -> Any:
        """The batch; in place of a non-finite one the last good one, or the next."""
        for _ in range(PATIENCE):
            if _sane(batch):
                self._good = batch
                return batch
            self.batches_left_out += 1
            self.left_out.update(dict.fromkeys(map(str, batch.get("im_file", ()))))
            if self._good is not None:
                return self._good
            batch = preprocess(next(iter(self.trainer.train_loader)))
        raise NanfixError(
            f"the first {PATIENCE} batches hold NaN, Inf or pixels beyond all scale; run: yolo-nanfix lint"
        )

    def close(self) -> None:
        """End the dataloader's workers, as the trainer would at its own end."""
        for loader in ("train_loader", "test_loader"):
            if close := getattr(getattr(self.trainer, loader, None), "close", None):
                close()

    def report(self, seconds: float) -> LrReport:
        """The result of the sweep."""
        optimizer, curve = self.trainer.optimizer, self.plan.curve()
        name = type(optimizer).__name__
        suggestion = suggest(curve, name)
        arguments: dict[str, Any] = {"lr0": float(f"{suggestion.lr:.2g}")} if suggestion.lr else {}
        if self.automatic and arguments:
            group = optimizer.param_groups[0]
            momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
            arguments |= {"optimizer": name, "momentum": momentum, "warmup_bias_lr": self.trainer.args.warmup_bias_lr}
        groups = list(zip(optimizer.param_groups, self.ratios, strict=True))
        named = [(str(g.get("param_group", i)), ratio) for i, (g, ratio) in enumerate(groups) if g["params"]]
        return LrReport(
            optimizer=name,
            automatic=self.automatic,
            default_lr=self.default_lr,
            suggestion=suggestion,
            curve=curve,
            arguments=arguments,
            groups=tuple(named),
            left_out=tuple(self.left_out),
            batches_left_out=self.batches_left_out,
            micro_batches=self.micro_batches,
            seconds=seconds,
        )


def _sane(batch: Mapping[str, Any]) -> bool:
    """Whether pixels and labels of a batch are finite, and pixels within the range of float16."""
    names = ("img", "bboxes", "cls", "keypoints")
    tensors = [(name, batch[name]) for name in names if hasattr(batch.get(name), "isfinite")]
    return first_not_finite(tensors) is None and float(batch["img"].abs().max()) <= BRIGHTEST
