"""What the guard does beyond one bad micro-batch: gradients, stopping, checkpoints, validation, poisoned starts."""

from __future__ import annotations

import json
import shutil

import lab
import numpy as np
import pytest
from make_datasets import make_dataset, paths
from marks import matrix

import yolo_nanfix
from yolo_nanfix.errors import PoisonedState, TooManyBadBatches


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


def report(result):
    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())


def nan_gradient_at(step):
    """A user's trainer in which one backward pass gives NaN gradients although the loss is finite."""

    class Faulty(lab.trainer_class("detect")):
        backwards = 0

        def optimizer_step(self):
            self.backwards += 1
            if self.backwards == step:
                next(p for p in self.model.parameters() if p.grad is not None).grad[0] = float("nan")
            super().optimizer_step()

    return Faulty


def test_a_nan_gradient_with_a_finite_loss_ruins_stock_but_not_ours(data, tmp_path, unpatched):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=nan_gradient_at(8))
    assert lab.not_finite(stock.trainer.model.parameters()) and lab.is_zeroed(lab.checkpoint(stock.trainer.last))
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=nan_gradient_at(8))
    assert ours.error is None
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    (event,) = report(ours)["guard"]["events"]
    assert (event["checks"], event["epoch"], event["batch"]) == (["gradient"], 2, 4)
    assert report(ours)["guard"]["dropped_micro_batches"] == 1


@pytest.mark.slow
def test_a_nan_gradient_is_caught_also_where_a_trainer_does_not_clip(data, tmp_path, unpatched):
    class Unclipped(lab.trainer_class("detect")):
        steps = 0

        def optimizer_step(self):
            self.steps += 1
            if self.steps == 3:
                next(p for p in self.model.parameters() if p.grad is not None).grad[0] = float("nan")
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.ema.update(self.model)

    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Unclipped)
    assert ours.error is None
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    assert report(ours)["guard"]["events_by_check"] == {"gradient": 1}


def test_a_grad_scaler_is_left_to_skip_by_itself(data, tmp_path, unpatched):
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=nan_gradient_at(5), scaler=True)
    assert ours.error is None
    assert report(ours)["guard"]["steps_skipped_by_grad_scaler"] == 1
    assert report(ours)["guard"]["dropped_micro_batches"] == 0
    assert ours.trainer.scaler.get_scale() == 32768


def test_a_scaler_that_skips_for_ever_makes_the_run_leave_float16_before_its_scale_is_zero(data, tmp_path, unpatched):
    class Faulty(lab.trainer_class("detect")):
        def optimizer_step(self):
            next(p for p in self.model.parameters() if p.grad is not None).grad[0] = float("nan")
            super().optimizer_step()

    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Faulty, scaler=True, epochs=12)
    assert isinstance(ours.error, TooManyBadBatches) and "10 bad micro-batches in a row" in str(ours.error)
    assert report(ours)["guard"]["events_by_check"] == {"loss-scale": 1, "gradient": 10}
    assert report(ours)["guard"]["steps_skipped_by_grad_scaler"] == 12
    assert lab.did(report(ours)["guard"]["events"][0])["left-float16"]["names"] == ["float32"]
    assert lab.not_finite(lab.checkpoint(ours.trainer.last).values()) == 0


@pytest.mark.slow
def test_gradients_that_stay_nan_stop_the_run_at_the_limit(data, tmp_path, unpatched):
    """Every loss is finite, so only the steps tell: without a limit the run would go on and learn nothing."""

    class Faulty(lab.trainer_class("detect")):
        def optimizer_step(self):
            if self.epoch:
                next(p for p in self.model.parameters() if p.grad is not None).grad[0] = float("nan")
            super().optimizer_step()

    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", trainer=Faulty, epochs=12)
    assert isinstance(ours.error, TooManyBadBatches) and "10 bad micro-batches in a row" in str(ours.error)
    assert report(ours)["guard"]["dropped_micro_batches"] == 10
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0


@pytest.mark.parametrize("first_bad", [0, *matrix(5)], ids=("first-epoch", "second-epoch"))
def test_too_many_bad_in_a_row_stop_the_run_with_a_clean_checkpoint(first_bad, data, tmp_path, unpatched):
    bad = {(n // 4, n % 4) for n in range(first_bad, 20)}
    with yolo_nanfix.patched(max_bad_in_a_row=3):
        ours = lab.train(data, tmp_path / "ours", trainer=lab.poisoned("detect", bad), epochs=5)
    assert isinstance(ours.error, TooManyBadBatches)
    assert "3 bad micro-batches in a row" in str(ours.error) and str(ours.trainer.last) in str(ours.error)
    assert lab.not_finite(lab.checkpoint(ours.trainer.last).values()) == 0
    assert not lab.is_zeroed(lab.checkpoint(ours.trainer.last))
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    assert report(ours)["outcome"] == "stopped" and not report(ours)["healthy"]
    assert report(ours)["guard"]["dropped_micro_batches"] == 3


@pytest.mark.slow
def test_good_batches_between_bad_ones_do_not_stop_the_run(data, tmp_path, unpatched):
    bad = {(e, n) for e in range(3) for n in (0, 2)}
    with yolo_nanfix.patched(max_bad_in_a_row=2):
        ours = lab.train(data, tmp_path / "ours", trainer=lab.poisoned("detect", bad), epochs=3)
    assert ours.error is None
    assert report(ours)["guard"]["dropped_micro_batches"] == 6


def test_a_poisoned_ema_is_fixed_before_it_is_saved(data, tmp_path, unpatched):
    def poison(validator):
        if validator.training and holder[0].epoch == 1:
            next(holder[0].ema.ema.parameters()).data.fill_(float("nan"))

    holder = []
    with yolo_nanfix.patched():
        ours = lab.train(
            data, tmp_path / "ours", epochs=3, callbacks={"on_train_start": holder.append, "on_val_end": poison}
        )
    assert ours.error is None
    (event,) = report(ours)["guard"]["events"]
    assert (event["checks"], event["epoch"]) == (["ema"], 2) and event["values"]["tensor"] == "model.0.conv.weight"
    assert lab.not_finite(lab.checkpoint(ours.trainer.last).values()) == 0
    assert report(ours)["healthy"]


def test_a_checkpoint_that_would_be_poisoned_is_not_written(data, tmp_path, unpatched):
    """Without snapshots, BatchNorm that a user's callback ruins just before the save cannot be fixed."""
    kept = {}

    def poison(validator):
        trainer = holder[0]
        if validator.training and trainer.epoch == 1:
            kept["last"] = trainer.last.read_bytes()
            for model in (trainer.model, trainer.ema.ema):
                next(b for b in model.buffers() if b.is_floating_point()).data.fill_(float("nan"))

    def look(trainer):
        if trainer.epoch == 1 and "seen" not in kept:
            kept["seen"] = trainer.last.read_bytes()

    holder = []
    callbacks = {"on_train_start": holder.append, "on_val_end": poison, "on_fit_epoch_end": look}
    with yolo_nanfix.patched(snapshot_every=0):
        ours = lab.train(data, tmp_path / "ours", epochs=2, callbacks=callbacks)
    assert ours.error is None and kept["seen"] == kept["last"]
    assert report(ours)["guard"]["events_by_check"]["checkpoint"] == 1
    assert not report(ours)["healthy"]


@pytest.mark.slow
def test_weights_that_a_step_made_not_finite_are_rolled_back_before_validation(data, tmp_path, unpatched):
    def poison(trainer):
        if trainer.epoch == 1:
            next(trainer.model.parameters()).data[0] = float("inf")

    with yolo_nanfix.patched(snapshot_every=2):
        ours = lab.train(data, tmp_path / "ours", epochs=3, callbacks={"on_train_epoch_end": poison})
    assert ours.error is None and report(ours)["healthy"]
    (event,) = report(ours)["guard"]["events"]
    assert event["checks"] == ["weights"] and event["values"]["tensor"] == "model.0.conv.weight"
    assert lab.did(event)["rolled-back"]["step"] == 8
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0


def test_without_snapshots_such_weights_stop_the_run(data, tmp_path, unpatched):
    def poison(trainer):
        if trainer.epoch == 1:
            next(trainer.model.parameters()).data[0] = float("inf")

    with yolo_nanfix.patched(snapshot_every=0):
        ours = lab.train(data, tmp_path / "ours", epochs=3, callbacks={"on_train_epoch_end": poison})
    assert isinstance(ours.error, PoisonedState) and "model.0.conv.weight" in str(ours.error)
    assert lab.not_finite(lab.checkpoint(ours.trainer.last).values()) == 0


def with_faulty_val_image(data, root, number=1):
    """A copy of the dataset in which one val image has a NaN pixel, in a float array beside it."""
    shutil.copytree(data.parent, root)
    image, _ = paths(root, "val", number)
    pixels = np.full((64, 64, 3), 80, np.float32)
    pixels[30:34, 30:34] = np.nan
    np.save(image.with_suffix(".npy"), pixels)
    return root / "data.yaml", image


@pytest.mark.parametrize("batch", [*matrix(4), 1])
def test_a_faulty_val_image_makes_stock_val_losses_nan_but_not_ours(batch, data, tmp_path, unpatched):
    faulty, image = with_faulty_val_image(data, tmp_path / "set")
    quiet = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "batch": batch, "nbs": batch, "epochs": 1}
    with lab.bare():
        stock = lab.train(faulty, tmp_path / "stock", **quiet)
    assert stock.rows()[0]["val/box_loss"] == "nan"
    with yolo_nanfix.patched():
        ours = lab.train(faulty, tmp_path / "ours", **quiet)
        events = report(ours)["guard"]["events"]
        assert [e["checks"] for e in events] == [
            ["val-predictions"],
            ["val-batch"],
            ["val-predictions"],
        ]  # and at the end
        assert all([s["file"] for s in e["sources"] if s["suspect"]] == [str(image)] for e in events)
        assert report(ours)["healthy"]

        image.with_suffix(".npy").unlink()
        image.unlink()
        trainer = ours.trainer  # the same weights, on a val split without that image
        trainer.validator.dataloader = trainer.get_dataloader(trainer.data["val"], batch * 2, -1, "val")
        without = trainer.validator(trainer)
    for key in ("val/box_loss", "val/cls_loss", "val/dfl_loss"):
        value = float(ours.rows()[0][key])
        assert np.isfinite(value)
        if batch == 4:  # one val batch: its mean over the other images is the mean over the split without it
            assert value == pytest.approx(without[key], abs=2e-5)


def test_a_micro_batch_that_upstream_drops_itself_leaves_no_poison_in_batchnorm(data, tmp_path, unpatched):
    """Out of memory in the middle of a faulty forward pass: Ultralytics halves the batch and starts the epoch again."""

    def run(path):
        def out_of_memory(model, inputs, output):
            if holder[0].seen == (0, 1) and not raised:
                raised.append(True)
                raise RuntimeError("out of memory")

        def arm(trainer):
            holder.append(trainer)
            trainer.model.register_forward_hook(out_of_memory)

        holder, raised = [], []
        trainer = lab.poisoned("detect", {(0, 1)})
        result = lab.train(data, path, trainer=trainer, callbacks={"on_train_start": arm})
        assert raised and result.trainer.batch_size == 2
        return result

    with lab.bare():
        stock = run(tmp_path / "stock")
    assert lab.not_finite(stock.trainer.model.buffers())
    with yolo_nanfix.patched():
        ours = run(tmp_path / "ours")
    assert ours.error is None
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    (event,) = report(ours)["guard"]["events"]
    assert event["checks"] == ["batchnorm"] and [*lab.did(event)] == ["dropped-upstream", "batchnorm-restored"]


def test_a_run_started_while_another_error_is_handled_is_not_taken_for_failed(data, tmp_path, unpatched):
    """As in a script that trains again, smaller, after an error."""
    with yolo_nanfix.patched():
        try:
            raise ValueError("the first attempt")
        except ValueError:
            ours = lab.train(data, tmp_path / "ours", epochs=1)
    assert report(ours)["outcome"] == "finished" and report(ours)["healthy"]


def test_a_run_that_fails_says_so(data, tmp_path, unpatched):
    def fail(trainer):
        raise ValueError("a user's callback")

    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", epochs=1, callbacks={"on_train_epoch_end": fail})
    assert report(ours)["outcome"] == "failed" and report(ours)["reasons"] == ["a user's callback"]


def test_val_losses_that_stay_nan_make_the_run_unhealthy_however_many_events_came_before():
    from types import SimpleNamespace

    from yolo_nanfix.events import Check, Event, Point
    from yolo_nanfix.guard.recorder import EVENTS_KEPT, Recorder
    from yolo_nanfix.health import LossKind, State, judge
    from yolo_nanfix.run_listener import figures

    recorder = Recorder()
    for epoch in range(1, EVENTS_KEPT + 2):
        recorder.add(Event(Point.VALIDATION, (Check.VAL_LOSS,), epoch, 0, (), "val/box_loss not finite"))
    assert len(recorder.events) == EVENTS_KEPT and recorder.latest["val-loss"].epoch == EVENTS_KEPT + 1
    assert recorder.as_dict()["events_left_out"] == 1
    trainer = SimpleNamespace(
        epoch=EVENTS_KEPT, start_epoch=0, csv="none", best="none", metrics={}, args=SimpleNamespace()
    )
    health = judge(figures(trainer, recorder, {}))
    assert (health.state, [lost.kind for lost in health.lost]) == (State.FAILED, [LossKind.VAL_LOSS])
    trainer.epoch += 1  # the last epoch's were finite again
    assert judge(figures(trainer, recorder, {})).healthy


@pytest.mark.slow
def test_state_faults_far_apart_never_end_a_run_and_cost_the_steps_of_their_epoch_alone(data, tmp_path, unpatched):
    """A user's callback writes a NaN into a weight once an epoch, in more epochs than `max_rollbacks`."""

    def spoil(trainer):
        trainer.steps_so_far = getattr(trainer, "steps_so_far", 0) + 1
        if trainer.steps_so_far % 4 == 3:
            next(trainer.model.parameters()).data.view(-1)[0] = float("nan")

    options = {"epochs": 7, "val": False, "callbacks": {"on_train_batch_end": spoil}}
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", **options)
    assert stock.error is not None or lab.not_finite(stock.trainer.model.parameters())
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", **options)
    assert ours.error is None and lab.not_finite(lab.state(ours.trainer).values()) == 0
    guard = json.loads((tmp_path / "ours" / "yolo-nanfix.json").read_text())["guard"]
    assert guard["rollbacks"] == 7 and guard["dropped_micro_batches"] == 7
    assert guard["steps_taken"] == 21  # none for a dropped micro-batch
    assert guard["steps_undone"] == 3 + 6 * 1  # from the first rollback on there is a newer state to go back to
