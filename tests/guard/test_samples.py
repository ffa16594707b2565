"""Samples that cannot be made while a run goes: stock dies of the first, ours names it and goes on without it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import lab
import numpy as np
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.errors import TooManyUnreadable
from yolo_nanfix.guard import samples

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


@pytest.fixture
def data(made, tmp_path):
    """A copy of one's own, for files of it go missing."""
    shutil.copytree(made.parent, tmp_path / "set")
    text = made.read_text().replace(str(made.parent), str(tmp_path / "set"))
    (tmp_path / "set" / "data.yaml").write_text(text)
    return tmp_path / "set" / "data.yaml"


def image(data: Path, number: int = 3, split: str = "train") -> Path:
    return sorted((data.parent / "images" / split).glob("*.jpg"))[number]


def guard(result):
    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]


def events(result, check="samples"):
    return [e for e in guard(result)["events"] if e["checks"] == [check]]


def forget(dataset):
    """Ultralytics keeps the last images in memory, here all of them."""
    for part in getattr(dataset, "datasets", [dataset]):
        if hasattr(part, "ims"):
            part.ims, part.buffer = [None] * len(part), []


def breaks(kind: str, files: list[Path]):
    """Callbacks by which files break when epoch 2 starts; `blink`: they are whole again when it ends."""
    whole = {f: f.read_bytes() for f in files}
    left = {"torn": lambda b: b[:60], "half": lambda b: b[: len(b) // 2], "zero": lambda b: b""}

    def begin(trainer):
        if trainer.epoch == 1:
            for file in files:
                file.write_bytes(left[kind](whole[file])) if kind in left else file.unlink()
            forget(trainer.train_loader.dataset)

    def end(trainer):
        for file in files if trainer.epoch == 1 and kind == "blink" else ():
            file.write_bytes(whole[file])

    return {"on_train_epoch_start": begin, "on_train_epoch_end": end}


@pytest.mark.parametrize("kind", ["missing", *matrix("torn", "zero")])
def test_a_file_that_breaks_is_named_and_left_out_and_stock_dies_of_it(kind, data, tmp_path):
    file = image(data)
    whole = file.read_bytes()
    if kind == "missing":
        with lab.bare():
            stock = lab.train(data, tmp_path / "stock", epochs=3, callbacks=breaks(kind, [file]))
        assert isinstance(stock.error, FileNotFoundError)
        file.write_bytes(whole)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=3, callbacks=breaks(kind, [file]))
    assert ours.error is None and len(ours.losses) == 12
    named = events(ours)
    assert [(e["epoch"], *lab.did(e)) for e in named] == [
        (2, "samples-left-out"),
        (3, "samples-left-out"),
        (3, "quarantined"),
    ]
    assert all(e["sources"][0]["file"] == str(file) and "FileNotFoundError" in e["values"]["error"] for e in named)
    assert guard(ours)["dropped_micro_batches"] == 0
    assert guard(ours)["unreadable"] == {str(file): named[0]["values"]["error"]}
    assert guard(ours)["unreadable_samples"] == 2


WORKERS = {"on_pretrain_routine_start": lambda trainer: setattr(trainer.args, "workers", 2)}
"""On the CPU Ultralytics sets them to 0."""


@pytest.mark.parametrize("workers", [*matrix(False), True])
def test_a_file_that_is_away_for_an_epoch_comes_back(workers, data, tmp_path):
    seen = {1: [], 2: [], 3: [], 4: []}

    class Looks(lab.trainer_class("detect")):
        def preprocess_batch(self, batch):
            seen[self.epoch + 1].extend(map(str, batch["im_file"]))
            return super().preprocess_batch(batch)

    file = image(data)
    calls = breaks("blink", [file])
    if workers:  # they draw ahead: the file is away until an epoch is over
        calls = {"on_train_start": lambda t: file.rename(tmp_path / "away")}
        calls["on_train_epoch_end"] = lambda t: t.epoch == 0 and (tmp_path / "away").rename(file)
        calls |= WORKERS
    with yolo_nanfix.patched(quarantine_after=5):
        ours = lab.train(data, tmp_path / "ours", trainer=Looks, epochs=4, callbacks=calls)
    assert ours.error is None and ours.trainer.train_loader.num_workers == 2 * workers
    actions = [did for e in events(ours) for did in lab.did(e)]
    assert actions[0] == "samples-left-out" and actions[-1] == "came-back"
    assert guard(ours)["quarantined"] == []
    assert str(file) in seen[4] and str(file) not in seen[1 if workers else 2]


def test_a_share_that_stalls_for_a_moment_costs_nothing(data, tmp_path):
    file, tries = image(data), []

    class Stalls(lab.trainer_class("detect")):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            read = dataset.load_image

            def load_image(i, *args, **kwargs):
                if mode == "train" and dataset.im_files[i] == str(file) and len(tries) < 2:
                    tries.append(i)
                    raise OSError(5, "Input/output error")
                return read(i, *args, **kwargs)

            dataset.load_image = load_image
            return dataset

    with yolo_nanfix.patched(rect="stock"):
        ours = lab.train(data, tmp_path / "ours", trainer=Stalls)
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock")
    assert ours.error is None and len(tries) == 2
    (event,) = events(ours)
    assert [*lab.did(event)] == ["read-again"] and "Input/output error" in event["values"]["error"]
    assert ours.losses == stock.losses  # the sample is the one that stock draws
    assert guard(ours)["unreadable_samples"] == 0


def dataset_of(data, task="detect", mode="train", **settings):
    """A watched dataset as a trainer has it."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.build import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    info = check_det_dataset(str(data))
    info["channels"] = info.get("channels", 3)
    quiet = {"imgsz": 64, "mosaic": 0.0, "mixup": 0.0, "cutmix": 0.0, "task": task}
    cfg = get_cfg(overrides={**quiet, **settings})
    dataset = build_yolo_dataset(cfg, info["val" if mode == "val" else "train"], 4, info, mode, rect=mode == "val")
    samples.watch(dataset)
    return dataset


@pytest.mark.parametrize("mix", ["mosaic", "mixup", "cutmix"])
def test_another_image_takes_the_place_of_a_parent(mix, data):
    with yolo_nanfix.patched():
        dataset = dataset_of(data, **{"mosaic": 1.0, mix: 1.0})
        image(data, 3).unlink()
        random.seed(1)
        names = [dataset[i]["im_file"] for i in (0, 1, 2, 4, 5, 6)]
        gone = dataset.im_files[3]
        dataset.buffer = [3, 3, 3]
        names.append(dataset[7]["im_file"])
    assert not any(getattr(name, "stands_in", False) for name in names)
    assert {f.file for name in names for f in getattr(name, "failures", ())} == {gone}
    assert not any(gone in getattr(name, "parents", ()) for name in names)
    assert names[-1].failures


@pytest.mark.parametrize(("task", "folder"), [("semantic", "masks"), ("depth", "depth")])
def test_what_belongs_to_an_image_cannot_be_read(task, folder, data):
    import cv2

    for split in ("train", "val"):
        (data.parent / folder / split).mkdir(parents=True)
        for file in (data.parent / "images" / split).glob("*.jpg"):
            target = data.parent / folder / split / file.stem
            if task == "semantic":
                cv2.imwrite(f"{target}.png", np.zeros((64, 64), np.uint8))
            else:
                np.save(f"{target}.npy", np.ones((64, 64), np.float32))
    if task == "semantic":
        data.write_text(data.read_text() + "\nmasks_dir: masks\n")
    with yolo_nanfix.patched():
        dataset = dataset_of(data, task=task, mosaic=1.0)
        next((data.parent / folder / "train").glob(f"{image(data).stem}.*")).unlink()
        assert dataset[3]["im_file"].stands_in
        dataset.buffer = [3, 3, 3]
        assert dataset[5]["im_file"] and not getattr(dataset[5]["im_file"], "stands_in", False)
        batch = dataset.collate_fn([dataset[i] for i in (2, 3)])
    assert [getattr(name, "stands_in", False) for name in batch["im_file"]] == [False, True]


def test_a_stand_in_under_rect_has_the_shape_of_its_batch(data):
    import cv2

    for number, size in enumerate([(64, 32), (32, 64), (64, 64), (64, 64)]):
        cv2.imwrite(str(image(data, number, "val")), np.zeros((*size, 3), np.uint8))
    with yolo_nanfix.patched():
        dataset = dataset_of(data, mode="val")
        dataset.batch = np.arange(4)  # each alone in its batch: no neighbour has its shape
        dataset.batch_shapes = np.array([[64, 32], [64, 64], [64, 64], [32, 64]])
        shape = dataset[0]["img"].shape
        Path(dataset.im_files[0]).unlink()
        sample = dataset[0]
    assert sample["im_file"].stands_in and sample["img"].shape == shape


def raising(kind: type, numbers: set[int]):
    """A user's trainer with an augmentation that raises for some images."""

    class Raises:
        def __init__(self, dataset):
            self.bad = {dataset.im_files[i] for i in numbers}

        def __call__(self, labels):
            if labels["im_file"] in self.bad:
                raise kind("no such thing\nin two lines")
            return labels

    class Trainer(lab.trainer_class("detect")):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            if mode == "train":
                dataset.transforms.append(Raises(dataset))
            return dataset

    return Trainer


def test_a_transform_that_raises_in_a_worker(data, tmp_path):
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=raising(ValueError, {2, 5}), epochs=1, callbacks=WORKERS)
    assert ours.error is None and ours.trainer.train_loader.num_workers == 2
    named = events(ours)
    assert {Path(e["sources"][0]["file"]) for e in named if e["epoch"] == 1} == {image(data, 2), image(data, 5)}
    assert all(e["values"]["error"] == "ValueError: no such thing" for e in named[:2])


@pytest.mark.slow
def test_float_pixels_under_default_augmentation(data, tmp_path):
    """OpenCV's look-up table refuses floats: stock dies in the loader."""
    import cv2

    for number in (1, 9):
        file = image(data, number)
        np.save(file.with_suffix(".npy"), cv2.imread(str(file)).astype(np.float32))
    with lab.bare():
        assert isinstance(lab.train(data, tmp_path / "stock", epochs=1).error, cv2.error)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=1)
    assert ours.error is None
    named = {Path(e["sources"][0]["file"]) for e in events(ours)}
    assert named == {image(data, 1), image(data, 9)} and guard(ours)["unreadable_samples"] == 2


def test_many_that_fail_stop_the_run_with_a_clear_error(data, tmp_path):
    files = [image(data, n) for n in range(7)]
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=3, callbacks=breaks("missing", files))
    assert isinstance(ours.error, TooManyUnreadable)
    assert "6 of 16 images cannot be read" in str(ours.error) and "Image Not Found" in str(ours.error)


@pytest.mark.slow
def test_everything_gone_stops_the_run_with_a_clear_error(data, tmp_path):
    files = [image(data, n) for n in range(16)]
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=3, callbacks=breaks("missing", files))
    assert ours.error is not None and "cannot be read" in str(ours.error) and "Image Not Found" in str(ours.error)


def test_a_validation_image_that_goes_missing(data, tmp_path):
    file = image(data, 1, "val")
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=3, callbacks=breaks("missing", [file]))
    assert ours.error is None
    named = events(ours)
    assert [(e["point"], e["epoch"]) for e in named] == [("validation", 2), ("validation", 3)]
    assert all(e["sources"][0]["file"] == str(file) for e in named)
    assert all(row[key] != "nan" for row in ours.rows() for key in row)
    assert guard(ours)["quarantined"] == []


@pytest.mark.slow
def test_a_whole_validation_batch_that_goes_missing_is_left_out(data, tmp_path):
    files = [image(data, 0, "val"), image(data, 1, "val")]
    gone, names = breaks("missing", files), {f.name for f in files}
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=2, batch=1, nbs=4, callbacks=gone)
    assert ours.error is None
    assert all(row[key] != "nan" for row in ours.rows() for key in row)
    assert {Path(f).name for f in guard(ours)["unreadable"]} == names


@pytest.mark.parametrize("cache", matrix("ram", "disk"))
def test_a_file_that_goes_missing_before_it_is_cached(cache, data, tmp_path):
    file = image(data)

    class Late(lab.trainer_class("detect")):
        def build_dataset(self, path, mode="train", batch=None):
            if mode == "train":
                from ultralytics.data.dataset import YOLODataset

                class Slow(YOLODataset):
                    def get_labels(self):
                        labels = super().get_labels()
                        file.unlink(missing_ok=True)
                        return labels

                from ultralytics.data import build

                build.YOLODataset, usual = Slow, build.YOLODataset
                try:
                    return super().build_dataset(path, mode, batch)
                finally:
                    build.YOLODataset = usual
            return super().build_dataset(path, mode, batch)

    whole = file.read_bytes()
    with lab.bare():
        assert lab.train(data, tmp_path / "stock", trainer=Late, cache=cache).error is not None
    file.write_bytes(whole)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Late, cache=cache)
    assert ours.error is None
    assert list(guard(ours)["unreadable"]) == [str(file)]


@pytest.mark.slow
def test_in_image_classification(data, tmp_path):
    for split in ("train", "val"):
        for i, source in enumerate(sorted((data.parent / "images" / split).glob("*.jpg"))):
            target = tmp_path / "classes" / split / "ab"[i % 2] / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    file = sorted((tmp_path / "classes" / "train" / "a").iterdir())[1]
    settings = {"task": "classify", "epochs": 2}
    with yolo_nanfix.patched():
        ours = lab.train(tmp_path / "classes", tmp_path / "ours", callbacks=breaks("missing", [file]), **settings)
    assert ours.error is None
    (event,) = events(ours)
    assert event["sources"][0]["file"] == str(file) and event["epoch"] == 2


class Concatenated(lab.trainer_class("detect")):
    """Two sets as one."""

    def build_dataset(self, path, mode="train", batch=None):
        from ultralytics.data.dataset import YOLOConcatDataset

        dataset = super().build_dataset(path, mode, batch)
        return YOLOConcatDataset([dataset, super().build_dataset(path, mode, batch)]) if mode == "train" else dataset

    def set_class_weights(self):
        pass

    def plot_training_labels(self):
        pass


@pytest.mark.slow
def test_in_a_set_of_several(data, tmp_path):
    file = image(data)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Concatenated, callbacks=breaks("missing", [file]))
    assert ours.error is None
    assert guard(ours)["unreadable_samples"] == 2 and list(guard(ours)["unreadable"]) == [str(file)]


SPAWN = """
import json, os, sys
import lab, yolo_nanfix
from ultralytics.data import build
from pathlib import Path

def main():
    data, run, file = map(Path, sys.argv[1:])
    init = build.InfiniteDataLoader.__init__
    def spawning(self, *args, **kwargs):
        init(self, *args, **{**kwargs, "multiprocessing_context": "spawn" if kwargs.get("num_workers") else None})
    build.InfiniteDataLoader.__init__ = spawning
    yolo_nanfix.patch("torchvision-operators-missing", guard=True)
    calls = {"on_train_start": lambda t: file.unlink()}
    calls["on_pretrain_routine_start"] = lambda t: setattr(t.args, "workers", 1)
    result = lab.train(data, run, epochs=1, callbacks=calls)
    print(json.dumps([str(result.error), result.trainer.train_loader.num_workers]))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_in_a_spawned_worker(data, tmp_path):
    """Under `spawn` nothing that was wrapped here is wrapped there, unless the dataset brings it along."""
    (tmp_path / "spawn.py").write_text(SPAWN)
    paths = os.pathsep.join(map(str, (Path(lab.__file__).parent, Path(__file__).parents[2])))
    command = [sys.executable, tmp_path / "spawn.py", data, tmp_path / "run", image(data)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == ["None", 1]
    report = json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())
    assert list(report["guard"]["unreadable"]) == [str(command[-1])]


def test_a_dataset_outside_of_a_guarded_run_raises_as_ever(data):
    with yolo_nanfix.patched():
        dataset = dataset_of(data)
        vars(dataset).pop(samples.MARK)
        image(data).unlink()
        with pytest.raises(FileNotFoundError):
            dataset[3]
        samples.watch(dataset)
        with pytest.raises(IndexError):
            dataset[16]
        assert dataset[3]["im_file"].stands_in


def test_nothing_of_a_sample_that_fails_is_drawn_from_anybodys_random_state(data):
    def states():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    with yolo_nanfix.patched():
        dataset = dataset_of(data)
        image(data).unlink()
        before = states()
        assert dataset[3]["im_file"].stands_in
        assert states() == before
