"""The value in which the wings speak of the data: one `Finding` is one thing wrong at one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any


class Severity(str, Enum):
    """How much a finding hurts, from the worst down."""

    FATAL = "fatal"
    """Breaks or poisons training."""
    ERROR = "error"
    """Silently dropped or altered by Ultralytics, or trained on as garbage."""
    WARNING = "warning"
    """Hurts accuracy."""
    INFO = "info"
    """Worth knowing; does not change the exit code."""

    @property
    def rank(self) -> int:
        """0 for the worst severity, 3 for the mildest."""
        return list(Severity).index(self)


class Effect(str, Enum):
    """What Ultralytics does with a defect when it trains."""

    DROPS = "drops"
    """Leaves the whole image out, with at most one line in the log."""
    ACCEPTS = "accepts"
    """Trains on it as it is."""
    REWRITES = "rewrites"
    """Changes the label in memory or the file on disk."""
    CRASHES = "crashes"
    """Raises, at start or in the middle of an epoch."""
    GARBAGE = "trains on garbage"
    """Trains on something else than what the user sees."""
    POISONS = "poisons"
    """Turns losses, BatchNorm statistics or weights into NaN."""


@dataclass(frozen=True)
class Place:
    """Where a finding is: a file, and inside it a line (1-based) or a pixel (x, y, channel; 0-based)."""

    file: str
    line: int | None = None
    pixel: tuple[int, int, int] | None = None

    def __str__(self) -> str:
        """`file`, `file:line` or `file@x,y,channel`."""
        if self.line is not None:
            return f"{self.file}:{self.line}"
        return self.file if self.pixel is None else f"{self.file}@{','.join(map(str, self.pixel))}"


@dataclass(frozen=True)
class Finding:
    """One thing wrong at one place.

    Attributes:
        code: stable rule code, two letters and three digits (`BX004`).
        name: the rule's name, which tells the defect (`box-side-zero`).
        severity: how much it hurts.
        effect: what Ultralytics does with it.
        place: where it is.
        message: what is wrong, with the offending value.
        mend: what to do about it.
        split: the split (`train`, `val`, `test`) in which it was met, or None for the whole dataset.
        image: the image file that it concerns, also when `place` is a label file; None if it concerns none.
    """

    code: str
    name: str
    severity: Severity
    effect: Effect
    place: Place
    message: str
    mend: str
    split: str | None = None
    image: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; enums become their values, the place a nested dict without its empty fields."""
        raw = asdict(self)
        raw["place"] = {k: v for k, v in raw["place"].items() if v is not None}
        return {k: v.value if isinstance(v, Enum) else v for k, v in raw.items()}


@dataclass(frozen=True)
class Report:
    """What one lint run found in one dataset.

    Attributes:
        data: path of the data.yaml that was linted.
        task: the task whose label format was assumed (`detect`, `segment`, `pose`, `obb`).
        findings: all findings, sorted by split (dataset-wide ones first), file and line.
        skipped: pairs of rule code and reason, for the rules that could not be asked.
        counts: for each split its number of `images`, `labels` (label files found) and `rows` (label rows).
    """

    data: str
    task: str
    findings: tuple[Finding, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """The worst severity among the findings; None if there are none."""
        return min((f.severity for f in self.findings), key=lambda s: s.rank, default=None)

    @property
    def exit_code(self) -> int:
        """0 if nothing above `info` was found, else 1."""
        return 0 if self.worst in (None, Severity.INFO) else 1

    def by_code(self) -> dict[str, int]:
        """How many findings each rule code has, in the order of the codes."""
        return dict(sorted(Counter(f.code for f in self.findings).items()))

    def fatal_images(self) -> dict[str, tuple[Finding, ...]]:
        """The image files that break or poison training, each with its fatal findings."""
        images: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.severity is Severity.FATAL and finding.image is not None:
                images.setdefault(finding.image, []).append(finding)
        return {image: tuple(found) for image, found in images.items()}

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of the whole report."""
        return {
            "data": self.data,
            "task": self.task,
            "exit_code": self.exit_code,
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "findings": [f.as_dict() for f in self.findings],
            "skipped": [{"code": code, "reason": reason} for code, reason in self.skipped],
        }
