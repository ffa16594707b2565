"""Incident files that are damaged, forged or odd, for tests and campaigns of fuzzing; every one is harmless.

`cases(folder, rng, count)` writes them one after the other; `harmless(folder)` are texts that would touch a marker file
if anything evaluated them. Run as a script it diagnoses them in this process and says how they ended:

    python scripts/fuzz_incidents.py --count 1000 --seed 1
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from yolo_nanfix.incident import Incident  # noqa: E402

YAML: dict[str, Any] = {
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "activation": "nn.ReLU()",
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
    ],
    "head": [[[1, 2], 1, "Detect", ["nc"]]],
}
"""The smallest model that trains: a replay of it takes some milliseconds."""
IMAGE = 32
MARKER = "marker"
"""The file that is never to be written."""


@cache
def base() -> Incident:
    """A bad step of the smallest model, as the guard writes it: one of two images holds a NaN."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    from yolo_nanfix.batches import loss_terms

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = DetectionModel(copy.deepcopy(YAML), ch=3, nc=2, verbose=False).train()
        model.args = get_cfg()
        batch: dict[str, Any] = {
            "img": torch.rand(2, 3, IMAGE, IMAGE),
            "cls": torch.tensor([[0.0], [1.0], [1.0]]),
            "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.3, 0.3]]),
            "batch_idx": torch.tensor([0.0, 1.0, 1.0]),
        }
        batch["img"][1, 0, 3, 3] = float("nan")
        before = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
        state = torch.get_rng_state()
        _, items = model(batch)
    files = [f"/data/images/{name}.jpg" for name in ("a", "b")]
    labels = [{"file": f"/data/labels/{name}.txt", "rows": ["0 0.5 0.5 0.4 0.4"]} for name in ("a", "b")]
    facts = {
        "point": "after-loss", "checks": ["loss"], "detail": "", "epoch": 1, "batch": 3, "rank": -1, "number": 1,
        "task": "detect",
        "model": {
            "class": "ultralytics.nn.tasks:DetectionModel", "yaml": model.yaml, "nc": 2, "ch": 3,
            "names": {"0": "a", "1": "b"},
        },
        "args": {k: v for k, v in vars(model.args).items() if isinstance(v, (str, int, float, list, type(None)))},
        "precision": "float32", "loss_scale": None, "optimizer": "SGD", "lr": [0.01, 0.01], "base_lr": 0.01,
        "groups": [{"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005}], "settings": [], "callbacks": [],
        "history": [{"loss": 3.0, "norm": 1.0}] * 5, "loss": loss_terms(items),
        "sources": [
            {"file": f, "suspect": "", "parents": [], "on_disk": "unknown", "blamed": [], "labels": held}
            for f, held in zip(files, labels, strict=True)
        ],
        "criterion": {"reg_max": 16}, "attributes": {"criterion": {"reg_max": 16}}, "kept": {}, "frozen": [],
        "born_non_finite": [], "other_buffers": [], "threads": 1, "versions": {"torch": "2"}, "patches": [],
        "entries": {"im_file": files}, "gradients": {"bad": [], "count": 0, "of": 3, "largest": {"model.0": 1.0}},
        "own": {"hooks": [], "replaced": {}, "edited": {}, "classes": {}, "device": "cpu"},
    }  # fmt: skip
    earlier = {k.replace("model.", "earlier.", 1): v * 0.99 for k, v in before.items() if v.is_floating_point()}
    tensors = {**{f"batch.{k}": v for k, v in batch.items()}, **before, **earlier, "rng.cpu": state}
    return Incident(json.loads(json.dumps(facts)), tensors)


def harmless(folder: Path) -> list[str]:
    """Texts that write a marker file into a folder, if they are evaluated or called anywhere."""
    touch = f"open({str(folder / MARKER)!r}, 'w').close()"
    return [
        touch,
        f"nn.ReLU() if not {touch} else nn.ReLU()",
        f"nn.ReLU({touch})",
        f"nn.ReLU(*[{touch}])",
        f"nn.ReLU(**dict(inplace={touch}))",
        f"(nn.ReLU, {touch})[0]()",
        f"nn.ReLU(inplace=[{touch}][0])",
        f"(lambda: {touch})()",
        f"__import__('pathlib').Path({str(folder / MARKER)!r}).touch()",
        f"torch.save({{}}, {str(folder / MARKER)!r})",
        f"torch.nn.ReLU().register_buffer('a', {touch})",
        f"nn.modules.activation.ReLU({touch})",
        f"exec({touch!r})",
        f"[{touch}]",
        f"f'{{{touch}}}'",
    ]


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 2**31, 10**12, 10**30, -(10**400), 1e308, -1.5, float("nan"), float("inf"),
    "", "nan", "x", "\x1b[31m\x07", "a" * 5000, "\ud800", "../../../../etc/passwd", "/dev/zero", "nn.ReLU()",
    [], [1], ["a"], [[1]], [None], [float("nan")], {}, {"a": 1}, {"": None}, {"__class__": 1}, [{}],
    [[[[[[[[[[]]]]]]]]]],
)  # fmt: skip
ROWS: tuple[Any, ...] = (
    [-1, 10**9, "Conv", [8, 3, 2]], [-1, 200, "nn.Identity", []], [5, 1, "Conv", [8]], [-9, 1, "Conv", [8]],
    [-1, 1, "Conv", [10**9, 3, 2]], [-1, 1, "Conv", [900_000, 1, 1]], [-1, 1, "nn.Upsample", [100_000]],
    [-1, 1, "nn.Upsample", ["None", 100_000, "nearest"]], [-1, 1, "nn.Embedding", [900_000, 900_000]],
    [-1, 1, "DetectionModel", ["yolov8n.yaml"]], [-1, 1, "nn.DataParallel", ["x"]], [-1, 1, "os.system", ["true"]],
    [-1, 1, "TorchVision", [8, "resnet18", "DEFAULT"]], [-1, 1, "TorchVision", [8, "list_models", "DEFAULT"]],
    [-1, 1, "nn.modules", []], [-1, 1, "parse_model", [{}, 3]], [-1, 1, "AutoBackend", ["x.pt"]],
    [[], 1, "Concat", [1]], [None, 1, "Concat", [1]], [-1, 1, "SPPF", [8, 5, 10**6]], [-1, 1, "Conv"], "Conv", 3,
    [-1, 1, "torchvision.ops.MLP", [8, [10**9]]], [-1, 1, "C2f", [8, 250]], [-1, 256, "C2f", [512, True]],
    [-1, 1, "nn.Linear", ["d"]], [-1, 1, "nn.Linear", ["locals"]], [-1, 1, "Detect", [10**6]],
    [-1, 1, "nn.LSTM", [4, 9999, 999]],
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in items:
        yield (*path, key)
        yield from _places(entry, (*path, key))


def _odd_fact(facts: dict[str, Any], tensors: dict[str, Tensor], rng: random.Random, folder: Path) -> None:
    """Other values at one to three places of the facts."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *way, last = rng.choice(list(_places(facts)))
        holder: Any = facts
        for key in way:
            holder = holder[key]
        if rng.random() < 0.2 and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(rng.choice((*ODD, *harmless(folder))))


def _odd_yaml(facts: dict[str, Any], tensors: dict[str, Tensor], rng: random.Random, folder: Path) -> None:
    """A model yaml that asks for more than a model."""
    yaml = facts["model"]["yaml"]
    texts = harmless(folder)
    kind = rng.randrange(5)
    if kind == 0:
        yaml["activation"] = rng.choice(
            (*texts, "nn.Linear(9, 9)", "nn.PReLU(10**9)", "nn.PReLU(999999)", "ReLU", "d()")
        )
    elif kind == 1:
        yaml["backbone"][rng.randrange(3)] = copy.deepcopy(rng.choice(ROWS))
    elif kind == 2:
        yaml["backbone"][rng.randrange(3)][rng.randrange(4)] = copy.deepcopy(rng.choice((*ODD, *texts)))
    elif kind == 3:
        rng.choice((yaml["backbone"][0], yaml["head"][0]))[3].append(rng.choice(texts))
    else:
        key = rng.choice(
            ("nc", "ch", "channels", "scales", "scale", "reg_max", "width_multiple", "depth_multiple", "end2end")
        )
        more: tuple[Any, ...] = ({"n": [1, 1e9, 5]}, {"n": [9**9, 1, 5]}, {"n": ["a", 1, 5]}, 512, 99_999)
        yaml[key] = copy.deepcopy(rng.choice((*ODD, *texts, *more)))


def _odd_class(facts: dict[str, Any], tensors: dict[str, Tensor], rng: random.Random, folder: Path) -> None:
    """Another class of model."""
    facts["model"]["class"] = rng.choice((
        "os:system", "ultralytics.nn.tasks:Ensemble", "ultralytics.nn.tasks:parse_model",
        "ultralytics.engine.model:Model",
        "ultralytics.nn.autobackend:AutoBackend", "ultralytics.nn.tasks:ClassificationModel", "ultralytics.hub:login",
        "ultralytics.nn.tasks:RTDETRDetectionModel", "ultralytics.nn.tasks:WorldModel",
        "ultralytics.nn.tasks:PoseModel",
        "ultralytics.nn.tasks:YOLOEModel", "ultralytics.nn.tasks:SegmentationModel", "ultralytics.nn.tasks",
        "", ":", "..:a",
        "ultralytics.solutions.solutions:BaseSolution", "builtins:exec", "ultralytics.nn.tasks:DetectionModel.forward",
    ))  # fmt: skip


def _odd_tensor(facts: dict[str, Any], tensors: dict[str, Tensor], rng: random.Random, folder: Path) -> None:
    """A tensor of another shape, type, name or content, or none."""
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    kind = rng.randrange(8)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[name] = tensor.reshape(-1)
    elif kind == 2:
        tensors[name] = tensor.to(rng.choice((torch.uint8, torch.int64, torch.bool, torch.float64, torch.bfloat16)))
    elif kind == 3:
        tensors[name] = tensor[:0].clone() if tensor.dim() else tensor.reshape(1, 1, 1, 1, 1)
    elif kind == 4:
        fill = rng.choice((float("nan"), float("inf"), 1e30, -3.0, 0.0))
        tensors[name] = torch.full(tensor.shape, fill, dtype=torch.float32)
    elif kind == 5:
        tensors[
            rng.choice(("model.x", "batch.x", "kept.criterion.x", "optimizer.x.exp_avg", "rng.cuda", "", "a.b"))
        ] = tensor.clone()
    elif kind == 6:
        tensors[name] = torch.cat([tensor.reshape(-1, *tensor.shape[1:] or (1,))] * 3)
    else:
        tensors[name] = tensor.reshape(*tensor.shape, 1)


def _facts_text(text: str, rng: random.Random) -> str:
    """The facts as text that is no JSON, or too deep, or has numbers without end."""
    return rng.choice((
        text[: rng.randrange(len(text))], "[" * 100_000, '{"format": 1, "a": ' + "[" * 50_000, "null", "[]", "{}",
        '"x"',
        text.replace('"epoch": 1', '"epoch": ' + "9" * 5000), text.replace('"format": 1', '"format": 1e400'),
        text.replace('"threads": 1', '"threads": 1000000000'), text.replace('"format": 1', '"format": {}'), "NaN", "",
    ))  # fmt: skip


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """A file cut, lengthened or with other bytes; or with another header."""
    kind = rng.randrange(6)
    size = struct.unpack("<Q", data[:8])[0]
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        return data + bytes(rng.randrange(1, 100))
    if kind == 2:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 3, 30))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if kind == 3:
        return struct.pack("<Q", rng.choice((0, 1, size - 1, size + 1, 2**32, 2**63, 2**64 - 1))) + data[8:]
    header = json.loads(data[8 : 8 + size])
    entry = header[rng.choice([key for key in header if key != "__metadata__"])]
    if kind == 4:
        entry["shape"] = rng.choice(([10**9, 10**9], [-1], [2**62, 0], [0], [], [1] * 40, ["a"], None, [1.5]))
    else:
        entry["dtype"] = rng.choice(("F64", "U8", "BOOL", "F8_E5M2", "U64", "C64", "X", None, 3))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


KINDS: tuple[Callable[..., None], ...] = (
    _odd_fact,
    _odd_fact,
    _odd_fact,
    _odd_yaml,
    _odd_yaml,
    _odd_class,
    _odd_tensor,
)


def cases(folder: Path, rng: random.Random, count: int, *, each: bool = False) -> Iterator[Path]:
    """Write `count` odd incidents, one at a time, into a folder.

    Args:
        folder: where each is written, in the place of the one before; `MARKER` in it must never appear.
        rng: draws them; the same state gives the same files.
        count: how many.
        each: every kind in its turn, each as often.
    """
    changes = tuple(dict.fromkeys(KINDS))
    whole = base()
    path = folder / "odd.safetensors"
    for number in range(count):
        path.unlink(missing_ok=True)
        facts, tensors = copy.deepcopy(dict(whole.facts)), dict(whole.tensors)
        place = number % (len(changes) + 3)
        kind = (place - len(changes) + 7 if place >= len(changes) else 0) if each else rng.randrange(10)
        if kind < 7:
            (changes[place] if each else rng.choice(KINDS))(facts, tensors, rng, folder)
        text = json.dumps({"format": 1, **facts})
        metadata = {"yolo-nanfix": _facts_text(text, rng) if kind == 7 else text}
        if rng.random() < 0.02:
            metadata = rng.choice(({}, {"yolo-nanfix": "1"}, {"other": "x"}))
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata=metadata)
        if kind > 7:
            path.write_bytes(_bytes(path.read_bytes(), rng))
        yield path


def main() -> int:
    """Diagnose as many as are asked for; 1 if one ends neither in a verdict nor in a clear error, or takes too long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import yolo_nanfix
    from yolo_nanfix.errors import DataError

    yolo_nanfix.patch("torchvision-operators-missing", guard=False)
    ends: Counter[str] = Counter()
    slowest, bad = 0.0, 0
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        for number, path in enumerate(cases(folder, random.Random(args.seed), args.count)):
            began = time.perf_counter()
            try:
                ends[f"verdict {yolo_nanfix.diagnose(path).cause.value}"] += 1
            except DataError as error:
                ends["refused: " + str(error).partition(": ")[2][:50]] += 1
            except Exception as error:
                bad += 1
                kept = Path(tempfile.gettempdir()) / f"odd-{args.seed}-{number}.safetensors"
                kept.write_bytes(path.read_bytes())
                print(f"{kept}: {type(error).__name__}: {error}"[:400])
            slowest = max(slowest, time.perf_counter() - began)
        marked = (folder / MARKER).exists()
    for end, count in ends.most_common():
        print(f"{count:6} {end}")
    print(
        f"{args.count} incidents, {bad} other exceptions, slowest {slowest:.1f} s, "
        f"marker {'WRITTEN' if marked else 'not written'}"
    )
    return int(bad > 0 or slowest > 20 or marked)


if __name__ == "__main__":
    sys.exit(main())
