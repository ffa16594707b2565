"""The results of lint: a `Finding` is one defect at one place, a `Report` those of one dataset."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from yolo_nanfix.overrides import NO_OVERRIDES, Overrides
from yolo_nanfix.tasks import Basis, option
from yolo_nanfix.wording import Held, cut, printable, seen_from, sentence

if TYPE_CHECKING:
    import polars

POSITIONS = frozenset(("line", "lines", "at"))
"""Names of values that are positions; they change with other lines, so they are not part of a finding's identity."""
FATES = ("kept", "dropped", "background", "rewritten")
"""The counts of images in `Report.counts` that are not always known."""
_LONGEST = 400
"""Longest text in a notebook, in characters."""


class Severity(str, Enum):
    """How much a finding hurts, the worst first."""

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
    """Trains on something else than what the user labelled."""
    POISONS = "poisons"
    """Turns losses, BatchNorm statistics or weights into NaN."""


class Skip(str, Enum):
    """Why a rule did not run."""

    DEEP = "deep"
    """It needs decoded images, which requires `--deep`."""
    OTHER_TASK = "other-task"
    """It reads the labels of other tasks."""
    UNLABELLED = "unlabelled"
    """There are only images, without labels."""
    NO_DATA_YAML = "no-data-yaml"
    """There is no data.yaml."""
    NO_FOLDERS = "no-folders"
    """There are no folders of images and labels in Ultralytics' layout."""
    NO_LABEL_FILES = "no-label-files"
    """There are no YOLO label files."""


class Safety(Enum):
    """Whether an autofix is applied without `--unsafe-fixes`; the values are shown in tables."""

    SAFE = "safe"
    """It loses nothing that Ultralytics trains on: `--fix` applies it."""
    SAFE_IF_SLIGHT = "safe to 1 %"
    """Safe if a box exceeds its image by at most 1 %, else unsafe."""
    UNSAFE = "unsafe"
    """It decides for the user, or loses data: only `--unsafe-fixes` applies it."""

    @property
    def option(self) -> str:
        """The options of `yolo-nanfix lint` that apply such an autofix."""
        return "--fix --unsafe-fixes" if self is Safety.UNSAFE else "--fix"


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

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict, without what is empty."""
        parts = {"file": self.file, "line": self.line, "pixel": self.pixel}
        return {key: value for key, value in parts.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Any) -> Place:
        """What `as_dict` wrote.

        Raises:
            ValueError: a key is missing, or a value is not of its type; the message says which.
        """
        held = Held(values, "the place of a finding")
        pixel = held.get("pixel", Sequence, None)
        if pixel is not None and (len(pixel) != 3 or not all(type(number) is int for number in pixel)):
            raise ValueError(f"a pixel is x, y and channel, not {pixel!r}")
        return cls(held.get("file", str), held.get("line", int, None), None if pixel is None else tuple(pixel))


@dataclass(frozen=True)
class Finding:
    """One defect at one place.

    Attributes:
        code: stable rule code, two letters and three digits (`BX004`).
        name: the rule's name, which tells the defect (`box-side-zero`).
        severity: how much it hurts.
        effect: what Ultralytics does with it.
        place: where it is.
        says: the format text of the message, with names of `values` in braces; see `wording.sentence`.
        fix: what to do about it.
        split: the split (`train`, `val`, `test`) in which it was found, or None for the whole dataset.
        image: the image file that it concerns, also if `place` is a label file; None if it concerns none.
        because: the code of the dataset-wide finding that explains this one; None if there is none. An explained
            finding is shown under its cause, and the fix of the cause resolves it.
        values: the facts for the message and the autofix, by name: text, numbers and None, and tuples of them.
        related: other places: the other image of a pair of copies, the other one of two equal lines.
    """

    code: str
    name: str
    severity: Severity
    effect: Effect
    place: Place
    says: str
    fix: str
    split: str | None = None
    image: str | None = None
    because: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    related: tuple[Place, ...] = ()

    @property
    def message(self) -> str:
        """What is wrong, with the values, as a sentence."""
        return sentence(self.says, self.values) if self.values else self.says

    @property
    def partner(self) -> str | None:
        """The other image of a pair (copies, near duplicates); None if there is none."""
        return self.related[0].file if self.related and self.related[0].line is None else None

    def explained(self, code: str) -> Finding:
        """The same finding, explained by the dataset-wide finding of this code."""
        return replace(self, because=code, fix=f"Fix {code}, from which this follows.")

    def seen_from(self, *folders: str) -> Finding:
        """The same finding, with paths in its values relative to the folders (each with its final slash)."""
        return replace(self, values={name: seen_from(value, *folders) for name, value in self.values.items()})

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; enums become their values, the place a dict without its empty fields."""
        return {
            "code": self.code,
            "name": self.name,
            "severity": self.severity.value,
            "effect": self.effect.value,
            "place": self.place.as_dict(),
            "message": self.message,
            "says": self.says,
            "fix": self.fix,
            "split": self.split,
            "image": self.image,
            "because": self.because,
            "values": dict(self.values),
            "related": [place.as_dict() for place in self.related],
        }

    @classmethod
    def from_dict(cls, values: Any) -> Finding:
        """What `as_dict` wrote.

        Raises:
            ValueError: a key is missing, or a value is not of its type; the message says which.
        """
        held = Held(values, "a finding")
        try:
            severity, effect = Severity(held.get("severity", str)), Effect(held.get("effect", str))
        except ValueError as error:
            raise ValueError(f"a finding has {error}") from None
        return cls(
            code=held.get("code", str),
            name=held.get("name", str),
            severity=severity,
            effect=effect,
            place=Place.from_dict(held.get("place", dict)),
            says=held.get("says", str),
            fix=held.get("fix", str),
            split=held.get("split", str, None),
            image=held.get("image", str, None),
            because=held.get("because", str, None),
            values=frozen(held.get("values", Mapping, {})),
            related=tuple(map(Place.from_dict, held.get("related", list, []))),
        )


def frozen(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a finding with lists as tuples; the same object if there are no lists."""
    if any(isinstance(value, (list, tuple)) and not _is_frozen(value) for value in values.values()):
        return {name: _frozen(value) for name, value in values.items()}
    return values


def _is_frozen(value: Any) -> bool:
    return type(value) is tuple and not any(isinstance(entry, (list, tuple)) for entry in value)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class RuleText:
    """The documentation of a rule.

    Attributes:
        code: two letters and three digits, never reused.
        name: names the defect (`box-side-zero`).
        severity: how much it hurts, unless a setting changes it.
        effect: what Ultralytics does with it.
        title: one line.
        why: why it hurts.
        upstream: what Ultralytics does with it, in a sentence.
        example: what it looks like.
        fix: what to do about it.
        tasks: the tasks whose labels the rule reads.
        deep: whether it runs only when images are decoded.
    """

    code: str
    name: str
    severity: Severity
    effect: Effect
    title: str
    why: str
    upstream: str
    example: str
    fix: str
    tasks: tuple[str, ...]
    deep: bool


def match(selector: str, code: str, name: str) -> int:
    """How closely a selector names a rule: 5 by code or name, less by a prefix of the code, 0 by ALL, -1 not at all."""
    if selector.upper() == "ALL":
        return 0
    if selector.lower() == name:
        return 5
    return len(selector) if selector and code.startswith(selector.upper()) else -1


@dataclass(frozen=True)
class Choice:
    """Whether one image without labels is worth labelling.

    Attributes:
        image: its file.
        keep: whether it is worth labelling.
        because: the codes of the findings for which it is left out.
        partner: the image of which it is a copy or near duplicate; None if that is not the reason.
    """

    image: str
    keep: bool
    because: tuple[str, ...] = ()
    partner: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"image": self.image, "keep": self.keep, "because": list(self.because), "partner": self.partner}

    @classmethod
    def from_dict(cls, values: Any) -> Choice:
        """What `as_dict` wrote.

        Raises:
            ValueError: it was not written by `as_dict`.
        """
        held = Held(values, "a choice")
        because = tuple(map(str, held.get("because", list)))
        return cls(held.get("image", str), held.get("keep", bool), because, held.get("partner", str, None))


@dataclass(frozen=True)
class Report:
    """The result of one lint run of one dataset.

    Attributes:
        data: path of the data.yaml that was linted.
        task: the task whose label format was assumed (`detect`, `segment`, `pose`, `obb`).
        findings: all findings, sorted by split (dataset-wide ones first), file and line.
        skipped: pairs of rule code and reason, for the rules that did not run.
        counts: for each split its number of `images`, `labels` (label files) and `rows` (label rows); and if it is read
            as Ultralytics reads it, how many images Ultralytics keeps (`kept`) and leaves out (`dropped`) when it scans
            them, keeps without an object (`background`), and rewrites or strips of duplicate rows (`rewritten`).
        known: how many findings were left out because a baseline holds them.
        root: paths are shown relative to this folder; empty if there is none.
        given_root: the `root` argument of lint; empty if not given.
        basis: why it was this task; None for several datasets with different reasons, or if unknown.
        choice: which images without labels are worth labelling; empty for a dataset with labels.
        started_ns: when lint began to read (nanoseconds since the epoch); files that changed later are not fixed.
        fixed: what a fix run did just before, JSON-ready; None if there was none.
        folders: the folders of its files, links resolved; files elsewhere are not quoted. Not in JSON.
        overrides: the settings files in force, and what they and the command change.
    """

    data: str
    task: str
    findings: tuple[Finding, ...] = ()
    skipped: tuple[tuple[str, Skip], ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    known: int = 0
    root: str = ""
    given_root: str = ""
    started_ns: int | None = None
    fixed: Mapping[str, Any] | None = None
    basis: Basis | None = None
    choice: tuple[Choice, ...] = ()
    folders: tuple[str, ...] = field(default=(), compare=False, repr=False)
    overrides: Overrides = NO_OVERRIDES

    @property
    def asked(self) -> str | None:
        """The task to ask for to get the same one again; None if it is read from the dataset."""
        return None if self.basis is not None and self.basis.guess == self.task else self.task

    @property
    def said(self) -> str:
        """The options that a printed command needs for the same dataset and task, each with a space before it."""
        root = f" --root {shlex.quote(self.given_root)}" if self.given_root else ""
        return option(self.task, self.basis.guess if self.basis is not None else None) + root

    @property
    def worst(self) -> Severity | None:
        """The worst severity among the findings; None if there are none."""
        return min((f.severity for f in self.findings), key=lambda s: s.rank, default=None)

    @property
    def exit_code(self) -> int:
        """0 if nothing above `info` was found, else 1."""
        return 0 if self.gravest in (None, Severity.INFO) else 1

    @property
    def gravest(self) -> Severity | None:
        """The worst severity; also of findings that only settings of the dataset leave out; None if there are none."""
        return Severity.FATAL if self.overrides.fatal_hidden else self.worst

    @property
    def deep(self) -> bool:
        """Whether images were decoded, or no rule needed that."""
        return all(why is not Skip.DEEP for _, why in self.skipped)

    @property
    def starts(self) -> bool:
        """Whether training starts, as no fatal finding about dataset or data.yaml makes Ultralytics raise."""
        fatal = (f for f in self.findings if f.severity is Severity.FATAL and f.effect is Effect.CRASHES)
        return all(f.image is not None for f in fatal)

    def by_code(self) -> dict[str, int]:
        """The number of findings of each rule code, in order of the codes, including explained ones."""
        return dict(sorted(Counter(f.code for f in self.findings).items()))

    @cached_property
    def own(self) -> tuple[Finding, ...]:
        """The findings that no other finding of the report explains."""
        causes = {f.code for f in self.findings if f.because is None}
        return tuple(f for f in self.findings if f.because not in causes)

    def follows(self, finding: Finding) -> dict[str, int]:
        """The number of findings of each code that a finding explains, the most first."""
        met = self._following.get(finding.code, ()) if finding.because is None else ()
        return dict(Counter(f.code for f in met if finding.split in (None, f.split)).most_common())

    @cached_property
    def _following(self) -> Mapping[str, tuple[Finding, ...]]:
        """The explained findings by their cause."""
        met: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.because is not None:
                met.setdefault(finding.because, []).append(finding)
        return {code: tuple(found) for code, found in met.items()}

    def select(self, *selectors: str, ignore: Iterable[str] = (), at_least: Severity | str = Severity.INFO) -> Report:
        """The same report with some of its findings.

        Args:
            selectors: codes, prefixes of codes, names of rules or ALL; none means all.
            ignore: the same, for findings to leave out.
            at_least: the mildest severity to keep.

        Raises:
            ValueError: `at_least` is no severity.
        """
        rank, out = Severity(at_least).rank, tuple(ignore)

        def wanted(finding: Finding) -> bool:
            named = (finding.code, finding.name)
            chosen = not selectors or any(match(word, *named) >= 0 for word in selectors)
            return chosen and finding.severity.rank <= rank and not any(match(word, *named) >= 0 for word in out)

        return replace(self, findings=tuple(filter(wanted, self.findings)))

    def frame(self) -> polars.DataFrame:
        """The findings as a table with a row for each; columns and types are the same without findings.

        Columns: code, name (String), severity, effect (Enum, the worst severity first), file (String), line, x, y,
        channel (Int32 or null), split, image (String or null), message, fix (String), because, partner (String or
        null). Invalid UTF-8 becomes escapes.
        """
        import polars as pl

        text = pl.String()
        schema: dict[str, pl.DataType] = {
            **dict.fromkeys(("code", "name"), text),
            "severity": pl.Enum([severity.value for severity in Severity]),
            "effect": pl.Enum([effect.value for effect in Effect]),
            "file": text,
            **dict.fromkeys(("line", "x", "y", "channel"), pl.Int32()),
            **dict.fromkeys(("split", "image", "message", "fix", "because", "partner"), text),
        }
        return pl.DataFrame([_row(finding) for finding in self.findings], schema=schema, orient="row")

    def identities(self) -> list[str]:
        """For each finding a unique text that stays the same while other lines of its file change.

        It consists of the file relative to the folder of data.yaml, the code, the values and related files, without
        positions; for findings about the whole dataset the split, and only text values, since numbers change with each
        image. Equal findings in one file are numbered. It contains no wording.
        """
        base = os.path.abspath(self.data)  # noqa: PTH100 - text handling only
        base = base if self.task == "classify" else base.rpartition(os.sep)[0]  # a folder, or a file in one
        folders = tuple(dict.fromkeys((base + os.sep, os.path.realpath(base) + os.sep)))
        met: Counter[str] = Counter()
        found: dict[str, None] = {}
        for finding in self.findings:
            text = numbered = _identity(finding, folders)
            while numbered in found:
                met[text] += 1
                numbered = f"{text} ({met[text] + 1})"
            found[numbered] = None
        return list(found)

    def fatal_images(self) -> dict[str, tuple[Finding, ...]]:
        """The image files with fatal findings, and these findings."""
        images: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.severity is Severity.FATAL and finding.image is not None:
                images.setdefault(finding.image, []).append(finding)
        return {image: tuple(found) for image, found in images.items()}

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of the whole report."""
        return {
            "data": self.data,
            "root": self.root,
            "given_root": self.given_root,
            "task": self.task,
            "basis": self.basis.as_dict() if self.basis is not None else None,
            "exit_code": self.exit_code,
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "findings": [f.as_dict() for f in self.findings],
            **({"images": [choice.as_dict() for choice in self.choice]} if self.choice else {}),
            "skipped": [{"code": code, "why": why.value} for code, why in self.skipped],
            "known": self.known,
            "settings": self.overrides.as_dict(),
            "fixed": None if self.fixed is None else dict(self.fixed),
        }

    @classmethod
    def from_dict(cls, values: Any) -> Report:
        """What `as_dict` wrote, which is all but `started_ns` and `folders`.

        Raises:
            ValueError: it was not written by `as_dict`; the message says what is missing, or not of its type.
        """
        held = Held(values, "a lint report")
        skipped = [Held(entry, "a rule that was not asked") for entry in held.get("skipped", list, [])]
        counts = {}
        for split, numbers in held.get("counts", dict).items():
            one = Held(numbers, f"the split {split!r}")
            counts[str(split)] = {key: one.get(key, int) for key in ("images", "labels", "rows")}
            counts[str(split)] |= {key: one.get(key, int) for key in FATES if key in numbers}
        return cls(
            data=held.get("data", str),
            task=held.get("task", str),
            findings=tuple(map(Finding.from_dict, held.get("findings", list))),
            skipped=tuple((entry.get("code", str), Skip(entry.get("why", str))) for entry in skipped),
            counts=counts,
            known=held.get("known", int, 0),
            overrides=Overrides.from_dict(held.get("settings", Mapping, {})),
            fixed=held.get("fixed", Mapping, None),
            root=held.get("root", str, ""),
            given_root=held.get("given_root", str, ""),
            choice=tuple(map(Choice.from_dict, held.get("images", list, []))),
            basis=Basis.from_dict(basis) if (basis := held.get("basis", Mapping, None)) is not None else None,
        )

    def _repr_html_(self) -> str:
        """The counts, and a table of the rules with the first finding of each, for a notebook."""
        kinds = Counter(finding.severity.value for finding in self.findings)
        found = ", ".join(f"{kinds[level.value]} {level.value}" for level in Severity if kinds[level.value])
        images = sum(counts.get("images", 0) for counts in self.counts.values())
        head = f"<p><b>{_html(found or 'No findings')}</b> in {images} images of {_html(self.data)}</p>"
        head += "".join(f"<p>{_html(line)}</p>" for line in self.overrides.lines())
        if not self.findings:
            return f"<div>{head}</div>"
        first: dict[str, Finding] = {}
        for finding in sorted(self.findings, key=lambda f: f.severity.rank):
            first.setdefault(finding.code, finding)
        counts = self.by_code()
        titles = "".join(f'<th scope="col">{title}</th>' for title in ("rule", "severity", "count", "the first", "fix"))
        rows = "".join(_html_row(finding, counts[finding.code]) for finding in first.values())
        return f"<div>{head}<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>"


def _html(text: str) -> str:
    """Escaped text, without control characters, cut if it is very long."""
    import html  # its table of entities takes a while to load

    return html.escape(printable(cut(text, _LONGEST)))


def _html_row(finding: Finding, count: int) -> str:
    """One rule with its first finding, as a row of a table."""
    shown = (f"{finding.code} {finding.name}", finding.severity.value, str(count))
    cells = "".join(f"<td>{_html(text)}</td>" for text in (*shown, f"{finding.place}: {finding.message}", finding.fix))
    return f"<tr>{cells}</tr>"


def _row(finding: Finding) -> tuple[str | int | None, ...]:
    """One row of the frame."""
    place = finding.place
    texts = (place.file, finding.split, finding.image, finding.message, finding.fix, finding.because, finding.partner)
    file, *rest = (t if t is None else t.encode("utf-8", "backslashreplace").decode() for t in texts)
    fixed = (finding.code, finding.name, finding.severity.value, finding.effect.value)
    return (*fixed, file, place.line, *(place.pixel or (None, None, None)), *rest)


def _identity(finding: Finding, folders: tuple[str, ...]) -> str:
    """`file: code facts`, without facts that change when other rows or images do."""

    def inside(path: str) -> str:
        for folder in folders:
            path = path.removeprefix(folder)
        return path.replace(os.sep, "/")

    facts: list[str] = [inside(place.file) for place in finding.related]
    whole = finding.image is None
    if not whole or finding.place.line is not None:
        facts += (_fact(name, value, inside, whole=whole) for name, value in sorted(finding.values.items()))
    else:
        facts.append(finding.split or "")
    return " ".join((f"{inside(finding.place.file)}:", finding.code, *filter(None, facts)))


def _fact(name: str, value: Any, inside: Callable[[str], str], *, whole: bool) -> str:
    """`name=value` if the value is part of the identity of a finding, else empty."""
    if name in POSITIONS or (whole and not isinstance(value, str)):
        return ""
    if isinstance(value, float):
        return f"{name}={value:.6g}"
    return f"{name}={inside(value) if isinstance(value, str) else value}"
