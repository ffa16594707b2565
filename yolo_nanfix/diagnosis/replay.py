"""Runs the bad step again on a copy of the model, as Ultralytics' trainer does, and returns its outcome."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from yolo_nanfix import batches, kept
from yolo_nanfix.diagnosis.allowance import Allowance
from yolo_nanfix.diagnosis.places import Places
from yolo_nanfix.diagnosis.rebuild import build_model, device_of, restore_criterion
from yolo_nanfix.diagnosis.scan import calmed
from yolo_nanfix.diagnosis.trace import Root, Tracer, finite, tree_leaves
from yolo_nanfix.events import Check
from yolo_nanfix.incident import Incident, NotReadable

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
TRACING = 2.5
"""A traced replay takes about this many times as long as a plain one."""


class OutOfTime(Exception):  # noqa: N818 - control flow: no further replay is allowed
    """A further replay would not end within the budget of seconds."""


class _Enough(Exception):  # noqa: N818 - control flow: the first bad gradient has arrived
    """Leaves a backward pass at the first gradient that is not finite."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one replay of the step.

    Attributes:
        items: the loss terms by name.
        bad: what was not finite: `loss`, the name of a buffer, `outputs.N` of the head (checked where the run's sensor
            fired: a loss may ignore them), or `gradient of NAME`.
        phase: where that was, or empty.
        root: where it came from, in a traced replay.
        strays: bad tensors that were read although no result was bad (the assigner ignores a NaN box).
        error: the exception that the step raised, or empty.
        norm: of all gradients, without the loss scale; None if backward did not run to its end.
        hook: the weight with the hook that made its gradient bad, or empty.
    """

    items: Mapping[str, float] = field(default_factory=dict)
    bad: tuple[str, ...] = ()
    phase: str = ""
    root: Root | None = None
    strays: tuple[Root, ...] = ()
    error: str = ""
    norm: float | None = None
    hook: str = ""


class Replay:
    """Replays of one incident. The live model, its gradients and the random generators stay as they are."""

    def __init__(self, incident: Incident, model: nn.Module | None, budget: float | None, imported: tuple[str, ...]):
        """Copy the live model, or build it anew.

        Raises:
            DataError: it cannot be built.
        """
        self.incident, self.facts = incident, incident.facts
        self.precision = str(incident.facts.get("precision", "float32"))
        self._until = None if budget is None else time.perf_counter() + budget
        self.count, self._usual = 0, 0.0
        if model is not None and any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
            raise RuntimeError("SyncBatchNorm would wait for the other processes")
        with self._undisturbed(torch.device("cpu") if model is None else device_of(model)):
            # A model built here is copied too: modules that all models share, as activations, must not get the hooks.
            self.model = copy.deepcopy(build_model(incident, imported) if model is None else model)
            if model is None:
                restore_criterion(self.model, self.facts)
        self.device = device_of(self.model)
        self.live = model
        self.hooks = tuple(kept.hooks(model)) if model is not None else ()
        self.owners = kept.owners(self.model)
        self.places = Places(self.model)
        entries = {**(self.facts.get("entries") or {}), **incident.entries}
        self.batch: dict[str, Any] = {**entries, **{k: v.to(self.device) for k, v in incident.part("batch").items()}}
        self._live = {**self.model.state_dict(), **dict(self.model.named_buffers())}
        self._buffers = dict(self.model.named_buffers())
        norms = {
            id(b) for m in self.model.modules() if isinstance(m, _NormBase) for b in (m.running_mean, m.running_var)
        }
        self._statistics = {n: b for n, b in self._buffers.items() if id(b) in norms}
        here = incident.part("model")
        self._others = {n: b.clone() for n, b in self._buffers.items() if n not in here}  # not recorded
        self._kept = self._kept_before()
        self._meant = frozenset(map(str, self.facts.get("born_non_finite") or ()))
        self._head: Any = None
        stack = getattr(self.model, "model", None)
        if Check.OUTPUTS in self.facts.get("checks", ()) and isinstance(stack, nn.Sequential):
            stack[-1].register_forward_hook(lambda module, given, made: setattr(self, "_head", made))

    def _kept_before(self) -> dict[str, dict[str, Any]]:
        """Attributes of loss and user's modules before the step; where the incident has none, the present ones."""
        now = {n: kept.copied(o) for n, o in self.owners.items() if n.startswith("criterion") or kept.users_own(o)}
        written = self.facts.get("attributes") or {}
        before: dict[str, dict[str, Any]] = {o: dict(v) for o, v in written.items() if o in now}
        for name, tensor in self.incident.part("kept").items():
            owner, _, key = name.rpartition(".")
            if owner in now:
                before.setdefault(owner, {})[key] = tensor
        return {name: {**now.get(name, {}), **before.get(name, {})} for name in {*now, *before}}

    def run(
        self,
        batch: Mapping[str, Any] | None = None,
        *,
        traced: bool = False,
        backward: bool = True,
        precision: str | None = None,
        weights: str = "model",
        arguments: Mapping[str, Any] | None = None,
        calm: Iterable[str] = (),
        in_time: bool = True,
    ) -> Outcome:
        """One step from the state of the incident.

        Args:
            batch: another batch than the incident's.
            traced: also find the operation that went wrong; two to three times as slow.
            backward: run backward too, where the forward pass is good.
            precision: another dtype than the run's.
            weights: `earlier` for those of the snapshot.
            arguments: training arguments to change, by name.
            calm: weights whose large values are to be 0.
            in_time: only within the budget.

        Raises:
            OutOfTime: it would not end within the budget.
        """
        began = time.perf_counter()
        if in_time and self._until is not None and began + self._usual > self._until:
            raise OutOfTime
        self.count += 1
        with self._undisturbed(self.device), torch.enable_grad():
            self._restore(weights)
            for name in calm:
                self._live[name].data.copy_(calmed(name, self._live[name].data))
            given = copied(self.batch if batch is None else batch)
            tracer = self._tracer(given) if traced else None
            held = sum(t.numel() for t in self.incident.tensors.values())
            bounded = Allowance(held=held) if traced and self.live is None else nullcontext()
            with bounded, tracer or nullcontext(), self._arguments(arguments or {}):
                outcome = self._step(given, tracer, backward, precision or self.precision)
        spent = (time.perf_counter() - began) / (TRACING if traced else 1)
        self._usual = max(self._usual, spent) if batch is None else self._usual
        return outcome

    def with_hooks(self, outcome: Outcome) -> Outcome:
        """After a healthy replay: the outcome with the hooks on the live model's weights.

        A copy of a model has no such hooks. Each is called once, with a copy of the replayed gradient.
        """
        weights = dict(self.model.named_parameters())
        for name, kind, hook in self.hooks:
            gradient = weights[name].grad if kind == "tensor" and name in weights else None
            if gradient is None:
                continue
            given = gradient.detach().clone()
            with self._undisturbed(self.device), self._tracer({}) as tracer, torch.no_grad():
                tracer.phase = "backward"
                try:
                    made = hook(given)
                except Exception:
                    continue  # a hook of the user's may raise anything; then it is not the reason
                tracer.paused = True
                if finite(made := given if made is None else made):
                    continue
                root = tracer.root([made])
            if root is not None:
                note = replace(root.note, module=name.rpartition(".")[0])
                return Outcome(outcome.items, (f"gradient of {name}",), "backward", replace(root, note=note), hook=name)
        return outcome

    def model_with(self, weights: str) -> nn.Module:
        """The copy of the model with the weights of the incident or the snapshot (`earlier`); ends the replays."""
        self.places.take_back()
        with self._undisturbed(self.device):
            self._restore(weights)
        return self.model

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return math.inf if self._until is None else max(0.0, self._until - time.perf_counter())

    @contextmanager
    def _undisturbed(self, device: torch.device) -> Iterator[None]:
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield

    @contextmanager
    def _arguments(self, changed: Mapping[str, Any]) -> Iterator[None]:
        """Change training arguments of the model, whose object the loss shares."""
        held = getattr(self.model, "args", None)
        before = {name: getattr(held, name) for name in changed if hasattr(held, name)}
        for name in before:
            setattr(held, name, changed[name])
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(held, name, value)

    @torch.no_grad()
    def _restore(self, weights: str) -> None:
        state = {**self._others, **self.incident.part("model")} | (
            self.incident.part(weights) if weights != "model" else {}
        )
        for name, tensor in self._live.items():
            if name in state and tensor.shape == state[name].shape:
                tensor.copy_(state[name])
        kept.put_back(self.owners, self._kept)
        self.model.zero_grad(set_to_none=True)
        if "rng.cpu" in self.incident.tensors:
            torch.set_rng_state(self.incident.tensors["rng.cpu"].cpu())
        if "rng.cuda" in self.incident.tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(self.incident.tensors["rng.cuda"].cpu(), self.device)
        torch.clear_autocast_cache()
        self.places.restart()

    def _tracer(self, batch: Mapping[str, Any]) -> Tracer:
        leaves = {f"batch.{k}": v for k, v in batch.items() if isinstance(v, Tensor)}
        outside = {name: v for name, v in kept.values(self.model) if isinstance(v, Tensor)}
        return Tracer(self.places, {**outside, **leaves, **self._live}, self._meant | outside.keys())

    def _step(self, batch: dict[str, Any], tracer: Tracer | None, backward: bool, precision: str) -> Outcome:
        try:
            dtype = DTYPES.get(precision)
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
                loss, items = self.model(batch)
                loss = loss.sum()
        except NotReadable:
            raise
        except Exception as error:  # whatever a bad batch makes the loss raise
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            strays = tuple(tracer.readers()) if tracer else ()
            return Outcome(error=said, bad=("error",) if strays else (), phase="forward", strays=strays)
        with _paused(tracer):
            values = batches.loss_terms(items)
            bad = {n: b for n, b in self._statistics.items() if n not in self._meant and not finite(b)}
            if not finite(loss):
                bad = {"loss": loss, **bad}
            swallowed = [t for t in tree_leaves(self._head) if isinstance(t, Tensor) and not finite(t)]
            bad |= {f"outputs.{i}": t for i, t in enumerate(swallowed)}
            if bad or not backward:
                root = tracer.root(bad.values()) if tracer else None
                return Outcome(values, tuple(bad), "forward" if bad else "", root)
        return self._backward(loss, values, tracer)

    def _backward(self, loss: Tensor, items: Mapping[str, float], tracer: Tracer | None) -> Outcome:
        scale = float(self.facts.get("loss_scale") or 1.0)
        bad: list[tuple[str, Tensor]] = []

        def arrived(name: str, parameter: Tensor) -> None:
            with _paused(tracer):
                if parameter.grad is not None and not finite(parameter.grad):
                    bad.append((name, parameter.grad))
                    raise _Enough

        hooks = [
            p.register_post_accumulate_grad_hook(lambda p, name=n: arrived(name, p))  # type: ignore[no-untyped-call]
            for n, p in self.model.named_parameters()
            if p.requires_grad
        ]
        if tracer:
            tracer.phase = "backward"
        try:
            (loss * scale).backward()  # type: ignore[no-untyped-call]
        except _Enough:
            name, gradient = bad[0]
            root = tracer.root([gradient]) if tracer else None
            return Outcome(items, (f"gradient of {name}",), "backward", root)
        finally:
            for hook in hooks:
                hook.remove()
        with _paused(tracer):
            strays = tuple(tracer.readers()) if tracer else ()
            grads = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = float(torch.stack([n.double() for n in torch._foreach_norm(grads)]).norm()) / scale if grads else 0.0
        return Outcome(items, strays=strays, norm=norm)


def copied(batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch whose tensors, lists and mappings may be written to."""
    return {
        k: v.clone() if isinstance(v, Tensor) else copy.copy(v) if isinstance(v, (list, dict)) else v
        for k, v in batch.items()
    }


@contextmanager
def _paused(tracer: Tracer | None) -> Iterator[None]:
    if tracer is None:
        yield
        return
    before, tracer.paused = tracer.paused, True
    try:
        yield
    finally:
        tracer.paused = before
