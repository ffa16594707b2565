"""Classes added to trained weights: old ones keep their rows of the head, and old images their share of each epoch."""

from __future__ import annotations

import json
from types import SimpleNamespace

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix
from scheduled import MICRO, PLAIN

from yolo_nanfix.cli.main import main
from yolo_nanfix.finetune import class_rows, replay_mix
from yolo_nanfix.finetune.replay_mix import ReplaySampler

pytestmark = pytest.mark.usefixtures("unpatched")


def drawn(share, new=range(3), old=range(3, 20), epoch=0, rank=0, ranks=1):
    return ReplaySampler(new, old, share, seed=7, epoch=epoch, rank=rank, ranks=ranks)


def test_each_epoch_has_all_new_images_and_others_drawn_anew():
    sampler = drawn(0.5)
    epochs = [list(sampler) for _ in range(20)]
    assert all(len(epoch) == len(sampler) == 6 and {0, 1, 2} < set(epoch) == set(epoch) for epoch in epochs)
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert set().union(*epochs) == set(range(20)) and epochs[0] != epochs[1]
    assert list(drawn(0.5, epoch=7)) == epochs[7]
    again = drawn(0.5)
    again.set_epoch(7)
    assert list(again) == epochs[7]


@pytest.mark.parametrize(("share", "replayed"), [(0.0, 0), (0.25, 1), (0.5, 3), (0.75, 9), (0.95, 17)])
def test_the_share_is_kept_as_far_as_there_are_images(share, replayed):
    assert drawn(share).replayed == replayed and len(drawn(share)) == 3 + replayed


def test_ranks_draw_parts_of_one_length_of_the_same_epoch():
    whole = list(drawn(0.75))
    parts = [list(drawn(0.75, rank=rank, ranks=5)) for rank in range(5)]
    assert {len(part) for part in parts} == {3} and {i for part in parts for i in part} == set(whole)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Weights that know coin and nut, and a set whose images have seeds, too: nut is class 1 there, coin class 2."""
    folder = tmp_path_factory.mktemp("classes")
    old = make_dataset(folder / "old", n_train=8, n_val=2, size=(32, 32), seed=1, n_classes=2)
    new = make_dataset(folder / "new", n_train=8, n_val=2, size=(32, 32), seed=2, n_classes=3)
    with lab.bare():
        run = lab.train(old, folder / "run", model=MICRO, imgsz=32, epochs=1)
    return run.trainer.last, new


def renamed(data, folder, names):
    file = folder / "data.yaml"
    lines = [line for line in data.read_text().splitlines() if not line.startswith(("names", "nc", " ", "-", "path"))]
    file.write_text("\n".join([f"path: {data.parent}", *lines, f"names: {names}", ""]))
    return file


def words(model, tmp_path, *more):
    plain = [*(f"{key}={value}" for key, value in PLAIN.items()), f"project={tmp_path}", "name=run", "exist_ok=True"]
    return [
        f"model={model}", "imgsz=32", "batch=4", "epochs=1", "workers=0", "device=cpu", "plots=False", "optimizer=SGD",
        "lr0=0.0", "warmup_epochs=0", "weight_decay=0", *plain, *more,
    ]  # fmt: skip


def test_rows_of_old_classes_are_copied_by_name_and_old_images_mixed_in(sets, tmp_path):
    weights, new = sets
    data = renamed(new, tmp_path, ["seed", "nut", "coin"])
    assert main(["train", str(data), "--recipe", "add-class", "--quiet", *words(weights, tmp_path)]) == 0
    before, after = lab.checkpoint(weights), lab.checkpoint(tmp_path / "run" / "weights" / "last.pt")
    row = "model.7.cv3.0.2.weight"
    assert before[row].shape[0] == 2 and after[row].shape[0] == 3
    assert torch.equal(after[row][[1, 2]], before[row][[0, 1]].to(after[row].dtype))
    told = json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())["recipe"]
    (fact,) = [f for f in told["happened"] if f["what"] == "replay"]
    assert fact["new"] + fact["old"] == 8 and 0 < fact["replayed"] <= min(fact["old"], fact["new"])


def test_what_cannot_be_added_is_one_error_before_anything_is_written(sets, tmp_path, capsys):
    weights, new = sets
    for names, model in ((["seed", "pea", "coin"], weights), (["seed", "nut", "coin"], MICRO)):
        data = renamed(new, tmp_path, names)
        assert main(["train", str(data), "--recipe", "add-class", *words(model, tmp_path)]) == 2
        assert "adds classes" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_without_an_image_of_old_classes_alone_there_is_nothing_to_mix_in(sets, tmp_path, capsys):
    weights, new = sets
    data = renamed(new, tmp_path, ["nut", "seed", "coin"])
    labels = new.parent / "labels" / "train"
    kept = {file: file.read_text() for file in labels.glob("*.txt")}
    try:
        for file, text in kept.items():
            file.write_text(f"1 0.5 0.5 0.1 0.1\n{text}")
        assert main(["train", str(data), "--recipe", "add-class", *words(weights, tmp_path)]) == 2
    finally:
        for file, text in kept.items():
            file.write_text(text)
    assert "no training image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "definition", "tensors"),
    [("ClassificationModel", "yolov8n-cls.yaml", 2), *matrix(("RTDETRDetectionModel", "rtdetr-l.yaml", 15))],
)
def test_heads_that_ultralytics_leaves_out_get_their_rows_from_us(kind, definition, tensors):
    from ultralytics.nn import tasks

    old, new = (getattr(tasks, kind)(definition, nc=nc, verbose=False) for nc in (2, 3))
    old.names, names = {0: "coin", 1: "nut"}, {0: "Nut ", 1: "seed", 2: "coin"}
    before = {key: value.clone() for key, value in new.model[-1].state_dict().items()}
    assert class_rows.copy_rows(new, old, names) == tensors
    source, after = old.model[-1].state_dict(), new.model[-1].state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert all(key.startswith(class_rows.ROWS_OF[type(new.model[-1]).__name__]) for key in changed)
    for key in changed:
        assert torch.equal(after[key][[0, 2]], source[key][[1, 0]]) and torch.equal(after[key][1], before[key][1]), key
    assert class_rows.copy_rows(new, new, names) == 0


def test_classification_mixes_by_the_folder_of_an_image(tmp_path):
    from ultralytics.data.build import build_dataloader

    class Folders(torch.utils.data.Dataset):
        samples = tuple((f"{n}.jpg", n % 4) for n in range(12))

        def __len__(self):
            return 12

        def __getitem__(self, index):
            return torch.tensor(self.samples[index][1])

    loader = build_dataloader(Folders(), batch=4, workers=0, device="cpu")
    trainer = SimpleNamespace(world_size=0, start_epoch=0, args=SimpleNamespace(seed=0))
    assert replay_mix.mix(loader, [3], 0.5, trainer) == {"new": 3, "old": 9, "replayed": 3}
    classes = torch.cat(list(loader)).tolist()
    assert len(loader) == 2 and len(classes) == 6 and classes.count(3) == 3
