"""The sensors by name: what each checks, when, and what it costs. README and `explain` show this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sensor:
    """One sensor.

    Attributes:
        name: as events name it.
        looks_at: what it reads and what it calls bad.
        when: how often.
        cost: share of a training step (YOLOv8n, batch 8, imgsz 160, one CPU core); on a GPU all that looks after
            the loss shares one read, which stands in for those that Ultralytics' progress bar would make.
        does: what follows.
    """

    name: str
    looks_at: str
    when: str
    cost: str
    does: str


SENSORS = (
    Sensor(
        "samples",
        "what the loader gives: files that cannot be read, float pixels: NaN, Inf, though the file is in order",
        "each micro-batch",
        "0.001 %",
        "tries again, leaves the sample out, goes on with it when it is back; stops where a quarter is gone",
    ),
    Sensor("loss", "the loss and its terms: NaN, Inf", "each micro-batch", "0.001 %", "drops the micro-batch"),
    Sensor("outputs", "what the head gives to the loss: NaN, Inf", "each micro-batch", "0.014 %", "drops it"),
    Sensor(
        "targets",
        "boxes, classes, keypoints: NaN, Inf, which assigners swallow; classes and image numbers that do not exist",
        "each micro-batch; classes and image numbers in validation, too",
        "0.02 %",
        "drops it, or leaves the sample out",
    ),
    Sensor(
        "pixels",
        "NaN, Inf; and, reported only, values outside 0 to 1",
        "each micro-batch of images loaded as floats, else the first of an epoch",
        "0.04 %",
        "drops it",
    ),
    Sensor(
        "batchnorm",
        "running means and variances: NaN, Inf; other state of modules is put back with them",
        "each micro-batch",
        "0.024 %",
        "puts them back",
    ),
    Sensor(
        "gradient",
        "of each micro-batch, and the norm that clipping returns",
        "each micro-batch and step",
        "0.005 %",
        "drops the micro-batch alone",
    ),
    Sensor(
        "settings",
        "learning rate, decay, momentum and the like of the optimizer's groups: NaN, Inf",
        "each step",
        "0.002 %",
        "refuses the step",
    ),
    Sensor("loss-scale", "steps that the GradScaler skips in a row", "each step", "none", "leaves float16 at 12"),
    Sensor(
        "divergence",
        "loss stuck at 0, spikes and explosions of loss and gradient norm",
        "each micro-batch and step",
        "0.001 %",
        "clips harder; or rolls back, lowers the learning rate",
    ),
    Sensor(
        "update-ratio",
        "how far weights moved against their size",
        "every 50 steps",
        "2.2 % of that step",
        "rolls back, lowers the learning rate",
    ),
    Sensor(
        "weights",
        "parameters and normalisation statistics: NaN, Inf, all zero",
        "each epoch, save and fault",
        "3.2 % of that step",
        "rolls back",
    ),
    Sensor(
        "optimizer",
        "the optimizer's state: NaN, Inf",
        "at the start and at a fault",
        "2.9 % of that step",
        "repairs it, rolls back",
    ),
    Sensor(
        "ema",
        "the averaged model: NaN, Inf, all zero",
        "each epoch and save",
        "3.8 % of that step",
        "copies the model's",
    ),
    Sensor(
        "val-batch",
        "the loss of a validation batch: NaN, Inf",
        "each validation batch",
        "a sum a batch",
        "leaves the non-finite images out",
    ),
    Sensor("val-loss", "mean validation losses and fitness: NaN, Inf", "each validation", "none", "reports it"),
    Sensor(
        "val-predictions",
        "what the model predicts: NaN, Inf, which metrics may take for right",
        "each validation batch",
        "a sum a batch",
        "keeps them from the metrics",
    ),
    Sensor(
        "checkpoint",
        "what is to be written, and the file that was",
        "each save",
        "one checksum",
        "keeps the last good file",
    ),
)
