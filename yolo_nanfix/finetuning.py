"""The fine-tuning kit over dataset, lint and training: `score`, `bench` and `trial`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import api, training
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.safe_yaml import NotYaml, load_yaml

if TYPE_CHECKING:
    from yolo_nanfix.dataset.table import Table
    from yolo_nanfix.finetune.arms import Bench
    from yolo_nanfix.finetune.folds import Folds
    from yolo_nanfix.finetune.scoring import Score
    from yolo_nanfix.finetune.trial import Trial
    from yolo_nanfix.plans import Plan

OUT = Path("runs") / "bench"
"""Where `bench` keeps its runs unless told otherwise."""
TRIALS = Path("runs") / "trial"
"""Where `trial` keeps its runs unless told otherwise."""
RECIPES = ("stock", "frozen", "small", "gradual", "far-domain")
"""What `trial` tries unless told otherwise: the recipes for any set of trained weights."""
TRIAL_EPOCHS = 10
"""Epochs of each training of a trial: on 160 images frozen and full backbones have parted after 6."""
SEEDS = 3
"""Fewer give no usable interval over seeds: Student's t with one degree of freedom is 12.7 errors wide."""


def score(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    group_by: str | None = None,
    old: str | Path | None = None,
    deep: bool = True,
    trust_dataset_settings: bool = False,
    progress: api.Progress | None = None,
    **arguments: Any,
) -> Score:
    """The mAP of a model with its 95 % interval; beside it the honest one, without images that training has seen.

    Args:
        model: weights.
        data: data.yaml.
        split: the split that judges the model; the honest figure leaves out what belongs together with an image of
            any other split that trains (train).
        group_by: a regular expression; images in whose paths it finds the same text belong together, for example
            `(cam\\d+_\\d{8})` for recordings.
        old: weights of an earlier model, to score its classes on their own (by name).
        deep: find near copies, too, which decodes every image once.
        trust_dataset_settings: as for `lint`.
        progress: as for `lint`.
        arguments: of Ultralytics' validation: `imgsz`, `batch`, `device`, ...

    Raises:
        UsageError: an argument or the model cannot be used.
        DataError: the dataset cannot be used, or has no such split.
    """
    from yolo_nanfix.finetune import evaluation, groups, scoring

    with api.prepared(data=data, trust_dataset_settings=trust_dataset_settings), api.unguarded():
        training.check_arguments(arguments)
        names = () if old is None else tuple(training.load_model(str(old), None).names.values())
        table = _study(data, deep, progress)
        files = table.files
        if split not in table.members:
            raise DataError(f"{data} has no split {split}; it has {', '.join(table.members)}")
        found = evaluation.evaluate(model, data, split=split, **arguments)
    of = groups.group(files, _together(table), group_by)
    numbers = dict(zip(files, of.tolist(), strict=True))
    trained = [files[i] for i in table.members.get("train", ())] if split != "train" else []
    validated = set(found.images)
    left_out = tuple(files[i] for i in table.members[split] if files[i] not in validated)
    return replace(scoring.score(found, numbers, trained, names), left_out=left_out)


def bench(
    data: str | Path,
    *,
    seeds: int | None = None,
    folds: int | None = None,
    against: str | Path | Mapping[str, Any] | None = None,
    group_by: str | None = None,
    deep: bool = True,
    out: str | Path = OUT,
    options: Iterable[str] = (),
    progress: api.Progress | None = None,
    **arguments: Any,
) -> Bench:
    """Train several times, and say what the metric is worth; with `against`, whether two settings differ.

    Args:
        data: data.yaml.
        seeds: trainings with the seeds 0 to N - 1 on the split of data.yaml; 3 unless `folds` is given.
        folds: cross-validation over the images of train and val; images that belong together stay in one fold.
        against: the other arm: training arguments, or a YAML file with them (`args.yaml` of a run); what it does not
            say is as in `arguments`.
        group_by: as for `score`.
        deep: as for `score`.
        out: the folder of all runs. Trainings that it holds with the same settings are not repeated.
        options: options of `yolo-nanfix train` for all trainings.
        progress: called with (done, total, what) after each training.
        arguments: Ultralytics' training arguments.

    Raises:
        UsageError: an argument cannot be used, or a fold cannot hold every class.
        DataError: the dataset cannot be used.
        NanfixError: a training failed.
        KeyboardInterrupt: a signal ended it; what is finished is kept for the next call.
    """
    from yolo_nanfix.finetune import arms
    from yolo_nanfix.finetune.repeats import Repeat

    if seeds is not None and folds is not None:
        raise UsageError("seeds and folds are given: seeds repeat one split, folds make several")
    number = SEEDS if seeds is None else seeds
    if folds is None and number < 1:
        raise UsageError(f"seeds={number}: at least 1 is needed")
    if "seed" in arguments:
        raise UsageError("seed is given; the trainings have the seeds 0 to N - 1")
    with api.prepared(data=data), api.unguarded():
        settings_of = {"base": dict(arguments), **_other(against, arguments)}
        for settings in settings_of.values():
            training.check_arguments(settings)
        table = _study(data, deep, None)
        root = Path(out)
        known = _together(table)
        if folds is None:
            plans = [(f"seed{i}", Path(data), Path(data), {"seed": i}) for i in range(number)]
            parts = ""
        else:
            made = _folds(table, folds, known, group_by)
            plans = [(name, path, path, {"seed": 0}) for name, path in _write_folds(table, made, root)]
            parts = str(made.of.tolist())
        content = _content(table, parts)
        repeats = [
            Repeat(arm, name, train, judged, {**settings, **seed}, tuple(options), content)
            for name, train, judged, seed in plans
            for arm, settings in settings_of.items()
        ]
        trained = arms.train_all(repeats, root, progress)
    of = _groups_of(table, known, group_by)
    found = [arms.Arm(arm, tuple(one for one in trained if one.repeat.arm == arm), of) for arm in settings_of]
    return arms.judge(found, root, folds=folds is not None)


def trial(
    plan: Plan,
    minutes: float,
    *,
    recipes: Iterable[str] = RECIPES,
    epochs: int = TRIAL_EPOCHS,
    group_by: str | None = None,
    deep: bool = True,
    out: str | Path = TRIALS,
    progress: api.Progress | None = None,
) -> Trial:
    """Try recipes on the dataset of a plan, and say which to train with: a winner, or stock.

    All trainings have the arguments of the plan; they differ in recipe and seed.

    Args:
        plan: from `plan`.
        minutes: of wall time for all trainings.
        recipes: names; stock is always among them.
        epochs: of each training.
        group_by: as for `score`.
        deep: as for `score`.
        out: the folder of all runs. Trainings that it holds are taken from there, and cost no time.
        progress: called with (seconds used, seconds in all, what) before each training.

    Raises:
        UsageError: a recipe is unknown or does not fit, or the time does not suffice for stock and another recipe.
        NanfixError: a training failed.
        KeyboardInterrupt: a signal ended it; what is finished is kept for the next call.
    """
    from yolo_nanfix.finetune import planner, trial
    from yolo_nanfix.finetune.recipe import STOCK_RECIPE, find
    from yolo_nanfix.finetune.repeats import Repeat

    names = list(dict.fromkeys((STOCK_RECIPE, *recipes)))
    for name in names:
        find(name)
    if len(names) < 2:
        raise UsageError("a trial needs a recipe besides stock")
    if not minutes > 0 or epochs < 1:
        raise UsageError(f"a trial of {minutes:g} minutes with trainings of {epochs} epochs is none")
    table = _study(plan.data, deep, None)
    root, data = Path(out), Path(plan.data)
    files = {name: planner.text(plan, name) for name in names}
    content = _content(table)

    def make(name: str, seed: int) -> Repeat:
        options = ("--recipe", str(_plan_file(root, name, files[name])))
        return Repeat(name, f"seed{seed}", data, data, {**plan.given, "epochs": epochs, "seed": seed}, options, content)

    groups = _groups_of(table, _together(table), group_by)
    with api.prepared(data=plan.data), api.unguarded():
        return trial.trial(names, make, root, minutes, groups, epochs=epochs, progress=progress)


def write_plan(plan: Plan, output: str | Path, page: str | Path, trial: Trial) -> None:
    """Write `plan.yaml` with the recipe that a trial has chosen, and the page of both.

    Raises:
        UsageError: a file cannot be written.
    """
    from yolo_nanfix.finetune import planner
    from yolo_nanfix.report.html import plan_page

    text = planner.text(plan, trial.recipe)
    planner.write(plan_page.page(plan, text, trial.as_dict()), page)
    planner.write(text, output)


def _plan_file(out: Path, name: str, text: str) -> Path:
    """The plan of one recipe, named by its content: another plan is another training."""
    from hashlib import sha256

    from yolo_nanfix.files import write_text

    path = out / "plans" / f"{name}-{sha256(text.encode()).hexdigest()[:12]}.yaml"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return path.resolve()


def _study(data: str | Path, deep: bool, progress: api.Progress | None) -> Table:
    """The dataset as columns."""
    tables: list[Table] = []
    api.lint(data, deep=deep, settings=False, select=["SP002"], study=tables.append, progress=progress)
    if len(tables) != 1:
        raise DataError(f"{data}: one dataset is needed, this has {len(tables)}")
    return tables[0]


def _content(table: Table, parts: str = "") -> str:
    """A digest of the images and label files of a dataset, and of how they are parted."""
    from xxhash import xxh3_128

    digest = xxh3_128("\0".join(table.files).encode(errors="surrogateescape") + parts.encode())
    digest.update(table.content.tobytes() + table.size.tobytes())
    for labels in (Path(file) for file, there in zip(table.labels, table.labelled, strict=True) if there):
        digest.update(labels.read_bytes() + b"\0")
    return digest.hexdigest()


def _together(table: Table) -> list[list[str]]:
    from yolo_nanfix.linting.together import together

    return together(table)


def _groups_of(table: Table, known: Iterable[Iterable[str]], pattern: str | None) -> dict[str, int]:
    from yolo_nanfix.finetune import groups

    files = table.files
    return dict(zip(files, groups.group(files, [list(one) for one in known], pattern).tolist(), strict=True))


def _other(against: str | Path | Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The other arm by its name; nothing without one."""
    if against is None:
        return {}
    if isinstance(against, Mapping):
        return {"other": {**arguments, **against}}
    try:
        held = load_yaml(Path(against).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, NotYaml) as error:
        raise UsageError(f"{against} cannot be read: {error}") from error
    if not isinstance(held, dict):
        raise UsageError(f"{against} holds no training arguments (key: value), as args.yaml of a run does")
    own = ("data", "project", "name", "exist_ok", "save_dir", "seed", "resume", "mode")
    return {Path(against).stem: {**arguments, **{k: v for k, v in held.items() if k not in own and v is not None}}}


def _folds(table: Table, count: int, known: Iterable[Iterable[str]], pattern: str | None) -> Folds:
    import numpy as np

    from yolo_nanfix.finetune import folds

    used = _used(table)
    position = np.full(len(table.files), -1)
    position[used] = np.arange(len(used))
    groups = _groups_of(table, known, pattern)
    of = np.array([groups[table.files[i]] for i in used])
    rows = position[table.row_image] >= 0
    images = position[table.row_image[rows]]
    return folds.make(count, of, images, table.row_cls[rows].astype(np.int64), table.config.numbered)


def _used(table: Table) -> list[int]:
    """The images of train and val, each once."""
    members = table.members
    return sorted({int(i) for split in ("train", "val") for i in members.get(split, ())})


def _write_folds(table: Table, made: Folds, out: Path) -> list[tuple[str, Path]]:
    from yolo_nanfix.finetune import arms

    files = [table.files[i] for i in _used(table)]
    found = []
    for fold in range(len(made.counts)):
        train, val = ([files[i] for i in part] for part in made.split(fold))
        folder = out / "folds" / f"fold{fold}"
        found.append((f"fold{fold}", arms.write_fold(folder, table.config.raw, train, val)))
    return found
