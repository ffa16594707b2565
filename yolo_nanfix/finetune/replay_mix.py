"""Mixes images of old classes into each epoch of a training that adds classes.

Every image with an object of an added class is drawn once an epoch, and so many of the others (drawn anew each epoch)
that they have the wanted share. The order depends on the run's seed and the epoch alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from yolo_nanfix.finetune.recipe import RecipeError


class ReplaySampler(Sampler[int]):
    """Draws all `new` images and a share of the `old` ones; each rank its part, all parts of one length."""

    def __init__(
        self, new: Sequence[int], old: Sequence[int], share: float, *, seed: int, epoch: int, rank: int, ranks: int
    ) -> None:
        """Nothing is drawn yet.

        Args:
            new, old: indices of images.
            share: of old images in an epoch, 0 to 1 (excluded); fewer if there are not so many.
            seed: of the run.
            epoch: 0-based, of the first pass.
            rank, ranks: which part of each pass is drawn here.
        """
        self.new, self.old = torch.as_tensor(list(new)), torch.as_tensor(list(old))
        self.replayed = min(len(old), round(len(new) * share / (1 - share)))
        self.seed, self.epoch, self.rank, self.ranks = seed, epoch, rank, ranks

    def __len__(self) -> int:
        """The images of one rank in an epoch."""
        return math.ceil((len(self.new) + self.replayed) / self.ranks)

    def __iter__(self) -> Iterator[int]:
        """One epoch; the next call draws the next."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        self.epoch += 1
        drawn = self.old[torch.randperm(len(self.old), generator=generator)[: self.replayed]]
        both = torch.cat([self.new, drawn])
        order = both[torch.randperm(len(both), generator=generator)]
        padded = torch.cat([order, order[: len(self) * self.ranks - len(order)]])
        yield from padded[self.rank :: self.ranks].tolist()

    def set_epoch(self, epoch: int) -> None:
        """As of a DistributedSampler, which a trainer tells the epoch."""
        self.epoch = epoch


def mode_of(build: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The `mode` with which a loader is asked for, train or val."""
    bound = inspect.signature(build).bind(*args, **kwargs)
    bound.apply_defaults()
    return str(bound.arguments.get("mode", "train"))


def mix(loader: Any, added: Sequence[int], share: float, trainer: Any) -> dict[str, Any]:
    """Let a training loader draw the mix, in place of its sampler.

    Args:
        loader: Ultralytics' loader, not iterated yet.
        added: numbers of the added classes.
        share: wanted share of images without them.
        trainer: its trainer.

    Returns:
        How many images have an added class (`new`), have none (`old`), and are drawn of the latter (`replayed`).

    Raises:
        RecipeError: the set has no images of one kind, or the loader draws otherwise than Ultralytics' own.
    """
    classes = _classes_by_image(loader.dataset)
    batches: Any = getattr(loader.batch_sampler, "sampler", None)
    if classes is None or not hasattr(batches, "sampler"):
        raise RecipeError(f"old classes cannot be mixed in: {type(loader).__name__} is not Ultralytics' own loader")
    has_new = np.array([bool(np.isin(one, added).any()) for one in classes], bool)
    new, old = np.flatnonzero(has_new), np.flatnonzero(~has_new)
    if not len(new) or not len(old):
        kind = "an object of the added classes" if not len(new) else "none of the added classes only, to replay"
        raise RecipeError(f"no training image has {kind}")
    ranks = max(1, int(getattr(trainer, "world_size", 1) or 1))
    rank = torch.distributed.get_rank() if ranks > 1 else 0
    epoch, seed = int(getattr(trainer, "start_epoch", 0)), int(trainer.args.seed)
    sampler = ReplaySampler(new.tolist(), old.tolist(), share, seed=seed, epoch=epoch, rank=rank, ranks=ranks)
    batches.sampler = sampler
    object.__setattr__(loader, "sampler", sampler)  # DataLoader refuses it, but only warns of what is read from here
    return {"new": len(new), "old": len(old), "replayed": sampler.replayed}


def _classes_by_image(dataset: Any) -> list[Any] | None:
    """The classes of each image of a set with labels or of class folders; None for other sets."""
    if (labels := getattr(dataset, "labels", None)) is not None:
        return [label["cls"] for label in labels]
    samples = getattr(dataset, "samples", None)
    return None if samples is None else [sample[1] for sample in samples]
