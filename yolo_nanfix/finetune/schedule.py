"""Carries out on a trainer what a recipe has beyond Ultralytics' own settings.

Like the guard, it hooks in where a trainer is built, by wrappers on that one instance, so that it works for user
subclasses and in every process of a distributed run:

- `build_optimizer`: the learning rate is capped, and each parameter group is split by the multiple of its layers. The
  scheduler, warm-up, guard and checkpoints handle the new groups as any others.
- `on_train_epoch_start`: the layers of the phase are frozen, all others trained. Not before, for the guard and
  DistributedDataParallel must first see all parameters as trainable.
- `on_train_batch_start`: BatchNorm of frozen layers is in eval mode, as newer releases have it (older ones only freeze
  the weights); the moving average has its time constant, also where the trainer has made a new one.
- `save_model`: the fitness of each epoch is kept in `STATE_NAME`, from which a resumed run finds its place.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from yolo_nanfix import upstream
from yolo_nanfix.files import write_json
from yolo_nanfix.finetune import class_rows, replay_mix
from yolo_nanfix.finetune.recipe import STOCK_RECIPE, RecipeError
from yolo_nanfix.finetune.settled import Settled

TRAINER_INIT = "ultralytics.engine.trainer:BaseTrainer.__init__"
STATE_NAME = "yolo-nanfix-recipe.json"
"""In the run folder: the recipe as it was settled, and what a resumed run has to know."""
STATE_FORMAT = 1
LARGEST_STATE = 16 * 2**20
"""Bytes; an epoch takes about 30."""
FOREVER = 10**9
"""Optimizer steps after which the decay of a moving average has reached its limit."""
_NUMBER = re.compile(r"(?:^|\.)model\.(\d+)\.")
Tell = Callable[[Mapping[str, Any]], None]
"""Takes what happens in a run: `frozen` (layers), `epoch` (1-based), `why` (start, epoch, plateau, resumed)."""


@dataclass(frozen=True)
class InForce:
    """What every trainer gets that is built from now on.

    Attributes:
        settled: the schedule; None to take up only what a resumed run began with.
        facts: for the report: `happened` is filled while the run goes.
        tell: told of each phase.
    """

    settled: Settled | None
    facts: MutableMapping[str, Any] = field(default_factory=dict)
    tell: Tell = lambda fact: None


_in_force: list[InForce] = []


@contextmanager
def applied(settled: Settled | None, facts: MutableMapping[str, Any], tell: Tell) -> Iterator[None]:
    """In a `with` block, trainers that are built follow a schedule; a resumed run that of its start."""
    force = InForce(settled, facts, tell)
    undo = put_on_new_trainers(force)
    try:
        yield
    finally:
        undo()


def put_on_new_trainers(force: InForce) -> Callable[[], None]:
    """Put the schedule on every trainer that is built from now on; the result undoes that."""

    def built(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wrapped(*args, **kwargs)
        attach(instance, force)

    restore = upstream.put_around(TRAINER_INIT, built)
    _in_force.append(force)

    def undo() -> None:
        restore()
        _in_force.remove(force)

    return undo


def carried() -> dict[str, Any] | None:
    """The schedule in force, JSON-ready, for processes that this one starts."""
    if not _in_force:
        return None
    settled = _in_force[-1].settled
    return {"settled": settled.as_dict() if settled else None}


def install_carried(held: Mapping[str, Any], tell: Tell) -> None:
    """Install what `carried` gave in another process."""
    settled = held["settled"]
    put_on_new_trainers(InForce(Settled.from_dict(settled) if settled else None, {}, tell))


def attach(trainer: Any, force: InForce) -> Schedule | None:
    """Put the schedule on one trainer that was built and not yet set up; None if there is none.

    Raises:
        RecipeError: a resumed run began with another recipe, or its file is damaged; or the run is compiled on several
            devices, where Ultralytics fixes the graph before the first phase.
    """
    if force.settled is not None and force.settled.added:
        _around(trainer, "get_model", lambda build, *a, **k: _with_rows(trainer, build, *a, **k))
    if _launches(trainer):
        return None  # it only starts the processes that train
    settled, history, earlier = force.settled, dict[int, float](), list[dict[str, Any]]()
    path = Path(trainer.save_dir) / STATE_NAME
    if getattr(trainer, "resume", False):
        settled, history, earlier = _taken_up(path, force.settled)
    elif _is_first():
        with suppress(OSError):
            path.unlink()  # of another run in the same folder
    if settled is not None:
        force.facts.update(name=settled.name, changes=settled.as_dict()["changes"], happened=earlier)
    if settled is None or not settled.acts:
        return None
    schedule = Schedule(trainer, settled, history, force)
    if schedule.moves and int(getattr(trainer, "world_size", 0) or 0) > 1 and getattr(trainer.args, "compile", False):
        raise RecipeError(
            f"the recipe '{settled.name}' freezes layers for a part of the run, which compile= on several devices does"
            " not allow; leave out compile="
        )
    _around(trainer, "_setup_train", schedule.set_up)
    return schedule


def _taken_up(path: Path, given: Settled | None) -> tuple[Settled | None, dict[int, float], list[dict[str, Any]]]:
    """The schedule, the fitness by epoch, and what happened in the earlier part of a resumed run."""
    again = "resume goes on as the run was begun; start anew from its weights with model=last.pt to change that"
    if not path.is_file():
        if given is not None and given.name != STOCK_RECIPE:
            raise RecipeError(f"the run was begun without a recipe, and {again}")
        return None, {}, []
    try:
        if path.stat().st_size > LARGEST_STATE:
            raise ValueError("it is too large")
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["format"] != STATE_FORMAT:
            raise ValueError("it is of another version")
        settled = Settled.from_dict(held["settled"])
        history = {int(epoch): float(fitness) for epoch, fitness in held["fitness"].items()}
        happened = [dict(fact) for fact in held["happened"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecipeError(f"{path}, which a resumed run goes by, cannot be used: {error}") from error
    if given is not None and given.name != settled.name:
        raise RecipeError(f"the run was begun with the recipe '{settled.name}', not '{given.name}', and {again}")
    return settled, history, happened


def _with_rows(trainer: Any, build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A new model with the old one's rows of the classes that both have."""
    model = build(*args, **kwargs)
    bound = inspect.signature(build).bind(*args, **kwargs).arguments
    if (weights := bound.get("weights")) is not None:
        class_rows.copy_rows(model, weights, trainer.data["names"])
    return model


def _launches(trainer: Any) -> bool:
    several = getattr(trainer, "ddp", False) or (getattr(trainer, "world_size", 0) or 0) > 1
    return bool(several) and "LOCAL_RANK" not in os.environ


def _is_first() -> bool:
    return int(os.environ.get("RANK", "-1")) < 1


class Schedule:
    """One schedule on one trainer."""

    def __init__(self, trainer: Any, settled: Settled, history: dict[int, float], force: InForce) -> None:
        """Nothing is hooked in yet.

        Args:
            trainer: Ultralytics' trainer.
            settled: what to do.
            history: fitness by 0-based epoch, of the earlier part of a resumed run.
            force: whom to tell.
        """
        self.trainer, self.settled, self.history, self.force = trainer, settled, history, force
        self.frozen: tuple[int | str, ...] = ()
        self._held: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []
        self._average: Any = None
        self._begun = False

    @property
    def moves(self) -> bool:
        """Whether what is frozen changes in the run; else Ultralytics' own `freeze` does it."""
        phases = self.settled.phases
        return len(phases) > 1 or any(p["epoch"] is not None or p["plateau"] is not None for p in phases)

    def set_up(self, set_up: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Hook into the trainer as it sets itself up: one that launches others, and is pickled, does not get here."""
        trainer = self.trainer
        if self.settled.factors or self.settled.cap:
            _around(trainer, "build_optimizer", self._optimizer)
        if self.settled.replay:
            _around(trainer, "get_dataloader", self._loader)
        if self.moves:
            trainer.args.freeze = None  # of a checkpoint: all parameters are trainable until the first epoch
        _around(trainer, "save_model", self._save)
        _around(trainer, "run_callbacks", self._after_callbacks)
        return set_up(*args, **kwargs)

    def _after_callbacks(self, run: Callable[[str], None], event: str) -> None:
        """Callbacks of our own would be pickled into the workers, which have a schedule of their own."""
        run(event)
        if event == "on_train_epoch_start":
            self.epoch_start()
        elif event == "on_train_batch_start":
            self.batch_start()
        elif event == "on_fit_epoch_end":
            self.note_fitness()

    def _optimizer(self, build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        optimizer = build(*args, **kwargs)
        if self.settled.cap:
            self._cap(optimizer)
        if self.settled.factors:
            split_groups(optimizer, args[0] if args else kwargs["model"], self.settled.factors)
        return optimizer

    def _cap(self, optimizer: torch.optim.Optimizer) -> None:
        """Lower the learning rate of all groups by one factor, where it is above the cap."""
        cap, images = self.settled.cap, len(self.trainer.train_loader.dataset)
        rate = cap["sgd"] if "SGD" in type(optimizer).__name__ else cap["adam"]
        most = rate * math.sqrt(images / cap["images"])
        before = min(float(group["lr"]) for group in optimizer.param_groups)
        if before <= most:
            return
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * (most / before)
        self.trainer.args.lr0 = most  # which a resumed run builds its optimizer with
        self._tell({"what": "cap", "lr0": most, "was": before, "images": images})

    def _loader(self, build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        loader = build(*args, **kwargs)
        if replay_mix.mode_of(build, args, kwargs) == "train":
            mix = replay_mix.mix(loader, self.settled.added, float(self.settled.replay or 0.0), self.trainer)
            self._tell({"what": "replay", **mix})
        return loader

    def epoch_start(self) -> None:
        """Freeze what the phase of this epoch freezes."""
        epoch = int(self.trainer.epoch)
        if not self._begun:
            facts = self.force.facts["happened"]
            facts[:] = [fact for fact in facts if fact.get("epoch", 0) <= epoch]
            self._write()
        frozen = self._agreed(epoch)
        if frozen != self.frozen or not self._begun:
            why = "resumed" if epoch and not self._begun else "start" if not self._begun else "next"
            self._freeze(frozen)
            if self.settled.phases:
                self._tell({"what": "phase", "epoch": epoch + 1, "frozen": list(frozen), "why": why})
        self._begun = True

    def _agreed(self, epoch: int) -> tuple[int | str, ...]:
        """What is frozen in an epoch; rank 0, which alone knows the fitness, decides for all."""
        frozen = frozen_in(self.settled, epoch, self.history)
        if int(getattr(self.trainer, "world_size", 0) or 0) > 1 and any(p["plateau"] for p in self.settled.phases):
            held = [frozen]
            torch.distributed.broadcast_object_list(held, 0)
            frozen = held[0]
        return frozen

    def _freeze(self, layers: tuple[int | str, ...]) -> None:
        """Freeze these layers and train all that this schedule froze before."""
        trainer, model = self.trainer, self.trainer.model
        for parameter in self._held:
            parameter.requires_grad = True
        self._held = []
        if self.moves:
            names = [f"model.{layer}." for layer in layers]
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and any(one in name for one in names):
                    parameter.requires_grad, parameter.grad = False, None  # what a window has so far is dropped
                    self._held.append(parameter)
            before = {f"model.{layer}." for layer in self.frozen}
            if hasattr(trainer, "freeze_layer_names"):
                kept = [name for name in trainer.freeze_layer_names if name not in before]
                trainer.freeze_layer_names = names + kept
            trainer.args.freeze = list(layers) or None  # as incidents and checkpoints record it
        self.frozen = layers
        inside = tuple(f"model.{layer}." for layer in layers)
        self._norms = [
            module
            for name, module in model.named_modules()
            if isinstance(module, _NormBase) and any(one in f"{name}." for one in inside)
        ]

    def batch_start(self) -> None:
        """Keep BatchNorm of frozen layers in eval mode, and the time constant of the moving average."""
        for norm in self._norms:
            if norm.training:
                norm.eval()
        average = self.trainer.ema
        if self.settled.tau and average and average is not self._average:
            self._average = average
            average.decay = decay_of(average.decay(FOREVER), self.settled.tau)

    def _save(self, write: Callable[[], Any]) -> Any:
        self.note_fitness()
        return write()

    def note_fitness(self) -> None:
        """Keep the fitness of the epoch, in memory and in the run folder."""
        fitness = getattr(self.trainer, "fitness", None)
        epoch = int(self.trainer.epoch)
        if not self._begun or fitness is None or epoch >= int(self.trainer.epochs) or not _is_first():
            return
        if self.history.get(epoch) != float(fitness):
            self.history[epoch] = float(fitness)
            self._write()

    def _write(self) -> None:
        """Write what a resumed run goes by."""
        if not _is_first():
            return
        fitness = {str(epoch): value for epoch, value in self.history.items()}
        held = {"format": STATE_FORMAT, "settled": self.settled.as_dict(), "fitness": fitness}
        try:
            write_json(Path(self.trainer.save_dir) / STATE_NAME, {**held, "happened": self.force.facts["happened"]})
        except OSError as problem:
            upstream.log(f"yolo-nanfix: what a resumed run needs of the recipe could not be written: {problem}")

    def _tell(self, fact: Mapping[str, Any]) -> None:
        if _is_first():
            self.force.facts["happened"].append(dict(fact))
            self.force.tell(fact)


def frozen_in(settled: Settled, epoch: int, history: Mapping[int, float]) -> tuple[int | str, ...]:
    """What is frozen in an epoch.

    Args:
        settled: the schedule.
        epoch: 0-based.
        history: fitness by epoch, of those before.
    """
    start = 0
    for phase in settled.phases:
        end: float = math.inf
        if phase["epoch"] is not None:
            end = phase["epoch"]
        elif phase["plateau"] is not None:
            end = _plateau(start, epoch, phase["plateau"], history)
        if epoch < end:
            return tuple(phase["layers"])
        start = max(start, int(end))
    return ()


def _plateau(start: int, epoch: int, patience: int, history: Mapping[int, float]) -> float:
    """The epoch before which `patience` epochs had no better fitness than one of the phase before them."""
    best, since = -math.inf, 0
    for number in range(start, epoch):
        fitness = history.get(number, -math.inf)
        best, since = (fitness, 0) if fitness > best else (best, since + 1)
        if since >= patience:
            return number + 1
    return math.inf


def decay_of(limit: float, tau: float) -> Callable[[int], float]:
    """The decay of a moving average by its updates: it nears `limit` with a time constant of `tau` updates."""
    return lambda updates: limit * (1 - math.exp(-updates / tau))


def layer_of(name: str) -> int | None:
    """The number of the layer that a parameter is in, by its name (`module.model.3.conv.weight`)."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else None


def split_groups(optimizer: torch.optim.Optimizer, model: nn.Module, factors: tuple[float, ...]) -> None:
    """Split each parameter group by the multiple of its layers, and scale the learning rates.

    A group whose layers all have the multiple 1 stays as it is. Parts keep all settings of their group; but those of
    the biases with another multiple than 1 are named anew: Ultralytics starts the warm-up of `bias` at a rate of its
    own, which no multiple applies to. They rise from 0, as all others do.

    Args:
        optimizer: just built, without state.
        model: whose layers are meant.
        factors: a multiple for each layer.
    """
    by_parameter = {}
    for name, parameter in model.named_parameters():
        number = None if "teacher_model." in name else layer_of(name)
        known = number is not None and number < len(factors)
        by_parameter[id(parameter)] = factors[number or 0] if known else 1.0
    whole = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for group in whole:
        parts: dict[float, list[Any]] = {}
        for parameter in group["params"]:
            parts.setdefault(by_parameter.get(id(parameter), 1.0), []).append(parameter)
        for factor in sorted(parts, reverse=True) or [1.0]:
            part = {**group, "params": parts.get(factor, []), "lr": group["lr"] * factor}
            if factor != 1.0 and group.get("param_group") == "bias":
                part["param_group"] = f"bias x{factor:g}"
            optimizer.add_param_group(part)


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Shadow a bound method of one instance with `wrapper(bound, *args)`."""
    bound = getattr(owner, name)
    setattr(owner, name, wraps(bound)(lambda *args, **kwargs: wrapper(bound, *args, **kwargs)))
