"""The trial: halving over paired seeds within a time, and its ending."""

from __future__ import annotations

from pathlib import Path

import bench_intervals
import numpy as np
import pytest

from yolo_nanfix.errors import UsageError
from yolo_nanfix.finetune.repeats import Repeat, Trained
from yolo_nanfix.finetune.trial import Budget, Ending, Trial, trial


class Bed:
    """Simulated trainings that take a minute each; recipes have a skill."""

    def __init__(self, skills: dict[str, float], minute: float = 60.0) -> None:
        self.skills, self.minute, self.clock = skills, minute, 0.0
        self.ran: list[tuple[str, int]] = []
        self.labels = bench_intervals.images(np.random.default_rng(0), 60)

    def make(self, recipe: str, seed: int) -> Repeat:
        return Repeat(recipe, f"seed{seed}", Path("d"), Path("d"), {"seed": seed})

    def train(self, repeat: Repeat, out: Path) -> Trained:
        self.ran.append((repeat.arm, repeat.arguments["seed"]))
        self.clock += self.minute
        rng = np.random.default_rng([repeat.arguments["seed"], len(repeat.arm)])
        found = bench_intervals.detect(rng, self.labels, self.skills[repeat.arm] + rng.normal(0, 0.05))
        return Trained(repeat, found, self.minute, out)

    def run(self, minutes: float, tmp_path: Path, progress=None) -> Trial:
        budget = Budget(minutes, lambda: self.clock)
        options = {"epochs": 5, "budget": budget, "train": self.train, "progress": progress, "resamples": 100}
        return trial(list(self.skills), self.make, tmp_path, minutes, {}, **options)


def test_a_better_recipe_wins_with_paired_seeds(tmp_path):
    bed = Bed({"stock": 0.2, "small": 1.7, "frozen": 0.3, "gradual": 0.1, "far-domain": 0.0})
    found = bed.run(14, tmp_path)
    assert found.ending is Ending.WINNER and found.recipe == found.best == "small"
    first, second, third = found.rounds[:3]
    assert set(first.recipes) == set(bed.skills) and len(second.recipes) == 3 and len(third.recipes) == 2
    assert second.seed == 1 and "stock" in second.recipes and "stock" not in first.out + second.out
    assert len(found.final.arms[0].trained) == len(found.final.arms[1].trained) == len(found.rounds) == 5
    assert [one.repeat.name for one in found.final.arms[1].trained] == [f"seed{i}" for i in range(5)]
    assert len(bed.ran) == 5 + 3 + 2 + 2 + 2 == 14 and found.seconds == 14 * 60
    assert found.as_dict()["ending"] == "winner" and found.as_dict()["rounds"][0]["seed"] == 0


@pytest.mark.parametrize(("gain", "ending"), [(0.0, Ending.NO_DIFFERENCE), (-1.5, Ending.WORSE)])
def test_stock_stays_unless_a_recipe_is_better(tmp_path, gain, ending):
    found = Bed({"stock": 0.5, "small": 0.5 + gain}).run(8, tmp_path)
    assert found.ending is ending and found.recipe == "stock" and found.best == "small"


def test_time_for_one_seed_only_has_no_ending(tmp_path):
    bed = Bed({"stock": 0.2, "small": 2.0, "frozen": 0.3})
    found = bed.run(4, tmp_path)
    assert found.ending is Ending.TOO_SHORT and found.recipe == "stock" and bed.clock <= 4 * 60


def test_a_trial_that_cannot_afford_two_arms_is_refused(tmp_path):
    bed = Bed({"stock": 0.2, "small": 2.0})
    with pytest.raises(UsageError, match=r"1\.5 minutes do not suffice: one training of 5 epochs took 1\.0"):
        bed.run(1.5, tmp_path)
    assert bed.ran == [("stock", 0)]


def test_the_time_is_kept_and_told(tmp_path):
    bed, told = Bed({"stock": 0.2, "a": 0.3, "b": 0.3, "c": 0.3}), []
    bed.run(9, tmp_path, lambda *what: told.append(what))
    assert bed.clock <= 9 * 60 and told[0] == (0, 540, "stock, seed 0") and told[1] == (60, 540, "a, seed 0")


def test_equal_recipes_rarely_win():
    """Ten trials in which no recipe differs from stock: choosing the best of four first must not make a winner."""
    wins = 0
    for number in range(10):
        bed = Bed(dict.fromkeys(("stock", "a" * (number + 2), "b", "cc"), 0.5))
        wins += bed.run(12, Path("unused")).ending is Ending.WINNER
    assert wins <= 1
