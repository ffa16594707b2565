"""A diagnosis in the run leaves the run as it was, bit for bit."""

from __future__ import annotations

import random

import injections
import pytest
import torch
from torch import nn

from yolo_nanfix.diagnosis.examine import examine
from yolo_nanfix.incident import Incident
from yolo_nanfix.verdicts import Cause


@pytest.mark.parametrize("kind", ("batchnorm", "backward-only"))
def test_model_gradients_criterion_and_random_numbers_stay(kind, bench):
    case = injections.inject(kind, bench("yolov8n"), 21)
    model = case.model
    for i, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(i))
    model.model[0].bn.eval()  # as freeze does
    state = {k: v.clone() for k, v in model.state_dict().items()}
    grads = [p.grad.clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    criterion = model.criterion
    numbers = {k: v for k, v in vars(criterion).items() if isinstance(v, (int, float))}
    batch = {k: v.clone() for k, v in case.incident.tensors.items()}
    torch.manual_seed(77)
    rng, threads = torch.get_rng_state(), torch.get_num_threads()

    verdict = examine(case.incident, model)

    assert verdict.cause is case.truth.cause
    assert torch.equal(rng, torch.get_rng_state()) and threads == torch.get_num_threads()
    assert [k for k, v in model.state_dict().items() if not torch.equal(v.nan_to_num(), state[k].nan_to_num())] == []
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert modes == [m.training for m in model.modules()]
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert model.criterion is criterion
    assert numbers == {k: v for k, v in vars(criterion).items() if isinstance(v, (int, float))}
    assert all(torch.equal(v.nan_to_num(), batch[k].nan_to_num()) for k, v in case.incident.tensors.items())


def test_frozen_batchnorm_is_replayed_frozen(bench):
    """With its statistics frozen, a layer reads them: what would be healthy in training mode is not."""
    setup = bench("yolov8n")
    fault = injections.Fault(setup, setup.model(), setup.batch(random.Random(1)))
    fault.model.model[2].cv1.bn.eval()
    fault.model.model[2].cv1.bn.running_var.fill_(-1.0)
    incident, bad = fault.incident()
    assert bad
    verdict = examine(incident, fault.model)
    assert (verdict.op, verdict.module) == ("aten.native_batch_norm", "model.2.cv1.bn")


class Uncopied(nn.Linear):
    """A model that cannot be copied."""

    def __deepcopy__(self, memo):
        raise RuntimeError("no copies of me")


class Failing(nn.Linear):
    """A model that cannot be run."""

    def forward(self, batch):
        raise ValueError("cannot run this")


def test_a_model_built_from_an_incident_leaves_no_hook_on_modules_that_all_models_share(bench):
    from ultralytics.nn.modules import Conv

    incident = injections.inject("batchnorm", bench("yolov8n"), 5).incident
    assert examine(incident).cause is Cause.STATE
    assert not Conv.default_act._forward_hooks and not Conv.default_act._forward_pre_hooks


class Joined(nn.Linear):
    """A model that waits for other processes."""

    def __init__(self, *size):
        super().__init__(*size)
        self.norm = nn.SyncBatchNorm(2)


UNFIT = ((Uncopied, "no copies of me"), (Failing, "cannot run this"), (Joined, "SyncBatchNorm would wait"))


@pytest.mark.parametrize(("model", "said"), UNFIT)
def test_where_no_replay_is_possible_the_verdict_is_unknown_and_says_why(model, said):
    incident = Incident({"sources": [], "precision": "float32"}, {"batch.img": torch.zeros(1, 3, 8, 8)})
    verdict = examine(incident, model(2, 2))
    assert verdict.cause is Cause.UNKNOWN and said in verdict.evidence["replay"]


def test_facts_of_an_odd_form_do_not_stop_a_run():
    verdict = examine(Incident({"sources": [3]}, {"batch.img": torch.zeros(1, 3, 8, 8)}), nn.Linear(2, 2))
    assert verdict.cause is Cause.UNKNOWN and "AttributeError" in verdict.evidence["diagnosis"]
