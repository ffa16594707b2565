"""Samples that are no good go alone: augmentation that yields NaN, classes that do not exist, batches of one image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lab
import numpy as np
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix import batches
from yolo_nanfix.guard import sample_checks

pytestmark = pytest.mark.usefixtures("unpatched")
NAN = float("nan")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


def guard(result):
    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]


class Holes:
    """An augmentation that now and then leaves a NaN, and makes floats of all pixels."""

    def __init__(self, every):
        self.calls, self.every, self.files = 0, every, []

    def __call__(self, labels):
        self.calls += 1
        labels["img"] = labels["img"].float()
        if self.calls % self.every == 0:
            self.files.append(labels["im_file"])
            labels["img"][0, 3, 3] = NAN
        return labels


def augmented(holes, seen):
    class Augments(lab.trainer_class("detect")):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            if mode == "train":
                dataset.transforms.append(holes)
            return dataset

        def preprocess_batch(self, batch):
            seen.extend(map(str, batch["im_file"]))
            return super().preprocess_batch(batch)

    return Augments


def test_augmentation_that_yields_nan_costs_its_sample_and_blames_no_file(data, tmp_path):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=augmented(Holes(6), []))
    assert lab.not_finite(stock.trainer.model.parameters())
    holes, seen = Holes(6), []
    with yolo_nanfix.patched(quarantine_after=1):
        ours = lab.train(data, tmp_path / "ours", trainer=augmented(holes, seen), epochs=4)
    assert ours.error is None and len(holes.files) == 10
    assert guard(ours)["dropped_micro_batches"] == 0 and guard(ours)["quarantined"] == []
    assert guard(ours)["bad_samples"] == 10 and len(seen) == 64  # the user's own code sees all of them
    named = [s for e in guard(ours)["events"] for s in e["sources"]]
    assert [s["file"] for s in named] == holes.files and {s["on_disk"] for s in named} == {"finite"}
    (verdict,) = guard(ours)["verdicts"]
    assert verdict["cause"] == "definition" and "augmentation" in verdict["summary"] and not verdict["images"]
    assert "Holes" in verdict["advice"][0] and "remove" not in " ".join(verdict["advice"])


@pytest.mark.parametrize("key", ["img", *matrix("bboxes")])
def test_nan_that_the_trainers_own_code_makes_blames_no_file(key, data, tmp_path):
    class Faulty(lab.trainer_class("detect")):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            for i, file in enumerate(batch["im_file"]):
                if file.endswith("0003.jpg"):
                    place = i if key == "img" else (batch["batch_idx"] == i).nonzero()[0]
                    batch[key][place] = NAN
            return batch

    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Faulty, epochs=4)
    assert ours.error is None
    assert (guard(ours)["dropped_micro_batches"], guard(ours)["quarantined"]) == (4, [])
    (verdict,) = guard(ours)["verdicts"]
    assert verdict["cause"] == "definition" and "in order on disk" in verdict["summary"] and not verdict["images"]
    assert "preprocess_batch" in verdict["advice"][0] and not verdict["labels"]


def test_a_mosaic_blames_the_file_that_is_faulty_on_disk_and_no_other(data, tmp_path):
    import cv2

    shutil.copytree(data.parent, tmp_path / "set")
    copy = tmp_path / "set" / "data.yaml"
    copy.write_text(data.read_text().replace(str(data.parent), str(tmp_path / "set")))
    for file in (tmp_path / "set" / "images" / "train").glob("*.jpg"):
        pixels = cv2.imread(str(file)).astype(np.float32)
        pixels[20:40, 20:40] = NAN if file.stem.endswith("03") else pixels[20:40, 20:40]
        np.save(file.with_suffix(".npy"), pixels)

    class Floats(lab.trainer_class("detect")):
        """Mosaics of floats: Ultralytics' own are of bytes, in which NaN is lost."""

        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            mosaic = dataset.transforms[0].transforms[0] if mode == "train" else None
            if mosaic is not None:
                draw = mosaic.apply_image

                def apply_image(labels, params=None):
                    parts = [labels, *labels["mix_labels"]]
                    faulty = any(not np.isfinite(part["img"]).all() for part in parts)
                    labels = draw(labels, params)
                    labels["img"] = labels["img"].astype(np.float32)
                    labels["img"][40:80, 40:80] = NAN if faulty else 0
                    return labels

                mosaic.apply_image = apply_image
            return dataset

    with yolo_nanfix.patched():
        ours = lab.train(copy, tmp_path / "ours", trainer=Floats, epochs=2, mosaic=1.0, degrees=0.0, **lab.FLOATS)
    assert ours.error is None and guard(ours)["dropped_micro_batches"] >= 2
    assert [Path(f).name for f in guard(ours)["quarantined"]] == ["0003.jpg"]


def classes(value, where):
    """A user's trainer in whose labels, as read or as preprocessed, one class does not exist."""

    class Classes(lab.trainer_class("detect")):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            if mode == "train" and where != "code":
                dataset.labels[3]["cls"][-1] = value  # as of a cache that was made with other classes
                if where == "file":
                    file = Path(dataset.label_files[3])
                    rows = file.read_text().splitlines()
                    file.write_text("\n".join([*rows[:-1], f"{value:g} " + rows[-1].split(" ", 1)[1]]))
            return dataset

        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            for i, file in enumerate(batch["im_file"]):
                if where == "code" and file.endswith("0003.jpg"):
                    batch["cls"][(batch["batch_idx"] == i).nonzero()[-1]] = value
            return batch

    return Classes


@pytest.mark.parametrize(
    ("value", "where"),
    [(7.0, "file"), (-1.0, "code"), *matrix((NAN, "memory"), (7.0, "memory"), (NAN, "file"), (7.0, "code"))],
)
def test_a_class_that_does_not_exist_ends_stock_and_costs_its_sample(value, where, data, tmp_path):
    if value == 7.0:
        with lab.bare():
            stock = lab.train(data, tmp_path / "stock", trainer=classes(value, where.replace("file", "memory")))
        assert isinstance(stock.error, (IndexError, RuntimeError))
    shutil.copytree(data.parent, tmp_path / "set")
    copy = tmp_path / "set" / "data.yaml"
    copy.write_text(data.read_text().replace(str(data.parent), str(tmp_path / "set")))
    with yolo_nanfix.patched():
        ours = lab.train(copy, tmp_path / "ours", trainer=classes(value, where), epochs=3)
    assert ours.error is None and guard(ours)["dropped_micro_batches"] == 0
    first = guard(ours)["events"][0]
    (source,) = first["sources"]
    assert source["file"].endswith("0003.jpg") and f"class {value:g} outside of 0 to" in source["suspect"]
    (verdict,) = guard(ours)["verdicts"]
    if where == "file":
        assert all(place.startswith(f"{tmp_path}/set/labels/train/0003.txt:") for place in verdict["labels"])
        assert verdict["cause"] == "label" and source["on_disk"] == "not-finite"
        assert guard(ours)["quarantined"] == [source["file"]]
        assert (guard(ours)["bad_samples"], guard(ours)["quarantined_samples"]) == (2, 1)
    else:
        assert verdict["cause"] == "definition" and source["on_disk"] == "finite"
        assert not any("correct" in advice for advice in verdict["advice"])
        assert guard(ours)["quarantined"] == [] and guard(ours)["bad_samples"] == 3


@pytest.mark.parametrize("value", [9.0, *matrix(-1.0, NAN)])
def test_rows_of_no_image_cost_their_micro_batch(value, data, tmp_path):
    class Astray(lab.trainer_class("detect")):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            if self.epoch == 1 and any(file.endswith("0003.jpg") for file in batch["im_file"]):
                batch["batch_idx"][0] = value
            return batch

    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Astray, epochs=2)
    assert ours.error is None and guard(ours)["dropped_micro_batches"] == 1
    (event,) = guard(ours)["events"]
    assert event["checks"] == ["targets"] and event["values"] == {"row": 0, "image": value, "images": 4}
    assert guard(ours)["verdicts"][0]["tensor"] == "batch.batch_idx"
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0


def test_targets_are_judged_as_they_should_be():
    batch = {"img": torch.zeros(2, 3, 8, 8), "batch_idx": torch.tensor([0.0, 0.0, 1.0])}
    batch["cls"] = torch.tensor([[0.0], [2.0], [1.0]])
    assert sample_checks.valid(batch, 3) and not sample_checks.valid(batch, 2) and sample_checks.valid(batch, None)
    assert sample_checks.faults(batch, 2) == ({0: "class 2 outside of 0 to 1 in its row 2"}, {})
    assert sample_checks.valid({**batch, "texts": [[], []]}, 2)  # the classes of a text batch are its texts
    assert sample_checks.valid({"img": batch["img"], "batch_idx": torch.zeros(0), "cls": torch.zeros(0, 1)}, 1)
    classified = {"img": batch["img"], "cls": torch.tensor([0, 3])}
    assert not sample_checks.valid(classified, 3)
    assert sample_checks.faults(classified, 3) == ({1: "class 3 outside of 0 to 2 in its row 1"}, {})
    mask = torch.tensor([[0, 1, 255]], dtype=torch.int32)
    assert [bool(sample_checks.bad_classes(m, 2)) for m in (mask, mask + 1, mask - 1, mask * 2)] == [
        False,
        True,
        True,
        True,
    ]
    assert not sample_checks.bad_classes(mask, 1)


def test_a_class_folder_that_the_model_does_not_know(data, tmp_path):
    for split in ("train", "val"):
        for i, source in enumerate(sorted((data.parent / "images" / split).glob("*.jpg"))):
            target = tmp_path / "classes" / split / "ab"[i % 2] / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    class Classes(lab.trainer_class("classify")):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            if mode == "train":
                dataset.samples[3][1] = 5
            return dataset

    with lab.bare():
        stock = lab.train(tmp_path / "classes", tmp_path / "stock", task="classify", trainer=Classes)
    assert isinstance(stock.error, IndexError)
    with yolo_nanfix.patched():
        ours = lab.train(tmp_path / "classes", tmp_path / "ours", task="classify", trainer=Classes, epochs=2)
    assert ours.error is None and guard(ours)["bad_samples"] == 2
    assert guard(ours)["events"][0]["sources"][0]["suspect"] == "class 5 outside of 0 to 1 in its row 1"
    assert guard(ours)["verdicts"][0]["cause"] == "definition" and guard(ours)["quarantined"] == []


def test_a_batch_that_quarantine_leaves_with_one_image_is_filled_up(data, tmp_path):
    """At this size a layer has one pixel a channel, so that BatchNorm refuses a batch of one image."""
    faulty = lab.with_nan_pixels(data, tmp_path / "set", [5])
    sizes = []

    class Looks(lab.trainer_class("detect")):
        def preprocess_batch(self, batch):
            sizes.append(len(batch["img"]))
            return super().preprocess_batch(batch)

    with yolo_nanfix.patched():
        ours = lab.train(faulty, tmp_path / "ours", trainer=Looks, epochs=4, batch=2, nbs=2, imgsz=32, **lab.FLOATS)
    assert ours.error is None and set(sizes) == {2}
    assert guard(ours)["dropped_micro_batches"] == 2 and guard(ours)["quarantined_samples"] == 2
    assert sum("filled-up" in lab.did(e) for e in guard(ours)["events"]) == 2


@pytest.mark.slow
def test_a_batch_of_quarantined_images_alone_is_left_out(data, tmp_path):
    faulty = lab.with_nan_pixels(data, tmp_path / "set", [5])
    with yolo_nanfix.patched():
        ours = lab.train(faulty, tmp_path / "ours", epochs=4, batch=1, nbs=1, **lab.FLOATS)
    assert ours.error is None
    assert guard(ours)["dropped_micro_batches"] == 4  # two that were seen to be faulty, two that were not trained on
    late = [e for e in guard(ours)["events"] if e["epoch"] > 2]
    assert [(e["checks"], e["values"], [*lab.did(e)]) for e in late] == [
        (["samples"], {"images": 1}, ["dropped", "batchnorm-restored"])
    ] * 2
    assert len(list((ours.trainer.save_dir / "incidents").iterdir())) == 2


def test_two_batches_as_one():
    one = {"img": torch.zeros(1, 3, 4, 4), "batch_idx": torch.tensor([0.0]), "cls": torch.ones(1, 1), "im_file": ("a",)}
    two = {**one, "img": torch.ones(1, 3, 4, 4), "im_file": ("b",)}
    both = batches.concatenated(one, two)
    assert both["batch_idx"].tolist() == [0.0, 1.0] and both["im_file"] == ("a", "b") and len(both["img"]) == 2
    assert batches.concatenated(one, {**two, "img": torch.ones(1, 3, 4, 5)}) is None
    assert batches.concatenated(one, {"img": two["img"]}) is None
