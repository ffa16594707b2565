"""How often the intervals of the fine-tuning kit hold the truth, and how often it claims a difference where none is.

    python scripts/bench_intervals.py [--simulations 1000] [--images 60] [--seeds 3]

Detections are simulated: each image has a difficulty of its own, each training a skill of its own. The truth is the mAP
of 20 000 images. Printed: the share of intervals over images that hold it; and of comparisons of two equal arms, over
images and seeds, the share that says "no difference".
"""

from __future__ import annotations

import argparse
import time

import benchlib
import numpy as np

from yolo_nanfix.finetune.evaluation import Evaluation
from yolo_nanfix.finetune.statistics import over_both, over_images, over_seeds

CLASSES = 3
THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def images(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of `count` images: image of each object, its class, and the difficulty of each image."""
    objects = 1 + rng.poisson(3, count)
    of = np.repeat(np.arange(count), objects)
    return of, rng.integers(0, CLASSES, len(of)), rng.normal(0, 0.7, count)


def detect(rng: np.random.Generator, labels: tuple[np.ndarray, np.ndarray, np.ndarray], skill: float) -> Evaluation:
    """What a model of some skill finds in these images: true and false positives with confidences."""
    of, classes, difficulty = labels
    count = len(difficulty)
    ease = skill - difficulty[of] + rng.normal(0, 1, len(of))
    seen = ease > -0.8
    overlap = np.clip(0.72 + 0.1 * ease + rng.normal(0, 0.08, len(of)), 0, 0.99)
    false = rng.poisson(np.exp(difficulty - skill), count)
    false_of = np.repeat(np.arange(count), false)
    logits = np.concatenate([0.8 + ease[seen], rng.normal(-0.8, 0.8, len(false_of))])
    where = np.concatenate([of[seen], false_of])
    order = np.argsort(where, kind="stable")
    matched = np.concatenate([overlap[seen, None] > THRESHOLDS, np.zeros((len(false_of), len(THRESHOLDS)), bool)])
    found = np.concatenate([classes[seen], rng.integers(0, CLASSES, len(false_of))])
    names = {i: str(i) for i in range(CLASSES)}
    paths = tuple(map(str, range(count)))
    confidence = 1 / (1 + np.exp(-logits))
    return Evaluation(paths, names, "B", matched[order], confidence[order], found[order], where[order], classes, of)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=400)
    args = parser.parse_args()
    print(benchlib.header())
    rng = np.random.default_rng(0)
    truth = detect(rng, images(rng, 20_000), 0.5).map()
    began, inside, equal = time.process_time(), 0, 0
    for number in range(args.simulations):
        labels = images(rng, args.images)
        arms = [[detect(rng, labels, 0.5 + rng.normal(0, 0.1)) for _ in range(args.seeds)] for _ in range(2)]
        one = detect(rng, labels, 0.5)
        interval = over_images(one.map, args.images, resamples=args.resamples, seed=number)
        inside += interval.low <= truth <= interval.high

        def difference(rows: np.ndarray, arms: list[list[Evaluation]] = arms) -> float:
            return float(np.mean([a.map(rows) - b.map(rows) for a, b in zip(*arms, strict=True)]))

        of_images = over_images(difference, args.images, resamples=args.resamples // 4, seed=number)
        of_seeds = over_seeds([a.map() - b.map() for a, b in zip(*arms, strict=True)])
        equal += not over_both(of_images, of_seeds).differs
    each = (time.process_time() - began) / args.simulations
    print(f"{args.images} images, true mAP50-95 {truth:.3f}, {args.simulations} simulations, {each:.2f} s of CPU each")
    print(f"the 95 % interval over images holds it: {inside / args.simulations:.1%}")
    print(f"two equal arms of {args.seeds} seeds: no difference in {equal / args.simulations:.1%}")


if __name__ == "__main__":
    main()
