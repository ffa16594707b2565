"""The dataset generator: same seed same bytes, labels that lie on what is drawn, faults that are there."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_datasets.py"
SIZE = (96, 128)
TASKS = ("detect", "segment", "pose", "obb")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_datasets", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_datasets"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


maker = load_script()
DEMO = yaml.safe_load(maker.DEMO_SPEC.read_text())


def digests(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def scenes(count: int, n_classes: int = 4, size: tuple[int, int] = SIZE) -> list:
    return [maker.draw_scene(np.random.default_rng([5, 0, i]), size, n_classes) for i in range(count)]


def numbers(row: str) -> np.ndarray:
    return np.array([float(v) for v in row.split()[1:]])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return maker.make_demo(tmp_path_factory.mktemp("demo") / "set").parent


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return maker.make_demo(tmp_path_factory.mktemp("clean") / "set", clean=True).parent


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return maker.make_dataset(tmp_path / "set", n_train=2, n_val=1, seed=1).parent


# Determinism


def test_same_seed_gives_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    assert digests(maker.make_demo(tmp_path / "again").parent) == digests(demo)


def test_another_seed_gives_other_pictures_and_labels(tmp_path: Path) -> None:
    one, two = (digests(maker.make_dataset(tmp_path / str(s), n_train=3, n_val=1, seed=s).parent) for s in (1, 2))
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] == two[name]] == ["data.yaml"]


def test_more_images_leave_the_earlier_ones_as_they_were(tmp_path: Path) -> None:
    few = digests(maker.make_dataset(tmp_path / "few", n_train=2, n_val=1, seed=3).parent)
    many = digests(maker.make_dataset(tmp_path / "many", n_train=4, n_val=2, seed=3).parent)
    assert all(many[name] == value for name, value in few.items() if name != maker.MARKER)


# Labels against pixels


def test_box_is_tight_around_the_drawn_object() -> None:
    for scene in scenes(12):
        for item in scene.items:
            x, y, w, h = numbers(maker.label_row(item, "detect", SIZE)) * (*SIZE[::-1], *SIZE[::-1])
            rows, columns = np.nonzero(maker.coverage(item, SIZE) > 0.02)
            drawn = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert np.abs(np.subtract(drawn, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))).max() <= 1.25


def test_pixels_change_on_the_objects_and_only_near_them() -> None:
    for scene in scenes(12):
        change = np.abs(scene.image - scene.background).max(2)
        near = np.zeros(SIZE, bool)
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        for item in scene.items:
            on = maker.coverage(item, SIZE) > 0.99
            assert np.median(change[on]) > 12, "the object does not stand out"
            near |= np.hypot(columns - item.centre[0], rows - item.centre[1]) < 1.8 * item.radius + 6
        assert change[~near].max() < 1


def test_objects_lie_apart_and_inside() -> None:
    for scene in scenes(20):
        assert 1 <= len(scene.items) <= 4
        assert sum(maker.coverage(item, SIZE) for item in scene.items).max() <= 1
        for item in scene.items:
            assert (item.corners >= 0).all() and (item.corners <= SIZE[::-1]).all()


def test_polygon_covers_the_drawn_object() -> None:
    for scene in scenes(8):
        for item in scene.items:
            points = numbers(maker.label_row(item, "segment", SIZE)).reshape(-1, 2) * SIZE[::-1]
            mask = np.zeros(SIZE, np.uint8)
            cv2.fillPoly(mask, [np.round(points - 0.5).astype(np.int32)], 1)
            drawn = maker.coverage(item, SIZE) > 0.5
            assert (mask & drawn).sum() / (mask | drawn).sum() > 0.8


def test_turned_rectangle_touches_the_object_on_all_four_sides() -> None:
    for scene in scenes(8):
        for item in scene.items:
            corners = numbers(maker.label_row(item, "obb", SIZE)).reshape(4, 2) * SIZE[::-1]
            for start, end in zip(corners, np.roll(corners, -1, 0), strict=True):
                side = (end - start) / np.hypot(*(end - start))
                away = (item.outline - start) @ [-side[1], side[0]]
                assert away.min() == pytest.approx(0, abs=0.01)


def test_second_keypoint_is_the_painted_mark() -> None:
    for scene in scenes(8):
        for item in scene.items:
            points = numbers(maker.label_row(item, "pose", SIZE))[4:].reshape(3, 3)
            x, y = points[1, :2] * SIZE[::-1]
            blue, green, red = scene.image[int(y), int(x)]
            assert red > 2 * max(blue, green)
            assert points[0, :2] * SIZE[::-1] == pytest.approx(item.centre, abs=0.001)
            assert (points[:, 2] == 2).all()


def test_files_hold_what_the_scene_says(tmp_path: Path) -> None:
    root = maker.make_dataset(tmp_path / "set", n_train=3, n_val=2, seed=4, size=SIZE, ext="png").parent
    for number, split in enumerate(("train", "val")):
        for i in range(2):
            scene = maker.draw_scene(np.random.default_rng([4, number, i]), SIZE, 1)
            image, label = maker.paths(root, split, i, "png")
            assert np.abs(cv2.imread(str(image)).astype(float) - scene.image).max() <= 0.51
            rows = [maker.label_row(item, "detect", SIZE) for item in scene.items]
            assert label.read_text().splitlines() == rows


# What Ultralytics makes of it


@pytest.mark.parametrize("task", TASKS)
def test_ultralytics_accepts_every_image_of_every_task(task: str, tmp_path: Path) -> None:
    from ultralytics.data.utils import verify_image_label

    path = maker.make_dataset(tmp_path / task, task=task, n_train=6, n_val=2, seed=2, n_classes=5, size=SIZE)
    names = yaml.safe_load(path.read_text())["names"]
    pose = task == "pose"
    for label in sorted((path.parent / "labels").rglob("*.txt")):
        image = Path(str(label).replace("labels", "images")).with_suffix(".jpg")
        keypoints, dims = (3, 3) if pose else (0, 0)
        found = verify_image_label((str(image), str(label), "", pose, len(names), keypoints, dims, False))
        assert found[-1] == "" and found[-2] == 0, found[-1]
        assert len(found[1]) == len(label.read_text().splitlines())
        assert found[2] == SIZE


def test_spec_settings_are_ultralytics_arguments() -> None:
    from ultralytics.cfg import get_cfg

    settings = vars(get_cfg(overrides=DEMO["train"]))
    assert {key: settings[key] for key in DEMO["train"]} == DEMO["train"]


# Other kinds of dataset


def test_class_names_are_distinct_and_used(tmp_path: Path) -> None:
    path = maker.make_dataset(tmp_path / "set", n_train=24, n_val=1, seed=0, n_classes=6)
    assert len(set(yaml.safe_load(path.read_text())["names"].values())) == 6
    rows = [row for f in (path.parent / "labels").rglob("*.txt") for row in f.read_text().splitlines()]
    assert {int(row.split()[0]) for row in rows} == set(range(6))


@pytest.mark.parametrize(("channels", "ext"), [(1, "png"), (5, "tif")])
def test_channel_counts(channels: int, ext: str, tmp_path: Path) -> None:
    path = maker.make_dataset(tmp_path / "set", n_train=1, n_val=1, seed=0, channels=channels, ext=ext)
    _, pages = cv2.imreadmulti(str(maker.paths(path.parent, "train", 0, ext)[0]), flags=cv2.IMREAD_UNCHANGED)
    assert len(pages) == channels and pages[0].shape == (128, 128)
    assert yaml.safe_load(path.read_text())["channels"] == channels


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "classify"}, "task 'classify'"),
        ({"n_val": 0}, "at least one image"),
        ({"size": (16, 96)}, "too small"),
        ({"seed": -1}, "negative"),
        ({"channels": 4}, "only be stored as tif"),
    ],
)
def test_wrong_recipes_are_refused_and_leave_nothing(wrong: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(maker.DatasetError, match=message):
        maker.make_dataset(tmp_path / "set", **{"n_train": 1, "n_val": 1, "seed": 0, **wrong})
    assert list(tmp_path.iterdir()) == []


# Faults


def test_demo_faults_are_few_known_and_only_in_train(demo: Path, clean: Path) -> None:
    assert {f["fault"] for f in DEMO["faults"]} == set(maker.LABEL_FAULTS + maker.FILE_FAULTS)
    assert len({f["image"] for f in DEMO["faults"] if f["fault"] != "orphan_label"}) <= 10
    assert DEMO["dataset"]["n_train"] >= 64
    faulty, whole = digests(demo), digests(clean)
    changed = {name for name in faulty.keys() | whole.keys() if faulty.get(name) != whole.get(name)}
    numbers_changed = {int(Path(name).name[:4]) for name in changed if name.split("/")[1] == "train"}
    assert numbers_changed == {f["image"] for f in DEMO["faults"]}
    assert all(name.split("/")[1] == "train" for name in changed)


def test_clean_demo_has_no_fault(clean: Path) -> None:
    images = sorted((clean / "images" / "train").iterdir())
    labels = sorted((clean / "labels" / "train").iterdir())
    assert [p.stem for p in images] == [p.stem for p in labels]
    assert {p.suffix for p in images} == {".jpg"}
    for image, label in zip(images, labels, strict=True):
        with Image.open(image) as opened:
            assert opened.format == "JPEG"
            opened.load()
        rows = np.array([[float(v) for v in row.split()] for row in label.read_text().splitlines()])
        assert (rows[:, 0] == 0).all() and (rows[:, 3:] > 0).all()
        assert (rows[:, 1:3] - rows[:, 3:] / 2 >= 0).all() and (rows[:, 1:3] + rows[:, 3:] / 2 <= 1).all()
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_nan_copy_is_float_mostly_finite_and_newer(small: Path) -> None:
    copy = maker.plant(small, "nan_pixels", index=1)
    image, _ = maker.paths(small, "train", 1)
    pixels = np.load(copy)
    assert copy == image.with_suffix(".npy") and copy.stat().st_mtime >= image.stat().st_mtime
    assert pixels.dtype == np.float32 and pixels.shape == (128, 128, 3)
    assert np.isnan(pixels).sum() == 8 * 8 * 3
    finite = np.isfinite(pixels)
    assert (pixels[finite] == cv2.imread(str(image))[finite]).all()


def test_nan_copy_in_the_demo_is_read_by_ultralytics_order(demo: Path) -> None:
    (copy,) = demo.rglob("*.npy")
    assert copy.stat().st_mtime >= copy.with_suffix(".jpg").stat().st_mtime


@pytest.mark.parametrize(
    ("fault", "bad_row"),
    [
        ("label_nan", lambda rows, old: np.isnan(float(rows[0].split()[2]))),
        ("label_class", lambda rows, old: rows[0].split()[0] == "1"),
        ("label_comma", lambda rows, old: rows[0] == old[0].replace(" ", ",")),
        ("label_zero_box", lambda rows, old: rows[:-1] == old and rows[-1].split()[3:] == ["0", "0"]),
        ("label_duplicate", lambda rows, old: rows == [*old, old[0]]),
        ("label_spill", lambda rows, old: abs(numbers(rows[0])[0] - 0.5) + numbers(rows[0])[2] / 2 > 0.53),
    ],
)
def test_label_faults(fault: str, bad_row: object, small: Path) -> None:
    _, label = maker.paths(small, "train", 0)
    old = label.read_text().splitlines()
    assert maker.plant(small, fault, index=0) == label
    rows = label.read_text().splitlines()
    assert callable(bad_row) and bad_row(rows, old)
    assert rows[1 : len(old)] == old[1:], "other rows stay as they were"


def test_image_faults(small: Path) -> None:
    cut = maker.plant(small, "truncated_jpeg", index=0)
    with pytest.raises(OSError, match="truncated"), Image.open(cut) as opened:
        opened.load()
    with Image.open(maker.plant(small, "png_as_jpg", index=1)) as opened:
        assert opened.format == "PNG" and opened.filename.endswith(".jpg")
    deep = maker.plant(small, "png16", index=0, split="val")
    pixels = cv2.imread(str(deep), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint16 and 1000 < pixels.max() < 4096
    assert not deep.with_suffix(".jpg").exists()


def test_file_pairing_faults(small: Path) -> None:
    orphan = maker.plant(small, "orphan_label", index=0)
    assert orphan.is_file() and not list((small / "images").rglob(f"{orphan.stem}.*"))
    lost = maker.plant(small, "missing_label", index=1)
    assert not lost.exists() and maker.paths(small, "train", 1)[0].is_file()


def test_plant_refuses_what_it_cannot_plant(small: Path, tmp_path: Path) -> None:
    with pytest.raises(maker.DatasetError, match="no fault is called 'gremlin'; known: label_nan"):
        maker.plant(small, "gremlin", index=0)
    with pytest.raises(maker.DatasetError, match="train image 9 is missing"):
        maker.plant(small, "label_nan", index=9)
    pose = maker.make_dataset(tmp_path / "pose", task="pose", n_train=1, n_val=1, seed=0).parent
    with pytest.raises(maker.DatasetError, match="cannot be planted in a pose set"):
        maker.plant(pose, "label_nan", index=0)


# The output folder and the command line


def test_made_folder_is_replaced(small: Path) -> None:
    before = digests(small)
    maker.plant(small, "label_nan", index=0)
    maker.make_dataset(small, n_train=2, n_val=1, seed=1)
    assert digests(small) == before
    assert list(small.parent.iterdir()) == [small], "no temporary folder is left"


@pytest.mark.parametrize("marked", [False, True])
def test_folder_with_foreign_files_is_left_alone(
    marked: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("irreplaceable")
    if marked:
        (tmp_path / "set" / maker.MARKER).write_text("{}")
    before = digests(tmp_path)
    assert maker.main(["demo", str(tmp_path / "set")]) == 2
    assert "did not write" in capsys.readouterr().err
    assert digests(tmp_path) == before


def test_failure_half_way_keeps_the_earlier_dataset(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(small)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(maker, "plant", fail)
    assert maker.main(["demo", str(small)]) == 2
    assert digests(small) == before and list(small.parent.iterdir()) == [small]


def test_command_line_writes_and_names_data_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker.main(["demo", str(tmp_path / "new" / "set"), "--seed", "3", "--clean"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "new" / "set" / "data.yaml" and path.is_file()
    assert not list(path.parent.rglob("*.npy"))


@pytest.mark.parametrize(
    "arguments", [[], ["zoo", "x"], ["demo"], ["demo", "x", "--seed", "many"], ["demo", "x", "--seed", "-1"]]
)
def test_bad_arguments_exit_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = maker.main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and "error" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("a file")
    assert maker.main(["demo", str(tmp_path / "set")]) == 2
    assert (tmp_path / "set").read_text() == "a file"
