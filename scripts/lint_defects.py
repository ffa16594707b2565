"""What stock Ultralytics does with each defect that lint knows, by doing it; writes datasets/DEFECTS.md.

    python scripts/lint_defects.py [--check] [--code BX004 ...]

For each rule the faulty example of its test is made: few images, one of them healthy, and one defect. Then Ultralytics'
own functions read it as a training would: data.yaml, the scan of labels and images, and every image with its labels out
of the dataset, augmented for train. Seen is the worst of what happened: it crashes; it drops an image, or passes over a
file that looks like one; it changes a file or removes rows; what it hands to the training is not finite; or it accepts
everything. `--check` only says whether the file is what it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
OUT = ROOT / "datasets" / "DEFECTS.md"
HEAD = """# What Ultralytics does with each defect, and what lint says

Written by `python scripts/lint_defects.py`: each rule's faulty example, as a training with Ultralytics {version} reads
it. *Seen* is the worst that happened there: it **crashes**, **drops** an image, **passes over** one, **rewrites** a
file or removes rows, hands something **not finite** to the training, or **accepts** all of it. What follows from that
is in the last column, by the rule's own documentation (`yolo-nanfix rule CODE`).

{count} kinds of defects, {silent} of them accepted or dropped without the training stopping.

| code | defect | seen in Ultralytics | lint says | which means |
|---|---|---|---|---|
"""


class Said(logging.Handler):
    """What Ultralytics logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


ALONE = ("BX028", "FS003", "FS055", "IM010", "IM035", "IM036")
"""Defects of a whole split: no healthy image is added."""


def read_as_a_training(root: Path, task: str) -> tuple[set[str], set[str], bool]:
    """Files listed and files that came out, and whether all tensors are finite. Raises what Ultralytics raises."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import ClassificationDataset, YOLODataset
    from ultralytics.data.utils import check_cls_dataset, check_det_dataset

    args = get_cfg(overrides={"imgsz": 64, "task": task})
    listed: set[str] = set()
    kept: set[str] = set()
    finite = True
    if task == "classify":
        data = check_cls_dataset(str(root))
        sets: list[Any] = [ClassificationDataset(data[s], args) for s in ("train", "val") if data.get(s)]
        kept = {str(sample[0]) for made in sets for sample in made.samples}
        return kept, kept, all(finite_item(made) for made in sets)
    data = check_det_dataset(str(root / "data.yaml"), autodownload=False, split="val")
    for split in ("train", "val"):
        train = split == "train"
        made = YOLODataset(data[split], data=data, task=task, imgsz=64, augment=train, hyp=args, batch_size=1)
        listed |= set(made.get_img_files(data[split]))
        kept |= set(made.im_files)
        finite &= finite_item(made)
    return listed, kept, finite


def finite_item(made: Any) -> bool:
    """Take every item out of a dataset; whether all floating tensors of it are finite."""
    import torch

    good = True
    for i in range(len(made)):
        item = made[i]
        tensors = [v for v in item.values() if isinstance(v, torch.Tensor) and v.is_floating_point()]
        good &= all(bool(t.isfinite().all()) for t in tensors)
    return good


def rows_of(root: Path) -> int:
    """Label rows in the dataset, blank lines aside."""
    texts = (f.read_bytes() for f in (root / "labels").rglob("*.txt") if f.is_file())
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file but Ultralytics' caches."""
    return {str(f): f.read_bytes() for f in root.rglob("*") if f.is_file() and f.suffix != ".cache"}


def pictures(files: dict[str, bytes]) -> set[Path]:
    """The files that begin as JPEGs and PNGs do."""
    return {Path(f).resolve() for f, data in files.items() if data[:3] in (b"\xff\xd8\xff", b"\x89PN")}


def seen(root: Path, task: str, *, whole: bool = False) -> tuple[str, str]:
    """What Ultralytics does with a dataset, in a word, and what it says of it; of a `whole` set none need be left."""
    from ultralytics.utils import LOGGER

    said, before = Said(), snapshot(root)
    LOGGER.handlers, LOGGER.propagate = [said], False
    LOGGER.setLevel(logging.INFO)
    random.seed(0)
    np.random.seed(0)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            listed, kept, finite = read_as_a_training(root, task)
    except (Exception, SystemExit) as error:
        what = "drops" if "No valid images found" in str(error) and not whole else "crashes"
        return what, f"{type(error).__name__}: {error}"
    lines = [line for line in said.lines if "WARNING" in line or "ignoring" in line or "removed" in line]
    note = lines[0] if lines else ""
    if kept < listed:
        return "drops", note
    if pictures(before) - {Path(file).resolve() for file in listed}:
        return "passes over", note
    if snapshot(root) != before or any("removed" in line for line in lines):
        return "rewrites", note
    return ("accepts" if finite else "not finite"), note


@contextlib.contextmanager
def working_in(folder: str) -> Iterator[None]:
    """Some paths in data.yaml are taken from the folder in which a program was started."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def short(text: str, root: Path) -> str:
    """One line that a table can hold, without the folder of this run."""
    words = " ".join(
        text.replace(str(root), "").replace(str(root.parent), "HERE").replace("|", "/").replace("\x1b[K", "").split()
    )
    return words[:110] + ("..." if len(words) > 110 else "")


def add_healthy(root: Path, beside: Path, clean: Any) -> None:
    """Put the train images of the rule's clean example into a faulty dataset, so that one dropped image is not all."""
    from linting.tiny_set import TinySet

    clean(TinySet(beside))
    for image in sorted((beside / "images" / "train").glob("*.*")):
        label = beside / "labels" / "train" / f"{image.stem}.txt"
        if (root / "images" / "train").is_dir() and image.is_file() and image.suffix != ".npy":
            (root / "images" / "train" / f"healthy_{image.name}").write_bytes(image.read_bytes())
            if label.is_file() and (root / "labels" / "train").is_dir():
                (root / "labels" / "train" / f"healthy_{label.name}").write_bytes(label.read_bytes())


def rows(codes: list[str]) -> list[tuple[str, ...]]:
    """A row of the table for each rule that has an example which Ultralytics can read."""
    from linting.cases import CASES
    from linting.tiny_set import TinySet

    from yolo_nanfix.dataset.options import LintOptions
    from yolo_nanfix.linting.registry import all_rules
    from yolo_nanfix.linting.runner import run

    found = []
    for rule in all_rules():
        if rule.code not in CASES or rule.code.startswith("AN") or (codes and rule.code not in codes):
            continue
        task, faulty, clean = CASES[rule.code]
        with tempfile.TemporaryDirectory() as folder, working_in(folder):
            root = Path(folder) / "set"
            tiny = TinySet(root)
            faulty(tiny)
            if rule.code not in ALONE:
                add_healthy(root, Path(folder) / "clean", clean)
            options = LintOptions(task, deep=rule.deep)
            ours = [f for f in run(root, options=options, cache=False).findings if f.code == rule.code]
            what, said = seen(root, task, whole=rule.code in ALONE)
            note = f"**{what}**" + (f": {short(said, root)}" if said else "")
            first = short(ours[0].message, root) if ours else "nothing"
            found.append((rule.code, rule.title, note, f"{rule.severity.value}: {first}", rule.upstream))
    return found


def text(table: list[tuple[str, ...]]) -> str:
    import ultralytics

    silent = sum("**crashes**" not in row[2] for row in table)
    head = HEAD.format(version=ultralytics.__version__, count=len(table), silent=silent)
    return head + "".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |\n" for row in table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the file is not what it should be")
    parser.add_argument("--code", nargs="*", default=[], help="only these rules, printed and not written")
    args = parser.parse_args()
    import yolo_nanfix

    yolo_nanfix.patch("torchvision-operators-missing", guard=False)  # where torchvision does not fit torch, as in CI
    table = rows(args.code)
    if args.code:
        print(text(table))
        return 0
    if args.check:
        return int(not OUT.exists() or OUT.read_text(encoding="utf-8") != text(table))
    OUT.write_text(text(table), encoding="utf-8")
    print(f"{len(table)} kinds of defects in {OUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
