"""COCO files through sahi, pylabel, globox and panlabel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporters.inputs import NAMES, coco, corners, disc, layout, of_coco, turned_photos

IMAGES = 6
Annotations = Sequence[dict[str, Any]]


def ordinary(first: int = 1, images: int = IMAGES) -> list[dict[str, Any]]:
    """A nut and a bolt in each image; ids of categories from `first`."""
    made = []
    for i in range(images):
        made.append(of_coco(i + 1, first, disc(60 + 10 * i, 60, 30)))
        made.append(of_coco(i + 1, first + 1, corners(150 + 5 * i, 100 + 8 * i, 90, 50)))
    return made


def source(root: Path, more: Annotations = (), first: int = 1, images: int = IMAGES) -> Path:
    """A COCO file of ordinary objects and these ones."""
    names = dict(enumerate(NAMES, first))
    return coco(root / "in", [*ordinary(first), *more], images, names)


# sahi


def by_sahi(root: Path, file: Path, target: str = "out", rate: float = 0.7) -> Path:
    """`Coco.export_as_yolo`, which writes data.yml."""
    from sahi.utils.coco import Coco

    made = Coco.from_coco_dict_or_path(str(file), image_dir=str(root / "in" / "images"))
    made.export_as_yolo(str(root / target), train_split_rate=rate, disable_symlink=True)
    return root / target / "data.yml"


def sahi_from_zero(root: Path) -> Path:
    return by_sahi(root, source(root, first=0))


def sahi_from_one(root: Path) -> Path:
    return by_sahi(root, source(root))


def sahi_mapped(root: Path) -> Path:
    """As sahi itself can number the categories, if it is asked to."""
    from sahi.utils.coco import Coco

    file = source(root)
    made = Coco.from_coco_dict_or_path(str(file), image_dir=str(root / "in" / "images"))
    made.update_categories({name: i for i, name in enumerate(NAMES)})
    made.export_as_yolo(str(root / "out"), train_split_rate=0.7, disable_symlink=True)
    return root / "out" / "data.yml"


def sahi_crowd(root: Path) -> Path:
    return by_sahi(root, source(root, [of_coco(2, 0, corners(20, 130, 120, 90), iscrowd=1)], first=0))


def sahi_no_val(root: Path) -> Path:
    return by_sahi(root, source(root, first=0), rate=1.0)


def sahi_suffix_in_name(root: Path) -> Path:
    """An image `scan.png_1.png`, as archives are unpacked to: its label becomes `scan.txt_1.txt`."""
    file = source(root, first=0)
    file.write_text(file.read_text().replace('"1.png"', '"scan.png_1.png"'))
    (root / "in" / "images" / "1.png").rename(root / "in" / "images" / "scan.png_1.png")
    return by_sahi(root, file)


# pylabel


def by_pylabel(root: Path, file: Path, **options: Any) -> Path:
    """`ExportToYoloV5`, which writes dataset.yaml; its `path` is `../`, so it is laid out as a user has to."""
    from pylabel import importer

    made = importer.ImportCoco(str(file), path_to_images="images", name="set")
    made.df["split"] = ["val" if name in ("2.png", "5.png") else "train" for name in made.df["img_filename"]]
    made.path_to_annotations = str(root / "in")
    made.export.ExportToYoloV5(str(root / "out" / "labels"), copy_images=True, use_splits=True, **options)
    return root / "out" / "dataset.yaml"


def pylabel_raw(root: Path) -> Path:
    return by_pylabel(root, source(root))


def pylabel_indexed(root: Path) -> Path:
    return by_pylabel(root, source(root), cat_id_index=0)


def pylabel_turned_photos(root: Path) -> Path:
    """The train split from YOLO to COCO."""
    from pylabel import importer

    top = turned_photos(root).parent
    made = importer.ImportYoloV5(str(top / "labels" / "train"), path_to_images="../../images/train", cat_names=["nut"])
    file = top / "images" / "train" / "coco.json"
    made.export.ExportToCoco(str(file), cat_id_index=1)
    return file


# globox


def by_globox(root: Path, file: Path, **options: Any) -> Path:
    """`save_yolo_v5` of boxes, laid out with a data.yaml."""
    from globox import AnnotationSet

    AnnotationSet.from_coco(str(file)).save_yolo_v5(root / "out", **options)
    return layout(root / "yolo", root / "in" / "images", root / "out", NAMES)


def globox_names(root: Path) -> Path:
    return by_globox(root, source(root))


def globox_mapped(root: Path) -> Path:
    return by_globox(root, source(root), label_to_id={name: i for i, name in enumerate(NAMES)})


def globox_crowd(root: Path) -> Path:
    crowd = of_coco(2, 1, corners(20, 130, 120, 90), iscrowd=1)
    return by_globox(root, source(root, [crowd]), label_to_id={name: i for i, name in enumerate(NAMES)})


def globox_outside(root: Path) -> Path:
    over = of_coco(2, 1, corners(280, 200, 60, 60))
    return by_globox(root, source(root, [over]), label_to_id={name: i for i, name in enumerate(NAMES)})


def globox_turned_photos(root: Path) -> Path:
    """The train split from YOLO to COCO."""
    from globox import AnnotationSet

    top = turned_photos(root).parent
    images = top / "images" / "train"
    made = AnnotationSet.from_yolo_v5(top / "labels" / "train", image_folder=images)
    made.save_coco(images / "coco.json", auto_ids=True)
    return images / "coco.json"


# panlabel


def by_panlabel(root: Path, file: Path, kind: str = "yolo", *options: str) -> Path:
    """The program, from COCO; to YOLO its labels are laid out with a data.yaml."""
    target = root / "out" if kind == "yolo" else root / "out.json"
    _panlabel("convert", "-f", "coco", "-t", kind, "-i", str(file), "-o", str(target), *options)
    return target


def _panlabel(*arguments: str) -> None:
    program = shutil.which("panlabel", path=os.fspath(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def panlabel_boxes(root: Path) -> Path:
    out = by_panlabel(root, source(root), "yolo", "--allow-lossy")
    return layout(root / "yolo", root / "in" / "images", out / "labels", NAMES)


def panlabel_turned_photos(root: Path) -> Path:
    """From YOLO to COCO."""
    top = turned_photos(root).parent
    file = top / "images" / "coco.json"
    options = ["-f", "yolo", "-t", "coco", "-i", str(top), "-o", str(file), "--allow-lossy"]
    _panlabel("convert", *options)
    return file


def panlabel_yaml(root: Path) -> Path:
    return by_panlabel(root, source(root), "yolo", "--allow-lossy") / "data.yaml"
