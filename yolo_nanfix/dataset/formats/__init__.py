"""Annotation files of other formats, linted as they are, before a converter hides their defects.

`read` returns the same values as for a YOLO dataset, images and rows in normalised coordinates, and notes on what is
wrong with the files. `linting.pipeline.check_annotations` runs the rules.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError

if TYPE_CHECKING:
    from yolo_nanfix.dataset.formats.build import Annotated


def read(data: str | Path, options: LintOptions) -> Annotated | None:
    """Read a COCO file or folder, a Pascal VOC file or folder, or an NDJSON file; None for a YOLO dataset.

    Raises:
        DataError: the data cannot be read, or has no labels for the task of the options.
    """
    if options.task == "classify" or str(data).lower().endswith((".yaml", ".yml")):
        return None
    from yolo_nanfix.dataset.formats.sniff import sniff

    kind = sniff(data)
    if kind is None:
        return None
    from yolo_nanfix.dataset import bounded
    from yolo_nanfix.dataset.formats import coco, ndjson, voc

    try:
        bounded.check_annotations(kind.files if kind.name != "voc" else ())
    except OSError as error:
        raise DataError(f"{data} cannot be read: {error}") from error
    if kind.name == "ndjson":
        return ndjson.read_ndjson(kind.files[0], options)
    reader = coco.read_coco if kind.name == "coco" else voc.read_voc
    return reader(kind.files, Path(str(data).strip()).absolute(), options)
