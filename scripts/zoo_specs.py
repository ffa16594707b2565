"""The zoo's specs: reads `datasets/zoo/*.yaml` and refuses what it does not know.

A spec is one case: a training run, a fault in it, what stock Ultralytics does and what must happen under
yolo-nanfix. `datasets/zoo/README.md` says what each key means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
import zoo_faults

from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.verdicts import Cause

FOLDER = Path(__file__).resolve().parents[1] / "datasets" / "zoo"
TASKS = ("detect", "segment", "pose", "obb", "classify")
PRECISIONS = ("float32", "scaler", "float16", "bfloat16")
STARTS = ("trained", "scratch")
STOCK_OUTCOMES = ("raises", "map-zero", "nan-loss", "garbage", "silent-drop", "survives")
OUR_OUTCOMES = ("survives", "stops", "reported")
VERDICT_KEYS = ("cause", "op", "module", "images", "labels")
ROWS = (
    *(f"A{n}" for n in range(1, 25)),
    *(f"B{n}" for n in range(1, 13)),
    *(f"C{n}" for n in range(1, 25)),
    *(f"F{n}" for n in range(1, 14)),
)
"""The catalogue of causes: A numerics, B data, C state and environment, F how stock training dies."""


@dataclass(frozen=True)
class Expected:
    """What one half of a case must do.

    Attributes:
        outcome: one of STOCK_OUTCOMES or OUR_OUTCOMES.
        lost: micro-batches dropped, exactly; None where that is not the point.
        quarantined: images left out of the run; None as above.
        verdict: what the diagnosis must say; None where there is none to give.
        findings: codes that lint must report for the dataset.
        fall: largest fall of a survivor's mAP50 against its healthy twin.
    """

    outcome: str
    lost: int | None = None
    quarantined: int | None = None
    verdict: Mapping[str, Any] | None = None
    findings: tuple[str, ...] = ()
    fall: float = 0.02


@dataclass(frozen=True)
class Case:
    """One spec: the attributes are its keys, and `spec` is the file's content."""

    name: str
    says: str
    rows: tuple[str, ...]
    stock: Expected
    ours: Expected
    task: str = "detect"
    model: str = "yolov8n.yaml"
    precision: str = "float32"
    optimizer: str = "SGD"
    start: str = "trained"
    release: str | None = None
    fast: bool = False
    args: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    guard: Mapping[str, Any] = field(default_factory=dict)
    fault: Mapping[str, Any] = field(default_factory=lambda: {"kind": "none"})
    spec: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def healthy(self) -> bool:
        """Whether this is a healthy twin."""
        return self.fault["kind"] == "none"

    @property
    def recipe(self) -> tuple[str, ...]:
        """What a case has in common with its healthy twin."""
        return self.task, self.model, self.precision, self.optimizer, self.start, self.release or ""


def read_all(folder: Path = FOLDER) -> list[Case]:
    """Every case of a folder, in the order of the names.

    Raises:
        UsageError: a spec is wrong, or a case has no healthy twin.
    """
    cases = [read(path) for path in sorted(folder.glob("*.yaml"))]
    for case in cases:
        twin(case, cases)
    return cases


def read(path: Path) -> Case:
    """One spec.

    Raises:
        UsageError: it is not YAML, a key or a value is unknown, or one is missing; the message names the file.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    try:
        return parse(raw, path.stem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def parse(raw: Any, name: str) -> Case:
    """The case that a spec's content describes.

    Raises:
        UsageError: as `read`, without the file's name.
    """
    known = [key for key in Case.__dataclass_fields__ if key != "spec"]
    _keys("spec", raw, known, ("name", "says", "rows", "stock", "ours"))
    if raw["name"] != name:
        raise UsageError(f"name is {raw['name']!r}, but the file is called {name!r}")
    for key, allowed in (("task", TASKS), ("precision", PRECISIONS), ("start", STARTS)):
        _one_of(key, raw.get(key, allowed[0]), allowed)
    for row in raw["rows"]:
        _one_of("rows", row, ROWS)
    for key in ("args", "dataset", "guard", "fault"):
        if not isinstance(raw.get(key, {}), Mapping):
            raise UsageError(f"{key} must be a mapping, not {raw[key]!r}")
    stock = _expected("stock", raw["stock"], STOCK_OUTCOMES)
    ours = _expected("ours", raw["ours"], OUR_OUTCOMES)
    fault = zoo_faults.checked(raw.get("fault", {"kind": "none"}))
    return Case(**{**raw, "rows": tuple(raw["rows"]), "stock": stock, "ours": ours, "fault": fault, "spec": raw})


def twin(case: Case, cases: Iterable[Case]) -> Case:
    """The healthy case that differs from the given one in the fault only, or in the fewest arguments.

    Raises:
        UsageError: there is none of the same task, model, precision, optimizer and start.
    """
    healthy = [c for c in cases if c.healthy and c.recipe == case.recipe]
    if not healthy:
        raise UsageError(
            f"{case.name}: no healthy twin: a case without a fault of {', '.join(filter(None, case.recipe))}"
        )
    return min(healthy, key=lambda c: (len(set(map(str, c.args.items())) ^ set(map(str, case.args.items()))), c.name))


def choose(cases: Iterable[Case], names: Iterable[str], *, fast: bool = False) -> list[Case]:
    """The cases asked for.

    Raises:
        UsageError: there is no case of a name.
    """
    known = {case.name: case for case in cases}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no case is called '{name}'; {nearest(name, known)}")
    chosen = [known[name] for name in dict.fromkeys(wanted)] or list(known.values())
    return [case for case in chosen if case.fast or not fast]


def _expected(where: str, raw: Any, outcomes: tuple[str, ...]) -> Expected:
    _keys(where, raw, Expected.__dataclass_fields__, ("outcome",))
    _one_of(f"{where}.outcome", raw["outcome"], outcomes)
    verdict = raw.get("verdict")
    if verdict is not None:
        _keys(f"{where}.verdict", verdict, VERDICT_KEYS, ("cause",))
        _one_of(f"{where}.verdict.cause", verdict["cause"], [cause.value for cause in Cause])
    return Expected(**{**raw, "findings": tuple(raw.get("findings", ()))})


def _keys(where: str, raw: Any, known: Iterable[str], needed: Iterable[str]) -> None:
    if not isinstance(raw, Mapping):
        raise UsageError(f"{where} must be a mapping, not {raw!r}")
    for key in raw:
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'; {nearest(str(key), list(known))}")
    if missing := [key for key in needed if key not in raw]:
        raise UsageError(f"{where}: {', '.join(missing)} missing")


def _one_of(where: str, value: Any, allowed: Iterable[Any]) -> None:
    if value not in allowed:
        raise UsageError(f"{where}: {value!r} is not one of {', '.join(map(str, allowed))}")
