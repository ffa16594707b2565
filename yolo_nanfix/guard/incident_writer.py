"""Writes the incident of a bad step, and has it replayed to find the cause.

An incident is what the model saw and the state it had before. Only BatchNorm statistics are copied for it: it is
written, or replayed on a copy of the model, before training goes on. Only used after a fault; changes no tensor."""

from __future__ import annotations

import json
import platform
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import batches, kept, upstream
from yolo_nanfix._version import __version__
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.events import Check, Event
from yolo_nanfix.guard import distributed
from yolo_nanfix.guard.fault import Fault
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.listener import Callbacks
from yolo_nanfix.guard.recorder import INCIDENTS
from yolo_nanfix.guard.state import RunState
from yolo_nanfix.incident import SUFFIX, Incident
from yolo_nanfix.numerics.finite import weights
from yolo_nanfix.verdicts import Cause, Verdict

TORCH_ASKS_BY_DEVICE = hasattr(torch, "get_autocast_dtype")
"""From torch 2.4 on."""
ELSEWHERE = ("sources", "says", "values", "actions", "level", "incident", "ranks", "val_batch")
"""Fields of the event that an incident has in another form, or not at all."""
LINES = 200
"""Most label rows of an image that are kept as text."""


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators; kept on the host, so nothing is read from a GPU."""
    states = {"rng.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng.cuda"] = torch.cuda.get_rng_state(device)
    return states


def build(run: RunState, event: Event, fault: Fault) -> Incident:
    """The incident of a fault: what was seen, as `event` has it, and the state before its micro-batch, if any."""
    trainer, model, micro, snapshots = run.trainer, run.model, fault.micro, run.snapshots
    before = {**run.module_state.named(), **run.norms.named(micro.buffers)} if micro is not None else {}
    sizes = run.gradients.sizes
    state = {**model.state_dict(), **{k: v for k, v in model.named_buffers() if k in before}}
    tensors = {f"model.{k}": before.get(k, v) for k, v in state.items()}
    if micro is not None:
        tensors |= {f"batch.{k}": v for k, v in micro.batch.items() if isinstance(v, Tensor)}
        tensors |= micro.rng
    if len(snapshots):
        tensors |= {f"earlier.{k}": v for k, v in snapshots.copies[0].weights().items()}
    tensors |= _bad_optimizer_state(trainer.optimizer, model)
    criterion = getattr(model, "criterion", None)
    entries = {k: v for k, v in micro.batch.items() if not isinstance(v, Tensor)} if micro is not None else {}
    judged, param_groups = dict(weights(model)), trainer.optimizer.param_groups
    facts = {
        **{k: v for k, v in event.as_dict().items() if k not in ELSEWHERE},
        "rank": distributed.rank(),
        "task": trainer.args.task,
        "model": _definition(model),
        "args": {k: _json_ready(v) for k, v in vars(trainer.args).items()},
        "precision": micro.precision if micro is not None else "float32",
        "loss_scale": trainer.scaler.get_scale() if trainer.scaler.is_enabled() else None,
        "loss": batches.loss_terms(getattr(trainer, "loss_items", None)) if micro is not None else {},
        "optimizer": type(trainer.optimizer).__name__,
        "lr": [group["lr"] for group in param_groups],
        "base_lr": base_rate(trainer.optimizer),
        "groups": [{k: _json_ready(v) for k, v in group.items() if k != "params"} for group in param_groups],
        "settings": [asdict(setting) for setting in fault.settings],
        "callbacks": callbacks(trainer),
        "history": list(run.history),
        "sources": [{**s, "labels": label_rows(trainer, s["file"])} for s in event.as_dict()["sources"]],
        "criterion": {k: v for k, v in vars(criterion).items() if isinstance(v, (int, float))} if criterion else {},
        "threads": torch.get_num_threads(),
        "entries": writable(entries),
        "gradients": gradients(model, sizes) if sizes or Check.GRADIENT in event.checks else None,
        "own": own_code(model),
        "frozen": [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and not m.training],
        "born_non_finite": list(run.module_state.born_non_finite),
        "other_buffers": [name for name, _ in model.named_buffers() if name not in judged],
        "versions": {
            "yolo_nanfix": __version__,
            "ultralytics": upstream.version(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    return Incident(facts, tensors, entries)


def base_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate that the schedule starts from: `lr0`, or what `optimizer=auto` chose; the largest group's."""
    return max((float(g.get("initial_lr", g["lr"])) for g in optimizer.param_groups), default=0.0)


def precision(device: str) -> str:
    """The dtype that autocast gives to operations now: float32, float16 or bfloat16.

    Asked while the trainer preprocesses a batch, which it does inside its own autocast block.
    """
    if TORCH_ASKS_BY_DEVICE:
        enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    else:
        enabled, dtype = torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()
    return str(dtype).removeprefix("torch.") if enabled else "float32"


def _definition(model: nn.Module) -> dict[str, Any]:
    yaml = getattr(model, "yaml", None)
    head = getattr(model, "model", [None])[-1]
    weights = getattr(model, "class_weights", None)
    return {
        "class": f"{type(model).__module__}:{type(model).__qualname__}",
        "yaml": _json_ready(yaml),
        "nc": getattr(head, "nc", None),
        "ch": (yaml or {}).get("channels", (yaml or {}).get("ch", 3)),
        "names": _json_ready(getattr(model, "names", {})),
        **{k: _json_ready(v) for k in ("kpt_shape", "kpt_oks_sigmas") if (v := getattr(model, k, None)) is not None},
        **({"class_weights": weights.tolist()} if isinstance(weights, Tensor) else {}),
    }


def label_rows(trainer: Any, image: str) -> dict[str, Any] | None:
    """The label file of an image and its rows as text, or None where the dataset has none for it."""
    loaders = trainer.train_loader, getattr(trainer, "test_loader", None)
    found = (label_file(getattr(loader, "dataset", None), image) for loader in loaders)
    path = next((file for file in found if file is not None), None)
    if path is None:
        return None
    try:
        rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return {"file": str(path), "rows": rows[:LINES]}


def label_file(dataset: Any, image: str) -> Path | None:
    """The label file of an image, by its place in the dataset's lists; by its name where those are out of step.

    Ultralytics takes unusable images out of the list of images alone.
    """
    files, labels = getattr(dataset, "im_files", ()), getattr(dataset, "label_files", ())
    if len(files) == len(labels):
        number = {str(f): i for i, f in enumerate(files)}.get(image)
        return None if number is None else Path(labels[number])
    path = label_path(image)
    return Path(path) if path in set(map(str, labels)) else None


def _bad_optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"optimizer.{names.get(id(parameter), '?')}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())
    }


def _json_ready(value: Any) -> Any:
    """What JSON can hold; tensors as a number or their shape, the rest as text."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else str(tuple(value.shape))
    if isinstance(value, Mapping):
        return {str(k): _json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


SAME_FAULTS = 2
"""So many faults with the same checks and suspects are diagnosed; later ones have the verdict of the last."""
BESIDE = 20
"""So many faults of other ranks are diagnosed on a rank whose own loss was finite: its gradient may not have been."""
VAGUE = (Cause.UNKNOWN, Cause.NONDETERMINISTIC)
"""Causes that explain nothing."""
STEP_TIMES = 10
"""A diagnosis in the run may take this many step times."""


class IncidentWriter:
    """Writes the incidents of one run, and has each replayed in the time allowed to find its cause."""

    def __init__(self, settings: GuardSettings, callbacks: Callbacks) -> None:
        self.settings, self.facts = settings, callbacks.facts
        self.examine = callbacks.examine if settings.diagnose else None
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.verdicts: dict[tuple[str, ...], Verdict] = {}
        self.files: deque[Path] = deque()
        self.written = ""
        self.keeper = kept.Keeper()
        self.number = 0
        self._steps: deque[float] = deque(maxlen=21)
        self._last = perf_counter()

    def tick(self, model: nn.Module | None = None) -> None:
        """A micro-batch begins: measure how long they take, and copy what the model keeps beside its weights."""
        if model is not None:
            self.keeper.tick(model)
        now = perf_counter()
        self._steps.append(now - self._last)
        self._last = now

    def look_into(self, run: RunState, event: Event, fault: Fault, *, beside: bool = False) -> Verdict | None:
        """The verdict on a fault, or None where diagnosis is off. Never raises: training goes on whatever happens.

        `written` is the name of the incident file, or empty. `beside`: the fault is another rank's, and this rank had
        one of its own only if its replay says so; else nothing is written.
        """
        self.written = ""
        key = (*event.checks, *sorted(s.file for s in event.sources if s.suspect), *(("beside",) if beside else ()))
        self.seen[key] += 1
        if self.seen[key] > (BESIDE if beside else SAME_FAULTS):
            return None if beside else self.verdicts.get(key)
        try:
            incident = self._completed(build(run, event, fault), run.model)
            usual = sorted(self._steps)[len(self._steps) // 2] if self._steps else 1.0
            verdict = self.examine(incident, run.model, STEP_TIMES * usual) if self.examine else None
            if beside and cause_of(verdict) in (None, *VAGUE):
                return None
            if verdict is not None:
                self.verdicts[key] = verdict
                incident = replace(incident, facts={**incident.facts, "verdict": verdict.as_dict()})
            self._write(incident, Path(run.trainer.save_dir))
        except Exception as error:
            upstream.log(f"yolo-nanfix guard: the fault could not be looked into: {type(error).__name__}: {error}")
            return None
        finally:
            self._last = perf_counter()
        return verdict

    def _completed(self, incident: Incident, model: nn.Module) -> Incident:
        """The incident with the facts of others, and with what model and loss keep outside of weights and buffers."""
        self.number += 1
        facts = {**incident.facts, **self.facts(), "number": self.number}
        facts["kept"] = self.keeper.since(model, self.number)
        before = [(o, k, v) for o, attributes in self.keeper.before.items() for k, v in attributes.items()]
        facts["attributes"] = {owner: {} for owner, _, _ in before}
        for owner, key, value in before:
            if not isinstance(value, Tensor):
                facts["attributes"][owner][key] = value
        tensors = {f"kept.{owner}.{key}": v for owner, key, v in before if isinstance(v, Tensor)}
        return replace(incident, facts=facts, tensors={**incident.tensors, **tensors})

    def _write(self, incident: Incident, folder: Path) -> None:
        """Write the incident, without its weights if it is too large; beyond the limit the oldest files are removed."""
        if not self.settings.incidents:
            return
        facts = incident.facts
        for part in ("earlier.", "model."):
            if incident.size > self.settings.incident_mb * 2**20:
                tensors = {k: v for k, v in incident.tensors.items() if not k.startswith(part)}
                incident = replace(incident, tensors=tensors)
        name = f"{facts['epoch']:04d}-{facts['batch']:05d}-{'-'.join(facts['checks'])}"
        rank = f"-rank{facts['rank']}" if facts["rank"] >= 0 else ""
        path = folder / INCIDENTS / f"{name}{rank}{SUFFIX}"
        incident.save(path)
        self.written = path.name
        if path in self.files:
            self.files.remove(path)
        self.files.append(path)
        while len(self.files) > self.settings.incidents:
            self.files.popleft().unlink(missing_ok=True)


def cause_of(verdict: Verdict | None) -> Cause | None:
    """The class of cause, where there is a verdict."""
    return verdict.cause if verdict else None


MOST_NAMED = 20
"""Most weights, and most hooks, that are named."""
LONGEST_ENTRY = 1 << 20
"""Entries of a batch whose JSON is longer (characters) are not written."""


def own_code(model: nn.Module) -> dict[str, Any]:
    """Hooks, functions, files and classes of the run that are not of the installed release, and its device."""
    hooks = [
        {"on": on, "kind": kind, "code": upstream.place_of(kept.plain_function(hook))}
        for on, kind, hook in kept.hooks(model)
    ]
    return {
        "hooks": hooks[:MOST_NAMED],
        "replaced": upstream.replaced(),
        "edited": upstream.edited(),
        "classes": kept.classes(kept.owners(model).items()),
        "device": next((p.device.type for p in model.parameters()), "cpu"),
    }


def callbacks(trainer: Any) -> list[dict[str, str]]:
    """The callbacks of the user's own: the event of each, and its file and line."""
    found = []
    for event, functions in (getattr(trainer, "callbacks", None) or {}).items():
        for function in functions:
            plain = kept.plain_function(function)
            if kept.module_of(function).partition(".")[0] not in kept.STOCK:
                found.append({"event": str(event), "code": upstream.place_of(plain)})
    return found[:MOST_NAMED]


def gradients(model: nn.Module, before: Mapping[int, Tensor]) -> dict[str, Any]:
    """Which weights have a gradient that is not finite, and the largest magnitudes of those that are.

    `before` has the magnitudes before clipping by the ids of the weights, where those are known.
    """
    weights = [(n, p) for n, p in model.named_parameters() if p.grad is not None and p.grad.numel()]
    named = [(n, p.grad.detach()) for n, p in weights if p.grad is not None]
    if not named:
        return {"bad": [], "count": 0, "of": 0, "largest": {}}
    norms = [before[id(p)] for _, p in weights if id(p) in before]
    if len(norms) != len(named):
        norms = list(torch._foreach_norm([g for _, g in named], float("inf")))
    largest = torch.stack([n.float() for n in norms]).tolist()
    sizes = {name: size for (name, _), size in zip(named, largest, strict=True)}
    bad = [name for name, size in sizes.items() if not size < float("inf")]
    finite = sorted((name for name in sizes if name not in bad), key=lambda n: -sizes[n])
    return {
        "bad": bad[:MOST_NAMED],
        "count": len(bad),
        "of": len(named),
        "largest": {name: sizes[name] for name in finite[:MOST_NAMED]},
    }


def writable(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Those entries of a batch that JSON can hold, and whose text is not too long."""
    found = {}
    for key, value in entries.items():
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            continue
        if len(text) <= LONGEST_ENTRY:
            found[key] = json.loads(text)
    return found
