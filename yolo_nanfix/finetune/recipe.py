"""Recipes: training schedules as data, in `recipes/*.yaml` or a user's own file; and the plans that name one.

`find` reads and checks them; `settled` fits one to a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.safe_yaml import LARGEST_TEXT, NotYaml, load_yaml, parse
from yolo_nanfix.wording import shown

SCHEMA_VERSION = 1
"""The version of the schema."""
STOCK_RECIPE = "stock"
"""The recipe that changes nothing."""
NOT_IN_RECIPES = frozenset(
    ("cfg", "data", "device", "epochs", "exist_ok", "mode", "model", "name", "project", "resume", "save_dir", "task")
) | {"time"}
"""Training arguments that belong to a run, not to a schedule."""
RULED = {
    "freeze": ("freeze",),
    "learning_rate.cap": ("lr0",),
    "warmup": ("warmup_epochs",),
    "mosaic.probability": ("mosaic",),
    "mosaic.close": ("close_mosaic",),
}
"""Keys of a recipe, and the training arguments that say the same; no recipe may have both."""
SAME_SET = 2.0
"""A set with so many times more or fewer training images than a plan was made for is another set."""
_PLAN_BLOCK = re.compile(r"(?m)^# /// yolo-nanfix$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class RecipeError(UsageError):
    """A recipe or plan is malformed, contradicts itself, or does not fit the model, the data or the run."""


@dataclass(frozen=True)
class Until:
    """When a phase ends, counted from the start of the run; all None: with the run.

    Attributes:
        share: of the run's epochs, above 0 and below 1.
        epoch: after so many epochs.
        plateau: after so many epochs without a better fitness.
    """

    share: float | None = None
    epoch: int | None = None
    plateau: int | None = None


@dataclass(frozen=True)
class Phase:
    """Layers that are frozen (as `LayerNames.find` takes them), and until when."""

    layers: Any
    until: Until


@dataclass(frozen=True)
class Cap:
    """The largest learning rate is `rate * sqrt(n / images)` for n training images.

    Attributes:
        images: the size of a set at which the largest rate is `adam` or `sgd`.
        adam: for optimizers that scale each step: Adam and its kin, RMSProp.
        sgd: for SGD and MuSGD.
    """

    images: int
    adam: float
    sgd: float


@dataclass(frozen=True)
class Rates:
    """Multiples of the learning rate; `decay` multiplies once more for each layer before the last."""

    backbone: float = 1.0
    neck: float = 1.0
    head: float = 1.0
    decay: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        name: of its file, without `.yaml`.
        summary, evidence: what it is for, and what is known of it, in words.
        arguments: Ultralytics' training arguments.
        freeze: what is frozen in each phase; phases follow one another.
        rates: the learning rate by depth; None if all layers learn at one rate.
        cap: the largest learning rate by the size of the set.
        warmup: share of all optimizer steps.
        mosaic: probability of a mosaic.
        close: share of the epochs, at the end, without mosaic.
        tau: time constant of the moving average, in optimizer steps.
        keeps: whether classes are added to those of the model.
        replay: share of the images of each epoch that have no object of an added class.
    """

    name: str
    summary: str = ""
    evidence: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    freeze: tuple[Phase, ...] = ()
    rates: Rates | None = None
    cap: Cap | None = None
    warmup: float | None = None
    mosaic: float | None = None
    close: float | None = None
    tau: float | None = None
    keeps: bool = False
    replay: float | None = None

    @property
    def shares(self) -> bool:
        """Whether it counts in shares of the epochs."""
        counted = (self.warmup, self.close, *(phase.until.share for phase in self.freeze))
        return any(share is not None for share in counted)


@dataclass(frozen=True)
class Plan:
    """A file for Ultralytics' `cfg=` with the block that names a recipe.

    Attributes:
        file: where it was read.
        arguments: Ultralytics' training arguments in it.
        recipe: the recipe that its block names.
        data: what the set was when the plan was made: `task`, `names` (in order), `images` (by split).
    """

    file: Path
    arguments: Mapping[str, Any]
    recipe: Recipe
    data: Mapping[str, Any] = field(default_factory=dict)


def directory() -> Path:
    """The folder of the recipes: inside an installed wheel, or beside the package in a checkout."""
    shipped = Path(str(files("yolo_nanfix"))) / "_recipes"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "recipes"


def names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in directory().glob("*.yaml")))


def find(name: str | Path) -> Recipe | Plan:
    """The recipe of a name or a file, or the plan of a file.

    Raises:
        RecipeError: there is none, or it is malformed.
    """
    if str(name) in names():
        return read_recipe(directory() / f"{name}.yaml")
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"no recipe named '{name}'; {nearest(str(name), names())}; or give a .yaml file")
    raw = _read(path)
    if (block := read_plan_block(path)) is not None:
        return _read_plan(path, raw, block)
    if "version" not in raw:
        raise RecipeError(f"{path} is neither a recipe (it has no 'version') nor a plan (no block '# /// yolo-nanfix')")
    return _Reader(path, raw).recipe()


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: it cannot be read, a key is unknown, a value has the wrong form, or keys contradict one another.
    """
    return _Reader(path, _read(path)).recipe()


def read_plan_block(path: str | Path) -> Mapping[str, Any] | None:
    """The block of comments for yolo-nanfix in a plan; None if it has none.

    Raises:
        RecipeError: it cannot be read, or the block is not a mapping in YAML.
    """
    blocks = _PLAN_BLOCK.findall(_text(Path(path)))
    if not blocks:
        return None
    if len(blocks) > 1:
        raise RecipeError(f"{path}: the block '# /// yolo-nanfix' is there twice")
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in blocks[0][0].splitlines()]
    try:
        held = load_yaml("\n".join(lines))
    except NotYaml as error:
        raise RecipeError(f"{path}: the block '# /// yolo-nanfix' is not valid YAML: {error}") from error
    if not isinstance(held, dict):
        raise RecipeError(f"{path}: the block '# /// yolo-nanfix' must be a mapping, not {shown(held)}")
    return held


def _read_plan(path: Path, raw: Mapping[str, Any], block: Mapping[str, Any]) -> Plan:
    reader = _Reader(path, block)
    reader.known(("recipe", "version", "data"))
    reader.version()
    named = reader.text("recipe", STOCK_RECIPE)
    found = find(path.parent / named if (path.parent / named).is_file() else named)
    if isinstance(found, Plan):
        raise RecipeError(f"{path}: 'recipe' names {named}, which is a plan itself")
    if wrong := NOT_IN_RECIPES & set(raw) - {"epochs", "time", "mode", "task", "data", "model"}:
        raise RecipeError(f"{path}: '{min(wrong)}' cannot be part of a plan; give {min(wrong)}=... with the command")
    kept = {key: value for key, value in raw.items() if key not in ("mode", "task", "data")}
    return Plan(path, kept, found, reader.mapping("data"))


def check_plan(plan: Plan, task: str, class_names: Iterable[str]) -> None:
    """Check that a plan was made for a set with these classes, and for a task.

    Args:
        plan: the plan.
        task: of the model that is trained.
        class_names: the classes of the set, in order.

    Raises:
        RecipeError: it was made for others.
    """
    given, named = plan.data, list(class_names)
    if given.get("task", task) != task:
        raise RecipeError(f"{plan.file} is a plan for the task {given['task']}, but the model is for {task}")
    planned = [str(name) for name in given.get("names", named)]
    if planned != named:
        raise RecipeError(
            f"{plan.file} is a plan for another dataset: its classes are {shown(planned)}, not {shown(named)}"
        )


def check_size(plan: Plan, images: Mapping[str, int]) -> None:
    """Check that a plan was made for a set of about this size.

    Args:
        plan: the plan.
        images: of the set, by split; empty if not known.

    Raises:
        RecipeError: it had far more or fewer training images.
    """
    before, now = (plan.data.get("images") or {}).get("train"), images.get("train")
    if before and now and not 1 / SAME_SET <= now / before <= SAME_SET:
        raise RecipeError(
            f"{plan.file} is a plan for another dataset: it had {before} training images, this one has {now}"
        )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise RecipeError(f"{path} is larger than {LARGEST_TEXT >> 20} MB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"{path} cannot be read: {reason}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = parse(_text(path))
    except NotYaml as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from error
    if document.repeated:
        twice = document.repeated[0]
        raise RecipeError(f"{path}: '{twice.key}' is given twice, in lines {twice.first_line} and {twice.line}")
    if not isinstance(document.value, dict):
        raise RecipeError(f"{path}: a recipe is a mapping, not {shown(document.value)}")
    return document.value


class _Reader:
    """Reads the keys of one mapping of a file; errors name the file and the key."""

    def __init__(self, path: Path, raw: Mapping[str, Any], inside: str = "") -> None:
        self.path, self.raw, self.inside = path, raw, inside

    def wrong(self, key: str, wanted: str) -> RecipeError:
        return RecipeError(f"{self.path}: '{self.inside}{key}' must be {wanted}, not {shown(self.raw.get(key))}")

    def known(self, keys: Iterable[str]) -> None:
        for key in self.raw:
            if key not in (allowed := list(keys)):
                raise RecipeError(f"{self.path}: unknown key '{self.inside}{key}'; {nearest(str(key), allowed)}")

    def version(self) -> None:
        if self.raw.get("version") != SCHEMA_VERSION:
            raise self.wrong("version", str(SCHEMA_VERSION))

    def text(self, key: str, default: str = "") -> str:
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return " ".join(value.split())

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.raw.get(key)
        if value is not None and (not isinstance(value, dict) or not all(isinstance(one, str) for one in value)):
            raise self.wrong(key, "a mapping")
        return value or {}

    def part(self, key: str, keys: Iterable[str]) -> _Reader:
        reader = _Reader(self.path, self.mapping(key), f"{self.inside}{key}.")
        reader.known(keys)
        return reader

    def number(self, key: str, low: float, high: float, *, default: Any = None, whole: bool = False) -> Any:
        """A number of the closed range, or `default` if the key is not there."""
        value = self.raw.get(key, default)
        kinds = (int,) if whole else (int, float)
        if value is default and key not in self.raw:
            return default
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            upper = f" to {high:g}" if high < 1e9 else " or more"
            raise self.wrong(key, f"a {'whole ' if whole else ''}number of {low:g}{upper}")
        return value

    def recipe(self) -> Recipe:
        parts = ("version", "summary", "evidence", "arguments", "freeze", "learning_rate", "warmup", "mosaic", "ema")
        self.known((*parts, "classes"))
        self.version()
        mosaic, ema = self.part("mosaic", ("probability", "close")), self.part("ema", ("tau",))
        rate = self.part("learning_rate", ("backbone", "neck", "head", "decay", "cap"))
        classes = self.part("classes", ("keep", "replay"))
        factors = {key: rate.number(key, 0.0, 100.0) for key in ("backbone", "neck", "head", "decay")}
        told = {key: float(value) for key, value in factors.items() if value is not None}
        found = Recipe(
            name=self.path.stem,
            summary=self.text("summary"),
            evidence=self.text("evidence"),
            arguments=self.arguments(),
            freeze=tuple(self.phases()),
            rates=Rates(**told) if told else None,
            cap=rate.cap() if "cap" in rate.raw else None,
            warmup=self.number("warmup", 0.0, 1.0),
            mosaic=mosaic.number("probability", 0.0, 1.0),
            close=mosaic.number("close", 0.0, 1.0),
            tau=ema.number("tau", 1.0, 1e9),
            keeps=classes.flag("keep"),
            replay=classes.number("replay", 0.0, 0.95),
        )
        if found.replay is not None and not found.keeps:
            raise RecipeError(f"{self.path}: 'classes.replay' needs 'classes.keep: true'")
        self.consistent(found)
        return found

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def arguments(self) -> Mapping[str, Any]:
        given = self.mapping("arguments")
        if wrong := NOT_IN_RECIPES & set(given):
            raise RecipeError(f"{self.path}: 'arguments.{min(wrong)}' belongs to a run, not to a recipe")
        return given

    def consistent(self, found: Recipe) -> None:
        """Refuse arguments that say again what another key of the recipe says."""
        told = dict(ruled(found))
        for key in told:
            if both := [name for name in RULED[key] if name in found.arguments]:
                raise RecipeError(f"{self.path}: '{key}' and 'arguments.{both[0]}' contradict each other; keep one")

    def cap(self) -> Cap:
        reader = self.part("cap", ("images", "adam", "sgd"))
        images = reader.number("images", 1, 1e9, whole=True)
        adam, sgd = (reader.number(key, 1e-9, 100.0) for key in ("adam", "sgd"))
        if None in (images, adam, sgd):
            raise self.wrong("cap", "a mapping of images, adam and sgd")
        return Cap(images, float(adam), float(sgd))

    def phases(self) -> Iterator[Phase]:
        given = self.raw.get("freeze", [])
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise self.wrong("freeze", "a list of {layers: ..., until: ...}")
        last = (0.0, 0)
        for number, one in enumerate(given, 1):
            reader = _Reader(self.path, one, f"freeze[{number}].")
            reader.known(("layers", "until"))
            if "layers" not in one:
                raise RecipeError(f"{self.path}: '{reader.inside}layers' is missing")
            until = reader.until()
            if until == Until() and number < len(given):
                raise RecipeError(f"{self.path}: '{reader.inside}until' is missing: only the last may go on to the end")
            reached = (until.share or last[0], until.epoch or last[1])
            if (until.share and until.share <= last[0]) or (until.epoch and until.epoch <= last[1]):
                raise RecipeError(f"{self.path}: '{reader.inside}until' must be later than the one before it")
            last = reached
            yield Phase(one["layers"], until)

    def until(self) -> Until:
        value = self.raw.get("until", "end")
        if value == "end":
            return Until()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return Until(epoch=value)
        if isinstance(value, float) and 0 < value < 1:
            return Until(share=value)
        if isinstance(value, dict):
            patience = self.part("until", ("plateau",)).number("plateau", 1, 1e6, whole=True)
            if patience is not None:
                return Until(plateau=patience)
        raise self.wrong("until", "a share (0.3), a number of epochs (5), {plateau: epochs}, or end")


def ruled(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """The keys of `RULED` that a recipe has, with their values."""
    held = {
        "freeze": recipe.freeze or None,
        "learning_rate.cap": recipe.cap,
        "warmup": recipe.warmup,
        "mosaic.probability": recipe.mosaic,
        "mosaic.close": recipe.close,
    }
    yield from ((key, value) for key, value in held.items() if value is not None)
