"""Each unit of advice on both sides of its threshold, and all units together."""

from __future__ import annotations

import ast
import inspect
import math
from dataclasses import replace
from importlib import import_module
from string import Formatter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from finetune.plan_cases import GPU, case
from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_nanfix.finetune.advices import (
    batch_size,
    frozen_layers,
    image_size,
    keypoint_swaps,
    mirroring,
    mosaic_share,
    rate_of_small_sets,
    rect_batches,
    val_size,
    weights_to_start,
)
from yolo_nanfix.finetune.case import UNITS, Case, units
from yolo_nanfix.finetune.machine import Machine
from yolo_nanfix.plans import Advice, Because, Reason, Strength, Undecided
from yolo_nanfix.report.plan_words import REASONS, because
from yolo_nanfix.tasks import TASKS

UNIT = {unit.module: unit for unit in units()}
LETTERS = tuple("abcdefghij")
CAP = rate_of_small_sets.CAP_IMAGES
NEEDED = val_size.needed(val_size.WIDE)
TINY = image_size.STRIDE / 640
"""The relative side of an object of exactly one cell."""
HAND = ("left_hand", "right_hand")
SIDES: dict[str, list[tuple[Case, Reason | None, Any]]] = {
    "task_of_labels": [
        (case("obb"), Reason.LABELS_READ, "obb"),
        (case("detect", model="yolov8n.pt"), None, None),
    ],
    "scale_of_model": [
        (case(), Reason.NO_GPU, "yolo26n.pt"),
        (case(gpu=GPU), Reason.SCALE_UNKNOWN, None),
        (case(model="yolov8s.pt"), None, None),
    ],
    "weights_to_start": [
        (case(model="a/yolov8n.yaml", images=weights_to_start.FEW_IMAGES - 1), Reason.FROM_SCRATCH, "yolov8n.pt"),
        (case(model="a/yolov8n.yaml", images=weights_to_start.FEW_IMAGES), None, None),
        (case(model="a/own.yaml"), None, None),
        (case(model="yolov8n.pt"), None, None),
        (case(model="yolov8n.yaml", pretrained=False), None, None),
    ],
    "image_size": [
        (case(sides=(TINY,) * 10), Reason.OBJECTS_SEEN, 640),
        (case(sides=(TINY * 0.99, *(TINY,) * 9)), Reason.OBJECTS_SEEN, 640),  # one in ten is tolerated
        (case(sides=(TINY * 0.99,) * 2 + (TINY,) * 8, longer=1280), Reason.OBJECTS_TINY, 672),
        (case(sides=(TINY * 0.99,) * 101 + (TINY,) * 899, longer=1280), Reason.OBJECTS_TINY, 672),
        (case(sides=(TINY / 2,) * 10, longer=1280), Reason.OBJECTS_TINY, 1280),
        (case(sides=(TINY / 2.1,) * 10, longer=1280), Reason.OBJECTS_TINY_IN_FILES, None),
        (case(sides=(TINY / 2.1,) * 10, longer=1281), Reason.IMAGES_TOO_LARGE, 640),
        (
            case(sides=(TINY / 2.1,) * 5 + (TINY / 1.5,) * 5, longer=1280),
            Reason.OBJECTS_TINY,
            1280,
        ),  # helps half of them
        (case(sides=(TINY / 2,) * 10, longer=640), Reason.OBJECTS_TINY_IN_FILES, None),
        (case(sides=(TINY / 2,) * 10, model="yolov8n-p2.yaml"), Reason.OBJECTS_SEEN, 640),
        (case(sides=(TINY / 2.1,) * 10, model="yolov8n-p2.yaml", longer=700), Reason.OBJECTS_TINY, 672),
        (case(sides=(TINY / 2,) * 10, imgsz=640), None, None),
        (case("classify"), None, None),
    ],
    "batch_size": [
        (case(gpu=replace(GPU, gpu_memory=batch_size.LITTLE_MEMORY - 0.1)), Reason.LITTLE_MEMORY, -1),
        (case(gpu=replace(GPU, gpu_memory=batch_size.LITTLE_MEMORY)), Reason.BATCH_UNKNOWN, None),
        (case(), Reason.BATCH_UNKNOWN, None),
        (case(batch=4), None, None),
    ],
    "nominal_batch": [
        (case(images=48), Reason.STEP_SPANS_EPOCHS, None),  # three batches, and a step wants four
        (case(images=49), None, None),
        (case(images=13, nbs=64), None, None),
    ],
    "run_length": [
        (case(), Reason.EPOCHS_UNKNOWN, None),
        (case(epochs=30), None, None),
        (case(time=1.0), None, None),
    ],
    "early_stopping": [
        (case(val=NEEDED - 1), Reason.VAL_NOISY, 100),
        (case(val=NEEDED), None, None),
        (case(val=0), None, None),
        (case(val=9, patience=5), None, None),
    ],
    "optimizer_choice": [
        (case(images=100), Reason.LR0_IGNORED, "AdamW"),
        (case(images=CAP), None, None),
        (case(images=CAP, lr0=0.001), Reason.LR0_IGNORED, "AdamW"),
        (case(images=64, epochs=10_000, lr0=0.001), Reason.LR0_IGNORED, "AdamW"),
        (case(images=64, epochs=10_001, lr0=0.001), Reason.LR0_IGNORED, "MuSGD"),
        (case(images=6401, lr0=0.001, release=(8, 3, 250)), Reason.LR0_IGNORED, "SGD"),
        (case(images=100, epochs=5001), None, None),  # two steps an epoch: auto takes MuSGD
        (case(images=100, optimizer="SGD"), None, None),
        (case(images=100, optimizer="auto", lr0=0.1), None, None),
    ],
    "rate_of_small_sets": [
        (case(images=100, optimizer="AdamW"), Reason.RATE_FOR_ADAM, 0.000894),
        (case(images=CAP, optimizer="AdamW"), Reason.RATE_FOR_ADAM, 0.001667),
        (case(images=CAP, optimizer="SGD"), None, None),
        (case(images=100, optimizer="AdamW", lr0=0.01), None, None),
        (case(images=100, optimizer="auto"), None, None),
    ],
    "warmup_share": [
        (case(epochs=30), None, None),
        (case(epochs=29), Reason.WARMUP_LONG, 2.9),
        (case(epochs=10), Reason.WARMUP_LONG, 1.0),
        (case(epochs=10, warmup_epochs=3), None, None),
        (case(epochs=1), None, None),  # this release does not warm up in a single epoch
        (case(images=160, release=(8, 4, 102)), None, None),  # 100 of 1000 batches
        (case(images=159, epochs=99, release=(8, 4, 102)), Reason.WARMUP_LONG, 0.0),
        (case(images=159, epochs=99), None, None),
        (case(time=1.0, epochs=10), None, None),
    ],
    "frozen_layers": [
        (case(images=frozen_layers.FINE_TUNED), Reason.FREEZE_VARIES, None),
        (case(images=frozen_layers.FINE_TUNED + 1), None, None),
        (case(freeze=10), None, None),
    ],
    "mosaic_closing": [
        (case(epochs=50), None, None),
        (case(epochs=49), Reason.MOSAIC_CLOSED_LONG, 5),
        (case(epochs=5), Reason.MOSAIC_CLOSED_LONG, 1),
        (case(epochs=4), Reason.MOSAIC_CLOSED_LONG, 0),
        (case(epochs=3, mosaic=0.0), None, None),
        (case(epochs=3, close_mosaic=0), None, None),
        (case("classify", epochs=3), None, None),
    ],
    "mosaic_share": [
        (case(images=100, counts=(25 * mosaic_share.CROWDED,)), Reason.MOSAIC_UNKNOWN, None),
        (case(images=100, counts=(25 * mosaic_share.CROWDED - 1,)), None, None),
    ],
    "mirroring": [
        (case(names=HAND), Reason.CLASSES_MIRRORED, 0.0),
        (case(names=("TurnLeft", "stop")), Reason.CLASSES_MIRRORED, 0.0),
        (case(names=("hand-l", "hand-r")), Reason.CLASSES_MIRRORED, 0.0),
        (case(names=("hand-l", "foot-r")), None, None),  # sizes, perhaps
        (case(names=("leftover", "brightness")), None, None),
        (case(names=LETTERS), Reason.CLASSES_ARE_CHARACTERS, 0.0),
        (case(names=LETTERS[1:]), None, None),
        (case(names=HAND, fliplr=0.5), None, None),
    ],
    "keypoint_swaps": [
        (case("pose", keypoints=3, flip_idx=(1, 0, 2)), Reason.KEYPOINTS_SWAPPED, [1, 0, 2]),
        (case("pose", keypoints=3, flip_idx=(0, 1, 2)), None, None),
        (case("pose", keypoints=3), Reason.KEYPOINTS_UNKNOWN, None),
        (
            case("pose", keypoints=3, keypoint_names=("nose", "Left eye", "Right eye")),
            Reason.KEYPOINTS_NAMED,
            [0, 2, 1],
        ),
        (
            case("pose", keypoints=2, keypoint_names=("eye_l", "eye_r"), flip_idx=(0, 1)),
            Reason.KEYPOINTS_NOT_SWAPPED,
            [1, 0],
        ),
        (case("pose", keypoints=3, fliplr=0.0), None, None),
        (case("pose"), None, None),
        (case("detect", keypoints=3), None, None),
    ],
    "turning": [
        (case(names=("arrow up", "arrow down")), Reason.CLASSES_UPRIGHT, 0.0),
        (case(names=("arrow up", "arrow")), None, None),
        (case(names=LETTERS), Reason.CLASSES_UPRIGHT, 0.0),
        (case(names=LETTERS[1:]), None, None),
        (case(names=("arrow up", "arrow down"), degrees=5), None, None),
    ],
    "class_weighting": [
        (case(counts=(100, 10)), Reason.WEIGHTS_WITHOUT_GAIN, None),
        (case(counts=(99, 10)), None, None),
        (case(counts=(100, 10), single_cls=True), None, None),
        (case(counts=(100, 0)), None, None),
    ],
    "detections_kept": [
        (case(most=(301, 9)), Reason.IMAGES_CROWDED, 500),
        (case(most=(9, 301)), Reason.IMAGES_CROWDED, 500),
        (case(most=(400, 9)), Reason.IMAGES_CROWDED, 600),
        (case(most=(401, 9)), Reason.IMAGES_CROWDED, 700),
        (case(most=(300, 300)), None, None),
        (case(most=(301, 9), max_det=100), None, None),
    ],
    "rect_batches": [
        (case(fill=1 - rect_batches.MUCH_PADDING), Reason.RECT_WITHOUT_MOSAIC, False),
        (case(fill=1 - rect_batches.MUCH_PADDING + 0.001), None, None),
        (case(fill=0.5, mosaic=0.0), None, None),
    ],
    "mixed_precision": [
        (case(gpu=Machine(8, "NVIDIA GeForce GTX 1660 Ti", 6.0)), Reason.HALF_BROKEN, False),
        (case(gpu=Machine(8, "Quadro T1000", 4.0)), Reason.HALF_BROKEN, False),
        (case(gpu=Machine(8, "Tesla T4", 16.0)), None, None),
        (case(gpu=Machine(8, "NVIDIA GeForce RTX 4090", 24.0)), None, None),
        (case(), None, None),
    ],
    "val_size": [
        (case(val=NEEDED), Reason.VAL_ENOUGH, NEEDED),
        (case(val=NEEDED - 1), Reason.VAL_SMALL, NEEDED),
        (case(val=1), Reason.VAL_ONE, NEEDED),
        (case(val=2), Reason.VAL_SMALL, NEEDED),
        (case(val=0), Reason.VAL_NONE, NEEDED),
    ],
}
ALL = [(module, *side) for module, sides in SIDES.items() for side in sides]


@pytest.mark.parametrize(("module", "given", "reason", "value"), ALL)
def test_a_unit_on_both_sides_of_its_threshold(module: str, given: Case, reason: Reason | None, value: Any):
    answer = UNIT[module].answer(given)
    if reason is None:
        assert answer is None
        return
    assert answer is not None and answer.because.reason is reason
    assert isinstance(answer, Undecided if value is None else Advice)
    if isinstance(answer, Advice):
        assert answer.value == value and answer.source.address.startswith("https://")
        assert set(answer.arguments) <= set(DEFAULT_CFG_DICT) - set(given.given)
        assert all(v == value for k, v in answer.arguments.items() if k == answer.setting)


def test_every_unit_has_both_sides_and_every_reason_occurs():
    assert set(SIDES) == set(UNITS) == set(UNIT)
    for module, sides in SIDES.items():
        assert {reason is None for _, reason, _ in sides} == {True, False} or module == "val_size"
    occurring = {reason for *_, reason, _ in ALL} | {Reason.RATE_BY_SIZE}
    assert occurring - {None} == set(Reason) == set(REASONS)


def after_the_optimizer(given: Case) -> Advice | Undecided | None:
    """What the unit on rates says once the optimizer is named, as in a plan."""
    chosen = UNIT["optimizer_choice"].answer(given)
    given.advised.update(chosen.arguments if isinstance(chosen, Advice) else {})
    return UNIT["rate_of_small_sets"].answer(given)


@pytest.mark.parametrize("images", [1, 13, 100, CAP - 1, CAP, 2 * CAP])
@pytest.mark.parametrize("classes", [1, 3, 80])
def test_the_rate_is_that_of_the_pull_request(images: int, classes: int):
    """25933: the smaller one of the rate by classes and of `0.002 * sqrt(images / 500)`."""
    automatic = round(0.002 * 5 / (4 + classes), 6)
    wanted = min(automatic, round(0.002 * math.sqrt(images / 500), 6))
    answer = after_the_optimizer(case(images=images, names=("x",) * classes, counts=(5,) * classes))
    if wanted == automatic:
        assert answer is None
    else:
        assert isinstance(answer, Advice) and (answer.value, answer.default) == (wanted, automatic)
        assert answer.because.reason is Reason.RATE_BY_SIZE and answer.strength is Strength.PUBLISHED


def test_the_optimizer_by_name_is_what_ultralytics_chooses_itself():
    """The trainer of the installed release, asked with `auto`, sets the same optimizer, rate, momentum and warm-up."""
    import torch
    from ultralytics.engine.trainer import BaseTrainer

    for images, epochs in ((100, 100), (6400, 100), (6401, 100)):
        args = SimpleNamespace(lr0=0.01, optimizer="auto", warmup_bias_lr=0.1)
        trainer = SimpleNamespace(args=args, data={"nc": 2})
        given = case(images=images, epochs=epochs, lr0=0.001)
        model = torch.nn.Module()
        model.model = torch.nn.Sequential(torch.nn.Linear(2, 2))
        built = BaseTrainer.build_optimizer(trainer, model, "auto", iterations=given.steps)
        answer = UNIT["optimizer_choice"].answer(given)
        assert isinstance(answer, Advice) and answer.value == type(built).__name__ == args.optimizer
        group = built.param_groups[0]
        assert answer.arguments["momentum"] == (group["betas"][0] if "betas" in group else group["momentum"])
        assert answer.arguments["warmup_bias_lr"] == args.warmup_bias_lr
        if answer.value == "AdamW":
            assert args.lr0 == rate_of_small_sets.automatic_rate(2)


def test_warmup_batches_are_those_of_the_trainer():
    from ultralytics.engine.trainer import BaseTrainer

    for images, epochs, warmup in ((100, 100, 3.0), (100, 2, 3.0), (5, 1, 3.0), (100, 9, 0.5), (100, 9, 0.0)):
        given = case(images=images, epochs=epochs, warmup_epochs=warmup)
        trainer = SimpleNamespace(args=SimpleNamespace(warmup_epochs=warmup), epochs=epochs)
        assert given.warmup == BaseTrainer._get_warmup_iterations(trainer, given.batches)
    assert case(images=16, epochs=200, release=(8, 4, 102)).warmup == 100


def test_wilsons_interval_is_that_of_scipy():
    from scipy.stats import binomtest

    for draws in (2, 40, 380, 5000):
        low, high = binomtest(draws // 2, draws).proportion_ci(0.95, "wilson")
        assert val_size.half_width(draws) == pytest.approx((high - low) / 2, abs=1e-6)
    assert val_size.half_width(NEEDED) <= val_size.WIDE < val_size.half_width(NEEDED - 1)


def test_images_are_as_large_as_nine_in_ten_of_them():
    given = case(sides=(TINY / 2,) * 10)
    for large, reason in ((2, Reason.OBJECTS_TINY), (1, Reason.OBJECTS_TINY_IN_FILES)):
        longer = np.array([640] * (21 - 2 * large) + [1280] * 2 * large)  # the 19th of 21 is the quantile
        answer = UNIT["image_size"].answer(replace(given, figures=replace(given.figures, longer=longer)))
        assert answer is not None and answer.because.reason is reason
        assert answer.because.figures["native"] == sorted(longer)[18]


def test_later_units_know_what_earlier_ones_advise():
    given = case(images=100)
    assert given.automatic and UNIT["rate_of_small_sets"].answer(given) is None
    answer = after_the_optimizer(given)
    assert isinstance(answer, Advice) and not given.automatic
    assert given.batches == 7 and given.accumulated == 4 and given.steps == 200


@pytest.mark.parametrize(
    ("given", "images"),
    [
        ({}, 200),
        ({"fraction": 0.25}, 50),
        ({"fraction": 0.001}, 1),
        ({"fraction": 1}, 200),
        ({"fraction": 30}, 30),
        ({"fraction": 999}, 200),
        ({"fraction": [0.5, 1.0]}, 100),
    ],
)
def test_fraction_counts(given: dict, images: int):
    assert case(images=200, **given).images == images


def test_given_arguments_change_what_is_counted():
    assert case(batch=-1).batch == case(batch=0.7).batch == 16 and case(batch=8).batches == 13
    assert (
        case(imgsz=[320, 480]).imgsz == 480 and case("classify").imgsz == 224 and case("classify", imgsz=64).imgsz == 64
    )
    assert case(single_cls=True).classes == 1
    assert case().model == "yolo26n.pt" and case(model="x.yaml").model == "x.yaml"


@pytest.mark.parametrize(
    ("name", "partner"),
    [
        ("left_eye", "right_eye"),
        ("RIGHT-HAND", "left-hand"),
        ("eye", "eye"),
        ("left of right", "right of left"),
        ("", ""),
    ],
)
def test_names_are_mirrored(name: str, partner: str):
    assert mirroring.swapped(name) == partner
    assert mirroring.swapped(partner) == mirroring.plain(name)


def test_names_in_camel_case_are_mirrored():
    assert mirroring.swapped("LeftEye") == "righteye" and mirroring.swapped("LHand") == "rhand"


def test_exchanged_keypoints_are_exchanged_back():
    names = ("nose", "left_eye", "right_eye", "left_ear", "tail")
    order = keypoint_swaps.exchanged(names)
    assert order == (0, 2, 1, 3, 4) and keypoint_swaps.pairs(order) == 1
    assert keypoint_swaps.pairs((1, 2, 0)) == 0 and keypoint_swaps.pairs((5, 9)) == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("release", [(8, 0, 136), (8, 4, 190)])
def test_all_units_answer_for_every_task(task: str, release: tuple):
    given = case(task, keypoints=3, release=release)
    given = replace(given, defaults={key: v for key, v in given.defaults.items() if key != "cls_pw"})
    for unit in units():
        answer = unit.answer(given)
        assert answer is None or answer.setting == unit.setting


def test_the_sentence_of_each_answer_names_all_its_figures():
    for module, given, reason, _ in ALL:
        if reason is not None:
            answer = UNIT[module].answer(given)
            assert answer is not None
            wanted = {name.partition("[")[0] for _, name, _, _ in Formatter().parse(REASONS[reason]) if name}
            assert wanted <= set(answer.because.figures), module
            assert "{" not in because(answer.because), module
    assert "\n" not in because(Because(Reason.CLASSES_MIRRORED, {"names": ["left\n", "\x1b[2J"]}))


def test_every_unit_says_what_it_rests_on():
    for unit in units():
        assert unit.title.endswith(".") and unit.why.endswith("."), unit.module
        assert unit.source.title and unit.source.address.startswith("https://"), unit.module
        module = import_module(f"yolo_nanfix.finetune.advices.{unit.module}")
        tree = ast.parse(inspect.getsource(module))
        numbers = [
            node.value
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and function.name == "advise"
            for compare in ast.walk(function)
            if isinstance(compare, ast.Compare)
            for node in compare.comparators
            if isinstance(node, ast.Constant) and isinstance(node.value, (int, float))
        ]
        assert not [n for n in numbers if n not in (0, 1, 2)], f"{unit.module} has a threshold without a name"
