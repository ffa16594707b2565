"""AN: boxes, masks, keypoints and rows in annotation files of other formats."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_nanfix.dataset.formats.notes import Notes
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.annotations import noted


@rule("AN014", "box-malformed", Severity.FATAL, Effect.CRASHES, LABELLED)
def box_malformed(notes: Notes) -> Iterator[Hit]:
    """A box is not four numbers.

    Why: the object is lost, and the conversion stops.
    Ultralytics: its converters raise KeyError, ValueError or TypeError.
    Example: an annotation without `bbox`, `<xmin>` without a number.
    Fix: complete the box, or remove the annotation.
    """
    yield from noted(notes, "box-malformed")


@rule("AN015", "box-empty", Severity.ERROR, Effect.DROPS, LABELLED)
def box_empty(notes: Notes) -> Iterator[Hit]:
    """A box has no width or height, or its corners are swapped.

    Why: the object is lost.
    Ultralytics: `convert_coco` leaves the annotation out silently; of VOC a negative side takes the whole image out
        of training.
    Example: `"bbox": [10, 20, 0, 5]`, xmax 40 with xmin 60.
    Fix: draw the box again, swap the corners, or remove the annotation.
    """
    yield from noted(notes, "box-empty")


@rule("AN016", "segmentation-malformed", Severity.ERROR, Effect.REWRITES, LABELLED)
def segmentation_malformed(notes: Notes) -> Iterator[Hit]:
    """A segmentation is missing or not a list of polygons.

    Why: the mask that someone drew is not the one that is trained.
    Ultralytics: `convert_coco(use_segments=True)` takes the rectangle of the box instead, with one warning for the
        whole file.
    Example: a polygon of 5 numbers or of two points; `"segmentation": []`.
    Fix: draw the polygon again, or remove the annotation.
    """
    yield from noted(notes, "segmentation-malformed")


@rule("AN017", "mask-size-differs", Severity.ERROR, Effect.REWRITES, LABELLED)
def mask_size_differs(notes: Notes) -> Iterator[Hit]:
    """A mask in run lengths is of another size than its image.

    Why: its runs say nothing about this image.
    Ultralytics: `convert_coco(use_segments=True)` takes the rectangle of the box instead.
    Example: `"size": [480, 640]` for an image of 640 rows and 480 columns: width and height are swapped.
    Fix: write height and width of the image, in this order, if the runs are right; else make the mask again.
    """
    yield from noted(notes, "mask-size-differs")


@rule("AN018", "box-against-polygon", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def box_against_polygon(notes: Notes) -> Iterator[Hit]:
    """The box of an annotation is not the one around its polygon.

    Why: detection learns the box, segmentation the polygon; one of them is wrong.
    Ultralytics: `convert_coco` uses the box without `use_segments`, and the polygon with it.
    Example: a box as `[x1, y1, x2, y2]` where COCO wants `[x, y, width, height]`.
    Fix: compute the box from the polygon, or draw the polygon again.
    """
    yield from noted(notes, "box-against-polygon")


@rule("AN019", "keypoints-malformed", Severity.FATAL, Effect.CRASHES, LABELLED)
def keypoints_malformed(notes: Notes) -> Iterator[Hit]:
    """Keypoints are not three numbers for each point of the category.

    Why: the pose is lost, and the conversion stops, or the rows differ in length.
    Ultralytics: `convert_coco(use_keypoints=True)` raises ValueError, or writes a row that takes the image out of
        training.
    Example: 34 numbers (x and y alone) where 17 keypoints need 51.
    Fix: write x, y and visibility of every keypoint; 0, 0, 0 for those that are not labelled.
    """
    yield from noted(notes, "keypoints-malformed")


@rule("AN020", "keypoint-count-wrong", Severity.INFO, Effect.ACCEPTS, LABELLED)
def keypoint_count_wrong(notes: Notes) -> Iterator[Hit]:
    """`num_keypoints` is not the number of labelled keypoints.

    Why: mAP of poses leaves out what has 0 labelled points; a wrong number changes what is counted.
    Ultralytics: `convert_coco` does not look at it.
    Example: `"num_keypoints": 17` with 3 points of visibility 0.
    Fix: count the points with visibility above 0.
    """
    yield from noted(notes, "keypoint-count-wrong")


@rule("AN028", "row-malformed", Severity.ERROR, Effect.DROPS, LABELLED)
def row_malformed(notes: Notes) -> Iterator[Hit]:
    """An NDJSON label row is not the numbers that its task wants.

    Why: one such row takes the whole image out of training.
    Ultralytics: writes the row as it is into the label file, and drops the image when it reads it.
    Example: `[0, 0.5, 0.5, 0.2]`: a box without a height.
    Fix: complete the row, or remove it.
    """
    yield from noted(notes, "row-malformed")
