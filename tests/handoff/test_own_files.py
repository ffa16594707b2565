"""What is passed on holds the dataset's own images and rows: nothing that links, lists or odd files lead to."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from linting.tiny_set import YAML, TinySet, encode, picture

from yolo_nanfix import api
from yolo_nanfix.cli.main import main
from yolo_nanfix.files import Refusal
from yolo_nanfix.wording import text_cell

FAULTY = "0 0.9 0.5 0.4 0.25\n"
SECRET = "TopSecret"
OUTSIDE = {
    "images/train/image-out.jpg": "../../../own/pictures/me.jpg",
    "images/train/text-out.jpg": "../../../own/secret.txt",
    "images/train/kernel.jpg": "/proc/self/environ",
    "images/train/zero.jpg": "/dev/zero",
    "images/train/folder": "../../../own/pictures",
    "labels/train/row-out.txt": "../../../own/secret.txt",
}
ELSEWHERE = "own/pictures/listed.jpg"
NO_IMAGES = ("page.jpg", "drawing.png", "text.png", "pipe.jpg")


@pytest.fixture
def trap(tmp_path: Path) -> TinySet:
    """A dataset full of links out of it, and of files that are no images; all images but one have findings."""
    tiny = TinySet(tmp_path / "a set")
    own = tmp_path / "own"
    (own / "pictures").mkdir(parents=True)
    for seed, name in enumerate(("me.jpg", "listed.jpg"), 70):
        (own / "pictures" / name).write_bytes(encode(".jpg", picture(seed=seed)))
        (own / "pictures" / name).with_suffix(".txt").write_text(FAULTY)
    (own / "secret.txt").write_text(f"{SECRET} {SECRET} 0 0 1\n{SECRET}, 0_5 0 0 0\n0 0.9 0.5 0.4 0.25\n")
    for name, target in OUTSIDE.items():
        (tiny.root / name).symlink_to(target)
    (tiny.root / "images/train/within.jpg").symlink_to("../val/b.jpg")
    tiny.put("images/train/row-out.jpg", encode(".jpg", picture(seed=9)))
    tiny.put("images/train/page.jpg", f"<html><script>{SECRET}</script></html>")
    tiny.put("images/train/drawing.png", f"<svg xmlns='http://www.w3.org/2000/svg'><text>{SECRET}</text></svg>")
    tiny.put("images/train/text.png", "not found")
    os.mkfifo(tiny.root / "images/train/pipe.jpg")
    os.mkfifo(tiny.root / "labels/train/page.txt")
    os.link(own / "secret.txt", tiny.root / "images/train/hard.jpg")
    tiny.put("list.txt", f"./images/val/b.jpg\n{own}/pictures/listed.jpg\n")
    tiny.yaml("train: images/train\nval: list.txt\nnames: [cat, dog]\n")
    for stem in ("image-out", "text-out", "within", "a"):
        tiny.put(f"labels/train/{stem}.txt", FAULTY)
    return tiny


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, links followed."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("to", ["cvat", "label-studio", "coco", "csv"])
@pytest.mark.parametrize("how", ["copy", "link"])
def test_a_handoff_brings_the_datasets_own_images_alone(trap: TinySet, to: str, how: str):
    done = api.handoff(api.lint(trap.root, settings=False), trap.root.parent / "out", to=to, images=how)
    written = contents(Path(done.folder))
    brought = {name.removeprefix("images/") for name in written if name.startswith("images/")}
    assert brought == {f"images/train/{name}.jpg" for name in ("a", "within", "row-out")}
    own = contents(trap.root.parent / "own")
    assert not [name for name, content in written.items() if content in own.values() or SECRET.encode() in content]
    assert b"IM019" in written["handoff.csv"]
    refused = {Path(file).name: what for file, what in done.left_out.items()}
    links = dict.fromkeys(("image-out.jpg", "text-out.jpg", "kernel.jpg", "zero.jpg", "me.jpg"), Refusal.LINK.value)
    other = {"pipe.jpg": Refusal.PIPE.value, "listed.jpg": Refusal.OUTSIDE.value, "row-out.txt": Refusal.LINK.value}
    assert len(done.left_out) == 9, "listed.jpg is met twice"
    assert refused == {**links, **other}
    assert {Path(file).name for file in done.unreadable} == {"page.jpg", "drawing.png", "text.png", "hard.jpg"}
    rows = csv.DictReader(io.StringIO((Path(done.folder) / "handoff.csv").read_text(encoding="utf-8"), newline=""))
    assert {Path(row["file"]).name for row in rows} >= {*refused, *NO_IMAGES} - {"row-out.txt"}
    told = json.loads((Path(done.folder) / "handoff.json").read_text())
    assert set(told["left_out"].values()) == set(refused.values()) and str(trap.root) not in json.dumps(told)


def test_follow_links_brings_regular_images_from_elsewhere_and_nothing_else(trap: TinySet, capsys):
    words = ["handoff", str(trap.root), str(trap.root.parent / "out"), "--to", "coco"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "9 files are not opened" in said and "--follow-links" in said
    assert main([*words, "--overwrite", "--follow-links", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert {Path(file).name: what for file, what in done["left_out"].items()} == {
        "kernel.jpg": Refusal.SYSTEM.value,
        "zero.jpg": Refusal.DEVICE.value,
        "pipe.jpg": Refusal.PIPE.value,
    }
    written = contents(trap.root.parent / "out")
    pictures = {content for name, content in contents(trap.root.parent / "own").items() if name.endswith(".jpg")}
    assert pictures <= set(written.values()) and not any(SECRET.encode() in content for content in written.values())


@pytest.mark.parametrize("deep", [False, True])
def test_no_form_of_a_report_quotes_what_links_lead_to(trap: TinySet, deep: bool, capfd):
    for form in ("text", "full", "concise", "json", "csv", "sarif", "github", "gitlab", "junit", "html"):
        words = ["lint", str(trap.root), "--output-format", form, *(["--deep"] if deep else [])]
        assert main(words) == 1
        said = "".join(capfd.readouterr())
        assert "row-out" in said and SECRET not in said
        if form == "json":
            said_so = [f["message"] for f in json.loads(said)["findings"]]
            assert any("'xxxxxxxxx' is not a number (the file lies outside" in message for message in said_so)
            assert sum("each digit is shown as 9" in message for message in said_so) == 3


def test_a_page_shows_the_datasets_own_images_alone(trap: TinySet):
    report = api.lint(trap.root, settings=False)
    page, more = api.lint_page(report), api.lint_page(report, follow_links=True)
    assert "Not opened, as only the dataset's own files are shown: 9 files" in page
    assert page.count('href="data:image/jpeg') == 3 < more.count('href="data:image/jpeg')
    assert "Not opened, as only the dataset's own files are shown: 3 files" in more


def test_a_folder_of_images_that_is_a_link_is_named_and_left_out(tmp_path: Path, capsys):
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    (tiny.root / "images").rename(tmp_path / "disk")
    (tiny.root / "images").symlink_to(tmp_path / "disk")
    report = api.lint(tiny.root)
    assert sum(numbers["images"] for numbers in report.counts.values()) == 2, "lint takes it as ever"
    (tmp_path / "disk/train/a.txt").write_text(FAULTY)
    assert main(["handoff", str(tiny.root), str(tmp_path / "none"), "--to", "coco"]) == 0
    assert "give them to the tool" not in capsys.readouterr().out, "there are none"
    done = api.handoff(api.lint(tiny.root), tmp_path / "out", to="coco")
    assert list(done.left_out.values()) == [Refusal.OUTSIDE.value] and not (tmp_path / "out/images").exists()
    assert main(["handoff", str(tiny.root), str(tmp_path / "two"), "--to", "coco", "--follow-links"]) == 0
    assert [f.name for f in (tmp_path / "two/images").rglob("*.jpg")] == ["a.jpg"]
    tiny.yaml(YAML.replace("images/", f"{tmp_path}/disk/"))  # named as text, it is the dataset's own place
    assert not api.handoff(api.lint(tiny.root), tmp_path / "three", to="coco").left_out


def test_names_of_classes_are_not_read_through_links_that_lead_out(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    tiny.drop("data.yaml")
    (tmp_path / "secret.txt").write_text(f"{SECRET}\n")
    tiny.put("names.txt", "cat\ndog\n")
    (tiny.root / "classes.txt").symlink_to("../secret.txt")
    tiny.rows(FAULTY)
    done = api.handoff(api.lint(tiny.root), tmp_path / "out", to="coco", severity="info")
    whole = json.loads((Path(done.folder) / "annotations.json").read_text())
    assert [c["name"] for c in whole["categories"]] == ["cat", "dog"]
    assert SECRET not in json.dumps(api.lint(tiny.root).as_dict())


def test_annotations_show_images_around_them_alone(tmp_path: Path):
    (tmp_path / "own").mkdir()
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/annotations").mkdir()
    for number in range(2):
        (tmp_path / f"own/{number}.jpg").write_bytes(encode(".jpg", picture(seed=number)))
    (tmp_path / "set/images/0.jpg").write_bytes(encode(".jpg", picture(seed=5)))
    (tmp_path / "set/images/1.jpg").symlink_to("../../own/1.jpg")
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(2)]
    row = {"category_id": 1, "bbox": [50, 10, 40, 20], "area": 800, "iscrowd": 0}
    rows = [{"id": i, "image_id": i, **row} for i in range(2)]
    whole = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "set/annotations/instances.json").write_text(json.dumps(whole))
    page = api.lint_page(api.lint(tmp_path / "set/annotations/instances.json"))
    assert page.count('href="data:image/jpeg') == 1 and f"1.jpg</span>: {Refusal.LINK.value}" in page


def test_a_truncated_image_is_handed_over_and_a_changed_one_is_what_was_decoded(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    cut = encode(".jpg", picture())[:-300]
    tiny.put("images/train/a.jpg", cut)
    done = api.handoff(api.lint(tiny.root), tmp_path / "out", to="cvat")
    assert (tmp_path / "out/images/images/train/a.jpg").read_bytes() == cut and not done.unreadable


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@a", "'@a"),
        (" =a", "' =a"),
        ("\t=a", "'\t'=a"),
        ("\ra", "'\ra"),
        ("cat;=1+1", "cat;'=1+1"),
        ("a; -cmd", "a; '-cmd"),
        ("images/a.jpg", "images/a.jpg"),
        ("x is -0.5; -0.25 is y; a=b", "x is -0.5; -0.25 is y; a=b"),
    ],
)
def test_text_that_a_spreadsheet_would_run_is_quoted(text: str, cell: str):
    assert text_cell(text) == cell


def test_names_and_classes_are_quoted_in_the_sheet_and_numbers_stay_numbers(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    tiny.rows("0 0.0 0.5 0.4 0.25\n")
    tiny.yaml("train: images/train\nval: '=cmd'\nnames: ['=HYPERLINK(\"http://x\")', '-2+3']\n")
    tiny.put("=cmd/x.jpg", encode(".jpg", picture(seed=3)))
    tiny.put("=cmd/x.txt", "1 0.9 0.5 0.4 0.25\n")
    done = api.handoff(api.lint(tiny.root), tmp_path / "out", to="csv")
    rows = list(csv.DictReader(io.StringIO((Path(done.folder) / "handoff.csv").read_text(), newline="")))
    by_class = {row["class"]: row for row in rows}
    assert by_class['\'=HYPERLINK("http://x")']["left"] == "-12.80"
    assert by_class["'-2+3"]["image"] == by_class["'-2+3"]["file"] == "'=cmd/x.jpg"


def test_no_name_moves_the_cursor_or_turns_the_text(tmp_path: Path, capsys):
    tiny = TinySet(tmp_path / "set")
    for name in ("a\x1b[2Jb", "\u202egpj.exe", "x\n::y", "\x9b31m"):
        tiny.put(f"images/train/{name}.jpg", b"")
        tiny.put(f"labels/train/{name}.txt", FAULTY)
        (tiny.root / f"images/train/l{name}.jpg").symlink_to("/etc/hostname")
    tiny.yaml('train: images/train\nval: images/val\nnames: ["c\\e[2J", "d\u202e"]\n')
    out = str(tmp_path / "\x1bout")
    for words, code in (
        (["lint", str(tiny.root)], 1),
        (["lint", str(tiny.root), "--output-format", "full"], 1),
        (["lint", str(tiny.root), "--baseline", f"{out}.json", "--write-baseline"], 0),
        (["handoff", str(tiny.root), out, "--to", "cvat"], 0),
        (["handoff", str(tiny.root), out, "--to", "cvat"], 2),
    ):
        assert main(words) == code
        assert [c for c in "".join(capsys.readouterr()) if not (c.isprintable() or c == "\n")] == []


@pytest.mark.parametrize("to", ["cvat", "label-studio", "coco", "csv"])
def test_a_handoff_names_no_folder_above_the_dataset(tmp_path: Path, to: str):
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    tiny.put("images/train/copy.jpg", (tiny.root / "images/val/b.jpg").read_bytes())
    tiny.put("labels/train/lost.txt", FAULTY)
    done = api.handoff(api.lint(tiny.root, settings=False), tmp_path / "out", to=to)
    assert done.images == 3 and not done.left_out
    for name, content in contents(Path(done.folder)).items():
        assert str(tmp_path).encode() not in content, name
    assert json.loads((tmp_path / "out/handoff.json").read_text())["data"] == "set/data.yaml"


def test_files_that_claim_to_be_huge_are_not_copied_nor_read(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    tiny.put("images/train/wide.jpg", encode(".jpg", picture(seed=8)))
    os.truncate(tiny.put("labels/train/wide.txt", FAULTY), 17 << 20)
    report = api.lint(tiny.root, settings=False)
    os.truncate(tiny.root / "images/train/a.jpg", 2 << 30)  # sparse: it takes no room
    done = api.handoff(report, tmp_path / "out", to="coco")
    assert {Path(file).name: why for file, why in done.left_out.items()} == {
        "a.jpg": Refusal.LARGE.value,
        "wide.txt": Refusal.LARGE.value,
    }
    assert not (tmp_path / "out/images/images/train/a.jpg").exists()
