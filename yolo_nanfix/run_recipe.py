"""The recipe of one run: found, fitted to model and data, told, and put on the trainers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import cards, training, upstream
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.finetune import settled as settling
from yolo_nanfix.finetune.settled import Settled
from yolo_nanfix.report import recipe_text
from yolo_nanfix.run_folder import lenient

if TYPE_CHECKING:
    from yolo_nanfix.finetune.recipe import Plan, Recipe


def with_plan(chosen: Recipe | Plan | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The user's training arguments, with those of a plan that decide which model is loaded."""
    plan = chosen.arguments if isinstance(chosen, recipes.Plan) else {}
    return {**{key: plan[key] for key in ("model",) if key in plan}, **arguments}


def settle(
    chosen: Recipe | Plan | None, model: Any, data: str | Path, arguments: Mapping[str, Any]
) -> tuple[Settled | None, dict[str, Any]]:
    """Fit a recipe to a run.

    Args:
        chosen: the recipe, or the plan that names it; None for none.
        model: the loaded model.
        data: as given to `train`.
        arguments: the user's own.

    Returns:
        What is left for the schedule, and all training arguments. Of a run that is resumed only the name of the recipe:
        the run goes on with what its folder and checkpoint hold.

    Raises:
        RecipeError: it does not fit.
        UsageError: an argument of the recipe is unknown to this release.
    """
    if chosen is None:
        return None, dict(arguments)
    if arguments.get("resume"):
        return Settled(chosen.recipe.name if isinstance(chosen, recipes.Plan) else chosen.name), dict(arguments)
    from yolo_nanfix.finetune.class_rows import ROWS_OF
    from yolo_nanfix.finetune.model_layers import layers_of

    task, defaults = str(model.task), upstream.default_arguments()
    names = _classes_of_set(task, data)
    if isinstance(chosen, recipes.Plan):
        recipes.check_plan(chosen, task, names)
    trained = getattr(model.model, "names", None) if str(model.overrides.get("model", "")).endswith(".pt") else None
    head = type(model.model.model[-1]).__name__ if hasattr(model.model, "model") else ""
    facts = settling.RunFacts(
        own={**_of_file(arguments.get("cfg")), **arguments},
        defaults=defaults,
        layers=layers_of(model.model),
        task=task,
        model_names=tuple(map(str, (trained or {}).values())),
        names=names,
        copies_rows=head in ROWS_OF or "cls_remap" in defaults,
    )
    add, settled = settling.settle(chosen, facts)
    training.check_arguments({**add, **arguments, "data": str(data)})
    return settled, {**add, **arguments}


def check_images(chosen: Recipe | Plan | None, left: Mapping[str, Mapping[str, int]]) -> None:
    """Check that a plan was made for a set of about this size.

    Raises:
        RecipeError: it was made for another one.
    """
    if isinstance(chosen, recipes.Plan):
        recipes.check_size(chosen, {split: numbers["images"] for split, numbers in left.items()})


def _classes_of_set(task: str, data: str | Path) -> tuple[str, ...]:
    """The classes of a set, in order; empty where it is not on this disk."""
    from yolo_nanfix.dataset import classification
    from yolo_nanfix.dataset.config import read_config
    from yolo_nanfix.errors import DataError

    try:
        config = classification.read_folder(data) if task == "classify" else read_config(data)
    except DataError:
        return ()
    return tuple(map(str, config.numbered.values()))


def _of_file(cfg: Any) -> Mapping[str, Any]:
    """The training arguments of a `cfg=` file; Ultralytics says what is wrong with it."""
    from yolo_nanfix.safe_yaml import NotYaml, load_yaml

    try:
        return lenient.mapping(load_yaml(Path(str(cfg)).read_text(encoding="utf-8"))) if cfg else {}
    except (OSError, UnicodeDecodeError, NotYaml):
        return {}


def patches(chosen: Recipe | Plan | None) -> tuple[str, ...]:
    """The patches that are off by default, and without which a recipe's warm-up or mosaic is not what it says."""
    if chosen is None:
        return ()
    recipe = chosen.recipe if isinstance(chosen, recipes.Plan) else chosen
    says = {
        "mosaic-never-closed": recipe.mosaic is not None or recipe.close is not None,
        "warmup-outlasts-run": recipe.warmup is not None,
    }
    return tuple(name for name, said in says.items() if said and cards.load_all()[name].affects(upstream.version()))


def facts_of(settled: Settled | None, given: str | Path | None) -> dict[str, Any]:
    """What the report of a run has about its recipe before the run, with its name or file as given; empty without."""
    if settled is None:
        return {}
    return {"name": settled.name, "given": str(given), "changes": settled.as_dict()["changes"], "happened": []}


def announce(facts: Mapping[str, Any]) -> None:
    """Log what the recipe changes."""
    for line in recipe_text.lines(facts) if facts else ():
        upstream.log(f"yolo-nanfix: {line}", good_news=True)


@contextmanager
def applied(settled: Settled | None, facts: dict[str, Any]) -> Iterator[None]:
    """In a `with` block, trainers follow the recipe; a resumed run follows the one that it was begun with.

    Args:
        settled: the recipe; None if none was asked for.
        facts: `facts_of` it, completed while the run goes.
    """
    from yolo_nanfix.finetune import schedule

    with schedule.applied(settled, facts, lambda fact: upstream.log(recipe_text.logged(fact), good_news=True)):
        yield


def happened_in(folder: Path) -> list[Any]:
    """What a schedule did in the processes of a distributed run."""
    import json

    from yolo_nanfix.finetune.schedule import STATE_NAME

    try:
        held = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(lenient.entries(held, "happened"))
