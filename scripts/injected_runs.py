"""Whole trainings under the guard with one planted fault each, and what their first verdict must say.

Where injections.py hands the diagnosis an incident, these go through all of it: sensors, what the guard does, incident,
replay, verdict, report. `KINDS` names them; each takes a seeded random generator and gives an `Injection`. The answers
are known because the fault was planted there, and say nothing of how it is found.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import faulty_modules as faulty
import numpy as np
import torch
from healthy_specs import RTDETR, Spec
from user_modules import INF, NAN, Observed, behind

from yolo_nanfix.verdicts import Cause

CONVS = (1, 3, 4, 5)
"""Layers of the small detector that are a convolution with BatchNorm."""


@dataclass(frozen=True)
class Answer:
    """What the first verdict of a run must say.

    Attributes:
        causes: the right class of cause first, then others that are as right.
        names: each must stand in the verdict (its evidence apart); of `a|b` one of both.
        ops: the operation must be one of these, if there are any.
        module: must be named, if not empty.
        images: exactly these must be named, by the stem of their file; None: not asked.
        never: must not stand in the verdict.
        left_out: the sample may be left out before a step sees it: then there is no verdict, but events that name it.
    """

    causes: tuple[Cause, ...]
    names: tuple[str, ...] = ()
    ops: frozenset[str] = frozenset()
    module: str = ""
    images: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()
    left_out: bool = False

    def wrong(self, guard: Mapping[str, Any]) -> list[str]:
        """What is not right in the report of a run's guard; nothing else but faulty images may be left out, too."""
        left_out = {Path(file).stem for file in guard["quarantined"]} - set(self.images or ())
        said = [f"innocent images left out: {', '.join(sorted(left_out))}"] if left_out else []
        if not guard["verdicts"]:
            return [*said, *(self._wrong_in_events(guard["events"]) if self.left_out else ["no verdict"])]
        verdict = guard["verdicts"][0]
        text = " ".join(str(value) for key, value in verdict.items() if key != "evidence").lower()
        if verdict["cause"] not in [cause.value for cause in self.causes]:
            said.append(f"cause {verdict['cause']}, not {self.causes[0].value}")
        said += [f"not named: {n}" for n in self.names if not any(part.lower() in text for part in n.split("|"))]
        said += [f"says: {word}" for word in self.never if word.lower() in text]
        if self.ops and verdict["op"].rstrip("_") not in self.ops:
            said.append(f"op {verdict['op'] or 'none'}, not {' or '.join(sorted(self.ops))}")
        if self.module and verdict["module"] != self.module:
            said.append(f"module {verdict['module'] or 'none'}, not {self.module}")
        stems = tuple(sorted(Path(file).stem for file in verdict["images"]))
        if self.images is not None and stems != tuple(sorted(self.images)):
            said.append(f"images {stems}, not {self.images}")
        return said

    def _wrong_in_events(self, events: Sequence[Mapping[str, Any]]) -> list[str]:
        sources = [source for event in events for source in event["sources"] if source["suspect"]]
        stems = tuple(sorted({Path(source["file"]).stem for source in sources}))
        text = " ".join(f"{' '.join(event['checks'])} {event['detail']}" for event in events).lower()
        said = [f"not named: {n}" for n in self.names if not any(part.lower() in text for part in n.split("|"))]
        return said + ([f"images {stems}, not {self.images}"] if stems != tuple(sorted(self.images or ())) else [])


@dataclass(frozen=True)
class Injection:
    """One faulty run.

    Attributes:
        spec: what is trained.
        answer: what must be said.
        on: callbacks.
        files: changes the dataset's files beforehand; it is given its folder.
        fork: text of ultralytics to replace in a copy of it: file, old, new; and how the copy is laid out.
        survives: whether its weights must be finite at the end.
    """

    spec: Spec
    answer: Answer
    on: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    files: Callable[[Path], None] | None = None
    fork: tuple[str, str, str, str] | None = None
    survives: bool = True


Kind = Callable[[random.Random], Injection]
ARGS = {"val": False}
NOT_DIVISOR = ("keep the divisor",)
COLOURS_KEPT = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
"""With these, float pictures pass upstream's augmentation."""


def _detect(trainer: Callable[[type], type] | None, **fields: Any) -> Spec:
    args = {**ARGS, **fields.pop("args", {})}
    return Spec(trainer=trainer, args=args, images=fields.pop("images", 16), **fields)


def _at_step(step: int, act: Callable[[Any], None]) -> Callable[[Any], None]:
    """A callback that acts once, at the end of a micro-batch (from 0)."""
    seen = [-1]

    def callback(trainer: Any) -> None:
        seen[0] += 1
        if seen[0] == step:
            act(trainer)

    return callback


def tensor_hook(rng: random.Random) -> Injection:
    layer, kind = rng.choice(CONVS), rng.choice(("nan", "root"))
    op, line = ("aten.div", "tensor-hook-nan") if kind == "nan" else ("aten.sqrt", "tensor-hook-root")
    answer = Answer((Cause.DEFINITION,), (faulty.line_of(line),), frozenset({op}), images=())
    return Injection(_detect(lambda base: behind(base, lambda c: faulty.TensorHook(kind), (layer,))), answer)


def parameter_hook(rng: random.Random) -> Injection:
    """A hook on a live parameter: no copy of the model has it."""
    layer, factor = rng.choice(CONVS), rng.choice((NAN, INF))
    name = f"model.{layer}.{rng.choice(('conv', 'bn'))}.weight"

    def plant(trainer: Any) -> None:
        trainer.model.get_parameter(name).register_hook(lambda gradient: gradient * factor)

    answer = Answer((Cause.DEFINITION, Cause.GRADIENT), (name, "hook"), images=(), never=("hardware",))
    return Injection(_detect(None), answer, {"on_pretrain_routine_end": plant})


def accumulated_hook(rng: random.Random) -> Injection:
    name = f"model.{rng.choice(CONVS)}.conv.weight"

    def spoil(parameter: Any) -> None:
        parameter.grad.div_(0 * parameter.grad)

    def plant(trainer: Any) -> None:
        trainer.model.get_parameter(name).register_post_accumulate_grad_hook(spoil)

    answer = Answer((Cause.DEFINITION, Cause.GRADIENT), (name, "hook"), images=(), never=("hardware",))
    return Injection(_detect(None), answer, {"on_pretrain_routine_end": plant})


def huge_gradient_hook(rng: random.Random) -> Injection:
    name = f"model.{rng.choice(CONVS)}.conv.weight"

    def plant(trainer: Any) -> None:
        trainer.model.get_parameter(name).register_hook(lambda gradient: gradient.sign() * 1e30)

    answer = Answer((Cause.GRADIENT, Cause.DEFINITION), (name, "hook"), images=(), never=("hardware",))
    return Injection(_detect(None), answer, {"on_pretrain_routine_end": plant})


def module_hook(rng: random.Random) -> Injection:
    layer = rng.choice(CONVS)

    def plant(model: Any) -> None:
        model.model[layer].conv.register_full_backward_hook(faulty.module_hook)

    answer = Answer((Cause.DEFINITION,), (faulty.line_of("module-hook"),), frozenset({"aten.log"}), images=())
    return Injection(_detect(lambda base: faulty.trainer_that(base, model=plant)), answer)


def _criterion(name: str, spec: Spec, spoil: Callable[[Any, Any], None], step: int) -> Injection:
    """The loss's own state is spoilt from outside after some steps."""

    def plant(trainer: Any) -> None:
        spoil(trainer.model.criterion, trainer)

    answer = Answer((Cause.STATE,), (name,), images=(), never=(*NOT_DIVISOR, "report "))
    return Injection(spec, answer, {"on_train_batch_end": _at_step(step, plant)})


def pos_weight(rng: random.Random) -> Injection:
    value = rng.choice((NAN, INF))

    def spoil(criterion: Any, trainer: Any) -> None:
        weight = torch.ones(2)
        weight[rng.randrange(2)] = value
        criterion.bce = torch.nn.BCEWithLogitsLoss(reduction="none", pos_weight=weight)

    return _criterion("pos_weight", _detect(None), spoil, rng.randrange(3))


def projection(rng: random.Random) -> Injection:
    def spoil(criterion: Any, trainer: Any) -> None:
        criterion.proj[rng.randrange(len(criterion.proj))] = NAN

    return _criterion("proj", _detect(None), spoil, rng.randrange(3))


def sigmas(rng: random.Random) -> Injection:
    def spoil(criterion: Any, trainer: Any) -> None:
        criterion.keypoint_loss.sigmas = torch.full_like(criterion.keypoint_loss.sigmas, NAN)

    spec = _detect(None, task="pose", model="yolov8n-pose.yaml", images=8)
    return _criterion("sigmas", spec, spoil, 1)


def float_in_loss(rng: random.Random) -> Injection:
    """A running mean of the user's own loss, a Python number, is NaN from some step on."""
    at = rng.randrange(1, 5)

    def plant(model: Any) -> None:
        model.criterion = faulty.Smoothed(model.init_criterion(), at)

    answer = Answer((Cause.STATE, Cause.DEFINITION), ("smooth",), images=(), never=NOT_DIVISOR)
    return Injection(_detect(lambda base: faulty.trainer_that(base, model=plant)), answer)


def _attribute(kept: Any, value: Any, rng: random.Random) -> Injection:
    layer = rng.choice(CONVS)

    def plant(trainer: Any) -> None:
        trainer.model.model[layer].extra.kept = value

    spec = _detect(lambda base: behind(base, lambda c: faulty.Threshold(kept), (layer,)))
    answer = Answer((Cause.STATE,), (f"model.{layer}.extra.kept",), images=())
    return Injection(spec, answer, {"on_train_batch_end": _at_step(rng.randrange(4), plant)})


def float_attribute(rng: random.Random) -> Injection:
    return _attribute(1.0, rng.choice((NAN, INF)), rng)


def tensor_attribute(rng: random.Random) -> Injection:
    return _attribute(torch.ones(1), torch.tensor([rng.choice((NAN, INF))]), rng)


def own_buffer(rng: random.Random) -> Injection:
    """A user's buffer that its own code makes NaN in one step."""
    layer, at = rng.choice(CONVS), rng.randrange(6)
    line = faulty.line_of("running-buffer")
    answer = Answer((Cause.DEFINITION,), (line,), frozenset({"aten.div"}), f"model.{layer}.extra", ())
    return Injection(_detect(lambda base: behind(base, lambda c: faulty.RunningBuffer({at}), (layer,))), answer)


def buffer_set(rng: random.Random) -> Injection:
    """A user's buffer that is made NaN between two steps."""
    layer = rng.choice(CONVS)

    def plant(trainer: Any) -> None:
        trainer.model.model[layer].extra.mean.fill_(NAN)

    spec = _detect(lambda base: behind(base, lambda c: faulty.RunningBuffer(()), (layer,)))
    answer = Answer((Cause.STATE,), (f"model.{layer}.extra.mean",), images=())
    return Injection(spec, answer, {"on_train_batch_end": _at_step(rng.randrange(4), plant)})


def observer(rng: random.Random) -> Injection:
    """One faulty image under quantisation observers: the image alone is to blame, whatever the observers have seen."""
    image = rng.randrange(16)
    layer = rng.choice(CONVS)
    spec = _detect(lambda base: behind(base, lambda c: Observed("minmax"), (layer,)), args=COLOURS_KEPT)
    answer = Answer((Cause.DATA,), images=(f"{image:04d}",))
    return Injection(spec, answer, files=lambda root: _nan_pixel(root, image))


def _nan_pixel(root: Path, index: int) -> None:
    path = root / "images" / "train" / f"{index:04d}.png"
    pixels = cv2.imread(str(path)).astype(np.float32)
    pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, 0] = NAN  # near an edge it may be shifted out of the image
    np.save(path.with_suffix(".npy"), pixels)


def _group(optimizer: str, key: str, value: Any, rng: random.Random, said: str) -> Injection:
    number = rng.randrange(3)

    def plant(trainer: Any) -> None:
        trainer.optimizer.param_groups[number][key] = value

    causes = (Cause.SETTING, Cause.LEARNING_RATE, Cause.STATE) if hasattr(Cause, "SETTING") else (Cause.STATE,)
    causes = causes if hasattr(Cause, "SETTING") else (Cause.LEARNING_RATE, Cause.STATE)
    answer = Answer(causes, (said, "group"), images=(), never=("other weights", "report "))
    spec = _detect(None, args={"optimizer": optimizer, "lr0": 0.001})
    return Injection(spec, answer, {"on_train_batch_end": _at_step(rng.randrange(3), plant)})


def group_rate(rng: random.Random) -> Injection:
    return _group(rng.choice(("SGD", "AdamW", "RMSProp")), "lr", rng.choice((NAN, INF)), rng, "lr|learning rate")


def group_decay(rng: random.Random) -> Injection:
    return _group(rng.choice(("SGD", "AdamW")), "weight_decay", NAN, rng, "weight_decay|weight decay")


def group_momentum(rng: random.Random) -> Injection:
    if rng.random() < 0.5:
        return _group("SGD", "momentum", NAN, rng, "momentum")
    return _group("AdamW", "betas", (NAN, 0.999), rng, "betas|momentum")


def _setting(rng: random.Random, name: str, value: Any, **args: Any) -> Injection:
    causes = (Cause.SETTING,) if hasattr(Cause, "SETTING") else (Cause.GRADIENT, Cause.LEARNING_RATE, Cause.NUMERICS)
    answer = Answer(causes, (f"{name}=",), images=(), never=("report ", "lr0=") if name != "lr0" else ("report ",))
    return Injection(_detect(None, args={name: value, **args}), answer)


def gain(rng: random.Random) -> Injection:
    name, value = rng.choice((("box", 1e39), ("dfl", NAN), ("cls", -1e39), ("cls", INF), ("box", NAN)))
    return _setting(rng, name, value)


def huge_group(rng: random.Random) -> Injection:
    """A setting of a group that is finite, but that no weight survives."""
    key, value = rng.choice((("weight_decay", 1e8), ("weight_decay", 1e30), ("momentum", 1e30), ("lr", 1e20)))
    injection = _group("SGD", key, value, rng, {"lr": "lr|learning rate"}.get(key, f"{key}|{key.replace('_', ' ')}"))
    return replace(injection, spec=replace(injection.spec, args={**injection.spec.args, "epochs": 3}))


def huge_weight(rng: random.Random) -> Injection:
    """A weight is set to a huge finite value between two steps."""
    name = f"model.{rng.choice(CONVS)}.conv.weight"

    def plant(trainer: Any) -> None:
        trainer.model.get_parameter(name).data.mul_(10 ** rng.uniform(36, 37.5))

    answer = Answer((Cause.STATE,), (name,), images=(), never=("lr0=", "report "))
    return Injection(_detect(None), answer, {"on_train_batch_end": _at_step(rng.randrange(1, 4), plant)})


def weight_set(rng: random.Random) -> Injection:
    """A weight is made NaN between two steps."""
    name = f"model.{rng.choice(CONVS)}.{rng.choice(('conv', 'bn'))}.weight"

    def plant(trainer: Any) -> None:
        trainer.model.get_parameter(name).data.view(-1)[0] = NAN

    answer = Answer((Cause.STATE,), (name,), images=())
    return Injection(_detect(None), answer, {"on_train_batch_end": _at_step(rng.randrange(4), plant)})


def augmentation(rng: random.Random) -> Injection:
    """A transform that makes pixels NaN at random: no file is to blame."""
    draw = faulty.BadDraw(0.15, rng.randrange(100))
    answer = Answer((Cause.DEFINITION,), ("augmentation",), images=(), never=("remove ",))
    return Injection(_detect(lambda base: faulty.with_transform(base, draw), args={"epochs": 4}), answer)


def _with_labels(base: type, change: Callable[[Any], None]) -> type:
    class Trainer(base):  # type: ignore[misc,valid-type]
        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            dataset = super().build_dataset(img_path, mode, batch)
            if mode == "train":
                change(dataset)
            return dataset

    return Trainer


def _row(key: str, value: float, rng: random.Random, spec: Callable[..., Spec]) -> Injection:
    """The user's own dataset gives one image a row that cannot be, though its label file is in order."""
    image = rng.randrange(8)

    def change(dataset: Any) -> None:
        number = next(i for i, f in enumerate(dataset.im_files) if Path(f).stem == f"{image:04d}")
        dataset.labels[number][key].reshape(-1)[0] = value

    answer = Answer((Cause.DEFINITION,), ("cls|class",), images=(), never=("correct ",))
    return Injection(spec(lambda base: _with_labels(base, change)), answer)


def class_out_of_range(rng: random.Random) -> Injection:
    return _row("cls", rng.choice((2.0, 7.0, -1.0, NAN, 1e9)), rng, lambda t: _detect(t, images=8))


def class_in_segment(rng: random.Random) -> Injection:
    spec = {"task": "segment", "model": "yolov8n-seg.yaml", "images": 8}
    return _row("cls", rng.choice((2.0, -3.0)), rng, lambda t: _detect(t, **spec))


def class_in_rtdetr(rng: random.Random) -> Injection:
    spec = {"model": RTDETR, "images": 8, "args": {"optimizer": "AdamW", "lr0": 0.0001}}
    return _row("cls", rng.choice((2.0, 9.0)), rng, lambda t: _detect(t, **spec))


def class_of_picture(rng: random.Random) -> Injection:
    """The user's dataset gives a picture a class that the model does not have, though its folder is in order."""
    image = rng.randrange(8)

    def change(dataset: Any) -> None:
        number = next(i for i, s in enumerate(dataset.samples) if Path(s[0]).stem == f"{image:04d}")
        dataset.samples[number] = [dataset.samples[number][0], 9, *dataset.samples[number][2:]]

    spec = _detect(lambda b: _with_labels(b, change), task="classify", model="yolov8n-cls.yaml", images=8)
    return Injection(spec, Answer((Cause.DEFINITION, Cause.LABEL), ("cls|class",)))


def row_of_no_image(rng: random.Random) -> Injection:
    """A collate function of the user's own numbers a row past the images of its batch."""

    def change(trainer: Any, batch: dict[str, Any], number: int) -> None:
        if number == 1:
            batch["batch_idx"][-1] = 99

    answer = Answer((Cause.LABEL, Cause.DEFINITION), ("batch_idx",))
    return Injection(_detect(lambda base: faulty.trainer_that(base, batch=change)), answer)


def instance_masks(rng: random.Random) -> Injection:
    """A transform of the user's own makes the instance masks of one image NaN."""
    image = rng.randrange(8)

    def change(sample: dict[str, Any]) -> dict[str, Any]:
        if Path(sample["im_file"]).stem == f"{image:04d}":
            sample["masks"] = sample["masks"].float().fill_(NAN)
        else:
            sample["masks"] = sample["masks"].float()
        return sample

    spec = {"task": "segment", "model": "yolov8n-seg.yaml", "images": 8, "args": {"overlap_mask": False}}
    answer = Answer((Cause.LABEL, Cause.DEFINITION), ("masks",), images=(f"{image:04d}",), left_out=True)
    return Injection(_detect(lambda base: faulty.with_transform(base, change), **spec), answer)


def semantic_mask(rng: random.Random) -> Injection:
    """A mask file is given a class that the dataset does not have, after upstream has looked through all of them."""
    image, value = rng.randrange(8), rng.choice((2, 77, 200))

    def change(dataset: Any) -> None:
        path = next(f for f in map(Path, dataset.mask_files) if f.stem == f"{image:04d}")
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask[20:40, 20:40] = value
        cv2.imwrite(str(path), mask)

    spec = {"task": "semantic", "model": "yolo26n-sem.yaml", "images": 8}
    answer = Answer((Cause.LABEL,), ("mask",), images=(f"{image:04d}",), left_out=True)
    return Injection(_detect(lambda base: _with_labels(base, change), **spec), answer)


def depth_map(rng: random.Random) -> Injection:
    """A transform of the user's own leaves inf in the depth map of one image."""
    image = rng.randrange(8)

    def change(sample: dict[str, Any]) -> dict[str, Any]:
        if Path(sample["im_file"]).stem == f"{image:04d}":
            sample["depth"][..., 10:20, 10:20] = INF
        return sample

    spec = {"task": "depth", "model": "yolo26n-depth.yaml", "images": 8}
    answer = Answer((Cause.LABEL, Cause.DEFINITION), ("depth",), images=(f"{image:04d}",), left_out=True)
    return Injection(_detect(lambda base: faulty.with_transform(base, change), **spec), answer)


def unreadable_picture(rng: random.Random) -> Injection:
    """A float .npy beside the picture, which upstream's augmentation of colours cannot take: that sample raises."""
    image = rng.randrange(16)
    answer = Answer((Cause.DATA,), images=(f"{image:04d}",), left_out=True)
    return Injection(_detect(None), answer, files=lambda root: _nan_pixel(root, image))


def own_loss_for_one_image(rng: random.Random) -> Injection:
    image = f"{rng.randrange(16):04d}"

    def plant(model: Any) -> None:
        model.criterion = faulty.ForOneImage(model.init_criterion(), "log", f"{image}.png")

    line = faulty.line_of("loss-log")
    answer = Answer((Cause.DEFINITION,), (line,), frozenset({"aten.log"}), "loss")
    return Injection(_detect(lambda base: faulty.trainer_that(base, model=plant)), answer)


def own_loss_slope(rng: random.Random) -> Injection:
    def plant(model: Any) -> None:
        model.criterion = faulty.ForOneImage(model.init_criterion(), "root")

    answer = Answer((Cause.DEFINITION,), (faulty.line_of("loss-root"),), images=())
    return Injection(_detect(lambda base: faulty.trainer_that(base, model=plant)), answer)


IOU_LOSS = "loss_iou = ((1.0 - iou) * weight).sum() / target_scores_sum"
ACTIVATION = "return self.act(self.bn(self.conv(x)))"
ROOT = "return (-1 - self.act(self.bn(self.conv(x))).abs()).sqrt()"
EDITS: Mapping[str, tuple[str, str, str, str]] = {
    "loss": ("utils/loss.py", IOU_LOSS, f"{IOU_LOSS} / (iou - iou).sum()", "aten.div"),
    "layer": ("nn/modules/conv.py", ACTIVATION, ROOT, "aten.sqrt"),
}
LAYOUTS = ("folder", "own root", "site-packages")


def fork(rng: random.Random) -> Injection:
    """A copy of ultralytics with one line changed: the user's own code, wherever the copy lies."""
    file, old, new, op = EDITS[rng.choice(list(EDITS))]
    answer = Answer((Cause.DEFINITION,), (f"ultralytics/{file}:",), frozenset({op}), images=(), never=("report ",))
    return Injection(_detect(None, images=8), answer, fork=(file, old, new, rng.choice(LAYOUTS)))


def fork_as_it_is(rng: random.Random) -> Injection:
    """An unchanged copy of ultralytics elsewhere, and one faulty image: the image is to blame as ever."""
    image = rng.randrange(8)
    answer = Answer((Cause.DATA,), images=(f"{image:04d}",))
    spec, unchanged = _detect(None, images=8, args=COLOURS_KEPT), ("", "", "", rng.choice(LAYOUTS))
    return Injection(spec, answer, files=lambda root: _nan_pixel(root, image), fork=unchanged)


KINDS: Mapping[str, Kind] = {
    kind.__name__.replace("_", "-"): kind
    for kind in (
        tensor_hook,
        parameter_hook,
        accumulated_hook,
        huge_gradient_hook,
        module_hook,
        pos_weight,
        projection,
        sigmas,
        float_in_loss,
        float_attribute,
        tensor_attribute,
        own_buffer,
        buffer_set,
        observer,
        group_rate,
        group_decay,
        group_momentum,
        huge_group,
        gain,
        huge_weight,
        weight_set,
        augmentation,
        class_out_of_range,
        class_in_segment,
        class_in_rtdetr,
        class_of_picture,
        row_of_no_image,
        instance_masks,
        semantic_mask,
        depth_map,
        unreadable_picture,
        own_loss_for_one_image,
        own_loss_slope,
        fork,
        fork_as_it_is,
    )
}


def inject(kind: str, seed: int) -> Injection:
    """The injection of this kind and seed."""
    return KINDS[kind](random.Random(f"{kind} {seed}"))
