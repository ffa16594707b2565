"""Recipes on real trainings: what is frozen stays bit for bit, and rates, moving average and resumed runs follow."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix
from scheduled import MICRO, PLAIN, fitted, found, train, weights_and_norms

import yolo_nanfix
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.finetune import schedule
from yolo_nanfix.finetune.recipe import RecipeError

BACKBONE = range(4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=2, size=(32, 32), seed=1)


@pytest.fixture(autouse=True)
def runs_at_all(unpatched):
    with lab.bare():
        yield


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def shipped(name):
    return recipes.read_recipe(recipes.directory() / f"{name}.yaml")


def test_stock_is_plain_ultralytics_bit_for_bit(data, tmp_path):
    drawn = {"translate": 0.1, "scale": 0.5, "fliplr": 0.5, "hsv_s": 0.7, "mosaic": 1.0, "close_mosaic": 1}
    settings = {**drawn, "epochs": 3, "warmup_epochs": 1.0}
    plain = lab.train(data, tmp_path / "plain", model=MICRO, imgsz=32, **{**PLAIN, **settings})
    ours, facts = train(data, tmp_path / "ours", shipped("stock"), **settings)
    assert ours.error is None and len(ours.losses) == 6
    assert ours.losses == plain.losses and same(lab.state(ours.trainer), lab.state(plain.trainer))
    assert facts == {"name": "stock", "changes": [], "happened": []}
    assert not (tmp_path / "ours" / schedule.STATE_NAME).exists()


def test_frozen_has_the_losses_and_weights_of_ultralytics_own_freeze(data, tmp_path):
    plain, _ = train(data, tmp_path / "plain", None, freeze=4)
    ours, facts = train(data, tmp_path / "ours", shipped("frozen"))
    assert ours.losses == plain.losses and same(lab.state(ours.trainer), lab.state(plain.trainer))
    assert ours.trainer.args.freeze == [0, 1, 2, 3]
    assert [fact["frozen"] for fact in facts["happened"]] == [[0, 1, 2, 3]]


def course(seen):
    """Callbacks that keep a copy of the backbone before the first epoch and after each."""
    return {
        "on_train_start": lambda t: seen.append(weights_and_norms(t, BACKBONE)),
        "on_train_epoch_end": lambda t: seen.append(weights_and_norms(t, BACKBONE)),
    }


@pytest.mark.parametrize("guard", [True, *matrix(False)])
def test_frozen_weights_and_batchnorm_stay_bit_for_bit_until_they_are_unfrozen(guard, data, tmp_path):
    seen = []
    text = "freeze:\n- {layers: backbone, until: 0.5}\n- {layers: [0, 1], until: 3}"
    with yolo_nanfix.patched(guard=guard):
        result, facts = train(data, tmp_path / "run", found(text, tmp_path), callbacks=course(seen), epochs=4)
    assert result.error is None
    start, first, second, third, fourth = seen
    assert same(start, first) and same(start, second)
    moved = {key for key in start if not torch.equal(second[key], third[key])}
    assert {schedule.layer_of(key) for key in moved} == {2, 3}
    assert {"model.model.2.bn.running_mean", "ema.model.3.conv.weight"} <= moved
    assert {schedule.layer_of(k) for k in start if not torch.equal(third[k], fourth[k])} == {0, 1, 2, 3}
    assert [(f["epoch"], f["frozen"]) for f in facts["happened"]] == [(1, [0, 1, 2, 3]), (3, [0, 1]), (4, [])]
    assert result.trainer.args.freeze is None


def test_a_plateau_of_the_fitness_unfreezes(data, tmp_path):
    recipe = found("freeze:\n- {layers: 3, until: {plateau: 1}}", tmp_path)
    _, facts = train(data, tmp_path / "run", recipe, epochs=4)
    assert [(f["epoch"], len(f["frozen"])) for f in facts["happened"]] == [(1, 3), (3, 0)]  # the fitness is 0 in all
    held = json.loads((tmp_path / "run" / schedule.STATE_NAME).read_text())
    assert held["fitness"] == {"0": 0.0, "1": 0.0, "2": 0.0, "3": 0.0}


@pytest.mark.parametrize(
    ("fitness", "frozen_epochs"),
    [([0.1, 0.2, 0.2, 0.1, 0.3], 4), ([0.1, 0.2, 0.3, 0.4, 0.5], 5), ([0.5, 0.1, 0.2, 0.6, 0.1], 3)],
)
def test_a_plateau_is_so_many_epochs_in_a_row_without_a_better_one(fitness, frozen_epochs):
    settled = SimpleNamespace(phases=({"layers": [0], "epoch": None, "plateau": 2},))
    history = dict(enumerate(fitness))
    frozen = [bool(schedule.frozen_in(settled, epoch, history)) for epoch in range(len(fitness))]
    assert frozen == [epoch < frozen_epochs for epoch in range(len(fitness))]


OPTIMIZERS = ["SGD", "AdamW", "Adam", "RMSProp", "NAdam", "RAdam", "Adamax", "MuSGD", "auto"]


def settings_of(optimizer):
    """For each parameter its learning rate before warm-up, weight decay, and whether Muon steps it."""
    return {
        id(parameter): (group["initial_lr"], group["weight_decay"], group.get("use_muon"))
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("name", ["AdamW", "MuSGD", *matrix(*(set(OPTIMIZERS) - {"AdamW", "MuSGD"}))])
def test_each_group_is_split_by_depth_and_keeps_its_settings(name, data, tmp_path):
    text = "learning_rate: {backbone: 0.1, head: 0.5, decay: 0.9}"
    _, settled = fitted(found(text, tmp_path))
    assert settled.factors == pytest.approx([*(0.1 * 0.9 ** (7 - n) for n in range(4)), 0.9**3, 0.9**2, 0.9, 0.5])
    made = {}

    def keep(key):
        return {"on_pretrain_routine_end": lambda t: made.setdefault(key, t)}

    train(data, tmp_path / "plain", None, optimizer=name, epochs=1, callbacks=keep("plain"))
    result, _ = train(data, tmp_path / "ours", found(text, tmp_path), optimizer=name, epochs=1, callbacks=keep("ours"))
    assert result.error is None
    plain, ours = made["plain"], made["ours"]
    of_plain = dict(plain.model.named_parameters())
    of_ours = dict(ours.model.named_parameters())
    assert [group["initial_lr"] for group in ours.optimizer.param_groups] == ours.scheduler.base_lrs
    initial = [settings_of(trainer.optimizer) for trainer in (plain, ours)]
    assert len(initial[1]) == len(of_ours)
    for key, parameter in of_ours.items():
        lr, *settings = initial[0][id(of_plain[key])]
        mine, *kept = initial[1][id(parameter)]
        assert mine == pytest.approx(lr * settled.factors[schedule.layer_of(key)]) and kept == settings, key
    assert type(ours.optimizer) is type(plain.optimizer)


def test_in_warm_up_scaled_biases_rise_from_nothing_and_reach_their_share(data, tmp_path):
    seen = []

    def look(trainer):
        seen.append({g["param_group"]: g["lr"] for g in trainer.optimizer.param_groups if "bias" in g["param_group"]})

    text = "learning_rate: {backbone: 0.1, neck: 0.1}\nwarmup: 0.5"
    recipe = found(text, tmp_path)
    result, _ = train(
        data, tmp_path / "run", recipe, epochs=4, warmup_epochs=2.0, callbacks={"on_train_batch_end": look}
    )
    first, last = seen[0], seen[-1]
    assert result.error is None and first == {"bias": 0.1, "bias x0.1": 0.0}
    assert last["bias x0.1"] == pytest.approx(last["bias"] / 10)
    assert all(one["bias x0.1"] <= 0.1 * 0.01 for one in seen)


@pytest.mark.parametrize(("name", "rate"), [("AdamW", 0.002), *matrix(("SGD", 0.01), ("MuSGD", 0.01))])
def test_the_rate_is_capped_by_the_size_of_the_set(name, rate, data, tmp_path):
    text = "learning_rate:\n  cap: {images: 500, adam: 0.002, sgd: 0.01}"
    recipe = found(text, tmp_path)
    add, settled = fitted(recipe)
    assert add == {} and settled.cap == {"images": 500, "adam": 0.002, "sgd": 0.01}
    rates = []
    callbacks = {"on_train_start": lambda t: rates.extend(g["initial_lr"] for g in t.optimizer.param_groups)}
    facts: dict = {}
    with schedule.applied(settled, facts, lambda fact: None):
        lab.train(
            data, tmp_path / "run", model=MICRO, imgsz=32, epochs=1, optimizer=name, lr0=0.02, callbacks=callbacks
        )
    (fact,) = facts["happened"]
    assert min(rates) == pytest.approx(rate * math.sqrt(8 / 500)) and fact["images"] == 8
    assert fact["was"] == 0.02 and fact["lr0"] == pytest.approx(min(rates))


def test_the_moving_average_has_its_time_constant_also_when_it_was_made_anew(data, tmp_path):
    decays = []

    def look(trainer):
        decays.append(trainer.ema.decay(100))
        if len(decays) == 4:  # as upstream's recovery does
            trainer.ema = type(trainer.ema)(trainer.model)

    train(data, tmp_path / "run", found("ema: {tau: 50}", tmp_path), callbacks={"on_train_batch_end": look})
    assert set(decays) == {0.9999 * (1 - math.exp(-2))} and len(decays) == 8


RESUMED = {
    "shares": "freeze:\n- {layers: backbone, until: 0.75}\nlearning_rate: {backbone: 0.1, decay: 0.9}\nema: {tau: 50}",
    "plateau": "freeze:\n- {layers: backbone, until: {plateau: 1}}\nlearning_rate: {neck: 0.5}",
    "second": "freeze:\n- {layers: backbone, until: 1}\n- {layers: [0], until: 3}",
}


class CutError(RuntimeError):
    pass


def as_resumed(trainer, last):
    """Give an uninterrupted run what a checkpoint holds: half precision, the moving average in place of the weights."""
    held = torch.load(last, map_location="cpu", weights_only=False)
    trainer.model.load_state_dict(held["ema"].float().state_dict())
    trainer._load_checkpoint_state(held)
    generator = trainer.train_loader.generator
    generator.manual_seed(generator.initial_seed())
    trainer.train_loader.reset()


@pytest.mark.parametrize("kind", ["shares", *matrix("plateau", "second")])
@pytest.mark.parametrize("optimizer", ["AdamW", *matrix("MuSGD", "auto")])
def test_a_resumed_run_goes_on_as_the_uninterrupted_one_bit_for_bit(kind, optimizer, data, tmp_path):
    """Apart from what Ultralytics' checkpoints lose themselves, which the uninterrupted run is made to lose, too."""
    recipe, settings = found(RESUMED[kind], tmp_path), {"optimizer": optimizer, "lr0": 0.01, "warmup_epochs": 3.0}

    def lose(trainer):
        if trainer.epoch == 2:
            as_resumed(trainer, trainer.last)

    def cut(trainer):
        if trainer.epoch == 2:
            raise CutError

    whole, _ = train(data, tmp_path / "whole", recipe, callbacks={"on_train_epoch_start": lose}, **settings)
    broken, _ = train(data, tmp_path / "broken", recipe, callbacks={"on_train_epoch_start": cut}, **settings)
    assert whole.error is None and isinstance(broken.error, CutError) and broken.losses == whole.losses[:4]
    again, facts = train(data, tmp_path / "broken", None, model=str(broken.trainer.last), resume=True)
    assert again.error is None and again.losses == whole.losses[4:]
    assert same(lab.state(again.trainer), lab.state(whole.trainer))
    assert [g["lr"] for g in again.trainer.optimizer.param_groups] == [
        g["lr"] for g in whole.trainer.optimizer.param_groups
    ]
    assert facts["name"] == "mine" and facts["changes"]


def test_a_resumed_run_keeps_to_the_recipe_that_it_was_begun_with(data, tmp_path):
    def cut(trainer):
        if trainer.epoch == 1:
            raise CutError

    recipe = found("learning_rate: {backbone: 0.1}", tmp_path)
    broken, _ = train(data, tmp_path / "run", recipe, callbacks={"on_train_epoch_start": cut})
    last, state = str(broken.trainer.last), tmp_path / "run" / schedule.STATE_NAME
    other = recipes.read_recipe(recipes.directory() / "gradual.yaml")
    _, settled = fitted(other)
    for given, spoil in ((settled, None), (None, "{"), (None, '{"format": 1}'), (settled, "gone")):
        kept = state.read_text()
        if spoil == "gone":
            state.unlink()
        elif spoil:
            state.write_text(spoil)
        with schedule.applied(given, {}, lambda fact: None):
            again = lab.train(data, tmp_path / "run", model=last, resume=True)
        assert isinstance(again.error, RecipeError), (given, spoil)
        state.write_text(kept)


def test_a_new_run_in_the_same_folder_forgets_the_recipe_of_the_old_one(data, tmp_path):
    train(data, tmp_path / "run", found("learning_rate: {backbone: 0.1}", tmp_path), epochs=1)
    assert (tmp_path / "run" / schedule.STATE_NAME).exists()
    train(data, tmp_path / "run", None, epochs=1)
    assert not (tmp_path / "run" / schedule.STATE_NAME).exists()


def test_a_rollback_and_a_lower_rate_of_the_guard_leave_the_schedule_in_place(data, tmp_path):
    """The guard goes back to a copy and lowers the rate for a step: depth and phases stay as they are."""
    text = "freeze:\n- {layers: backbone, until: 0.5}\nlearning_rate: {backbone: 0.1}"
    recipe, seen = found(text, tmp_path), []

    class Spoilt(lab.trainer_class("detect")):
        count = 0

        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            self.count += 1
            if self.count in (6, 12):  # in a frozen phase, and after it
                next(self.model.model[7].parameters()).data.view(-1)[3] = float("nan")
            return batch

        def optimizer_step(self):
            lr = {g["lr"] / g["initial_lr"] for g in self.optimizer.param_groups}
            seen.append((self.epoch, len(lr), next(self.model.model[0].parameters()).requires_grad))
            super().optimizer_step()

    with yolo_nanfix.patched(snapshot_every=1):
        result, _ = train(data, tmp_path / "run", recipe, trainer=Spoilt, epochs=8)
    told = json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())["guard"]
    assert result.error is None and told["rollbacks"] == 2
    assert {ratios for _, ratios, _ in seen} == {1}
    assert all(trains == (epoch >= 4) for epoch, _, trains in seen) and len(seen) > 12
    assert lab.not_finite(lab.state(result.trainer).values()) == 0
