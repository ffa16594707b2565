"""The value in which the wings speak of the data: one `Finding` is one thing wrong at one place."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from yolo_nanfix.overrides import NOTHING, Overrides
from yolo_nanfix.shown import Held
from yolo_nanfix.tasks import Basis, option
from yolo_nanfix.wording import seen_from, sentence

if TYPE_CHECKING:
    import polars

POSITIONS = frozenset(("line", "lines", "at"))
"""Values that say where something is; they change with the lines before it, so they are no part of its identity."""
FATES = ("kept", "dropped", "background", "rewritten")
"""What `Report.counts` tells besides of images, where it is known."""
_LONGEST = 400
"""Characters of a text that a notebook shows."""


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


class Skip(str, Enum):
    """Why a rule was not asked."""

    DEEP = "deep"
    """It looks at decoded images, and they are decoded under `--deep` only."""
    OTHER_TASK = "other-task"
    """It reads the labels of other tasks."""
    UNLABELLED = "unlabelled"
    """There are images alone, without labels."""
    NO_DATA_YAML = "no-data-yaml"
    """There is no data.yaml."""
    NO_FOLDERS = "no-folders"
    """There are no folders of images and labels as Ultralytics wants them."""
    NO_LABEL_FILES = "no-label-files"
    """There are no label files of text."""


class Safety(Enum):
    """Whether the autofix of a rule may be applied without being asked for; the value is what tables say."""

    SAFE = "safe"
    """Nothing that Ultralytics trains on is lost: `--fix` does it."""
    SAFE_IF_SLIGHT = "safe to 1 %"
    """Safe where a box reaches out of its image by 1 % of it at most, else unsafe."""
    UNSAFE = "unsafe"
    """It decides for the user, or loses something: only `--unsafe-fixes` does it."""

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
    """One thing wrong at one place.

    Attributes:
        code: stable rule code, two letters and three digits (`BX004`).
        name: the rule's name, which tells the defect (`box-side-zero`).
        severity: how much it hurts.
        effect: what Ultralytics does with it.
        place: where it is.
        says: the form of the message: text in which the names of `values` stand in braces; see `wording.sentence`.
        fix: what to do about it.
        split: the split (`train`, `val`, `test`) in which it was met, or None for the whole dataset.
        image: the image file that it concerns, also when `place` is a label file; None if it concerns none.
        because: the code of the finding about the whole set that explains this one; None if it stands for itself. Such
            a finding is shown under its cause, is no work of its own, and only the fix of the cause mends it.
        values: the facts, by name: what the message says and an autofix needs to know. Text, numbers and None, and
            tuples of them.
        related: other places that it is about: the other image of a pair of copies, the other line of two equal ones.
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
        """What is wrong, with the offending values, as a sentence."""
        return sentence(self.says, self.values) if self.values else self.says

    @property
    def partner(self) -> str | None:
        """The other image of a pair (copies, near duplicates); None if it is about no pair."""
        return self.related[0].file if self.related and self.related[0].line is None else None

    def explained(self, code: str) -> Finding:
        """The same finding as what follows from the finding about the set that has this code."""
        return replace(self, because=code, fix=f"Fix {code}, from which this follows.")

    def seen_from(self, *folders: str) -> Finding:
        """The same finding, whose message names files inside some folders (each with its final slash) from there on."""
        return replace(self, values={name: seen_from(value, *folders) for name, value in self.values.items()})

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; enums become their values, the place a nested dict without its empty fields."""
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
    """The values of a finding as `Finding` holds them: lists as tuples. The same object where there are no lists."""
    if any(isinstance(value, (list, tuple)) and not _is_frozen(value) for value in values.values()):
        return {name: _frozen(value) for name, value in values.items()}
    return values


def _is_frozen(value: Any) -> bool:
    return type(value) is tuple and not any(isinstance(entry, (list, tuple)) for entry in value)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


class RuleText(Protocol):
    """What is known of a rule besides its findings, for formats that carry the documentation along."""

    @property
    def code(self) -> str:
        """Two letters and three digits."""

    @property
    def name(self) -> str:
        """Names the defect."""

    @property
    def severity(self) -> Severity:
        """How much it hurts, unless the user says otherwise."""

    @property
    def effect(self) -> Effect:
        """What Ultralytics does with it, in a word."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose labels it reads."""

    @property
    def deep(self) -> bool:
        """Whether it is asked only when images are decoded."""

    @property
    def title(self) -> str:
        """One line."""

    @property
    def why(self) -> str:
        """Why it hurts."""

    @property
    def upstream(self) -> str:
        """What Ultralytics does with it, in a sentence."""

    @property
    def example(self) -> str:
        """What it looks like."""

    @property
    def fix(self) -> str:
        """What to do about it."""


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
        partner: the image of which it is a copy, or which it looks like; None if it is left out for itself.
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
        try:
            image, keep, because = values["image"], values["keep"], tuple(values["because"])
            partner = values["partner"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"a choice is image, keep, because and partner: {error!r}") from None
        texts = (image, *because, *(() if partner is None else (partner,)))
        if not isinstance(keep, bool) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a choice has a value of another type")
        return cls(image, keep, because, partner)


@dataclass(frozen=True)
class Report:
    """What one lint run found in one dataset.

    Attributes:
        data: path of the data.yaml that was linted.
        task: the task whose label format was assumed (`detect`, `segment`, `pose`, `obb`).
        findings: all findings, sorted by split (dataset-wide ones first), file and line.
        skipped: pairs of rule code and reason, for the rules that were not asked.
        counts: for each split its number of `images`, `labels` (label files found) and `rows` (label rows); and where
            it is read as Ultralytics reads it, how many images it keeps (`kept`) and leaves out (`dropped`) when it
            scans them, keeps without an object (`background`), and writes anew or strips of repeated rows
            (`rewritten`).
        known: so many findings are left out because a baseline holds them.
        root: the folder from which files are shown; empty if there is no such one.
        given_root: the folder that was named for the images in the place of the one of the dataset; empty if none was.
        basis: why it was this task; None of several datasets with different reasons, or where it is not known.
        choice: of images without labels which are worth labelling; empty for a set with labels.
        started_ns: when lint began to read (nanoseconds since the epoch); files that changed later are not mended.
        fixed: what a fix run did just before, in words for JSON; None if there was none.
        folders: those in which its files lie, links resolved; what links lead to elsewhere is not quoted. Not in JSON.
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
    overrides: Overrides = NOTHING

    @property
    def asked(self) -> str | None:
        """The task that has to be asked for to come to the same one; None where the set itself speaks for it."""
        return None if self.basis is not None and self.basis.guess == self.task else self.task

    @property
    def said(self) -> str:
        """The options that a printed command needs to come to the same dataset and task, a blank before each."""
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
        """The worst severity, also among findings that only the dataset's own settings leave out; None without any."""
        return Severity.FATAL if self.overrides.fatal_hidden else self.worst

    @property
    def deep(self) -> bool:
        """Whether images were decoded, as far as any rule looks at that."""
        return all(why is not Skip.DEEP for _, why in self.skipped)

    @property
    def starts(self) -> bool:
        """Whether training starts, as no fatal finding about the set or data.yaml says that Ultralytics raises."""
        fatal = (f for f in self.findings if f.severity is Severity.FATAL and f.effect is Effect.CRASHES)
        return all(f.image is not None for f in fatal)

    def by_code(self) -> dict[str, int]:
        """How many findings each rule code has, in the order of the codes; those among them that others explain."""
        return dict(sorted(Counter(f.code for f in self.findings).items()))

    @cached_property
    def own(self) -> tuple[Finding, ...]:
        """The findings that no other one of the report explains, which is what there is to be done."""
        causes = {f.code for f in self.findings if f.because is None}
        return tuple(f for f in self.findings if f.because not in causes)

    def follows(self, finding: Finding) -> dict[str, int]:
        """How many findings of each code a finding explains, the most first."""
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
            ignore: what to leave out, in the same words.
            at_least: leave out what is milder.

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
        """The findings as a table of one row each, with the same columns and types also when there are none.

        Columns: code, name (text), severity, effect (enums, the worst severity first), file (text), line, x, y,
        channel (Int32 or null), split, image (text or null), message, fix (text), because, partner (text or null).
        What is no UTF-8 becomes escapes.
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
        """For each finding a text that stays the same while other lines of its file change; unlike any other's.

        It holds the file from the folder of data.yaml on, the code, and the values and related files, without
        positions; for findings about the whole set the split, and of their values the texts alone, since figures of a
        set change with each image. Equal findings in one file are counted through. No wording is in it.
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
        """What `as_dict` wrote; when lint began to read is not in it.

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
        """What a notebook shows: how much was found, and a table of the rules with the first finding of each."""
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
    """Text for a page: escaped, what cannot be printed as escapes, cut where it is very long."""
    import html  # its table of entities takes a while to load

    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    printed = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    return html.escape(printed)


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
    """`file: code facts`, without what changes when other rows or images do."""

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
    """`name=value` of a value that belongs to the identity of a finding, else nothing."""
    if name in POSITIONS or (whole and not isinstance(value, str)):
        return ""
    if isinstance(value, float):
        return f"{name}={value:.6g}"
    return f"{name}={inside(value) if isinstance(value, str) else value}"
