"""Labels of images that EXIF turns: which frame they are of is told by what reaches out, and is put right exactly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from autofix.test_fix import snapshot
from linting.cases_images import people
from linting.test_frames import BOXES, HEIGHT, WIDTH, on_picture
from linting.tiny_set import turned

import yolo_nanfix
from yolo_nanfix.findings import Report
from yolo_nanfix.linting.autofix.reasons import Left, Why
from yolo_nanfix.linting.autofix.set_edits import into_shown

FRAMES = [("shown", "shown", 0), ("shown", "stored", 1), ("stored", "shown", 1), ("stored", "stored", 0)]


def dataset(root: Path, turn: int, boxes: str, sides: str, upright: str = "") -> Path:
    """Three turned images with bright objects and an upright one; labels of one frame, divided by either's sides."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y, w, h in BOXES:
        pixels[y : y + h, x : x + w] = 255
    for split, name, own in (("train", "a", turn), ("train", "b", 1), ("val", "c", turn), ("train", "d", turn)):
        rows = []
        for box in BOXES:
            x, y, w, h = on_picture(box, own) if boxes == "shown" else box
            width, height = (HEIGHT, WIDTH) if sides == "shown" and own > 4 else (WIDTH, HEIGHT)
            rows.append(f"0 {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n")
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            file = root / kind / split / f"{name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(turned(pixels, own) if kind == "images" else "".join(rows).encode())
    if upright:
        (root / "labels/train/b.txt").write_text(upright)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [sign]\n")
    return root


def brightness(root: Path) -> float:
    """How bright the darkest box is on the pictures that Ultralytics loads."""
    from ultralytics.utils.patches import imread

    found = []
    for label in sorted((root / "labels").rglob("*.txt")):
        picture = imread(root / "images" / label.parent.name / f"{label.stem}.jpg")
        for row in label.read_text().splitlines():
            x, y, w, h = np.array(row.split()[1:], float) * (picture.shape[1::-1] * 2)
            inside = picture[max(round(y - h / 2), 0) : round(y + h / 2), max(round(x - w / 2), 0) : round(x + w / 2)]
            found.append(inside.mean() if inside.size else 0.0)
    return min(found)


def lint(root: Path) -> Report:
    return yolo_nanfix.lint(root, settings=False)


@pytest.mark.parametrize("turn", range(5, 9))
@pytest.mark.parametrize(("boxes", "sides", "said"), FRAMES)
def test_swapped_sides_are_named_and_put_right(turn: int, boxes: str, sides: str, said: int, tmp_path: Path):
    root = dataset(tmp_path / "set", turn, boxes, sides)
    report = lint(root)
    assert report.by_code().get("IM035", 0) == said
    assert (brightness(root) > 240) == (boxes == sides == "shown")
    if not said:
        return
    before, rows = snapshot(root), [f for f in report.findings if f.code in ("BX001", "BX006")]
    assert rows and {f.because for f in rows} == {"IM035"}
    (finding,) = (f for f in report.findings if f.code == "IM035")
    assert (finding.values["images"], finding.values["others"], finding.values["files"]) == (3, False, ())
    yolo_nanfix.fix(report)
    assert snapshot(root) == before, "it is no safe fix"
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert [f.code for f in fixed.done] == ["IM035"] and fixed.files == 3
    assert brightness(root) > 240
    assert {code for code in lint(root).by_code() if code[:2] != "SP"} == {"IM020"}
    yolo_nanfix.undo(root)
    assert snapshot(root) == before


def test_of_a_mixed_set_those_images_are_put_right_that_prove_it(tmp_path: Path):
    """Half of the turned images are labelled as they should be."""
    good, bad = dataset(tmp_path / "good", 6, "shown", "shown"), dataset(tmp_path / "set", 6, "shown", "stored")
    for label in sorted((bad / "labels").rglob("*.txt")):
        split, stem = label.parent.name, label.stem
        wide = next(row for row in label.read_text().splitlines() if float(row.split()[2]) > 1 or stem == "b")
        label.write_text(wide + "\n")
        for part, suffix in (("images", "jpg"), ("labels", "txt")):
            shutil.copy(good / part / split / f"{stem}.{suffix}", bad / part / split / f"{stem}_good.{suffix}")
    before = snapshot(bad)
    report = lint(bad)
    (finding,) = (f for f in report.findings if f.code == "IM035")
    assert finding.values["images"] == 3 and finding.values["others"] and len(finding.values["files"]) == 3
    assert {f.because for f in report.findings if f.code in ("BX001", "BX006")} == {"IM035"}
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert fixed.files == 3 and brightness(bad) > 240 and "IM035" not in lint(bad).by_code()
    yolo_nanfix.undo(bad)
    assert snapshot(bad) == before


@pytest.mark.parametrize("turn", range(5, 9))
def test_boxes_on_whole_pixels_of_the_stored_frame_are_turned(turn: int, tmp_path: Path):
    root = dataset(tmp_path / "set", turn, "stored", "stored")
    report = lint(root)
    (finding,) = (f for f in report.findings if f.code == "IM036")
    assert (finding.values["stored"], finding.values["boxes"], finding.values["sure"]) == (1.0, 9, 1)
    before = snapshot(root)
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert [f.code for f in fixed.done] == ["IM036"] and fixed.files == 3 and brightness(root) > 240
    assert {code for code in lint(root).by_code() if code[:2] != "SP"} == {"IM020"}
    yolo_nanfix.undo(root)
    assert snapshot(root) == before


def test_where_it_cannot_be_told_nothing_is_turned(tmp_path: Path):
    """Boxes near the upper left corner may be of either frame; that they were divided by the stored sides is sure."""
    root = dataset(tmp_path, 6, "stored", "stored")
    near = "".join(f"0 {(9 + k) / 120:.6f} {(10 + k) / 72:.6f} {8 / 120:.6f} {6 / 72:.6f}\n" for k in range(4))
    for label in ("train/a", "val/c", "train/d"):
        (root / f"labels/{label}.txt").write_text(near)
    report, before = lint(root), snapshot(root)
    (finding,) = (f for f in report.findings if f.code == "IM036")
    assert finding.values["sure"] == 0
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert fixed.files == 0 and snapshot(root) == before
    assert any((kept.code, kept.reason.why) == ("IM036", Why.NOT_PROVEN) for kept in fixed.kept)


def test_upright_images_that_are_no_better_are_no_matter_of_exif(tmp_path: Path):
    wide = "".join(f"0 0.5 1.{k} 0.2 0.3\n" for k in range(2, 5))
    assert "IM035" not in lint(dataset(tmp_path, 6, "shown", "stored", wide)).by_code()


def test_a_row_that_stays_outside_has_a_defect_of_its_own(tmp_path: Path):
    root = dataset(tmp_path, 6, "shown", "stored")
    label = root / "labels/train/a.txt"
    label.write_text(label.read_text() * 20 + "0 0.5 1.9 0.2 0.2\n")
    own = [(f.place.line, f.because) for f in lint(root).findings if f.code == "BX001" and f.image.endswith("a.jpg")]
    assert (61, None) in own and {because for line, because in own if line != 61} == {"IM035"}


def test_labels_that_lie_on_their_side_are_named_where_shapes_tell(tmp_path: Path):
    (finding,) = (f for f in lint(people(tmp_path / "a", 6, unturned=True)).findings if f.code == "IM036")
    assert (finding.values["images"], finding.values["of"]) == (30, 30)
    for name, healthy in (
        ("right", people(tmp_path / "b", 6, unturned=False)),
        ("half and half", people(tmp_path / "c", 6, unturned=True, share=0.5)),
        ("round objects", people(tmp_path / "d", 6, unturned=True, ratio=1.0)),
        ("upright", people(tmp_path / "e", 3, unturned=True)),
    ):
        assert "IM036" not in lint(healthy).by_code(), name


def test_documents_that_follow_the_frame_are_no_finding(tmp_path: Path):
    """Sheets lie across on pictures that lie, and stand on those that stand: their shape says nothing of the frame."""
    root = people(tmp_path, 6, unturned=False)
    for label in (root / "labels").rglob("*.txt"):
        label.write_text(f"0 0.5 0.5 0.4{int(label.stem) % 10} 0.41\n")
    assert "IM036" not in lint(root).by_code()


@pytest.mark.parametrize("turn", range(5, 9))
def test_polygons_keypoints_and_corners_move_as_boxes_do(turn: int):
    """Each row holds the corners of one box; divided by wrong sides, it comes back as on the shown picture."""
    x, y, w, h = BOXES[0]
    right = on_picture(BOXES[0], turn)

    def corners(box: tuple[int, ...], width: float, height: float) -> list[float]:
        x, y, w, h = box
        return [v for cx, cy in ((x, y), (x + w, y), (x + w, y + h), (x, y + h)) for v in (cx / width, cy / height)]

    for shown, box, sides in ((True, right, (WIDTH, HEIGHT)), (False, BOXES[0], (HEIGHT, WIDTH))):
        points = corners(box, *sides)
        spelt = ["3", *(f"{v:.9f}" for v in points)]
        for task in ("segment", "obb", "detect"):
            moved = into_shown(spelt, task, (HEIGHT, WIDTH), turn, shown=shown, dims=0)
            assert moved[0] == "3" and sorted(_pairs(moved[1:])) == sorted(_rounded(corners(right, HEIGHT, WIDTH)))
        centre = [
            (box[0] + box[2] / 2) / sides[0],
            (box[1] + box[3] / 2) / sides[1],
            box[2] / sides[0],
            box[3] / sides[1],
        ]
        pose = ["3", *(f"{v:.9f}" for v in centre)]
        for k in range(0, 8, 2):
            pose += [f"{points[k]:.9f}", f"{points[k + 1]:.9f}", "2"]
        moved = into_shown([*pose, "0", "0", "0"], "pose", (HEIGHT, WIDTH), turn, shown=shown, dims=3)
        assert moved[-3:] == ["0", "0", "0"] and moved[7::3] == ["2", "2", "2", "2", "0"]
        found = [v for k in range(5, 17, 3) for v in moved[k : k + 2]]
        assert sorted(_pairs(found)) == sorted(_rounded(corners(right, HEIGHT, WIDTH)))
        x, y, w, h = right
        wanted = ((x + w / 2) / HEIGHT, (y + h / 2) / WIDTH, w / HEIGHT, h / WIDTH)
        assert np.allclose([float(v) for v in moved[1:5]], wanted, atol=1e-6)


def _pairs(words: list[str]) -> list[tuple[float, float]]:
    return _rounded([float(word) for word in words])


def _rounded(values: list[float]) -> list[tuple[float, float]]:
    return [(round(a, 5) + 0, round(b, 5) + 0) for a, b in zip(values[::2], values[1::2], strict=True)]


def test_what_is_not_known_is_left(tmp_path: Path):
    row = ["0", "0.5", "0.5", "0.2", "0.2"]
    for words, size, turn in (
        (row, (0, 0), 6),
        (row, (48, 64), 0),
        (row[:3], (48, 64), 6),
        ([*row[:4], "x"], (48, 64), 6),
    ):
        with pytest.raises(Left):
            into_shown(words, "detect", size, turn, shown=True, dims=0)
    root = dataset(tmp_path, 6, "shown", "stored")
    shutil.copy(root / "images/train/b.jpg", root / "images/train/a.png")
    fixed = yolo_nanfix.fix(lint(root), unsafe=True)
    assert fixed.files == 0 and Why.TURN_UNKNOWN in {kept.reason.why for kept in fixed.kept}
