"""A trainer that trains on two CPU processes over gloo: what Ultralytics does with two GPUs, without them.

Ultralytics itself offers DDP for accelerators alone. Only the device, the process group's backend and the device ids
of DistributedDataParallel are other than with GPUs; the launch, the processes and the loop are Ultralytics' own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from ultralytics.engine import trainer as engine
from ultralytics.models.yolo.detect import DetectionTrainer

import yolo_nanfix

yolo_nanfix.patch("torchvision-operators-missing")  # what stock needs to train at all, where torchvision does not fit
RANK = int(os.getenv("RANK", "-1"))


class CpuDdp(torch.nn.parallel.DistributedDataParallel):
    """On a CPU there are no device ids."""

    def __init__(self, module, device_ids=None, **kwargs):
        super().__init__(module, **kwargs)


class SickBackward:
    """A user's loss: finite, with a gradient that is not, in one micro-batch."""

    def __init__(self, stock, trainer):
        self.stock, self.trainer, self.number = stock, trainer, trainer.seen

    def __call__(self, outputs, batch):
        loss, items = self.stock(outputs, batch)
        if self.trainer.seen == self.number:
            loss = loss + (loss - loss.detach()).abs().sum().sqrt()  # 0, with the slope of sqrt at 0
        return loss, items

    def __deepcopy__(self, memo):
        return self


class CpuDdpTrainer(DetectionTrainer):
    """Two processes, gloo, CPU. DDP_FAULT=RANK:BATCH:KIND plants a fault in one micro-batch of one rank alone."""

    seen = -1

    def __init__(self, *args, overrides=None, **kwargs):
        super().__init__(*args, overrides={**overrides, "device": "cpu"}, **kwargs)
        self.args.device = "0,1"  # from which older releases count the processes
        self.world_size = 2
        self.ddp = RANK == -1
        self.add_callback("on_train_batch_end", report)

    def _setup_ddp(self, *_):
        engine.nn.parallel.DistributedDataParallel = CpuDdp
        self.device = torch.device("cpu")
        dist.init_process_group("gloo", rank=RANK, world_size=2)

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        self.seen += 1
        rank, number, kind = os.getenv("DDP_FAULT", "9:0:").split(":")
        if (int(rank), int(number)) == (RANK, self.seen):
            if kind == "pixel":
                batch["img"][0, 0, 0, 0] = float("nan")
            elif kind == "settings":
                self.decay = self.optimizer.param_groups[1]["weight_decay"]
                self.optimizer.param_groups[1]["weight_decay"] = float("nan")
            else:
                self.model.module.criterion = SickBackward(self.model.module.init_criterion(), self)
        elif (int(rank), int(number), kind) == (RANK, self.seen - 1, "settings"):
            self.optimizer.param_groups[1]["weight_decay"] = self.decay
        return batch

    def final_eval(self):
        """Not here: the standalone validator takes every DDP worker for one of a GPU."""


GATHERED = []
gather = dist.all_gather_object


def counted(*args, **kwargs):
    """A collective of ours."""
    GATHERED.append(args)
    return gather(*args, **kwargs)


dist.all_gather_object = counted


def report(trainer):
    """What this process has in force, and what its weights have come to."""
    patches = {p.name: dict(p.params) for p in yolo_nanfix.status().patches if p.state == "on"}
    weights = torch.cat([p.detach().flatten().double() for p in trainer.model.parameters()])
    found = {
        "updates": trainer.ema and trainer.ema.updates,
        "gathered": len(GATHERED),
        "patches": patches,
        "sum": float(weights.sum()),
        "finite": bool(weights.isfinite().all()),
    }
    Path(os.environ["DDP_REPORT"]).joinpath(f"{RANK}.json").write_text(json.dumps(found))
