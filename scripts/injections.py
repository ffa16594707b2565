"""Real steps of real models with one planted fault each, as incidents; what the diagnosis is measured on.

A `Bench` holds one model and its batches, set up by Ultralytics' own trainer on pictures of make_datasets. `KINDS`
names the injections; each takes a bench and a seeded random generator and gives a `Case`: the incident, the live model,
and the truth, which is known because the fault was planted there (never read off the diagnosis).
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import random
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import benchlib
import oracles
import torch
from make_datasets import make_dataset
from torch import Tensor, nn

from yolo_nanfix.batches import loss_terms
from yolo_nanfix.incident import Incident
from yolo_nanfix.verdicts import Cause, Verdict

MODELS = {
    "yolov8n": "detect",
    "yolov8n-seg": "segment",
    "yolov8n-pose": "pose",
    "yolov8n-obb": "obb",
    "yolo11n": "detect",
    "yolo26n": "detect",
}
TRAINERS = {"detect": "Detection", "segment": "Segmentation", "pose": "Pose", "obb": "OBB"}
NAN, INF = float("nan"), float("inf")
PRECISIONS = ("float32", "float32", "float16")
OPS = {nn.Conv2d: {"aten.convolution"}, nn.BatchNorm2d: {"aten.native_batch_norm"}}


@dataclass(frozen=True)
class Truth:
    """What a right verdict says. An empty set of ops or an empty module stands for a verdict that names none."""

    cause: Cause
    ops: frozenset[str] = frozenset()
    module: str = ""
    tensor: str = ""
    images: tuple[str, ...] = ()
    phase: str = "forward"

    def exact(self, verdict: Verdict) -> bool:
        """Op, module, and image or parameter are all right."""
        return (
            (verdict.op in self.ops if self.ops else not verdict.op)
            and verdict.module == self.module
            and verdict.tensor == self.tensor
            and verdict.images == self.images
        )


@dataclass
class Case:
    """One injection."""

    kind: str
    incident: Incident
    model: nn.Module
    truth: Truth


class Bench:
    """A model set up by its trainer, and the batches that the trainer's loader gives."""

    def __init__(self, folder: Path, name: str, *, batch: int = 4, imgsz: int = 64, seed: int = 0) -> None:
        self.name, self.task = name, MODELS[name]
        data = make_dataset(folder / self.task, task=self.task, n_train=4 * batch, n_val=2, size=(imgsz, imgsz), seed=1)
        module = importlib.import_module(f"ultralytics.models.yolo.{self.task}")
        settings = {"data": str(data), "model": f"{name}.yaml", "imgsz": imgsz, "batch": batch, "nbs": batch}
        settings |= {"epochs": 2, "workers": 0, "device": "cpu", "seed": seed, "mosaic": 0.0, "plots": False}
        settings |= {"project": str(folder), "name": f"run-{name}", "exist_ok": True, "optimizer": "SGD", "lr0": 0.01}
        benchlib.quiet()
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            self.trainer = getattr(module, f"{TRAINERS[self.task]}Trainer")(overrides=settings)
            self.trainer._setup_train()
        self.trainer._model_train()
        self.batches = [self.trainer.preprocess_batch(b) for b in self.trainer.train_loader]

    def model(self) -> nn.Module:
        """A copy of the model in training mode."""
        return copy.deepcopy(self.trainer.model)

    def batch(self, rng: random.Random) -> dict[str, Any]:
        """A copy of one of the batches."""
        return {k: v.clone() if isinstance(v, Tensor) else v for k, v in rng.choice(self.batches).items()}


@dataclass
class Fault:
    """A step about to go wrong; `incident` runs it as the trainer would and records what a guard records."""

    bench: Bench
    model: nn.Module
    batch: dict[str, Any]
    precision: str = "float32"
    loss_scale: float | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    check: str = ""
    args: dict[str, Any] = field(default_factory=dict)

    def case(
        self,
        cause: Cause,
        ops: Iterable[str],
        module: str,
        *,
        tensor: str = "",
        images: Sequence[int] = (),
        phase: str = "forward",
    ) -> Case | None:
        """Run it; None if the step stays healthy."""
        incident, bad = self.incident()
        files = tuple(self.batch["im_file"][i] for i in images)
        truth = Truth(cause, frozenset(ops), module, tensor, files, phase)
        return Case("", incident, self.model, truth) if bad else None

    def incident(self) -> tuple[Incident, bool]:
        """The incident, and whether the step really went bad (a faulty optimizer or faulty targets count as bad)."""
        before = {f"model.{k}": v.clone() for k, v in self.model.state_dict().items()}
        rng = torch.get_rng_state()
        batch = {k: v.clone() if isinstance(v, Tensor) else v for k, v in self.batch.items()}
        items, check = self._step(batch)
        tensors = {f"batch.{k}": v for k, v in self.batch.items() if isinstance(v, Tensor)}
        facts = self._facts(items, self.check or check)
        self.model.zero_grad()
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in before.items()})
        return Incident(facts, {**tensors, **before, "rng.cpu": rng, **self.extra}), bool(self.check or check)

    def _step(self, batch: dict[str, Any]) -> tuple[dict[str, float], str]:
        dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(self.precision)
        with torch.autocast("cpu", dtype=dtype) if dtype else contextlib.nullcontext():
            loss, items = self.model(batch)
            loss = loss.sum()
        checks = [] if bool(loss.isfinite()) else ["loss"]
        if not all(bool(b.isfinite().all()) for b in self.model.buffers() if b.is_floating_point()):
            checks.append("batchnorm")
        if not checks:
            (loss * (self.loss_scale or 1.0)).backward()
            grads = [p.grad for p in self.model.parameters() if p.grad is not None]
            checks = [] if all(bool(g.isfinite().all()) for g in grads) else ["gradient"]
        return loss_terms(items), "+".join(checks)

    def _facts(self, items: Mapping[str, float], check: str) -> dict[str, Any]:
        trainer, model = self.bench.trainer, self.model
        labels = [Path(f.replace("/images/", "/labels/")).with_suffix(".txt") for f in self.batch["im_file"]]
        criterion = getattr(model, "criterion", None)
        return {
            "point": "after-backward" if "gradient" in check else "after-loss",
            "checks": check.split("+") if check else [],
            "detail": "",
            "epoch": 2,
            "batch": 3,
            "rank": -1,
            "task": self.bench.task,
            "model": {
                "class": f"{type(model).__module__}:{type(model).__qualname__}",
                "yaml": model.yaml,
                "nc": model.nc,
                "ch": model.yaml.get("channels", 3),
                "names": model.names,
            },
            "args": {k: v for k, v in vars(trainer.args).items() if not callable(v)} | self.args,
            "precision": self.precision,
            "loss_scale": self.loss_scale,
            "lr": [group["lr"] for group in trainer.optimizer.param_groups],
            "base_lr": trainer.args.lr0,
            "history": self.history,
            "loss": dict(items),
            "sources": [
                {"file": f, "suspect": "", "parents": [], "labels": {"file": str(t), "rows": t.read_text().split("\n")}}
                for f, t in zip(self.batch["im_file"], labels, strict=True)
            ],
            "criterion": {k: v for k, v in vars(criterion).items() if isinstance(v, (int, float))},
            "frozen": [],
            "threads": torch.get_num_threads(),
            "versions": {"torch": torch.__version__},
        }


class Spoilt(torch.autograd.Function):
    """Passes values on, and gives back a gradient of NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * NAN


class Boosted(torch.autograd.Function):
    """Passes values on, and gives back a gradient that only float32 can hold."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (1e8 / gradient.float().abs().max().clamp(1e-12)).item()


class WithTerm:
    """A loss of the user's own: Ultralytics' plus a term of the first output."""

    def __init__(self, loss: Any, term: Callable[[Tensor], Tensor]) -> None:
        self.loss, self.term = loss, term

    def __call__(self, preds: Any, batch: Any) -> Any:
        loss, items = self.loss(preds, batch)
        return loss + self.term(_first_tensor(preds).float().abs()), items


def _first_tensor(preds: Any) -> Tensor:
    while not isinstance(preds, Tensor):
        preds = next(iter(preds.values())) if isinstance(preds, dict) else preds[0]
    return preds


TERMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "aten.log": lambda x: (-1 - x).log().sum(),
    "aten.div": lambda x: ((x - x) / (x - x)).sum(),
    "aten.sqrt": lambda x: (-x - 1).sqrt().sum(),
    "aten.exp": lambda x: (x + 100).exp().sum(),
    "aten.acos": lambda x: (x + 2).acos().sum(),
}
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "aten.log": lambda x: (-1 - x.abs()).log(),
    "aten.div": lambda x: x / (x - x),
    "aten.sqrt": lambda x: (-1 - x.abs()).sqrt(),
    "aten.exp": lambda x: (x.float().abs() + 100).exp(),
    "aten.pow": lambda x: (-1 - x.abs()) ** 0.5,
    "aten.masked_fill": lambda x: x.masked_fill(x >= x.max(), NAN),
}
BACKWARDS: Sequence[tuple[Callable[[Tensor], Tensor], str]] = (
    (lambda x: x + (x - x).abs().sqrt(), "aten.div"),
    (lambda x: x + (x - x) ** 0.5, "aten.pow"),
    (Spoilt.apply, "aten.mul"),
)
Kind = Callable[[Bench, random.Random], "Case | None"]


def _after(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A forward hook that gives the output through a function."""
    return lambda module, inputs, output: function(output)


def _layer(model: nn.Module, rng: random.Random, kinds: tuple[type, ...] | None) -> tuple[str, nn.Module]:
    """A random layer that trains; without kinds: any convolution block or its parts, each with a name of its own."""
    kinds_or_any = kinds or (nn.Conv2d, nn.BatchNorm2d, type(model.model[0]))
    found = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, kinds_or_any) and all(p.requires_grad for p in layer.parameters())
    ]
    return rng.choice(found)


def _pixel(image: Tensor, rng: random.Random, value: float) -> None:
    image[rng.randrange(len(image)), rng.randrange(image.shape[1]), rng.randrange(image.shape[2])] = value


def _poison(tensor: Tensor, rng: random.Random) -> None:
    tensor.view(-1)[rng.randrange(tensor.numel())] = rng.choice((NAN, INF, -INF))


def pixels_not_finite(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS))
    image, value = rng.randrange(len(fault.batch["img"])), rng.choice((NAN, INF, -INF))
    _pixel(fault.batch["img"][image], rng, value)
    ops, module = {"aten.convolution"}, "model.0.conv"
    return fault.case(Cause.DATA, ops, module, tensor="batch.img", images=[image])


def pixels_huge(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng))
    image = rng.randrange(len(fault.batch["img"]))
    row, column, side = rng.randrange(40), rng.randrange(40), rng.randrange(4, 20)
    fault.batch["img"][image, :, row : row + side, column : column + side] = 10 ** rng.uniform(22, 38)
    if (seen := oracles.forward(fault.model, fault.batch, fault.precision)) is None:
        return None
    return fault.case(Cause.DATA, seen.ops, seen.module, images=[image])


def label_not_finite(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), check="targets")
    key = "keypoints" if bench.task == "pose" and rng.random() < 0.5 else "bboxes"
    row = rng.randrange(len(fault.batch[key]))
    values = fault.batch[key][row].view(-1)
    values[rng.randrange(2)] = rng.choice((NAN, INF, -INF))
    ops = {"aten.mul"} if bench.task == "obb" else {"aten.mul_"}
    image = int(fault.batch["batch_idx"][row])
    return fault.case(Cause.LABEL, ops, "loss", tensor=f"batch.{key}", images=[image])


def label_without_area(bench: Bench, rng: random.Random) -> Case | None:
    """Only mask losses divide by the area, and only where the assigner matches the box; the rest is no fault."""
    if bench.task != "segment":
        return None
    fault = Fault(bench, bench.model(), bench.batch(rng))
    row = rng.randrange(len(fault.batch["bboxes"]))
    fault.batch["bboxes"][row, 2:] = 0.0
    image = int(fault.batch["batch_idx"][row])
    return fault.case(Cause.LABEL, {"aten.div"}, "loss", images=[image])


def weight(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS))
    path, layer = _layer(fault.model, rng, (nn.Conv2d, nn.BatchNorm2d))
    names = [n for n, p in layer.named_parameters(recurse=False) if p.requires_grad]
    name = rng.choice(names)
    _poison(getattr(layer, name).data, rng)
    return fault.case(Cause.STATE, OPS[type(layer)], path, tensor=f"{path}.{name}")


def batchnorm(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS))
    path, layer = _layer(fault.model, rng, (nn.BatchNorm2d,))
    name = rng.choice(("running_mean", "running_var"))
    _poison(getattr(layer, name), rng)
    return fault.case(Cause.STATE, OPS[type(layer)], path, tensor=f"{path}.{name}")


def activation(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS))
    path, layer = _layer(fault.model, rng, None)
    op = rng.choice(list(ACTIVATIONS))
    layer.register_forward_hook(_after(ACTIVATIONS[op]))
    return fault.case(Cause.DEFINITION, {op}, path)


def backward_only(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng))
    path, layer = _layer(fault.model, rng, None)
    function, op = rng.choice(BACKWARDS)
    layer.register_forward_hook(_after(function))
    return fault.case(Cause.DEFINITION, {op}, path, phase="backward")


def amp_forward(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), "float16", 2.0 ** rng.randrange(8, 16))
    _, layer = _layer(fault.model, rng, (nn.Conv2d,))
    layer.weight.data *= rng.choice((6e4, 1e8)) / layer.weight.data.abs().max()
    if (seen := oracles.forward(fault.model, fault.batch, fault.precision)) is None:
        return None
    return fault.case(Cause.PRECISION, seen.ops, seen.module)


def amp_backward(bench: Bench, rng: random.Random) -> Case | None:
    """A gradient that float16 cannot hold: the loss scale is far too high at one layer."""
    fault = Fault(bench, bench.model(), bench.batch(rng), "float16", 1024.0)
    path, layer = _layer(fault.model, rng, None)
    layer.register_forward_hook(_after(Boosted.apply))
    return fault.case(Cause.PRECISION, {"aten.mul"}, path, phase="backward")


def optimizer_state(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), check="optimizer")
    path, layer = _layer(fault.model, rng, (nn.Conv2d, nn.BatchNorm2d))
    key = rng.choice(("momentum_buffer", "exp_avg", "exp_avg_sq"))
    state = torch.zeros_like(layer.weight.data)
    _poison(state, rng)
    name = f"optimizer.{path}.weight.{key}"
    fault.extra[name] = state
    return fault.case(Cause.STATE, set(), "optimizer", tensor=name, phase="step")


def learning_rate(bench: Bench, rng: random.Random) -> Case | None:
    """Steps of a far too high learning rate drive one layer out of range; the snapshot before them is healthy."""
    fault = Fault(bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS))
    fault.extra = {f"earlier.{n}": p.data.clone() for n, p in fault.model.named_parameters()}
    for parameter in fault.model.parameters():
        parameter.data += 0.5 * parameter.data.abs().mean() * torch.randn_like(parameter)
    _, layer = _layer(fault.model, rng, (nn.Conv2d,))
    layer.weight.data *= 10 ** rng.uniform(20, 37)
    fault.history = [{"loss": 10.0 * 3**i, "norm": 5.0 * 4**i} for i in range(12)]
    if (seen := oracles.forward(fault.model, fault.batch, fault.precision)) is None:
        return None
    return fault.case(Cause.LEARNING_RATE, seen.ops, seen.module)


def exploding_gradient(bench: Bench, rng: random.Random) -> Case | None:
    """Loss gains that leave the loss finite, but not the gradient on its way to the first layer."""
    fault = Fault(bench, bench.model(), bench.batch(rng))
    loss, _ = copy.deepcopy(fault.model)(oracles.copied(fault.batch))
    factor = 10 ** rng.uniform(37.5, 38.4) / float(loss.detach().sum())
    fault.args = {gain: getattr(fault.model.args, gain) * factor for gain in ("box", "cls", "dfl")}
    fault.model.args = type(fault.model.args)(**{**vars(fault.model.args), **fault.args})
    fault.model.criterion = fault.model.init_criterion()
    if (seen := oracles.backward(fault.model, fault.batch)) is None:
        return None
    return fault.case(Cause.SETTING, seen.ops, seen.module, tensor="args.box", phase="backward")


def custom_loss(bench: Bench, rng: random.Random) -> Case | None:
    fault = Fault(bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS))
    op = rng.choice(list(TERMS))
    fault.model.criterion = WithTerm(fault.model.init_criterion(), TERMS[op])
    return fault.case(Cause.DEFINITION, {op}, "loss")


def head_overflow(bench: Bench, rng: random.Random) -> Case | None:
    """A score that float32 can hold, but not the sum of its losses."""
    fault = Fault(bench, bench.model(), bench.batch(rng))
    head, set_here = fault.model.model[-1], []
    for name in ("cv3", "one2one_cv3"):
        if branches := getattr(head, name, None):
            branch = rng.randrange(len(branches))
            branches[branch][-1].bias.data[0] = 10 ** rng.uniform(37.9, 38.4)
            set_here.append(f"model.{len(fault.model.model) - 1}.{name}.{branch}.{len(branches[branch]) - 1}.bias")
    return fault.case(Cause.STATE, {"aten.sum"}, "loss", tensor=set_here[0])


def not_repeated(bench: Bench, rng: random.Random) -> Case | None:
    """The run saw a fault that neither batch nor weights have: a bit flipped."""
    fault = Fault(
        bench, bench.model(), bench.batch(rng), rng.choice(PRECISIONS), check=rng.choice(("loss", "gradient"))
    )
    return fault.case(Cause.NONDETERMINISTIC, set(), "", phase="")


KINDS: Mapping[str, Kind] = {
    kind.__name__.replace("_", "-"): kind
    for kind in (
        pixels_not_finite,
        pixels_huge,
        label_not_finite,
        label_without_area,
        weight,
        batchnorm,
        activation,
        backward_only,
        amp_forward,
        amp_backward,
        optimizer_state,
        learning_rate,
        exploding_gradient,
        custom_loss,
        head_overflow,
        not_repeated,
    )
}


def inject(kind: str, bench: Bench, seed: int) -> Case | None:
    """The first of up to 20 draws that goes wrong; None where this kind cannot happen to this model."""
    for draw in range(20):
        torch.manual_seed(seed * 100 + draw)
        case = KINDS[kind](bench, random.Random(f"{kind} {seed} {draw}"))
        if case is not None:
            return replace(case, kind=kind)
        if kind == "label-without-area" and bench.task != "segment":
            return None
    return None
