"""State of modules beside weights and BatchNorm: left alone by design, put back with a dropped micro-batch."""

from __future__ import annotations

import json
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix
from torch import nn

import yolo_nanfix
from yolo_nanfix.guard.module_state import SMALL_TENSOR, ModuleState, NormBuffers

NAN, INF = float("nan"), float("inf")


class Keeper(nn.Module):
    """A user's module that changes all kinds of state in its forward pass; `factor` is what it multiplies with."""

    def __init__(self, persistent: bool = False) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((4, 4), -INF).triu(1), persistent=persistent)
        self.register_buffer("lowest", torch.tensor(INF))
        self.register_buffer("behind", torch.zeros(3))
        self.register_buffer("large", torch.zeros(SMALL_TENSOR + 1))
        self.register_buffer("bound", torch.zeros(2), persistent=False)
        self.register_buffer("grown", torch.zeros(0), persistent=False)
        self.plain = torch.zeros(2)
        self.mean = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            seen = x.detach().float().mean()
            self.lowest.copy_(torch.minimum(self.lowest, seen))
            self.behind.data.add_(seen)
            self.large.add_(seen)
            self.bound = self.bound + seen
            self.grown.resize_(2).fill_(seen)
            self.plain = self.plain + seen
            self.mean = 0.9 * self.mean + float(seen)
        return x


def held(keeper: Keeper) -> dict[str, torch.Tensor]:
    named = {name: buffer.clone() for name, buffer in keeper.named_buffers()}
    return {**named, "plain": keeper.plain.clone(), "mean": torch.tensor(keeper.mean)}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[n]) for n, t in one.items())


def test_everything_is_put_back_as_it_was_before_the_forward_pass():
    keeper = Keeper()
    state = ModuleState(keeper, NormBuffers(keeper))
    assert state.born_non_finite == ("mask", "lowest")
    for _ in range(5):  # later passes find nothing new, and what is bound anew is followed
        state.copy()
        before = held(keeper)
        keeper(torch.full((2, 2), NAN))
        assert not keeper.behind.isfinite().any() and not keeper.bound.isfinite().any()
        assert state.restore([]) == []
        assert equal(before, held(keeper))
        state.copy()
        keeper(torch.ones(2, 2))


def test_what_was_poisoned_without_harm_is_taken_from_the_newest_clean_state():
    keeper = Keeper()
    state = ModuleState(keeper, NormBuffers(keeper))
    keeper.behind.fill_(NAN)
    state.copy()
    clean, faulty = {"behind": torch.full((3,), 7.0)}, {"behind": torch.full((3,), NAN)}
    assert state.restore([faulty, clean]) == ["behind"] and keeper.behind.tolist() == [7.0] * 3
    keeper.lowest.fill_(NAN)
    state.copy()
    assert state.restore([]) == ["lowest"] and keeper.lowest == INF  # Inf when training began, so Inf is no fault


def test_a_large_buffer_that_nobody_changes_is_copied_once():
    net = nn.Module()
    net.register_buffer("table", torch.zeros(SMALL_TENSOR + 1))
    state = ModuleState(net, NormBuffers(net))
    copy = state.named()["table"]
    state.copy()
    assert state.named()["table"] is copy
    net.table.add_(1)
    state.copy()
    assert state.named()["table"].eq(1).all() and copy.eq(0).all()


class Odd(nn.Module):
    """Tensors that cannot be looked at, or not be written to, and state that is made or kept in unusual places."""

    made = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sparse", torch.eye(4).to_sparse(), persistent=False)
        self.register_buffer("narrow", torch.zeros(8).to(torch.float8_e4m3fn), persistent=False)
        self.register_buffer("expanded", torch.zeros(1).expand(2, 3), persistent=False)
        self.register_buffer("later", None, persistent=False)
        self.shape = torch.empty(3, device="meta")
        with torch.inference_mode():
            self.inferred = torch.arange(4.0)
        self.means, self.by_name = [1.0], {"mean": torch.ones(2)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            seen = x.detach().float().mean()
            self.later = seen.clone() if self.later is None else self.later + seen
            self.made = seen.clone() if self.made is None else self.made + seen
            if not hasattr(self, "registered"):
                self.register_buffer("registered", seen.clone(), persistent=False)
            self.expanded, self.inferred = self.expanded + seen, self.inferred + seen
            self.means[0] += float(seen)
            self.by_name["mean"] += seen
        return x


def test_state_in_unusual_places_is_put_back_and_made_anew():
    odd = Odd()
    state = ModuleState(odd, NormBuffers(odd))
    state.copy()
    means, by_name = odd.means, odd.by_name
    odd(torch.full((2, 2), NAN))
    assert state.restore([]) == []
    assert odd.later is None and odd.made is None and "made" not in vars(odd) and not hasattr(odd, "registered")
    assert odd.expanded.eq(0).all() and odd.inferred.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert odd.means is means == [1.0] and odd.by_name is by_name and by_name["mean"].eq(1).all()
    odd(torch.ones(2, 2))
    state.copy()
    with torch.inference_mode():
        odd.inferred = torch.arange(4.0)  # cannot be written to; nor can one of several places of one value
    odd.expanded = torch.ones(1).expand(2, 3)
    state.copy()
    odd(torch.full((2, 2), NAN))
    state.restore([])
    assert odd.expanded.eq(1).all() and odd.inferred.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert odd.later == 1 and odd.made == 1 and odd.means == [2.0]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


class Behind(nn.Module):
    """A layer with the user's module behind it."""

    def __init__(self, inner: nn.Module, persistent: bool) -> None:
        super().__init__()
        self.inner, self.keeper, self.odd = inner, Keeper(persistent), Odd()
        self.i, self.f, self.type = inner.i, inner.f, "Behind"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.odd(self.keeper(self.inner(x)))


class Kept(lab.trainer_class("detect")):
    """A user's trainer with that layer."""

    persistent = False

    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[0] = Behind(model.model[0], self.persistent)
        model.model[0].keeper.grown.resize_(2)  # upstream's own EMA needs shapes that stay
        return model


class Persistent(Kept):
    """... whose mask is part of the state_dict, of which Ultralytics' average makes NaN."""

    persistent = True


class Faulty(Kept):
    """... whose third micro-batch holds a NaN, and which looks at the module around that."""

    number = -1

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        self.number += 1
        keeper = self.model.model[0].keeper
        if self.number == 2:
            self.before = held(keeper)
            batch["img"][0, 0, 0, 0] = NAN
        return batch

    def run_callbacks(self, event):
        super().run_callbacks(event)
        if event == "on_train_batch_end" and self.number == 2:
            self.after = held(self.model.model[0].keeper)


def report(result: lab.Result) -> dict:
    return json.loads((Path(result.trainer.save_dir) / "yolo-nanfix.json").read_text())


class Frozen(Kept):
    """... beside a frozen parameter of -inf, as masks are kept, too."""

    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[0].keeper.causal = nn.Parameter(torch.full((4, 4), -INF).triu(1))
        return model


@pytest.mark.parametrize(
    ("trainer", "told", "freeze"),
    [
        (Persistent, ["model.0.keeper.mask"], None),
        *matrix((Kept, [], None), (Frozen, ["model.0.keeper.causal"], [0])),
    ],
)
def test_a_healthy_run_with_infinite_buffers_is_stock_s_bit_for_bit(trainer, told, freeze, data, tmp_path, unpatched):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=trainer, freeze=freeze)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", trainer=trainer, freeze=freeze)
    assert ours.error is None and ours.losses == stock.losses
    ours_state, stock_state = lab.state(ours.trainer), lab.state(stock.trainer)
    assert [k for k, v in stock_state.items() if not torch.equal(ours_state[k].nan_to_num(7), v.nan_to_num(7))] == []
    guard = report(ours)["guard"]
    assert guard["events"] == [] and guard["dropped_micro_batches"] == 0 and guard["ema_nan"] == told
    assert report(ours)["state"] == ("degraded" if told else "healthy")
    ours_weights, stock_weights = lab.checkpoint(ours.trainer.last), lab.checkpoint(stock.trainer.last)
    assert all(torch.equal(ours_weights[k], v) for k, v in stock_weights.items())


def test_a_dropped_micro_batch_leaves_no_trace_in_a_user_s_module(data, tmp_path, unpatched):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=Faulty, epochs=1, val=False)
    assert not stock.trainer.after["large"].isfinite().any()
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", trainer=Faulty, epochs=1, val=False)
    assert ours.error is None and equal(ours.trainer.before, ours.trainer.after)
    assert report(ours)["guard"]["dropped_micro_batches"] == 1
    assert lab.not_finite(lab.state(ours.trainer)[k] for k in ("model.model.0.keeper.large",)) == 0
