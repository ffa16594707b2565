"""Fits a recipe or plan to one run.

What Ultralytics has a setting for becomes that setting; the rest is a `Settled` that `schedule` puts on the trainer.
What the user gives as key=value always wins, then a plan, then the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from yolo_nanfix.finetune.model_layers import LayerNames
from yolo_nanfix.finetune.recipe import RULED, Cap, Phase, Plan, Rates, Recipe, RecipeError, ruled
from yolo_nanfix.wording import shown


@dataclass(frozen=True)
class Change:
    """A setting of the run that has another value than without recipe, or would have.

    Attributes:
        key: the training argument, or the key of the recipe.
        value: what it is in this run.
        by: recipe, plan, or user where the user's own value stands.
        instead: what the recipe or plan has, where the user's own value stands.
        figure: the number of the run that the value was computed from (epochs, images), if any.
    """

    key: str
    value: Any
    by: str
    instead: Any = None
    figure: int | None = None


@dataclass(frozen=True)
class Settled:
    """What a schedule does to the trainer of one run. JSON-ready by `asdict`.

    Attributes:
        name: of the recipe.
        phases: in order: `layers` (their numbers or names of modules), and `epoch` or `plateau`; both None: to the end.
        factors: multiple of the learning rate by layer; empty if all are 1.
        cap: as `Cap`; empty if there is none.
        tau: as in `Recipe`.
        replay: as in `Recipe`.
        added: numbers of the classes that the model did not have; empty unless old ones are to be kept.
        changes: what was changed, for the report.
    """

    name: str
    phases: tuple[Mapping[str, Any], ...] = ()
    factors: tuple[float, ...] = ()
    cap: Mapping[str, Any] = field(default_factory=dict)
    tau: float | None = None
    replay: float | None = None
    added: tuple[int, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether there is anything to do besides Ultralytics' own arguments."""
        return bool(self.phases or self.factors or self.cap or self.tau or self.added)

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Settled:
        """The value that `asdict` made a dict of.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        changes = tuple(Change(**one) for one in held["changes"])
        lists = {name: tuple(held[name]) for name in ("phases", "factors", "added")}
        return cls(**{**held, **lists, "changes": changes})

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class RunFacts:
    """What `settle` has to know of a run.

    Attributes:
        own: the training arguments that the user gave, in the call or a `cfg=` file.
        defaults: those of the installed release.
        layers: of the model; None if its definition names no parts.
        task: of the model.
        model_names: the classes that the model has learnt; empty for a new model.
        names: the classes of the set, in order; empty if not known.
        copies_rows: whether rows of this model's head can be copied by class name, by the release or by us.
    """

    own: Mapping[str, Any]
    defaults: Mapping[str, Any]
    layers: LayerNames | None
    task: str
    model_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    copies_rows: bool = True


def same_name(name: str) -> str:
    """A class name as Ultralytics compares those of two models."""
    return name.strip().lower()


def settle(found: Recipe | Plan, run: RunFacts) -> tuple[dict[str, Any], Settled]:
    """Fit a recipe or plan to one run.

    Returns:
        The training arguments to add to the user's own, and what is left for the schedule.

    Raises:
        RecipeError: the model lacks a layer, the classes do not fit, or shares cannot be counted.
    """
    plan = found if isinstance(found, Plan) else None
    recipe = plan.recipe if plan else found
    assert isinstance(recipe, Recipe)
    own = run.own
    given: dict[str, tuple[Any, str]] = {key: (value, "recipe") for key, value in recipe.arguments.items()}
    given |= {key: (value, "plan") for key, value in (plan.arguments if plan else {}).items()}
    epochs = own.get("epochs") or given.get("epochs", (None, ""))[0] or run.defaults.get("epochs", 100)
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise RecipeError(f"epochs must be a whole number of 1 or more, not {shown(epochs)}")
    if recipe.shares and (own.get("time") or given.get("time", (None, ""))[0]):
        raise RecipeError(
            f"the recipe '{recipe.name}' counts in shares of the epochs, which time= leaves open; give epochs= instead"
        )
    changes: list[Change] = []
    stands = {}
    for key, value in ruled(recipe):
        beats = next((name for name in RULED[key] if name in own or (plan and name in plan.arguments)), None)
        if beats is not None:
            said = (own[beats], "user") if beats in own else given[beats]
            changes.append(Change(key, said[0], said[1], instead=_plain(value)))
        stands[key] = beats is None
    given |= {key: (value, "recipe") for key, value in _of_shares(recipe, stands, epochs).items()}
    add = {key: value for key, (value, _) in given.items() if key not in own}
    for key, (value, by) in given.items():
        figure = epochs if by == "recipe" and key in ("close_mosaic", "warmup_epochs") else None
        if key not in own:
            changes.append(Change(key, value, by, figure=figure))
        elif own[key] != value:
            changes.append(Change(key, own[key], "user", instead=value))
    phases = _phases(recipe, run, epochs) if stands.get("freeze") else ()
    if len(phases) == 1 and phases[0]["epoch"] is phases[0]["plateau"] is None:
        add["freeze"] = list(phases[0]["layers"])  # Ultralytics' own setting does all of it
    changes += [Change("freeze", list(phases), "recipe", figure=epochs)] if phases else []
    factors = _factors(recipe, run)
    changes += [Change("learning_rate", asdict(recipe.rates), "recipe")] if factors and recipe.rates else []
    cap = asdict(recipe.cap) if recipe.cap and stands["learning_rate.cap"] else {}
    changes += [Change("learning_rate.cap", cap, "recipe")] if cap else []
    changes += [Change("ema.tau", recipe.tau, "recipe")] if recipe.tau else []
    added = _added_classes(recipe, run)
    changes += [Change("classes.replay", recipe.replay, "recipe")] if recipe.replay else []
    changes += [Change("classes.keep", list(added), "recipe", figure=len(added))] if added else []
    if added and own.get("cls_remap") is False:
        changes.append(Change("cls_remap", False, "user", instead=True))
    return add, Settled(recipe.name, phases, factors, cap, recipe.tau, recipe.replay, added, tuple(changes))


def _plain(value: Any) -> Any:
    """A JSON-ready value of a recipe."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return asdict(value) if isinstance(value, (Phase, Cap)) else value


def _of_shares(recipe: Recipe, stands: Mapping[str, bool], epochs: int) -> dict[str, Any]:
    """The training arguments that shares of the epochs come to."""
    found: dict[str, Any] = {}
    if recipe.warmup is not None and stands["warmup"]:
        found["warmup_epochs"] = round(recipe.warmup * epochs, 6)
    if recipe.mosaic is not None and stands["mosaic.probability"]:
        found["mosaic"] = float(recipe.mosaic)
    if recipe.close is not None and stands["mosaic.close"]:
        found["close_mosaic"] = max(1, round(recipe.close * epochs)) if recipe.close else 0
    return found


def _layers(recipe: Recipe, run: RunFacts) -> LayerNames:
    if run.layers is None:
        raise RecipeError(
            f"the recipe '{recipe.name}' names layers, but this model's definition has no backbone and head"
        )
    return run.layers


def _phases(recipe: Recipe, run: RunFacts, epochs: int) -> tuple[dict[str, Any], ...]:
    """The phases with layers by number and ends by epoch; each lasts one epoch at least."""
    found: list[dict[str, Any]] = []
    reached = 0
    if any(phase.until.plateau for phase in recipe.freeze) and run.own.get("val") is False:
        raise RecipeError(f"the recipe '{recipe.name}' waits for a plateau of the fitness, unknown with val=False")
    for phase in recipe.freeze:
        until = phase.until
        layers = _layers(recipe, run).find(phase.layers, f"the recipe '{recipe.name}'")
        end = until.epoch if until.share is None else round(until.share * epochs)
        if end is not None:
            end = reached = max(end, reached + 1)
        found.append({"layers": layers, "epoch": end, "plateau": until.plateau})
    return tuple(found)


def _factors(recipe: Recipe, run: RunFacts) -> tuple[float, ...]:
    if recipe.rates is None or recipe.rates == Rates():
        return ()
    layers, rates = _layers(recipe, run), recipe.rates
    if rates.neck != 1.0 and not layers.parts["neck"]:
        raise RecipeError(f"the recipe '{recipe.name}' has a learning rate for the neck, which this model has not")
    by_part = {number: getattr(rates, part) for part, numbers in layers.parts.items() for number in numbers}
    last = layers.count - 1
    return tuple(by_part[number] * rates.decay ** (last - number) for number in range(layers.count))


def _added_classes(recipe: Recipe, run: RunFacts) -> tuple[int, ...]:
    """The numbers of the classes that the model does not have.

    Raises:
        RecipeError: the model has not learnt any class, there is no new one, or old ones would be lost.
    """
    if not recipe.keeps:
        return ()
    start = f"the recipe '{recipe.name}' adds classes to a trained model"
    if not run.model_names:
        raise RecipeError(f"{start}, but this one has no classes yet; give its weights by model=best.pt")
    if not run.copies_rows:
        raise RecipeError(f"{start}, for which this head needs ultralytics 8.4.91 or newer ('cls_remap')")
    old, now = set(map(same_name, run.model_names)), set(map(same_name, run.names))
    if lost := [name for name in run.model_names if same_name(name) not in now]:
        few = shown(lost)
        raise RecipeError(
            f"{start}, but data.yaml lacks {len(lost)} of its {len(run.model_names)} classes ({few}); add them to names"
        )
    added = tuple(number for number, name in enumerate(run.names) if same_name(name) not in old)
    if not added:
        raise RecipeError(f"{start}, but it has every class of data.yaml already")
    return added
