"""Targets that end a stock run in its validation cost their image alone, which is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")
NAN = float("nan")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(64, 64), seed=1)


def faulty(where, values):
    """A trainer whose val images have a class that does not exist: in memory, in their files, or after preprocessing.

    Args:
        where: "memory", "file" or "code".
        values: for the number of each image, the class of its first row.
    """

    class Faulty(lab.trainer_class("detect")):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            for number, value in values.items() if mode == "val" and where != "code" else ():
                dataset.labels[number]["cls"][0] = value  # as of a cache that was made for other classes
                if where == "file":
                    file = Path(dataset.label_files[number])
                    file.write_text(f"{value:g} " + file.read_text().split(" ", 1)[1])
            return dataset

        def get_validator(self):
            validator = super().get_validator()
            ready = validator.preprocess

            def preprocess(batch):
                batch = ready(batch)
                for number, value in values.items():
                    place = next((i for i, f in enumerate(batch["im_file"]) if f.endswith(f"{number:04}.jpg")), None)
                    if place is not None:
                        batch["cls"][(batch["batch_idx"] == place).nonzero()[0]] = value
                return batch

            if where == "code":
                validator.preprocess = preprocess
            return validator

    return Faulty


def report(result):
    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]


@pytest.mark.parametrize(
    ("where", "values", "batch"),
    [("file", {0: 7.0, 1: NAN}, 1), *matrix(*((where, {1: 7.0}, 4) for where in ("memory", "file", "code")))],
)
def test_a_val_class_that_does_not_exist_ends_stock_and_costs_its_image(where, values, batch, data, tmp_path):
    shutil.copytree(data.parent, tmp_path / "set")
    copy = tmp_path / "set" / "data.yaml"
    copy.write_text(data.read_text().replace(str(data.parent), str(tmp_path / "set")))
    settings = {"batch": batch, "epochs": 2}
    with lab.bare():
        stock = lab.train(
            data, tmp_path / "stock", trainer=faulty(where.replace("file", "memory"), values), epochs=2, batch=batch
        )
        healthy = lab.train(data, tmp_path / "healthy", **settings)
    assert isinstance(stock.error, IndexError) and healthy.error is None
    with yolo_nanfix.patched():
        ours = lab.train(copy, tmp_path / "ours", trainer=faulty(where, values), **settings)
    assert ours.error is None and ours.losses == healthy.losses
    rows = ours.rows()
    assert all(float(row[key]) == float(row[key]) for row in rows for key in row if key.startswith("val/"))
    events = [e for e in report(ours)["events"] if e["checks"] == ["targets"]]
    assert {Path(s["file"]).name for e in events for s in e["sources"]} == {f"{n:04}.jpg" for n in values}
    assert all(e["point"] == "validation" for e in events)
    assert report(ours)["bad_samples"] == 3 * len(values)  # two epochs, and the evaluation at the end
    for verdict in report(ours)["verdicts"]:
        assert verdict["cause"] == ("label" if where == "file" else "definition")
        assert any("correct" in advice for advice in verdict["advice"]) == (where == "file")
        assert not verdict["labels"] or all("/labels/val/" in place for place in verdict["labels"])
    assert report(ours)["quarantined"] == []


@pytest.mark.slow
def test_rows_of_no_val_image_are_left_out(data, tmp_path):
    class Astray(lab.trainer_class("detect")):
        def get_validator(self):
            validator = super().get_validator()
            ready = validator.preprocess

            def preprocess(batch):
                batch = ready(batch)
                batch["batch_idx"] = torch.cat([batch["batch_idx"], torch.tensor([9.0])])
                batch["cls"] = torch.cat([batch["cls"], batch["cls"][:1]])
                batch["bboxes"] = torch.cat([batch["bboxes"], batch["bboxes"][:1]])
                return batch

            validator.preprocess = preprocess
            return validator

    with lab.bare():
        healthy = lab.train(data, tmp_path / "healthy")
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Astray)
    assert ours.error is None
    val = [[{k: v for k, v in row.items() if k != "time"} for row in run.rows()] for run in (ours, healthy)]
    assert val[0] == val[1] and report(ours)["verdicts"][0]["tensor"] == "batch.batch_idx"
