"""Faults that strike while training runs, each as a trainer subclass of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
import zoo_fault_state
from torch import Tensor

LABELS = ("cls", "bboxes", "batch_idx")


def _clocked(base: type, fault: Mapping[str, Any]) -> type:
    """A trainer that knows the number of its micro-batch and calls `plant` where the fault is due."""

    class Clocked(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.batch_number = self.strikes = 0
            self.faulty = False
            self.planted: list[str] = []
            self.add_callback("on_train_epoch_start", lambda trainer: setattr(trainer, "batch_number", 0))
            self.add_callback("on_train_start", lambda trainer: trainer.prepare())

        def prepare(self) -> None:
            """Called once everything is set up."""

        def plant(self, batch: Any) -> None:
            """Called for each micro-batch that is to be faulty, before its forward pass."""

        def preprocess_batch(self, batch: Any) -> Any:
            batch = super().preprocess_batch(batch)
            self.batch_number += 1
            self.faulty = self.due()
            if self.faulty:
                self.strikes += 1
                self.planted.extend(map(str, batch.get("im_file", ())[:1]))
                self.plant(batch)
            return batch

        def due(self) -> bool:
            if self.strikes >= fault["limit"] or (fault["while"] == "amp" and not self.amp):
                return False
            here = {"epoch": int(self.epoch) + 1, "batch": self.batch_number}
            count = {"epoch": int(self.epochs), "batch": len(self.train_loader)}
            return any(all(_meets(at[k], here[k], count[k]) for k in here) for at in fault["at"])

    return Clocked


def _meets(wanted: int | str, here: int, count: int) -> bool:
    numbers = {"first": 1, "middle": (count + 1) // 2, "last": count, "each": here}
    return here == numbers.get(wanted, wanted)  # type: ignore[call-overload]


def pixels(base: type, fault: Mapping[str, Any]) -> type:
    """One pixel of the first image of the preprocessed micro-batch, or with `share` 1 all of them."""

    class Pixels(_clocked(base, fault)):  # type: ignore[misc]
        def plant(self, batch: Any) -> None:
            where = batch["img"][0] if fault["share"] else batch["img"][0, 0, 0, :1]
            where.fill_(float(fault["value"]))

    return Pixels


def targets(base: type, fault: Mapping[str, Any]) -> type:
    """The first row of a target tensor: its first values become those given."""

    class Targets(_clocked(base, fault)):  # type: ignore[misc]
        def plant(self, batch: Any) -> None:
            row = batch[fault["key"]][0].view(-1)
            values = torch.tensor([float(v) for v in fault["values"]])
            row[: len(values)] = values

    return Targets


def activation(base: type, fault: Mapping[str, Any]) -> type:
    """What one module gives out: one value replaced, or all of it multiplied and divided again, as a module
    of a user's own does that leaves the range of float16 in between. `background` takes the objects away."""

    class Activation(_clocked(base, fault)):  # type: ignore[misc]
        def plant(self, batch: Any) -> None:
            for key in LABELS if fault["background"] else ():
                batch[key] = batch[key][:0]

        def prepare(self) -> None:
            def hook(module: Any, inputs: Any, output: Tensor) -> Tensor | None:
                if not (self.faulty and module.training):
                    return None
                output = output * fault["factor"] / fault["factor"]
                if fault["value"] is not None:
                    output.view(-1)[0] = float(fault["value"])
                return output

            self.model.get_submodule(fault["module"]).register_forward_hook(hook)

    return Activation


def gradient(base: type, fault: Mapping[str, Any]) -> type:
    """The gradient at a module's output times the value, in the backward pass of a micro-batch with a finite loss."""

    class Gradient(_clocked(base, fault)):  # type: ignore[misc]
        def prepare(self) -> None:
            def spoil(grad: Tensor) -> Tensor:
                return grad * float(fault["value"])

            def hook(module: Any, inputs: Any, output: Tensor) -> None:
                if self.faulty and output.requires_grad:
                    output.register_hook(spoil)

            self.model.get_submodule(fault["module"]).register_forward_hook(hook)

    return Gradient


class _ExtraTerm:
    """A user's loss: Ultralytics' own, and one term more that leaves the domain of its function in some steps."""

    def __init__(self, inner: Any, trainer: Any, form: str) -> None:
        self.inner, self.trainer, self.form = inner, trainer, form

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> _ExtraTerm:
        return _ExtraTerm(deepcopy(self.inner, memo), self.trainer, self.form)

    def __reduce__(self) -> tuple[Any, ...]:
        """A stored model goes without it: Ultralytics then builds its own loss again."""
        return type(None), ()

    def __call__(self, predictions: Any, batch: Any) -> tuple[Tensor, Any]:
        loss, items = self.inner(predictions, batch)
        mean = _first_tensor(predictions).float().mean()
        faulty = self.trainer.faulty
        if self.form == "log":  # of a number that is below 0 in a faulty step
            term = (mean * 0 - 1 if faulty else mean * 0 + 1).log()
        elif self.form == "sqrt":  # value 0, slope infinite: only the backward pass is not finite
            term = ((mean - mean.detach()) ** 2 + (0 if faulty else 1)).sqrt()
        elif self.form == "div":  # by a number that is 0 in a faulty step
            term = 1 / (mean - mean.detach() + (0 if faulty else 1))
        else:  # exp: out of float32's range in a faulty step
            term = (mean * 0 + (100.0 if faulty else 0.0)).exp()
        return loss + 1e-3 * term, items


def _first_tensor(value: Any) -> Tensor:
    while not isinstance(value, Tensor):
        value = next(iter(value.values() if isinstance(value, Mapping) else value))
    return value


def loss(base: type, fault: Mapping[str, Any]) -> type:
    """A custom loss term: log, sqrt, div or exp."""

    class Loss(_clocked(base, fault)):  # type: ignore[misc]
        def prepare(self) -> None:
            model = self.model
            model.criterion = _ExtraTerm(model.init_criterion(), self, fault["form"])

    return Loss


def class_weights(base: type, fault: Mapping[str, Any]) -> type:
    """A user's class weights, one of which is not finite."""

    class ClassWeights(base):  # type: ignore[misc]
        def set_class_weights(self) -> None:
            weights = torch.ones(len(self.data["names"]))
            weights[-1] = float(fault["value"])
            self.model.class_weights = weights

    return ClassWeights


def live_state(base: type, fault: Mapping[str, Any]) -> type:
    """One value of the running model, its EMA or its optimizer, before the micro-batch."""

    class LiveState(_clocked(base, fault)):  # type: ignore[misc]
        def plant(self, batch: Any) -> None:
            zoo_fault_state.poison_trainer(self, fault["what"], float(fault["value"]))

    return LiveState
