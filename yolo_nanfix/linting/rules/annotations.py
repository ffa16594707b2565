"""AN: COCO JSON, Pascal VOC and Ultralytics NDJSON: their readers note defects, and each `Defect` is a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.notes import Notes
from yolo_nanfix.linting.registry import LABELLED, Hit, rule


def _hits_of(defect: Defect) -> Callable[[Notes], Iterator[Hit]]:
    """The check of a rule: a hit for each note of one defect."""

    def check(notes: Notes) -> Iterator[Hit]:
        for note in notes:
            if note.defect is defect:
                yield Hit(note.file, note.says, note.line, split=note.split, image=note.image, values=note.values)

    check.__name__, check.__doc__ = defect.name.lower(), defect.documentation
    return check


for _defect in Defect:
    rule(_defect.code, _defect.severity, _defect.effect, LABELLED)(_hits_of(_defect))
