"""AN: annotation files of other formats: COCO JSON, Pascal VOC and Ultralytics NDJSON."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_nanfix.dataset.formats.notes import Notes
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule


def noted(notes: Notes, kind: str) -> Iterator[Hit]:
    """A hit for each note of a kind."""
    for note in notes:
        if note.kind == kind:
            yield Hit(note.file, note.text, note.line, split=note.split, image=note.image)


@rule("AN001", "annotation-file-broken", Severity.FATAL, Effect.CRASHES, LABELLED)
def annotation_file_broken(notes: Notes) -> Iterator[Hit]:
    """An annotation file, or a line of it, cannot be parsed.

    Why: nothing behind the broken place is read; converters stop, or leave the file out.
    Ultralytics: its converters raise JSONDecodeError, UnicodeDecodeError or ParseError.
    Example: a JSON file cut off by a full disk, a trailing comma, an XML file in UTF-16.
    Fix: export the file again, or correct the place that the finding names; write UTF-8 without a byte order mark.
    """
    yield from noted(notes, "annotation-file-broken")


@rule("AN002", "entry-malformed", Severity.FATAL, Effect.CRASHES, LABELLED)
def entry_malformed(notes: Notes) -> Iterator[Hit]:
    """An entry lacks a field without which it means nothing, or is of the wrong type.

    Why: what it describes is lost, and converters usually stop at it.
    Ultralytics: its converters raise KeyError, TypeError or AttributeError.
    Example: an image without `file_name`, an object without `<name>`, a list where an object belongs.
    Fix: complete the entry, or remove it.
    """
    yield from noted(notes, "entry-malformed")


@rule("AN003", "number-not-finite", Severity.ERROR, Effect.DROPS, LABELLED)
def number_not_finite(notes: Notes) -> Iterator[Hit]:
    """An annotation file holds NaN or Infinity.

    Why: strict JSON has neither; a converter writes them into the label file.
    Ultralytics: Python reads them, and one such row takes the whole image out of training.
    Example: `"bbox": [NaN, 10, 20, 30]`, written by numpy or pandas for a missing value.
    Fix: find out why the value is missing, and remove or redo the annotation.
    """
    yield from noted(notes, "number-not-finite")


@rule("AN004", "id-not-whole", Severity.FATAL, Effect.CRASHES, LABELLED)
def id_not_whole(notes: Notes) -> Iterator[Hit]:
    """The id of an image is not a whole number.

    Why: tools for COCO compare ids as numbers; `1` and `"1"` are two.
    Ultralytics: `convert_coco` raises ValueError ("Unknown format code 'd'").
    Example: `"id": "000123"`.
    Fix: number the images, and use the same numbers in `image_id`.
    """
    yield from noted(notes, "id-not-whole")


@rule("AN005", "image-id-repeated", Severity.ERROR, Effect.GARBAGE, LABELLED)
def image_id_repeated(notes: Notes) -> Iterator[Hit]:
    """Two images have the same id.

    Why: the annotations of both are given to one of them.
    Ultralytics: `convert_coco` keeps the last image of that id, and writes all the boxes into its label file.
    Example: two COCO files joined without new ids.
    Fix: give the images of the second file new ids, and change its annotations with them.
    """
    yield from noted(notes, "image-id-repeated")


@rule("AN006", "annotation-id-repeated", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def annotation_id_repeated(notes: Notes) -> Iterator[Hit]:
    """Two annotations have the same id.

    Why: tools that index annotations by id, as pycocotools does for mAP, keep one of them.
    Ultralytics: `convert_coco` does not look at the ids.
    Example: two COCO files joined without new ids.
    Fix: number the annotations anew.
    """
    yield from noted(notes, "annotation-id-repeated")


@rule("AN007", "image-file-missing", Severity.ERROR, Effect.DROPS, LABELLED)
def image_file_missing(notes: Notes) -> Iterator[Hit]:
    """The file of an image is not there.

    Why: its annotations are converted, but nothing is trained with them.
    Ultralytics: `convert_coco` writes the label file; the image is not in the folder, so it is never listed.
    Example: `"file_name": "17.jpg"` where the folder of images has none.
    Fix: put the images in a folder `images` beside the annotations, or correct the names.
    """
    yield from noted(notes, "image-file-missing")


@rule("AN008", "image-unknown", Severity.FATAL, Effect.CRASHES, LABELLED)
def image_unknown(notes: Notes) -> Iterator[Hit]:
    """An annotation belongs to an image that is not in the list.

    Why: the object is lost, and the conversion stops.
    Ultralytics: `convert_coco` raises KeyError with the id.
    Example: `"image_id": 17` after image 17 was removed from `images`.
    Fix: remove the annotation, or restore the image's entry.
    """
    yield from noted(notes, "image-unknown")


@rule("AN009", "category-unknown", Severity.ERROR, Effect.GARBAGE, LABELLED)
def category_unknown(notes: Notes) -> Iterator[Hit]:
    """An annotation has a category that is not in the list.

    Why: nobody knows what the object is.
    Ultralytics: `convert_coco` takes `category_id - 1` for the class and never looks at the list.
    Example: `"category_id": 5` where `categories` ends at 4.
    Fix: correct the number, or add the category.
    """
    yield from noted(notes, "category-unknown")


@rule("AN010", "category-repeated", Severity.ERROR, Effect.GARBAGE, LABELLED)
def category_repeated(notes: Notes) -> Iterator[Hit]:
    """A category id or name stands twice.

    Why: one class is trained as two, or two as one.
    Ultralytics: `convert_coco` never looks at the list; the class is `category_id - 1`.
    Example: `{"id": 1, "name": "cat"}` and `{"id": 2, "name": "cat"}`.
    Fix: join the two categories, and change the annotations with them.
    """
    yield from noted(notes, "category-repeated")


@rule("AN011", "category-ids-uneven", Severity.WARNING, Effect.GARBAGE, LABELLED)
def category_ids_uneven(notes: Notes) -> Iterator[Hit]:
    """Category ids are not 1, 2, 3 and so on.

    Why: a class number is made of the id, so it does not fit the names: 0 becomes -1, and gaps stay gaps.
    Ultralytics: `convert_coco(cls91to80=False)` writes `category_id - 1`; rows of class -1 take their image out of
        training.
    Example: ids 0 to 4 as many tools export them, or 1, 3, 7.
    Fix: number the categories from 1 before converting, in the order of `names`.
    """
    yield from noted(notes, "category-ids-uneven")


@rule("AN012", "image-size-zero", Severity.ERROR, Effect.DROPS, LABELLED)
def image_size_zero(notes: Notes) -> Iterator[Hit]:
    """The annotations give an image no width or height.

    Why: boxes are divided by the size, so the label file is full of `inf`.
    Ultralytics: its converters divide by 0: `convert_coco` writes inf, the script of VOC.yaml raises
        ZeroDivisionError.
    Example: `<size><width>0</width><height>0</height></size>`.
    Fix: write the size of the image file.
    """
    yield from noted(notes, "image-size-zero")


@rule("AN013", "image-size-differs", Severity.ERROR, Effect.GARBAGE, LABELLED)
def image_size_differs(notes: Notes) -> Iterator[Hit]:
    """The annotations give an image another size than its file has.

    Why: all boxes are divided by the wrong size, so they are off by that factor.
    Ultralytics: its converters trust the annotations.
    Example: the images were scaled down after annotation.
    Fix: restore the original image, or scale size and boxes.
    """
    yield from noted(notes, "image-size-differs")


@rule("AN021", "annotation-skipped", Severity.INFO, Effect.DROPS, LABELLED)
def annotation_skipped(notes: Notes) -> Iterator[Hit]:
    """Annotations are marked as crowd or difficult.

    Why: these objects are visible, but not trained: the model is told that there is nothing.
    Ultralytics: `convert_coco` leaves out `iscrowd: 1`, the script of VOC.yaml `<difficult>1</difficult>`.
    Example: a box around a whole crowd of people.
    Fix: nothing if that is meant; else remove the mark, or cover the area in the image.
    """
    yield from noted(notes, "annotation-skipped")


@rule("AN022", "file-name-differs", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def file_name_differs(notes: Notes) -> Iterator[Hit]:
    """An XML file names an image of another name.

    Why: tools differ in what they believe, the name inside or that of the file.
    Ultralytics: the script of VOC.yaml goes by the name of the XML file.
    Example: `0017.xml` with `<filename>IMG_17.jpg</filename>`, after the files were renamed.
    Fix: write the image's name into `<filename>`, or remove the element.
    """
    yield from noted(notes, "file-name-differs")


@rule("AN023", "file-name-repeated", Severity.ERROR, Effect.GARBAGE, LABELLED)
def file_name_repeated(notes: Notes) -> Iterator[Hit]:
    """Two entries name one image file.

    Why: the labels of both end in one label file, often each object twice.
    Ultralytics: `convert_coco` appends the rows of both to one .txt file; of VOC and NDJSON the image is trained
        twice.
    Example: the same picture imported twice into the labelling tool.
    Fix: join the two entries.
    """
    yield from noted(notes, "file-name-repeated")


@rule("AN024", "path-outside", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def path_outside(notes: Notes) -> Iterator[Hit]:
    r"""An image's name leads out of the folder of images.

    Why: it works on one machine only; and a converter writes a label file where the name leads.
    Ultralytics: `convert_coco` joins the name to its folder of labels without a check.
    Example: `"file_name": "../../a.jpg"`, `C:\data\a.jpg`.
    Fix: write names relative to the folder of images.
    """
    yield from noted(notes, "path-outside")


@rule("AN025", "split-unknown", Severity.FATAL, Effect.CRASHES, LABELLED)
def split_unknown(notes: Notes) -> Iterator[Hit]:
    """An NDJSON image is of no known split, or none is of train.

    Why: the conversion stops before anything is trained.
    Ultralytics: raises ValueError ("Invalid NDJSON split", "Dataset missing required 'train' split").
    Example: `"split": "validation"`.
    Fix: write train, val or test.
    """
    yield from noted(notes, "split-unknown")


@rule("AN026", "class-without-name", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_without_name(notes: Notes) -> Iterator[Hit]:
    """Labels use class numbers that have no name.

    Why: a number may be wrong, and a class too many is trained.
    Ultralytics: makes up a name (`class7`), and a model with that many classes.
    Example: class 7 where `class_names` ends at 3.
    Fix: correct the number, or name the class.
    """
    yield from noted(notes, "class-without-name")


@rule("AN027", "annotations-ignored", Severity.ERROR, Effect.DROPS, LABELLED)
def annotations_ignored(notes: Notes) -> Iterator[Hit]:
    """Labels of an NDJSON image are of another kind than its task, or of several.

    Why: only the first kind is used, whatever the task is.
    Ultralytics: writes the rows of the first key into the label file.
    Example: `{"boxes": [...], "segments": [...]}` in a set for segmentation.
    Fix: keep the labels of the task alone.
    """
    yield from noted(notes, "annotations-ignored")


@rule("AN029", "listed-without-annotation", Severity.ERROR, Effect.CRASHES, LABELLED)
def listed_without_annotation(notes: Notes) -> Iterator[Hit]:
    """ImageSets names images that have no XML file.

    Why: the conversion stops at the first of them.
    Ultralytics: the script of VOC.yaml raises FileNotFoundError.
    Example: ImageSets/Main/train.txt from before some images were removed.
    Fix: write the list anew, or restore the files.
    """
    yield from noted(notes, "listed-without-annotation")


@rule("AN030", "source-missing", Severity.FATAL, Effect.CRASHES, LABELLED)
def source_missing(notes: Notes) -> Iterator[Hit]:
    """An NDJSON image has no address to load it from.

    Why: the conversion stops when one image cannot be loaded.
    Ultralytics: raises RuntimeError ("Downloaded 99/100 images").
    Example: a line without `url`.
    Fix: write the `url` of the image, or `path` in the first line for images that are on disk.
    """
    yield from noted(notes, "source-missing")


@rule("AN031", "class-names-alike", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_names_alike(notes: Notes) -> Iterator[Hit]:
    """Two classes differ only in case, blanks or underscores.

    Why: probably they are one class that was named twice; each is trained as the opposite of the other.
    Ultralytics: trains two classes.
    Example: `<name>Cat</name>` in one file, `<name>cat</name>` in another.
    Fix: use one name.
    """
    yield from noted(notes, "class-names-alike")


@rule("AN032", "image-suffix-unlisted", Severity.ERROR, Effect.DROPS, LABELLED)
def image_suffix_unlisted(notes: Notes) -> Iterator[Hit]:
    """An image has a suffix that Ultralytics does not list.

    Why: its annotations are converted, but nothing is trained with them.
    Ultralytics: lists avif, bmp, dng, heic, heif, jp2, jpeg, jpg, mpo, png, tif, tiff and webp.
    Example: `"file_name": "17.gif"`, or a name without a suffix.
    Fix: convert the image to JPEG or PNG, and correct the name.
    """
    yield from noted(notes, "image-suffix-unlisted")


@rule("AN033", "boxes-unturned", Severity.ERROR, Effect.GARBAGE, LABELLED)
def boxes_unturned(notes: Notes) -> Iterator[Hit]:
    """Boxes or sizes are those of the stored pixels of images that EXIF turns.

    Why: the picture is turned, the boxes are not: nearly all of them lie on something else than their object.
    Ultralytics: turns the image by EXIF when it loads it, and its converters take boxes and sizes as they are.
    Example: photographs of a phone held upright (orientation 6), labelled in a tool that does not heed EXIF.
    Fix: remove the orientation from the EXIF of these images if all their boxes fit the stored pixels, or turn boxes,
        width and height with the picture; look at some of them afterwards. A file that was made from YOLO labels fits
        neither way (globox, pylabel and panlabel stretch boxes to the stored sides): train on those labels.
    """
    yield from noted(notes, "boxes-unturned")


@rule("AN034", "image-size-swapped", Severity.ERROR, Effect.DROPS, LABELLED)
def image_size_swapped(notes: Notes) -> Iterator[Hit]:
    """Width and height of images that EXIF turns are swapped; their boxes are right.

    Why: boxes of the shown picture are divided by the wrong sides, so they are stretched and reach out of the image.
    Ultralytics: its converters divide by width and height as they are given; images with rows beyond 1 are dropped.
    Example: width and height asked of a library that does not heed EXIF, for boxes drawn on the upright picture.
    Fix: exchange width and height of these images; the boxes stay as they are.
    """
    yield from noted(notes, "image-size-swapped")


@rule("AN035", "annotations-foreign", Severity.ERROR, Effect.DROPS, LABELLED)
def annotations_foreign(notes: Notes) -> Iterator[Hit]:
    """Some of the XML files are of another tool than Pascal VOC.

    Why: what they hold is not trained.
    Ultralytics: the script of VOC.yaml reads what ImageSets names, and raises AttributeError without a `<size>`.
    Example: CVAT's annotations.xml beside files of Pascal VOC.
    Fix: export all images in one format, or put the files of the other tool elsewhere.
    """
    yield from noted(notes, "annotations-foreign")


@rule("AN036", "keys-misnamed", Severity.FATAL, Effect.CRASHES, LABELLED)
def keys_misnamed(notes: Notes) -> Iterator[Hit]:
    """Keys of a COCO file, or elements of VOC, have other names than they must have.

    Why: the conversion stops at the first entry; lint reads on as if they had the right names.
    Ultralytics: `convert_coco` raises KeyError, the script of VOC.yaml AttributeError.
    Example: `filename` for `file_name`, the list `annotation` for `annotations`, `<bbox>` for `<bndbox>`.
    Fix: rename the keys, in all entries at once.
    """
    yield from noted(notes, "keys-misnamed")


@rule("AN037", "annotation-id-zero", Severity.INFO, Effect.ACCEPTS, LABELLED)
def annotation_id_zero(notes: Notes) -> Iterator[Hit]:
    """An annotation has the id 0.

    Why: in COCO's evaluation 0 stands for "no match", so this object counts as missed even where it was found: of three
        objects, all detected perfectly, AP is 0.44 and recall 0.67.
    Ultralytics: `convert_coco` does not look at the ids; pycocotools and faster-coco-eval, which `val` asks for COCO's
        figures, do.
    Example: COCO exports of Label Studio and Roboflow, which count from 0.
    Fix: number the annotations from 1 on.
    """
    yield from noted(notes, "annotation-id-zero")


@rule("AN038", "categories-not-of-coco", Severity.WARNING, Effect.CRASHES, LABELLED)
def categories_not_of_coco(notes: Notes) -> Iterator[Hit]:
    """Category ids go beyond 11, and the classes are not those of COCO itself.

    Why: `convert_coco` takes every file for COCO with its 91 ids, of which 80 have a class: from 12 on it changes the
        numbers, or stops.
    Ultralytics: raises TypeError or IndexError for ids that COCO does not use, 12 first, and writes other class numbers
        for those that follow.
    Example: 14 categories of one's own, numbered from 1: 13 becomes class 11, 14 class 12.
    Fix: convert with `convert_coco(..., cls91to80=False)`.
    """
    yield from noted(notes, "categories-not-of-coco")
