"""What is done to find out why a step went wrong: its incident is written, and replayed in the time allowed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor, nn

from yolo_nanfix import kept, upstream
from yolo_nanfix.events import Event
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.recorder import INCIDENTS
from yolo_nanfix.incident import SUFFIX, Incident, digest
from yolo_nanfix.verdicts import Cause, Verdict

Examine = Callable[[Incident, nn.Module, float], Verdict]
"""Finds the cause of an incident: given it, the live model (which stays as it is), and the seconds it may take."""
Known = Callable[[], Mapping[str, Any]]
"""Gives what else an incident should hold, as JSON-ready facts."""
SAME = 2
"""So many faults of one kind with the same suspects are looked into; the verdict of later ones is the last one's."""
BESIDE = 20
"""So many faults of other ranks does a rank look into whose own loss was finite: its gradient may not have been."""
VAGUE = (Cause.UNKNOWN, Cause.NONDETERMINISTIC)
"""Causes that explain nothing."""
STEP_TIMES = 10
"""A diagnosis in the run may take this many step times."""


class Inquiry:
    """Incidents and verdicts of one run."""

    def __init__(self, settings: GuardSettings, examine: Examine | None, known: Known = dict) -> None:
        """Nothing has happened yet."""
        self.settings, self.examine, self.known = settings, examine if settings.diagnose else None, known
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.verdicts: dict[tuple[str, ...], Verdict] = {}
        self.files: deque[Path] = deque()
        self.written = ""
        self.keeper = kept.Keeper()
        self.number = 0
        self._steps: deque[float] = deque(maxlen=21)
        self._last = perf_counter()

    def tick(self, model: nn.Module | None = None) -> None:
        """A micro-batch begins: measure how long they take, and remember what the model keeps beside its weights."""
        if model is not None:
            self.keeper.tick(model)
        now = perf_counter()
        self._steps.append(now - self._last)
        self._last = now

    def look_into(
        self, event: Event, build: Callable[[], Incident], model: nn.Module, folder: Path, *, beside: bool = False
    ) -> Verdict | None:
        """The verdict on a fault, or None where diagnosis is off. Never raises: training goes on whatever happens.

        `written` names the incident file that this left, or is empty. `beside`: the fault is another rank's, and this
        one had one of its own only if its replay says so; else nothing is written.
        """
        self.written = ""
        key = (*event.checks, *sorted(s.file for s in event.sources if s.suspect), *(("beside",) if beside else ()))
        self.seen[key] += 1
        if self.seen[key] > (BESIDE if beside else SAME):
            return None if beside else self.verdicts.get(key)
        try:
            incident = self._completed(build(), model)
            verdict = self._examined(incident, model)
            if beside and cause_of(verdict) in (None, *VAGUE):
                return None
            if verdict is not None:
                self.verdicts[key] = verdict
                incident = replace(incident, facts={**incident.facts, "verdict": verdict.as_dict()})
            self._write(incident, folder)
        except Exception as error:
            upstream.log(f"yolo-nanfix guard: the fault could not be looked into: {type(error).__name__}: {error}")
            return None
        finally:
            self._last = perf_counter()
        return verdict

    def _completed(self, incident: Incident, model: nn.Module) -> Incident:
        """With what others know, and with what the model and its loss keep outside of weights and buffers."""
        self.number += 1
        facts = {**incident.facts, **self.known(), "number": self.number}
        facts["kept"] = self.keeper.since(model, self.number)
        before = [(o, k, v) for o, attributes in self.keeper.before.items() for k, v in attributes.items()]
        facts["attributes"] = {owner: {} for owner, _, _ in before}
        for owner, key, value in before:
            if not isinstance(value, Tensor):
                facts["attributes"][owner][key] = value
        tensors = {f"kept.{owner}.{key}": v for owner, key, v in before if isinstance(v, Tensor)}
        return replace(incident, facts=facts, tensors={**incident.tensors, **tensors})

    def _examined(self, incident: Incident, model: nn.Module) -> Verdict | None:
        if self.examine is None:
            return None
        usual = sorted(self._steps)[len(self._steps) // 2] if self._steps else 1.0
        return self.examine(incident, model, STEP_TIMES * usual)

    def _write(self, incident: Incident, folder: Path) -> None:
        """Write the incident; the oldest files make room beyond the limit, large ones go without their weights."""
        if not self.settings.incidents:
            return
        facts, tensors = dict(incident.facts), dict(incident.tensors)
        weights = {k: v for k, v in tensors.items() if k.startswith("model.")}
        facts["weights"] = {"sha256": digest(weights), "here": True}
        limit = self.settings.incident_mb * 2**20
        for part in ("earlier.", "model."):
            if Incident(facts, tensors).size > limit:
                tensors = {k: v for k, v in tensors.items() if not k.startswith(part)}
                facts["weights"]["here"] = part != "model."
        name = f"{facts['epoch']:04d}-{facts['batch']:05d}-{'-'.join(facts['checks'])}"
        rank = f"-rank{facts['rank']}" if facts["rank"] >= 0 else ""
        path = folder / INCIDENTS / f"{name}{rank}{SUFFIX}"
        Incident(facts, tensors).save(path)
        self.written = path.name
        if path in self.files:
            self.files.remove(path)
        self.files.append(path)
        while len(self.files) > self.settings.incidents:
            self.files.popleft().unlink(missing_ok=True)


def cause_of(verdict: Verdict | None) -> Cause | None:
    """The class of cause, where there is a verdict."""
    return verdict.cause if verdict else None
