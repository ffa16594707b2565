"""Makes the plan for a dataset: asks each unit of advice, keeps the strongest, and writes `plan.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nanfix import files, training, upstream
from yolo_nanfix.dataset.config import Layout
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.finetune import machine
from yolo_nanfix.finetune.case import Case, units
from yolo_nanfix.finetune.figures import Figures, count
from yolo_nanfix.finetune.recipe import STOCK_RECIPE
from yolo_nanfix.plans import Advice, Plan, Strength, Undecided
from yolo_nanfix.tasks import TASKS

MOST = 10
"""At most this many advices are in a plan."""
TRAINABLE = (Layout.YAML, Layout.CLASS_FOLDERS)
REFUSED = {
    "data": "it is the first argument",
    "mode": "a plan is for training",
    "resume": "a resumed run has its arguments already",
    "classes": "leave the other classes out of the labels: the figures count all",
    "cfg": "give its arguments one by one",
}
"""Training arguments that a plan cannot take, and why."""
OF_THE_RUN = frozenset(("device", "exist_ok", "name", "project", "save_dir"))
"""Training arguments that belong to one run on one machine, and so not into `plan.yaml`."""
LINE_BREAKS = frozenset("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff")
"""Characters besides the usual ones at which Python, YAML or an editor may end a line."""
BLOCK = "# /// yolo-nanfix"
"""Begins the comment with what Ultralytics has no argument for; `# ///` ends it, as PEP 723 has it."""
VERSION = 1
"""The version of that comment."""


def check(arguments: Mapping[str, Any]) -> None:
    """Check the training arguments of a call, before the dataset is read.

    Raises:
        UsageError: one of them is unknown, has an impossible value, or cannot be given to a plan.
    """
    if wrong := next((key for key in arguments if key in REFUSED), None):
        raise UsageError(f"{wrong} cannot be given to plan: {REFUSED[wrong]}")
    training.check_arguments(arguments)


def only(data: str | Path, studied: Sequence[Table]) -> Table:
    """The one dataset that was read.

    Raises:
        DataError: it is several, or Ultralytics cannot train on it.
    """
    if len(studied) != 1:
        raise DataError(f"{data} holds {len(studied)} datasets; name the data.yaml of one")
    if studied[0].config.layout not in TRAINABLE or studied[0].where:
        raise DataError(f"{data} is no dataset that Ultralytics trains on: that is a data.yaml, or folders of classes")
    return studied[0]


def plan(table: Table, given: Mapping[str, Any], fatal: int = 0) -> Plan:
    """The plan for a dataset that was read.

    Args:
        table: its contents.
        given: training arguments that were checked.
        fatal: how many fatal findings lint has.

    Raises:
        DataError: there is nothing to train on.
    """
    data = str(table.config.yaml_file)
    figures = _usable(data, table)
    on = machine.look(given.get("device"))
    default, model = upstream.default_arguments(), training.default_model(figures.task)
    case = Case(figures, on, default, dict(given), upstream.release(upstream.version()), model)
    advices, undecided = ask(case)
    shown = strongest(advices)
    return Plan(
        data=data,
        root=str(table.config.root),
        task=figures.task,
        fingerprint=figures.fingerprint,
        figures=figures.as_dict(),
        machine=on.as_dict(),
        given=dict(given),
        advices=shown,
        undecided=tuple(undecided),
        left_out=len(advices) - len(shown),
        fatal=fatal,
        model=case.model,
    )


def ask(case: Case) -> tuple[list[Advice], list[Undecided]]:
    """What all units say, in their order; each knows what those before it advise."""
    advices: list[Advice] = []
    undecided: list[Undecided] = []
    for unit in units():
        answer = unit.answer(case)
        if isinstance(answer, Advice):
            advices.append(answer)
            case.advised.update(answer.arguments)
        elif answer is not None:
            undecided.append(answer)
    return advices, undecided


def _usable(data: str, table: Table) -> Figures:
    """The figures of a dataset that can be trained on.

    Raises:
        DataError: it has no labels, or no image that Ultralytics keeps.
    """
    if table.task not in TASKS:
        raise DataError(f"{data} has images without labels: there is nothing to plan a training for")
    figures = count(table)
    if not figures.train.images:
        raise DataError(f"{data} has no train image that Ultralytics keeps; yolo-nanfix lint says why")
    if not figures.train.objects:
        raise DataError(f"{data} has no label in its {figures.train.images} train images; yolo-nanfix lint says why")
    return figures


def strongest(advices: Iterable[Advice]) -> tuple[Advice, ...]:
    """The advices of a plan: changes before confirmed defaults, and the strongest evidence first."""
    order = list(Strength)
    return tuple(sorted(advices, key=lambda advice: (not advice.changes, order.index(advice.strength)))[:MOST])


def text(plan: Plan, recipe: str = STOCK_RECIPE) -> str:
    """The content of `plan.yaml`: a file for Ultralytics' `cfg=`, and a comment with what is ours.

    Args:
        plan: its settings and dataset.
        recipe: the name of the recipe that a trial has chosen.
    """
    own = {"recipe": recipe, "version": VERSION, "data": dict(plan.fingerprint)}
    block = "".join(f"# {line}\n" for line in _yaml(own).split("\n")[:-1])
    own_run = {key: value for key, value in plan.arguments.items() if key not in OF_THE_RUN}
    arguments = {"data": plan.data, "model": plan.model, **own_run}
    return f"{BLOCK}\n{block}# ///\n{_yaml(arguments)}"


def _yaml(values: Mapping[str, Any]) -> str:
    """Values as YAML; in ASCII if they hold characters that some readers take for line breaks."""
    import yaml

    def dump(*, unicode: bool) -> str:
        return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=unicode, width=1000))

    found = dump(unicode=True)
    return dump(unicode=False) if LINE_BREAKS & set(found) else found


def check_files(output: str | Path | None, page: str | Path | None, *, overwrite: bool) -> None:
    """Check the files that are to be written, before the dataset is read.

    Raises:
        UsageError: one exists and is not to be overwritten, is a folder, or has another suffix than it needs.
    """
    for file, suffixes in ((output, (".yaml", ".yml")), (page, (".html", ".htm"))):
        if file is None:
            continue
        path = Path(file)
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"{path}: name a {suffixes[0]} file")
        if path.is_dir() or (path.exists() and not overwrite):
            raise UsageError(f"{path} is a folder" if path.is_dir() else f"{path} exists; --overwrite replaces it")


def write(content: str, path: str | Path) -> None:
    """Write a file, completely or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        files.write_text(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
