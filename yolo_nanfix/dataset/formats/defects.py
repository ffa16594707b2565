"""What is wrong with annotation files: one member a rule, with all that its documentation says.

The readers note such a defect with its values; `linting.rules.annotations` makes a rule of each member.
"""

from __future__ import annotations

from enum import Enum

from yolo_nanfix.findings import Effect, Severity


class Defect(Enum):
    """A defect of annotation files, named as its rule.

    The value is code, severity and effect of the rule, and its documentation as in the docstring of any other rule.
    """

    def __init__(self, text: str) -> None:
        head, _, self.documentation = text.partition(": ")
        self.code, severity, effect = head.split()
        self.severity, self.effect = Severity(severity), Effect[effect.upper()]

    ANNOTATION_FILE_BROKEN = """AN001 fatal crashes: An annotation file, or a line of it, cannot be parsed.
    Why: nothing behind the broken place is read; converters stop, or leave the file out.
    Ultralytics: its converters raise JSONDecodeError, UnicodeDecodeError or ParseError.
    Example: a JSON file cut off by a full disk, a trailing comma, an XML file in UTF-16.
    Fix: export the file again, or correct the place that the finding names; write UTF-8 without a byte order mark.
    """

    ENTRY_MALFORMED = """AN002 fatal crashes: An entry lacks a field that it needs, or is of the wrong type.
    Why: what it describes is lost, and converters usually stop at it.
    Ultralytics: its converters raise KeyError, TypeError or AttributeError.
    Example: an image without `file_name`, an object without `<name>`, a list where an object belongs.
    Fix: complete the entry, or remove it.
    """

    NUMBER_NOT_FINITE = """AN003 error drops: An annotation file holds NaN or Infinity.
    Why: strict JSON has neither; a converter writes them into the label file.
    Ultralytics: Python reads them, and one such row takes the whole image out of training.
    Example: `"bbox": [NaN, 10, 20, 30]`, written by numpy or pandas for a missing value.
    Fix: find out why the value is missing, and remove or redo the annotation.
    """

    ID_NOT_WHOLE = """AN004 fatal crashes: The id of an image is not a whole number.
    Why: tools for COCO compare ids as numbers; `1` and `"1"` are two.
    Ultralytics: `convert_coco` raises ValueError ("Unknown format code 'd'").
    Example: `"id": "000123"`.
    Fix: number the images, and use the same numbers in `image_id`.
    """

    IMAGE_ID_REPEATED = """AN005 error garbage: Two images have the same id.
    Why: the annotations of both are given to one of them.
    Ultralytics: `convert_coco` keeps the last image of that id, and writes all the boxes into its label file.
    Example: two COCO files joined without new ids.
    Fix: give the images of the second file new ids, and change its annotations with them.
    """

    ANNOTATION_ID_REPEATED = """AN006 warning accepts: Two annotations have the same id.
    Why: tools that index annotations by id, as pycocotools does for mAP, keep one of them.
    Ultralytics: `convert_coco` does not look at the ids.
    Example: two COCO files joined without new ids.
    Fix: number the annotations anew.
    """

    IMAGE_FILE_MISSING = """AN007 error drops: The file of an image is not there.
    Why: its annotations are converted, but nothing is trained with them.
    Ultralytics: `convert_coco` writes the label file; the image is not in the folder, so it is never listed.
    Example: `"file_name": "17.jpg"` where the folder of images has none.
    Fix: put the images in a folder `images` beside the annotations, or correct the names.
    """

    IMAGE_UNKNOWN = """AN008 fatal crashes: An annotation belongs to an image that is not in the list.
    Why: the object is lost, and the conversion stops.
    Ultralytics: `convert_coco` raises KeyError with the id.
    Example: `"image_id": 17` after image 17 was removed from `images`.
    Fix: remove the annotation, or restore the image's entry.
    """

    CATEGORY_UNKNOWN = """AN009 error garbage: An annotation has a category that is not in the list.
    Why: nobody knows what the object is.
    Ultralytics: `convert_coco` takes `category_id - 1` for the class and never looks at the list.
    Example: `"category_id": 5` where `categories` ends at 4.
    Fix: correct the number, or add the category.
    """

    CATEGORY_REPEATED = """AN010 error garbage: A category id or name stands twice.
    Why: one class is trained as two, or two as one.
    Ultralytics: `convert_coco` never looks at the list; the class is `category_id - 1`.
    Example: `{"id": 1, "name": "cat"}` and `{"id": 2, "name": "cat"}`.
    Fix: join the two categories, and change the annotations with them.
    """

    CATEGORY_IDS_UNEVEN = """AN011 warning garbage: Category ids are not 1, 2, 3 and so on.
    Why: a class number is made of the id, so it does not fit the names: 0 becomes -1, and gaps stay gaps.
    Ultralytics: `convert_coco(cls91to80=False)` writes `category_id - 1`; rows of class -1 take their image out of
        training.
    Example: ids 0 to 4 as many tools export them, or 1, 3, 7.
    Fix: number the categories from 1 before converting, in the order of `names`.
    """

    IMAGE_SIZE_ZERO = """AN012 error drops: The annotations give an image no width or height.
    Why: boxes are divided by the size, so the label file is full of `inf`.
    Ultralytics: its converters divide by 0: `convert_coco` writes inf, the script of VOC.yaml raises
        ZeroDivisionError.
    Example: `<size><width>0</width><height>0</height></size>`.
    Fix: write the size of the image file.
    """

    IMAGE_SIZE_DIFFERS = """AN013 error garbage: The annotations give an image another size than its file has.
    Why: all boxes are divided by the wrong size, so they are off by that factor.
    Ultralytics: its converters trust the annotations.
    Example: the images were scaled down after annotation.
    Fix: restore the original image, or scale size and boxes.
    """

    BOX_MALFORMED = """AN014 fatal crashes: A box is not four numbers.
    Why: the object is lost, and the conversion stops.
    Ultralytics: its converters raise KeyError, ValueError or TypeError.
    Example: an annotation without `bbox`, `<xmin>` without a number.
    Fix: complete the box, or remove the annotation.
    """

    BOX_EMPTY = """AN015 error drops: A box has no width or height, or its corners are swapped.
    Why: the object is lost.
    Ultralytics: `convert_coco` leaves the annotation out silently; of VOC a negative side takes the whole image out
        of training.
    Example: `"bbox": [10, 20, 0, 5]`, xmax 40 with xmin 60.
    Fix: draw the box again, swap the corners, or remove the annotation.
    """

    SEGMENTATION_MALFORMED = """AN016 error rewrites: A segmentation is missing or not a list of polygons.
    Why: the mask that someone drew is not the one that is trained.
    Ultralytics: `convert_coco(use_segments=True)` takes the rectangle of the box instead, with one warning for the
        whole file.
    Example: a polygon of 5 numbers or of two points; `"segmentation": []`.
    Fix: draw the polygon again, or remove the annotation.
    """

    MASK_SIZE_DIFFERS = """AN017 error rewrites: A mask in run lengths is of another size than its image.
    Why: its runs say nothing about this image.
    Ultralytics: `convert_coco(use_segments=True)` takes the rectangle of the box instead.
    Example: `"size": [480, 640]` for an image of 640 rows and 480 columns: width and height are swapped.
    Fix: write height and width of the image, in this order, if the runs are right; else make the mask again.
    """

    BOX_AGAINST_POLYGON = """AN018 warning accepts: The box of an annotation is not the one around its polygon.
    Why: detection learns the box, segmentation the polygon; one of them is wrong.
    Ultralytics: `convert_coco` uses the box without `use_segments`, and the polygon with it.
    Example: a box as `[x1, y1, x2, y2]` where COCO wants `[x, y, width, height]`.
    Fix: compute the box from the polygon, or draw the polygon again.
    """

    KEYPOINTS_MALFORMED = """AN019 fatal crashes: Keypoints are not three numbers for each point of the category.
    Why: the pose is lost, and the conversion stops, or the rows differ in length.
    Ultralytics: `convert_coco(use_keypoints=True)` raises ValueError, or writes a row that takes the image out of
        training.
    Example: 34 numbers (x and y alone) where 17 keypoints need 51.
    Fix: write x, y and visibility of every keypoint; 0, 0, 0 for those that are not labelled.
    """

    KEYPOINT_COUNT_WRONG = """AN020 info accepts: `num_keypoints` is not the number of labelled keypoints.
    Why: mAP of poses leaves out what has 0 labelled points; a wrong number changes what is counted.
    Ultralytics: `convert_coco` does not look at it.
    Example: `"num_keypoints": 17` with 3 points of visibility 0.
    Fix: count the points with visibility above 0.
    """

    ANNOTATION_SKIPPED = """AN021 info drops: Annotations are marked as crowd or difficult.
    Why: these objects are visible, but not trained: the model is told that there is nothing.
    Ultralytics: `convert_coco` leaves out `iscrowd: 1`, the script of VOC.yaml `<difficult>1</difficult>`.
    Example: a box around a whole crowd of people.
    Fix: nothing if that is meant; else remove the mark, or cover the area in the image.
    """

    FILE_NAME_DIFFERS = """AN022 warning accepts: An XML file names an image of another name.
    Why: tools differ in what they believe, the name inside or that of the file.
    Ultralytics: the script of VOC.yaml goes by the name of the XML file.
    Example: `0017.xml` with `<filename>IMG_17.jpg</filename>`, after the files were renamed.
    Fix: write the image's name into `<filename>`, or remove the element.
    """

    FILE_NAME_REPEATED = """AN023 error garbage: Two entries name one image file.
    Why: the labels of both end in one label file, often each object twice.
    Ultralytics: `convert_coco` appends the rows of both to one .txt file; of VOC and NDJSON the image is trained
        twice.
    Example: the same picture imported twice into the labelling tool.
    Fix: join the two entries.
    """

    PATH_OUTSIDE = r"""AN024 warning accepts: An image's name leads out of the folder of images.
    Why: it works on one machine only; and a converter writes a label file where the name leads.
    Ultralytics: `convert_coco` joins the name to its folder of labels without a check.
    Example: `"file_name": "../../a.jpg"`, `C:\data\a.jpg`.
    Fix: write names relative to the folder of images.
    """

    SPLIT_UNKNOWN = """AN025 fatal crashes: An NDJSON image is of no known split, or none is of train.
    Why: the conversion stops before anything is trained.
    Ultralytics: raises ValueError ("Invalid NDJSON split", "Dataset missing required 'train' split").
    Example: `"split": "validation"`.
    Fix: write train, val or test.
    """

    CLASS_WITHOUT_NAME = """AN026 warning accepts: Labels use class numbers that have no name.
    Why: a number may be wrong, and a class too many is trained.
    Ultralytics: makes up a name (`class7`), and a model with that many classes.
    Example: class 7 where `class_names` ends at 3.
    Fix: correct the number, or name the class.
    """

    ANNOTATIONS_IGNORED = """AN027 error drops: Labels of an NDJSON image are of another kind than its task, or several.
    Why: only the first kind is used, whatever the task is.
    Ultralytics: writes the rows of the first key into the label file.
    Example: `{"boxes": [...], "segments": [...]}` in a set for segmentation.
    Fix: keep the labels of the task alone.
    """

    ROW_MALFORMED = """AN028 error drops: An NDJSON label row is not the numbers that its task wants.
    Why: one such row takes the whole image out of training.
    Ultralytics: writes the row as it is into the label file, and drops the image when it reads it.
    Example: `[0, 0.5, 0.5, 0.2]`: a box without a height.
    Fix: complete the row, or remove it.
    """

    LISTED_WITHOUT_ANNOTATION = """AN029 error crashes: ImageSets names images that have no XML file.
    Why: the conversion stops at the first of them.
    Ultralytics: the script of VOC.yaml raises FileNotFoundError.
    Example: ImageSets/Main/train.txt from before some images were removed.
    Fix: write the list anew, or restore the files.
    """

    SOURCE_MISSING = """AN030 fatal crashes: An NDJSON image has no address to load it from.
    Why: the conversion stops when one image cannot be loaded.
    Ultralytics: raises RuntimeError ("Downloaded 99/100 images").
    Example: a line without `url`.
    Fix: write the `url` of the image, or `path` in the first line for images that are on disk.
    """

    CLASS_NAMES_ALIKE = """AN031 warning accepts: Two classes differ only in case, spaces or underscores.
    Why: probably they are one class that was named twice; each is trained as the opposite of the other.
    Ultralytics: trains two classes.
    Example: `<name>Cat</name>` in one file, `<name>cat</name>` in another.
    Fix: use one name.
    """

    IMAGE_SUFFIX_UNLISTED = """AN032 error drops: An image has a suffix that Ultralytics does not list.
    Why: its annotations are converted, but nothing is trained with them.
    Ultralytics: lists avif, bmp, dng, heic, heif, jp2, jpeg, jpg, mpo, png, tif, tiff and webp.
    Example: `"file_name": "17.gif"`, or a name without a suffix.
    Fix: convert the image to JPEG or PNG, and correct the name.
    """

    BOXES_UNTURNED = """AN033 error garbage: Boxes or sizes are those of the stored pixels of images that EXIF rotates.
    Why: the picture is turned, the boxes are not: nearly all of them lie on something else than their object.
    Ultralytics: rotates the image by EXIF when it loads it, and its converters take boxes and sizes as they are.
    Example: photographs of a phone held upright (orientation 6), labelled in a tool that does not heed EXIF.
    Fix: remove the orientation from the EXIF of these images if all their boxes fit the stored pixels, or turn boxes,
        width and height with the picture; look at some of them afterwards. A file that was made from YOLO labels fits
        neither way (globox, pylabel and panlabel stretch boxes to the stored sides): train on those labels.
    """

    IMAGE_SIZE_SWAPPED = """AN034 error drops: Sizes of images that EXIF rotates are swapped; boxes are right.
    Why: boxes of the shown picture are divided by the wrong sides, so they are stretched and reach out of the image.
    Ultralytics: its converters divide by width and height as they are given; images with rows beyond 1 are dropped.
    Example: width and height asked of a library that does not heed EXIF, for boxes drawn on the upright picture.
    Fix: exchange width and height of these images; the boxes stay as they are.
    """

    ANNOTATIONS_FOREIGN = """AN035 error drops: Some of the XML files are of another tool than Pascal VOC.
    Why: what they hold is not trained.
    Ultralytics: the script of VOC.yaml reads what ImageSets names, and raises AttributeError without a `<size>`.
    Example: CVAT's annotations.xml beside files of Pascal VOC.
    Fix: export all images in one format, or put the files of the other tool elsewhere.
    """

    KEYS_MISNAMED = """AN036 fatal crashes: Keys of a COCO file, or elements of VOC, have other names than wanted.
    Why: the conversion stops at the first entry; lint reads on as if they had the right names.
    Ultralytics: `convert_coco` raises KeyError, the script of VOC.yaml AttributeError.
    Example: `filename` for `file_name`, the list `annotation` for `annotations`, `<bbox>` for `<bndbox>`.
    Fix: rename the keys, in all entries at once.
    """

    ANNOTATION_ID_ZERO = """AN037 info accepts: An annotation has the id 0.
    Why: in COCO's evaluation 0 stands for "no match", so this object counts as missed even where it was found: of three
        objects, all detected perfectly, AP is 0.44 and recall 0.67.
    Ultralytics: `convert_coco` does not look at the ids; pycocotools and faster-coco-eval, which `val` asks for COCO's
        figures, do.
    Example: COCO exports of Label Studio and Roboflow, which count from 0.
    Fix: number the annotations from 1 on.
    """

    CATEGORIES_NOT_OF_COCO = """AN038 warning crashes: Category ids go beyond 11, and the classes are not COCO's.
    Why: `convert_coco` takes every file for COCO with its 91 ids, of which 80 have a class: from 12 on it changes the
        numbers, or stops.
    Ultralytics: raises TypeError or IndexError for ids that COCO does not use, 12 first, and writes other class numbers
        for those that follow.
    Example: 14 categories of one's own, numbered from 1: 13 becomes class 11, 14 class 12.
    Fix: convert with `convert_coco(..., cls91to80=False)`.
    """
