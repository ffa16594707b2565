"""What the user should change, by cause: a setting, a file, a line, a patch."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import cards, upstream
from yolo_nanfix.diagnosis.evidence import Evidence
from yolo_nanfix.diagnosis.replay import Replay, copied
from yolo_nanfix.diagnosis.scan import GROUPS
from yolo_nanfix.numerics.lr_range import coarse
from yolo_nanfix.tasks import option
from yolo_nanfix.verdicts import Cause, Verdict

Suggest = Callable[[Evidence], "float | None"]
"""Proposes a learning rate."""
SLOWER = 10
"""The learning rate is divided by this without a better proposal."""


def of(verdict: Verdict, evidence: Evidence, rate: float | None) -> tuple[str, ...]:
    """The advice for a verdict; `rate` is a proposed learning rate."""
    makers = {
        Cause.DATA: _for_data,
        Cause.LABEL: _for_label,
        Cause.SETTING: _for_setting,
        Cause.STATE: _for_state,
        Cause.PRECISION: _for_precision,
        Cause.NUMERICS: _for_numerics,
        Cause.DEFINITION: _for_definition,
    }
    if verdict.cause is Cause.LEARNING_RATE:
        return _learning_rate(evidence.facts, rate)
    if verdict.cause is Cause.GRADIENT:
        return (*_gains(evidence.facts.get("args") or {}), *_learning_rate(evidence.facts, rate))
    if maker := makers.get(verdict.cause):
        return tuple(maker(verdict, evidence))
    if verdict.cause is Cause.NONDETERMINISTIC:
        return ("if it comes again, keep the incident file and look at the hardware and at code with state of its own",)
    if evidence.lacks and evidence.live:
        return ("no replay has hooks that run after a gradient was added: look at them, and keep the incident file",)
    if evidence.lacks:
        own = any(lack.kind in ("function", "class") for lack in evidence.lacks)
        brought = ["functions and classes of your own come here with --import MODULE"] if own else []
        return ("the run's own process has all of it: its verdict is in the report of the run", *brought)
    if evidence.hooks:
        return ("look at these hooks, above all at what they keep between passes, and keep the incident file",)
    return ("if it comes again, keep the incident file",)


def came_later() -> tuple[str, ...]:
    """The advice where samples are not finite and their files are."""
    return ("look at transforms of your own, at the dataset's code, and at preprocess_batch",)


def _for_data(verdict: Verdict, evidence: Evidence) -> list[str]:
    images = verdict.images or tuple(evidence.files[i] for i in evidence.scan.pixels if i < len(evidence.files))
    return [f"fix or remove {image}" for image in images[:5]]


def _for_label(verdict: Verdict, evidence: Evidence) -> list[str]:
    fixes = [f"correct {place}" for place in verdict.labels[:5]] or [
        f"correct the labels of {i}" for i in verdict.images
    ]
    return [*fixes, *_with_patches(evidence)]


def _for_setting(verdict: Verdict, evidence: Evidence) -> list[str]:
    if not verdict.tensor.startswith(GROUPS):
        return [f"{name}: its default is {usual:g}" for name, usual in evidence.usual_arguments.items()]
    name = verdict.tensor.rpartition(".")[2]
    argument = {"lr": "lr0"}.get(name, name)
    calls = [f"{c.get('event')} at {c.get('code')}" for c in evidence.facts.get("callbacks") or () if c.get("code")]
    lines = [f"callbacks of your own that may have set it: {', '.join(calls[:5])}"] if calls else []
    given = (evidence.facts.get("args") or {}).get(argument)
    return [
        *lines,
        f"{verdict.tensor}: set it to a finite number of the usual size (the argument {argument} is {given})",
    ]


def _for_state(verdict: Verdict, evidence: Evidence) -> list[str]:
    if verdict.tensor and verdict.tensor == evidence.kept_root:
        return [
            f"{verdict.tensor}: no checkpoint holds it and nothing puts it back; set it anew, and update it with "
            f"finite values alone ({verdict.code or verdict.module})"
        ]
    if verdict.module == "optimizer":
        return ["resume from an earlier checkpoint, or start anew from the weights alone (resume=False)"]
    if evidence.healthy_without_large and not evidence.scan.state:
        return [f"{verdict.tensor}: find out what set it (a callback, a checkpoint), or start from other weights"]
    model = (evidence.facts.get("args") or {}).get("model")
    return [f"start from other weights than model={model}, or from the run's last clean checkpoint"]


def _for_precision(verdict: Verdict, evidence: Evidence) -> list[str]:
    if verdict.phase == "backward" and evidence.facts.get("loss_scale"):
        return [
            "now and then this is how the GradScaler finds its scale: nothing has to be done",
            "if it comes again and again: amp=False, or amp=bf16",
            *_with_patches(evidence),
        ]
    return ["amp=False, or amp=bf16 where the GPU has it", *_with_patches(evidence)]


def _for_numerics(verdict: Verdict, evidence: Evidence) -> list[str]:
    fallback = [f"report {verdict.code} with the incident file; until then leave the images out that do it"]
    return _with_patches(evidence) or fallback


def _for_definition(verdict: Verdict, evidence: Evidence) -> list[str]:
    where = verdict.code or verdict.module
    if evidence.hooked:
        return [f"{where}: find out what this hook does to the gradient of {verdict.tensor}"]
    note = evidence.roots()[0].note if evidence.roots() else None
    if note is not None and note.given:
        what = ", ".join(note.names) or f"the {note.given} that it computes with"
        return [f"{where}: find out where {what} became {note.given}; it is no tensor of the step"]
    remedies = {
        "log": "add a small number before the logarithm, or clamp its argument",
        "div": "keep the divisor away from 0",
        "sqrt": "keep the root's argument away from 0, where its slope is infinite, and above it",
        "exp": "clamp the exponent",
        "pow": "keep the base positive",
    }
    name = verdict.op.removeprefix("aten.").strip("_")
    return [f"{where}: {remedies.get(name, f'keep the arguments of {verdict.op} inside its domain')}"]


def _learning_rate(facts: Mapping[str, Any], rate: float | None) -> tuple[str, ...]:
    """The settings to train with; `optimizer=auto` ignores `lr0`, so the optimizer is named too."""
    args, now = facts.get("args") or {}, facts.get("base_lr")
    automatic = args.get("optimizer") == "auto"
    named = f" optimizer={facts.get('optimizer')}" if automatic else ""
    proposed = rate if rate is not None else now / SLOWER if now else None
    first = f"lr0={proposed:.3g}{named} (now {now or 0:.3g})" if proposed else "a lower lr0"
    lines = [first, "longer warm-up: warmup_epochs=5"]
    if rate is None:
        data = f" {shlex.quote(str(args['data']))}" if args.get("data") else ""
        lines.append(f"yolo-nanfix lr-find{data} finds a value")
        lines += [] if automatic else ["or optimizer=auto, which chooses lr0"]
    return tuple(lines)


def _gains(args: Any) -> list[str]:
    large = [
        f"{k}={v}"
        for k in ("box", "cls", "dfl", "pose", "kobj")
        if isinstance(v := args.get(k), (int, float)) and v > 100
    ]
    return [f"lower the loss gains {', '.join(large)}"] if large else []


def _with_patches(evidence: Evidence) -> list[str]:
    return [f"the patch {name} covers this function: yolo_nanfix.patch('{name}')" for name in evidence.patches]


def commands(verdict: Verdict, evidence: Evidence) -> tuple[str, ...]:
    """The commands for a verdict: lint, where the data are to blame."""
    if verdict.cause not in (Cause.DATA, Cause.LABEL):
        return ()
    data = (evidence.facts.get("args") or {}).get("data") or "data.yaml"
    return (f"yolo-nanfix lint {shlex.quote(str(data))}{option(str(evidence.facts.get('task') or ''), None)}",)


def patches_at(code: str) -> tuple[str, ...]:
    """Cards that patch the function with a line (`ultralytics/utils/loss.py:621`) of the installed release."""
    file, _, line = code.rpartition(":")
    if not file.startswith("ultralytics/") or not line.isdigit():
        return ()
    known = cards.load_all().values()
    return tuple(card.name for card in known if any(_holds(target, file, int(line)) for target in card.targets))


def _holds(target: str, file: str, line: int) -> bool:
    if target.partition(":")[0].replace(".", "/") + ".py" != file:
        return False
    try:
        raw = upstream.resolve(target).raw
        plain = inspect.unwrap(raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw)
        lines, first = inspect.getsourcelines(plain)
    except (LookupError, OSError, TypeError):
        return False
    return first <= line < first + len(lines)


MUSGD = "ultralytics.optim.muon:MuSGD"


def rate_proposer(replay: Replay) -> Suggest:
    """A function that runs a range test when the verdict needs it: with the weights of the earlier snapshot, if any."""

    def propose(evidence: Evidence) -> float | None:
        facts = evidence.facts
        if evidence.outcome is not None and evidence.outcome.error:
            return None  # the step cannot be taken at all
        args = facts.get("args") or {}
        found = coarse(
            replay.model_with("earlier"),
            lambda model: _loss(model, replay.batch),
            lambda model: _new_optimizer(model, str(facts.get("optimizer")), args),
            seconds=replay.left,
        )
        now = facts.get("base_lr")
        if found.lr is None or not isinstance(now, (int, float)):
            return found.lr
        return min(found.lr, now / 2)  # a rate that one batch bears was too high for the run

    return propose


def _loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    loss: Tensor = model(copied(batch))[0].sum()
    return loss


def _new_optimizer(model: nn.Module, name: str, args: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer of the run's class; SGD for an unknown one."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    momentum = float(args.get("momentum") or 0.9)
    momentum = momentum if 0 < momentum < 1 else 0.9
    if name == "MuSGD":
        matrices = [p for p in parameters if p.dim() >= 2]
        rest = [p for p in parameters if p.dim() < 2]
        groups = [{"params": matrices, "use_muon": True}, {"params": rest, "use_muon": False}]
        made: torch.optim.Optimizer = upstream.resolve(MUSGD).raw(groups, lr=1e-3, momentum=momentum, nesterov=True)
        return made
    if name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax"):
        adam: torch.optim.Optimizer = getattr(torch.optim, name)(parameters, lr=1e-3, betas=(momentum, 0.999))
        return adam
    if name == "RMSprop":
        return torch.optim.RMSprop(parameters, lr=1e-3, momentum=momentum)
    return torch.optim.SGD(parameters, lr=1e-3, momentum=momentum, nesterov=True)
