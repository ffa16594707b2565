"""What several ranks met in one step is one event, whether all agreed on it or each noted it alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from yolo_nanfix.events import Action, Check, Did, Event, Point, Source
from yolo_nanfix.guard import distributed
from yolo_nanfix.guard.board import MOST_EVENTS, Notes
from yolo_nanfix.guard.fault import Fault, Kind, MicroBatch
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.policy import Rung, Standing, decide
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.report import event_text
from yolo_nanfix.verdicts import Cause, Verdict


def verdict(cause, image=""):
    return Verdict.from_dict({**Verdict(cause, "so").as_dict(), "images": [image] if image else []})


def heard(rank, check="loss", image="", kind=Kind.NOT_FINITE, cause=None):
    sources = (Source(f"/set/fine{rank}.jpg"), *((Source(image, "NaN"),) if image else ()))
    checks, incident = tuple(map(Check, check.split("+"))), f"0001-rank{rank}" if kind else ""
    found = verdict(cause, image) if cause else None
    given = {"sources": sources, "verdict": found, "rank": rank, "incident": incident}
    return Fault(kind, Point.AFTER_LOSS, checks, "{what} bad", {"what": check}, **given)


def event_of(fault):
    place = (Point.AFTER_LOSS, fault.checks, 1, 3, fault.sources)
    return Event(*place, fault.says, fault.values, (), 3, fault.incident)


def test_all_ranks_that_met_something_are_named_with_images_and_causes():
    everybody = [
        heard(0, "loss+pixels", "/set/a.jpg", cause=Cause.DATA),
        heard(1, kind=None, check="gradient"),  # saw the common gradient alone
        heard(2, "gradient", kind=None, cause=Cause.DEFINITION),  # and this one's own was not finite
        heard(3, "loss", "/set/b.jpg"),
    ]
    those = distributed.at_fault(everybody)
    event = distributed.merged(event_of(those[0]), those)
    assert [part.rank for part in event.ranks] == [0, 2, 3]
    assert [part.images for part in event.ranks] == [("/set/a.jpg",), (), ("/set/b.jpg",)]
    assert [part.cause for part in event.ranks] == ["data", "definition", ""]
    assert event.checks == (Check.LOSS, Check.PIXELS, Check.GRADIENT) and event.incident == "0001-rank0"
    assert event.detail == "rank 0: loss+pixels bad; rank 2: gradient bad; rank 3: loss bad"
    assert {s.file for s in event.sources} == {f"/set/{n}.jpg" for n in ("a", "b", "fine0", "fine2", "fine3")}
    assert Event.from_dict(json.loads(json.dumps(event.as_dict()))) == event
    lines = event_text.rank_lines(event.as_dict())
    assert lines[0] == "rank 0: loss+pixels bad; cause: data [/set/a.jpg]" and len(lines) == 3


def test_one_rank_alone_and_one_process_are_told_as_ever():
    alone = heard(1, image="/set/a.jpg")
    event = distributed.merged(event_of(alone), distributed.at_fault([heard(0, kind=None), alone]))
    assert event.detail == "rank 1: loss bad" and event.sources == alone.sources and len(event.ranks) == 1
    single = event_of(heard(-1))
    assert distributed.merged(single, distributed.at_fault([heard(-1)])) is single
    assert distributed.at_fault([heard(0, kind=None), heard(1, kind=None)])[0].rank == 0  # nobody knows why
    assert event_text.rank_lines(event.as_dict()) == [] and event_text.detail(event.as_dict()) == event.detail


def test_what_a_rank_tells_is_of_limited_size_and_holds_its_suspects():
    sources = (*(Source(f"{i}.jpg") for i in range(2000)), Source("faulty.jpg", "NaN"))
    found = Fault(None, Point.BATCH, (Check.LOSS,), "{x}", {"x": "x" * 9999}, MicroBatch({}, None, 0, {}, ""), sources)
    told = distributed.bounded(found)
    assert len(told.sources) == distributed.SOURCES and told.sources[0].file == "faulty.jpg"
    assert len(told.values["x"]) == distributed.LETTERS and told.micro is None


def test_images_of_all_ranks_count_as_offenders_whatever_the_worst_of_them_asks_for():
    usual = GuardSettings()

    def fault(kind, **known):
        return Fault(kind, Point.AFTER_LOSS, (Check.LOSS,), "", **known)

    bad = fault(Kind.NOT_FINITE, cause=Cause.DATA, suspects=("a",), others=("b", "c"))
    decision, standing = decide(bad, Standing(), usual)
    assert decision.rungs == (Rung.DROP,) and standing.offences == {"a": 1, "b": 1, "c": 1}
    assert standing.bad_in_a_row == 1
    decision, standing = decide(fault(Kind.DIVERGING, others=("b",)), standing, usual)
    assert decision.quarantine == ("b",) and {Rung.ROLLBACK, Rung.LOWER_LR, Rung.QUARANTINE} == set(decision.rungs)
    one, _ = decide(replace(bad, others=()), Standing(), usual)
    assert one == decide(fault(Kind.NOT_FINITE, cause=Cause.DATA, suspects=("a",)), Standing(), usual)[0]


LEFT_OUT = (Action(Did.SAMPLES_LEFT_OUT),)


def noted(rank, step=4, check=Check.SAMPLES, image="x.jpg", **more):
    event = Event(Point.BATCH, (check,), 1, step, (Source(image, "NaN"),), "1 of 2", {}, LEFT_OUT, step, **more)
    return replace(event, ranks=(distributed.part_of(event, rank),))


def tell(notes, *others):
    """What ranks noted goes on its way as JSON."""
    notes.wanted = True
    for rank, other in enumerate(others, 1):
        if (told := other.to_tell()) is not None:
            assert notes.news(rank, other.told)
            notes.hear(rank, other.told, json.loads(json.dumps(told)))
    notes.take_in()


def test_what_other_ranks_noted_is_in_the_report_of_the_first_once():
    first, other = Recorder(), Recorder()
    other.bad_samples = 5  # of an earlier part of the run, which the first one knows of as well
    mine, theirs = Notes(first, Listener()), Notes(other, Listener())
    first.add(noted(0))
    tell(mine, theirs)
    assert len(first.events) == 1 and theirs.told == 0
    theirs.add(noted(1, image="y.jpg"), verdict(Cause.LABEL))
    theirs.add(noted(1, step=7), None)
    other.bad_samples += 2
    other.leave_out(["y.jpg"])
    tell(mine, theirs)
    tell(mine, theirs)
    both, later = first.events
    assert [part.rank for part in both.ranks] == [0, 1] and both.detail == "rank 0: 1 of 2; rank 1: 1 of 2"
    assert {s.file for s in both.sources} == {"x.jpg", "y.jpg"} and first.latest["samples"] is later
    assert later.step == 7 and later.detail == "rank 1: 1 of 2" and first.counts["samples"] == 2
    assert first.bad_samples == 2 and first.quarantined == ["y.jpg"] and first.dropped == 0
    assert [v.cause for v in first.verdicts] == [Cause.LABEL]
    told = mine.to_tell()
    assert not mine.news(1, theirs.told) and told is not None and told["counts"]["bad_samples"] == 0


@pytest.mark.parametrize("other", [{"val_batch": 2}, {"check": Check.TARGETS}, {"step": 5}], ids=str)
def test_other_batches_checks_and_steps_are_other_events(other):
    first, theirs = Recorder(), Notes(Recorder(), Listener())
    first.add(noted(0, val_batch=1))
    theirs.add(noted(1, **{"val_batch": 1, **other}), None)
    tell(Notes(first, Listener()), theirs)
    assert len(first.events) == 2


def test_of_very_many_notes_the_number_is_told():
    first, theirs = Recorder(), Notes(Recorder(), Listener())
    for step in range(MOST_EVENTS + 30):
        theirs.add(noted(1, step=step), None)
    tell(Notes(first, Listener()), theirs)
    assert len(first.events) == MOST_EVENTS and first.counts["samples"] == MOST_EVENTS + 30
