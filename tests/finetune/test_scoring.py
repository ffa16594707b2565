"""Evaluations by image, and the score: Ultralytics' own figure, the honest one, the one of old classes."""

from __future__ import annotations

import shutil

import bench_intervals
import numpy as np
import pytest
import releases
import torch
from lab import TINY
from make_datasets import make_dataset

import yolo_nanfix
from yolo_nanfix.errors import DataError
from yolo_nanfix.finetune.evaluation import Evaluation, evaluate
from yolo_nanfix.finetune.scoring import score


@pytest.fixture(scope="module")
def found() -> Evaluation:
    rng = np.random.default_rng(0)
    return bench_intervals.detect(rng, bench_intervals.images(rng, 40), 0.5)


def test_an_evaluation_is_read_as_it_was_written(found, tmp_path):
    found.write(tmp_path / "e.npz")
    again = Evaluation.read(tmp_path / "e.npz")
    assert again.images == found.images and again.names == found.names and again.map() == found.map()
    (tmp_path / "e.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"e\.npz"):
        Evaluation.read(tmp_path / "e.npz")


def test_a_selection_of_images_is_as_if_only_they_had_been_validated(found):
    rows = np.array([7, 3, 3, 12])
    parts = [np.flatnonzero(found.of == i) for i in rows]
    labels = [np.flatnonzero(found.labels_of == i) for i in rows]
    where, what = np.concatenate(parts), np.concatenate(labels)
    alone = Evaluation(
        images=tuple("abcd"),
        names=found.names,
        kind="B",
        matched=found.matched[where],
        confidence=found.confidence[where],
        found=found.found[where],
        of=np.repeat(np.arange(4), [len(p) for p in parts]),
        labels=found.labels[what],
        labels_of=np.repeat(np.arange(4), [len(p) for p in labels]),
    )
    assert found.map(rows) == alone.map() != found.map()
    assert found.map(np.arange(40)) == found.map() and found.map(np.array([], int)) == 0.0
    assert found.map(classes=frozenset({1})) == pytest.approx(found.per_class()[1].mean())


def test_the_honest_score_leaves_out_what_was_seen(found):
    groups = {image: i for i, image in enumerate(found.images)} | {"train/1": 1, "train/5": 5, "train/x": 99}
    plain = score(found, groups, [], resamples=50)
    honest = score(found, groups, ["train/1", "train/5", "train/x"], resamples=50)
    assert plain.honest is None and plain.old is None and plain.whole.map.estimate == found.map()
    assert honest.seen == {"1": "train/1", "5": "train/5"} and honest.whole == plain.whole
    rows = np.array([i for i in range(40) if i not in (1, 5)])
    assert honest.honest.images == 38 and honest.honest.map.estimate == found.map(rows)
    assert honest.honest.objects == int(np.isin(found.labels_of, rows).sum())


def test_old_classes_are_scored_by_name(found):
    result = score(found, {}, [], ["2", "0", "not here"], resamples=50)
    assert result.old_classes == ("0", "2")
    assert result.old.map.estimate == found.map(classes=frozenset({0, 2}))
    assert result.old.objects == int((found.labels != 1).sum())


def test_too_few_images_have_no_interval(found):
    groups = dict.fromkeys(found.images, 0)
    assert score(found, groups, []).whole.map is None


def test_the_figure_of_all_images_is_the_one_ultralytics_prints(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=8, n_val=6, seed=0)
    with yolo_nanfix.patched(guard=False):
        from ultralytics import YOLO

        model = YOLO(TINY)
        model.train(
            data=str(data), epochs=1, imgsz=64, batch=4, workers=0, device="cpu", project=str(tmp_path), plots=False
        )
        best = tmp_path / "train" / "weights" / "last.pt"
        arguments = {"imgsz": 64, "batch": 4, "device": "cpu", "workers": 0}
        stock = YOLO(str(best)).val(data=str(data), plots=False, project=str(tmp_path), **arguments)
        ours = evaluate(best, data, **arguments)
        held = torch.load(best, weights_only=False)
        next(held["model"].parameters()).data.flatten()[0] = float("nan")
        torch.save(held, tmp_path / "nan.pt")
        assert YOLO(str(tmp_path / "nan.pt")).val(data=str(data), plots=False, project=str(tmp_path), **arguments)
        with pytest.raises(DataError, match="1 weights or BatchNorm statistics are not finite"):
            evaluate(tmp_path / "nan.pt", data, **arguments)
    assert ours.map() == pytest.approx(stock.box.map, abs=1e-12) and ours.map(iou=0) == pytest.approx(stock.box.map50)
    assert len(ours.images) == len(set(ours.images)) and all("val" in image for image in ours.images)


@pytest.mark.shared
def test_a_real_detector_on_real_images(shared, tmp_path):
    shutil.copytree(shared / "data/bccd", tmp_path / "bccd")
    best, data = shared / "weights/yolov8n.pt", tmp_path / "bccd/data.yaml"
    arguments = {"imgsz": 128, "batch": 16, "device": "cpu", "workers": 0, "split": "test"}
    with yolo_nanfix.patched(guard=False):
        from ultralytics import YOLO

        stock = YOLO(str(best)).val(data=str(data), plots=False, project=str(tmp_path), **arguments)
        ours = evaluate(best, data, **arguments)
    assert 0 < stock.box.map == pytest.approx(ours.map(), rel=1e-12)
    assert ours.per_class().keys() == set(stock.box.ap_class_index.tolist())


OLD = """
import sys
import yolo_nanfix
from yolo_nanfix.errors import DataError
from yolo_nanfix.finetune.evaluation import evaluate

with yolo_nanfix.patched(guard=False):
    try:
        found = evaluate(sys.argv[1], sys.argv[2], imgsz=64, batch=4, device="cpu", workers=0)
        print("SAID", len(found.images))
    except DataError as error:
        print("SAID", error)
"""


@pytest.mark.matrix
@pytest.mark.parametrize("release", ["8.0.136", "8.3.100"])
def test_an_older_release_that_keeps_no_metrics_by_image_says_so(release, tmp_path):
    data = make_dataset(tmp_path / "set", n_train=2, n_val=2, seed=0)
    said = releases.run(release, OLD, "yolov8n.yaml", str(data)).partition("SAID ")[2].strip()
    assert said == f"ultralytics {release} keeps no metrics by image; a newer release does"
