"""Loaders, datasets and trainers of the user's own: a healthy run of theirs is stock's to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix
from torch.utils.data import DataLoader, default_collate
from ultralytics.nn.tasks import DetectionModel

import yolo_nanfix
from yolo_nanfix.guard import ownership

pytestmark = pytest.mark.usefixtures("unpatched")
NAN = float("nan")
DETECTION = lab.trainer_class("detect")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(64, 64), seed=1)


def guard(result):
    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]


def own(collated=lambda batch: batch, back=lambda batch: batch, sample=None):
    """A user's trainer: what its loader makes of a batch, how `preprocess_batch` undoes it, what a sample is."""

    class Own(DETECTION):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            kind = type(dataset)
            if sample is not None and mode == "train":
                dataset.__class__ = type(
                    "Dataset", (kind,), {"__getitem__": lambda s, i: sample(kind.__getitem__(s, i))}
                )
            return dataset

        def get_dataloader(self, *args, mode="train", **kwargs):
            loader = super().get_dataloader(*args, mode=mode, **kwargs)
            if mode == "train":
                collate = loader.collate_fn
                loader.collate_fn = lambda samples: collated(collate(samples))
            return loader

        def preprocess_batch(self, batch):
            return super().preprocess_batch(back(batch))

        def plot_training_samples(self, *args):
            pass

    return Own


def changed(**entries):
    """A batch with other entries: functions of the entry that is there, None for one that is taken out."""

    def change(batch):
        made = {k: entries[k](v) if entries.get(k) else v for k, v in batch.items()}
        return {k: v for k, v in made.items() if entries.get(k, 1) is not None}

    return change


def holes(sample):
    sample["img"] = sample["img"].float()
    sample["img"][:, :4, :4] = NAN
    return sample


def as_paths(sample):
    sample["im_file"] = Path(sample["im_file"])
    return sample


def stems(batch):
    assert all(path.stem for path in batch["im_file"])
    return batch


FORMS = {
    "tuple": own(lambda b: (b["img"], b), lambda b: b[1]),
    "other keys": own(lambda b: {f"my_{k}": v for k, v in b.items()}, lambda b: {k[3:]: v for k, v in b.items()}),
    "no names": own(changed(im_file=None)),
    "more names than images": own(changed(im_file=lambda v: [*v, "other.jpg"])),
    "numbers for names": own(changed(im_file=lambda v: torch.arange(len(v)))),
    "nested": own(lambda b: {**b, "more": {"a": [b["img"]], "b": None}}),
    "classes from 1": own(changed(cls=lambda v: v + 1), changed(cls=lambda v: v - 1)),
    "images from 1": own(changed(batch_idx=lambda v: v + 1), changed(batch_idx=lambda v: v - 1)),
    "NaN for no data": own(back=changed(img=lambda v: v.nan_to_num(114.0)), sample=holes),
    "paths": own(back=stems, sample=as_paths),
}
QUICK = ("tuple", "NaN for no data")


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """Stock's own loader and trainer, from which most forms differ in nothing that the model sees."""
    with lab.bare():
        return lab.train(data, tmp_path_factory.mktemp("stock") / "run", epochs=1, val=False)


@pytest.mark.parametrize("form", [*QUICK, *matrix(*(form for form in FORMS if form not in QUICK))])
def test_a_batch_in_a_form_of_its_own_trains_as_under_stock(form, data, plain, tmp_path):
    settings = {"trainer": FORMS[form], "epochs": 1, "mosaic": float(form == "paths"), "val": False}
    stock = plain
    if form in ("paths", "NaN for no data"):
        with lab.bare():
            stock = lab.train(data, tmp_path / "stock", **settings)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", **settings)
    assert stock.error is None and ours.error is None
    before, after = lab.state(stock.trainer), lab.state(ours.trainer)
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert ours.losses == stock.losses and len(ours.losses) == 2
    assert guard(ours)["events"] == [] and guard(ours)["bad_samples"] == 0


@pytest.mark.parametrize("form", ["classes from 1", *matrix("tuple")])
def test_what_is_known_of_its_samples_is_judged_when_it_is_preprocessed(form, data, tmp_path):
    base, moved = FORMS[form], 1 + (form == "classes from 1")

    class Broken(base):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            if mode == "train":
                dataset.labels[3]["cls"][-1] = 6 + moved
                Path(dataset.im_files[5]).with_suffix(".jpg").touch()
                read = dataset.load_image

                def load_image(i, *args, **kwargs):
                    if i == 5:
                        raise OSError("torn")
                    return read(i, *args, **kwargs)

                dataset.load_image = load_image
            return dataset

    with lab.bare():
        assert lab.train(data, tmp_path / "stock", trainer=Broken, epochs=1, val=False).error is not None
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Broken, epochs=1, val=False)
    assert ours.error is None and guard(ours)["dropped_micro_batches"] == 0
    assert (guard(ours)["bad_samples"], guard(ours)["unreadable_samples"]) == (1, 1)
    named = {Path(s["file"]).name: e["checks"] for e in guard(ours)["events"] for s in e["sources"]}
    assert named == {"0003.jpg": ["targets"], "0005.jpg": ["samples"]}


class Marked(DetectionModel):
    """A model whose loss leaves out objects of class -1: its own way to say that they should not count."""

    def loss(self, batch, preds=None):
        counts = batch["cls"].reshape(-1) >= 0
        return super().loss({**batch, **{k: batch[k][counts] for k in ("cls", "bboxes", "batch_idx")}}, preds)


def test_a_loss_of_the_users_own_may_give_sense_to_any_class(data, tmp_path):
    class Marks(DETECTION):
        def build_dataset(self, path, mode="train", batch=None):
            dataset = super().build_dataset(path, mode, batch)
            for labels in dataset.labels if mode == "train" else ():
                labels["cls"][0] = -1
            return dataset

        def get_model(self, *args, **kwargs):
            model = super().get_model(*args, **kwargs)
            model.__class__ = Marked
            return model

    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=Marks, epochs=1, val=False)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Marks, epochs=1, val=False)
    assert stock.error is None and ours.error is None and ours.losses == stock.losses
    assert guard(ours)["events"] == []


@pytest.mark.parametrize("where", matrix("collate_fn", "preprocess_batch"))
def test_image_classification_gets_no_names_where_only_tensors_are_expected(where, data, tmp_path):
    from torchvision.utils import save_image

    for split, label, number in [(s, c, n) for s in ("train", "val") for c in "ab" for n in range(4)]:
        folder = tmp_path / "classes" / split / label
        folder.mkdir(parents=True, exist_ok=True)
        save_image(torch.full((3, 64, 64), number / 8 + (label == "b") / 2), str(folder / f"{number}.png"))

    class Tensors(lab.trainer_class("classify")):
        def preprocess_batch(self, batch):
            if where == "preprocess_batch":
                batch = {k: v.to(self.device) for k, v in batch.items()}
            return super().preprocess_batch(batch)

        def get_dataloader(self, *args, mode="train", **kwargs):
            loader = super().get_dataloader(*args, mode=mode, **kwargs)
            if where == "preprocess_batch" or mode != "train":
                return loader

            def collate(samples):
                return {
                    "img": torch.stack([s["img"] for s in samples]),
                    **default_collate([strict(s) for s in samples]),
                }

            def strict(sample):
                return {"cls": torch.tensor(sample["cls"]).long()} if set(sample) == {"img", "cls"} else 1 / 0

            return DataLoader(loader.dataset, batch_size=4, collate_fn=collate)

    settings = {"task": "classify", "trainer": Tensors, "epochs": 1}
    with lab.bare():
        stock = lab.train(tmp_path / "classes", tmp_path / "stock", **settings)
    with yolo_nanfix.patched():
        ours = lab.train(tmp_path / "classes", tmp_path / "ours", **settings)
    assert stock.error is None and ours.error is None
    assert ours.losses == stock.losses and guard(ours)["events"] == []


def test_whose_code_it_is():
    from ultralytics.models.yolo.classify import ClassificationTrainer
    from ultralytics.models.yolo.detect import DetectionTrainer

    def bare(kind):
        return object.__new__(kind)

    class Looks(DetectionTrainer):
        def other(self):
            pass

    class Mixed(DetectionTrainer, type("Mixin", (), {"preprocess_batch": lambda self, batch: batch})):
        pass

    mine = bare(DetectionTrainer)
    mine.preprocess_batch = lambda batch: batch
    kinds = [bare(ClassificationTrainer), bare(Looks), bare(own()), bare(Mixed), mine]
    assert [ownership.stock(one, "preprocess_batch") for one in kinds] == [True, True, False, False, False]
