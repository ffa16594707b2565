"""Repeated trainings: what is finished is kept, arms are compared pair by pair, and folds are whole datasets."""

from __future__ import annotations

from pathlib import Path

import bench_intervals
import numpy as np
import pytest
import yaml
from lab import TINY
from make_datasets import make_dataset

from yolo_nanfix import finetuning
from yolo_nanfix.errors import NanfixError, UsageError
from yolo_nanfix.finetune import repeats
from yolo_nanfix.finetune.arms import Arm, judge
from yolo_nanfix.finetune.repeats import Repeat, Trained
from yolo_nanfix.finetune.statistics import Source

QUICK = {"model": TINY, "epochs": 1, "imgsz": 32, "batch": 3, "workers": 0, "device": "cpu"}


def arms(gain: float, seeds: int) -> list[Arm]:
    rng = np.random.default_rng(1)
    labels = bench_intervals.images(rng, 60)
    found = []
    for name, skill in (("base", 0.5), ("other", 0.5 + gain)):
        trained = [
            Trained(
                Repeat(name, f"seed{i}", Path("d"), Path("d"), {}),
                bench_intervals.detect(rng, labels, skill),
                2.0,
                Path(),
            )
            for i in range(seeds)
        ]
        found.append(Arm(name, tuple(trained), {}))
    return found


def test_two_equal_arms_do_not_differ_and_a_better_one_does():
    equal, better = (
        judge(arms(0.0, 3), Path(), folds=False, resamples=200),
        judge(arms(1.5, 3), Path(), folds=False, resamples=200),
    )
    assert equal.differs is False and better.differs is True
    row = better.rows[0]
    assert row.metric == "mAP50-95" and row.difference.estimate > 0.1 and row.difference.source is Source.BOTH
    assert row.difference.estimate == pytest.approx(row.arms[1].estimate - row.arms[0].estimate)
    assert [r.metric for r in better.rows] == ["mAP50-95", "mAP50", "0", "1", "2"]
    assert better.as_dict()["arms"][0]["cpu_seconds"] == 6.0


def test_one_seed_has_the_interval_of_its_images_alone():
    found = judge(arms(0.0, 1)[:1], Path(), folds=False, resamples=200)
    assert found.differs is None and found.rows[0].difference is None and found.rows[0].arms[0].source is Source.IMAGES


def test_folds_are_compared_over_folds():
    parts = []
    for arm in arms(1.5, 6):
        split = []
        for fold, one in enumerate(arm.trained):
            mine = np.arange(fold, 60, 6)
            e = one.evaluation
            rows, labels = np.isin(e.of, mine), np.isin(e.labels_of, mine)
            images = tuple(e.images[i] for i in mine)
            cut = type(e)(
                images, e.names, "B", e.matched[rows], e.confidence[rows], e.found[rows],
                np.searchsorted(mine, e.of[rows]), e.labels[labels], np.searchsorted(mine, e.labels_of[labels]),
            )  # fmt: skip
            split.append(Trained(one.repeat, cut, 1.0, Path()))
        parts.append(Arm(arm.name, tuple(split), {}))
    found = judge(parts, Path(), folds=True, resamples=200)
    assert len(parts[0].images) == 60 and found.rows[0].difference.source is Source.FOLDS and found.differs
    assert found.rows[0].arms[0].estimate == pytest.approx(np.mean(parts[0].each()))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("bench") / "set", n_train=6, n_val=6, seed=0)


def test_folds_of_a_real_dataset_train_and_are_kept(data, tmp_path, monkeypatch):
    found = finetuning.bench(data, folds=2, deep=False, out=tmp_path / "out", **QUICK)
    arm = found.arms[0]
    assert [one.repeat.name for one in arm.trained] == ["fold0", "fold1"] and len(arm.images) == 12
    assert all(one.seconds > 0 and (one.folder / "run/yolo-nanfix.json").is_file() for one in arm.trained)
    for fold in (0, 1):
        folder = tmp_path / "out/folds" / f"fold{fold}"
        train, val = (set((folder / name).read_text().splitlines()) for name in ("train.txt", "val.txt"))
        assert not train & val and len(train | val) == 12 and val == set(arm.trained[fold].evaluation.images)
        assert yaml.safe_load((folder / "data.yaml").read_text())["names"] == yaml.safe_load(data.read_text())["names"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("repeat.json")}
    monkeypatch.setattr(repeats, "_train", lambda *_: pytest.fail("it is trained again"))
    again = finetuning.bench(data, folds=2, deep=False, out=tmp_path / "out", **QUICK)
    assert again.as_dict() == found.as_dict()
    assert before == {path: path.stat().st_mtime_ns for path in before} and len(before) == 2


def test_other_settings_are_not_taken_for_the_same(tmp_path):
    one = Repeat("a", "seed0", Path("d"), Path("d"), {"epochs": 1})
    for other in (
        Repeat("a", "seed0", Path("d"), Path("d"), {"epochs": 2}),
        Repeat("a", "seed0", Path("e"), Path("d"), {"epochs": 1}),
        Repeat("a", "seed0", Path("d"), Path("d"), {"epochs": 1}, ("--recipe", "small")),
        Repeat("a", "seed0", Path("d"), Path("d"), {"epochs": 1}, (), "other labels"),
    ):
        assert other.fingerprint != one.fingerprint
    assert repeats.kept(one, tmp_path) is None


def test_a_training_that_fails_ends_the_series_with_its_log(data, tmp_path):
    with pytest.raises(NanfixError, match=r"(?s)exit code 2; the end of .*train\.log.*no-such-model"):
        finetuning.bench(data, seeds=1, deep=False, out=tmp_path, **{**QUICK, "model": "no-such-model.yaml"})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"seeds": 2, "folds": 2}, "seeds and folds"),
        ({"seeds": 0}, "at least 1"),
        ({"seed": 3}, "seed is given"),
        ({"against": "no-such.yaml"}, "no-such.yaml cannot be read"),
        ({"folds": 13}, "only 12 groups"),
        ({"epoch": 3}, "epochs"),
    ],
)
def test_wrong_use_is_one_error_and_writes_nothing(data, tmp_path, given, says):
    with pytest.raises(UsageError, match=says):
        finetuning.bench(data, deep=False, out=tmp_path / "out", **{**QUICK, **given})
    assert not (tmp_path / "out").exists()
