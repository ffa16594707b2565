"""A trial of recipes on one dataset: each trains a little, the better half goes on, the last is judged against stock.

Successive halving over seeds: in round r every recipe that is still in trains with seed r, all for the same epochs and
validated on the same images, so that the differences to stock are paired. After each round the lower half is out; stock
never is. With one recipe left beside stock, seeds go on until the time is used. A recipe wins only if the interval of
its difference to stock leaves 0 out: over seeds and images, as in `bench`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from yolo_nanfix import api
from yolo_nanfix.errors import UsageError
from yolo_nanfix.finetune.arms import Arm, Bench, judge
from yolo_nanfix.finetune.recipe import STOCK_RECIPE
from yolo_nanfix.finetune.repeats import Repeat, Trained, kept, train_once
from yolo_nanfix.finetune.statistics import RESAMPLES

MOST_SEEDS = 10
"""More seeds of the last two recipes tell hardly more: the images that judge are what is uncertain then."""
FEWEST_SEEDS = 2
"""With one seed there is no telling the recipe from the seed."""


class Ending(str, Enum):
    """How a trial ended."""

    WINNER = "winner"
    """A recipe is better than stock."""
    WORSE = "stock-is-better"
    """The best recipe is worse than stock."""
    NO_DIFFERENCE = "no-difference"
    """The best recipe may be as good as stock: stock stays."""
    TOO_SHORT = "too-short"
    """There was not time for two seeds of the last two: stock stays."""


@dataclass(frozen=True)
class Round:
    """One round of the halving.

    Attributes:
        seed: with which the recipes trained.
        recipes: those that trained.
        means: mean mAP50-95 of each over its seeds so far.
        out: those that went out after it.
    """

    seed: int
    recipes: tuple[str, ...]
    means: Mapping[str, float]
    out: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """The result of a trial.

    Attributes:
        ending: how it ended.
        recipe: what to train with; stock unless a recipe won.
        best: the recipe that was judged against stock.
        rounds: of the halving.
        final: stock and `best` with their common seeds; None if there was no common one.
        seconds: CPU seconds of all trainings.
        epochs: of each training.
        out: the folder with all runs.
    """

    ending: Ending
    recipe: str
    best: str
    rounds: tuple[Round, ...]
    final: Bench | None
    seconds: float
    epochs: int
    out: Path

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        rounds = [
            {**vars(one), "recipes": list(one.recipes), "means": dict(one.means), "out": list(one.out)}
            for one in self.rounds
        ]
        return {
            "ending": self.ending.value,
            "recipe": self.recipe,
            "best": self.best,
            "rounds": rounds,
            "final": None if self.final is None else self.final.as_dict(),
            "cpu_seconds": self.seconds,
            "epochs": self.epochs,
            "out": str(self.out),
        }


class Budget:
    """Minutes of wall time, and whether another training fits."""

    def __init__(self, minutes: float, now: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            minutes: for all trainings.
            now: seconds.
        """
        self.minutes, self._now, self._began = minutes, now, now()
        self._took: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds."""
        return 60 * self.minutes - (self._now() - self._began)

    def note(self, recipe: str, seconds: float) -> None:
        """How long a training took."""
        self._took[recipe] = max(seconds, self._took.get(recipe, 0.0))

    def affords(self, recipes: Sequence[str]) -> bool:
        """Whether one training of each is expected to fit."""
        usual = max(self._took.values(), default=0.0)
        return sum(self._took.get(one, usual) for one in recipes) <= self.left


def trial(
    recipes: Sequence[str],
    make: Callable[[str, int], Repeat],
    out: Path,
    minutes: float,
    groups: Mapping[str, int],
    *,
    epochs: int,
    progress: api.Progress | None = None,
    budget: Budget | None = None,
    resamples: int = RESAMPLES,
    train: Callable[[Repeat, Path], Trained] = train_once,
) -> Trial:
    """Choose a recipe.

    Args:
        recipes: names of recipes; stock is added if it is not among them.
        make: the training of a recipe with a seed.
        out: the folder of all runs; what is finished there is taken from it, and costs no time.
        minutes: of wall time.
        groups: image -> group, as for `Arm`.
        epochs: of each training.
        progress: called with (seconds used, seconds in all, what) before each training.
        budget: in place of `minutes`.
        resamples: as for `judge`.
        train: trains one.

    Raises:
        UsageError: the time does not suffice for stock and one recipe.
        NanfixError: a training failed.
        KeyboardInterrupt: a signal ended it; calling it again goes on.
    """
    budget = budget or Budget(minutes)
    left = [STOCK_RECIPE, *(one for one in dict.fromkeys(recipes) if one != STOCK_RECIPE)]
    done: dict[str, list[Trained]] = {one: [] for one in left}
    rounds: list[Round] = []

    def once(recipe: str, seed: int) -> None:
        repeat = make(recipe, seed)
        if progress is not None:
            total = 60 * budget.minutes
            progress(int(min(total - budget.left, total)), int(total), f"{recipe}, seed {seed}")
        known, began = kept(repeat, out) is not None, budget.left
        done[recipe].append(train(repeat, out))
        if not known:
            budget.note(recipe, began - budget.left)
        if recipe == STOCK_RECIPE and seed == 0 and not budget.affords([STOCK_RECIPE]):
            raise UsageError(
                f"{budget.minutes:g} minutes do not suffice: one training of {epochs} epochs took"
                f" {(began - budget.left) / 60:.1f}, and two are needed at least; give more minutes, or fewer epochs"
            )

    for seed in range(MOST_SEEDS):
        trained: list[str] = []
        for recipe in left:
            pair = (recipe,) if trained else left[:2]  # stock alone tells nothing
            if not budget.affords([one for one in pair if kept(make(one, seed), out) is None]):
                break
            once(recipe, seed)
            trained.append(recipe)
        if len(trained) < 2:
            break
        means = {one: _mean(done[one]) for one in trained}
        ranked = sorted(trained[1:], key=lambda one: -means[one])
        stay = ranked[: math.ceil(len(ranked) / 2)] if len(ranked) > 1 else ranked
        rounds.append(
            Round(seed, tuple(trained), means, tuple(one for one in left if one not in (STOCK_RECIPE, *stay)))
        )
        left = [STOCK_RECIPE, *stay]
    best = left[1] if len(left) > 1 else STOCK_RECIPE
    common = min(len(done[STOCK_RECIPE]), len(done[best]))
    final = None
    if best != STOCK_RECIPE and common:
        arms = [Arm(name, tuple(done[name][:common]), groups) for name in (STOCK_RECIPE, best)]
        final = judge(arms, out, folds=False, resamples=resamples)
    ending = _ending(final, common)
    recipe = best if ending is Ending.WINNER else STOCK_RECIPE
    seconds = sum(one.seconds for trained in done.values() for one in trained)
    return Trial(ending, recipe, best, tuple(rounds), final, seconds, epochs, out)


def _mean(trained: Sequence[Trained]) -> float:
    return sum(one.evaluation.map() for one in trained) / len(trained)


def _ending(final: Bench | None, seeds: int) -> Ending:
    if final is None or seeds < FEWEST_SEEDS:
        return Ending.TOO_SHORT
    difference = final.rows[0].difference
    if difference is None or not difference.differs:
        return Ending.NO_DIFFERENCE
    return Ending.WINNER if difference.estimate > 0 else Ending.WORSE
