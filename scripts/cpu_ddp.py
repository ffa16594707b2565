"""A trainer that trains on several CPU processes over gloo: what Ultralytics does with several GPUs, without them.

Ultralytics itself offers DDP for accelerators alone. Only the device, the process group's backend and the device ids
of DistributedDataParallel are other than with GPUs; the launch, the processes and the loop are Ultralytics' own.

    DDP_WORLD   how many processes; 2 by default
    DDP_REPORT  the folder into which each rank reports what it has in force, and what its weights have come to
    DDP_FAULT   faults to plant, as RANK:BATCH:KIND, several of them apart by `;`: see `FAULTS`
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from ultralytics.engine import trainer as engine
from ultralytics.models.yolo.detect import DetectionTrainer

import yolo_nanfix

yolo_nanfix.patch("torchvision-operators-missing")  # what stock needs to train at all, where torchvision does not fit
RANK = int(os.getenv("RANK", "-1"))
WORLD = int(os.getenv("DDP_WORLD", "2"))
FAULTS = {
    "pixel": "one NaN pixel in the batch",
    "box": "a NaN box in the batch",
    "settings": "a weight decay that is NaN, for one batch",
    "backward": "a finite loss with a gradient that is not",
    "graphless": "a loss that no gradient can be taken of: an exception",
    "kill": "SIGKILL to this rank",
    "stop": "SIGSTOP to this rank",
    "hang": "this rank waits for ever before its batch",
    "term": "SIGTERM to this rank",
    "val": "one NaN pixel in a batch of each validation",
}
planted = [tuple(one.split(":")) for one in os.getenv("DDP_FAULT", "").split(";") if one]


class CpuDdp(torch.nn.parallel.DistributedDataParallel):
    """On a CPU there are no device ids."""

    def __init__(self, module, device_ids=None, **kwargs):
        super().__init__(module, **kwargs)


class FaultyBackward:
    """A user's loss: finite, with a gradient that is not, in one micro-batch; or without a gradient at all."""

    def __init__(self, stock, trainer, kind):
        self.stock, self.trainer, self.number, self.kind = stock, trainer, trainer.seen, kind

    def __call__(self, outputs, batch):
        loss, items = self.stock(outputs, batch)
        if self.trainer.seen == self.number and self.kind == "graphless":
            return loss.detach(), items
        if self.trainer.seen == self.number:
            loss = loss + (loss - loss.detach()).abs().sum().sqrt()  # 0, with the slope of sqrt at 0
        return loss, items

    def __deepcopy__(self, memo):
        return self


class CpuDdpTrainer(DetectionTrainer):
    """Several processes, gloo, CPU, with the faults of DDP_FAULT in single micro-batches of single ranks."""

    seen = -1

    def __init__(self, *args, overrides=None, **kwargs):
        super().__init__(*args, overrides={**overrides, "device": "cpu"}, **kwargs)
        self.args.device = ",".join(map(str, range(WORLD)))  # from which older releases count the processes
        self.world_size = WORLD
        self.ddp = RANK == -1
        self.decay = {}
        self.add_callback("on_train_batch_end", report)

    def _setup_ddp(self, *_):
        engine.nn.parallel.DistributedDataParallel = CpuDdp
        self.device = torch.device("cpu")
        dist.init_process_group("gloo", rank=RANK, world_size=WORLD)

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        self.seen += 1
        for rank, number, kind in planted:
            if kind == "val":
                continue
            if int(rank) == RANK and int(number) == self.seen:
                self.plant(kind, batch)
            elif kind == "settings" and int(rank) == RANK and int(number) == self.seen - 1:
                self.optimizer.param_groups[1]["weight_decay"] = self.decay.pop(self.seen - 1)
        return batch

    def get_validator(self):
        validator = super().get_validator()
        bound = validator.preprocess

        def preprocess(batch):
            batch = bound(batch)
            if [str(RANK), str(validator.batch_i), "val"] in map(list, planted):
                batch["img"][0, 0, 0, 0] = float("nan")
            return batch

        validator.preprocess = preprocess
        return validator

    def plant(self, kind, batch):
        if kind == "pixel":
            batch["img"][0, 0, 0, 0] = float("nan")
        elif kind == "box":
            batch["bboxes"][0, 0] = float("nan")
        elif kind == "settings":
            self.decay[self.seen] = self.optimizer.param_groups[1]["weight_decay"]
            self.optimizer.param_groups[1]["weight_decay"] = float("nan")
        elif kind in ("backward", "graphless"):
            self.model.module.criterion = FaultyBackward(self.model.module.init_criterion(), self, kind)
        elif kind == "hang":
            time.sleep(3600)
        else:
            moment = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}
            os.kill(os.getpid(), moment[kind])

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
        "pid": os.getpid(),
        "updates": trainer.ema and trainer.ema.updates,
        "gathered": len(GATHERED),
        "patches": patches,
        "sum": float(weights.sum()),
        "finite": bool(weights.isfinite().all()),
    }
    Path(os.environ["DDP_REPORT"]).joinpath(f"{RANK}.json").write_text(json.dumps(found))


def arguments(pairs):
    """`key=value` words as values."""
    from yolo_nanfix import training

    return training.parse_pairs(pairs)
