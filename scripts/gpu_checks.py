"""The checks of gpu_check.py: each trains something small on the device, and says what was seen as plain figures.

On a CPU, half precision is what autocast makes of it there, with a live GradScaler; on a GPU it is upstream's own.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bench_guard
import benchlib
import faulty_modules
import healthy_runs
import torch
from healthy_specs import TINY, Spec
from small_sets import small_set
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from user_modules import NAN, behind

import yolo_nanfix
from yolo_nanfix.guard import incident_writer

SCRIPTS = Path(__file__).parent
READS = ("aten._local_scalar_dense", "aten.nonzero")
"""Operations that make the host wait for a device."""
KEPT = ("weights", "EMA", "optimizer", "scaler")
"""What a dropped micro-batch must leave as it was; the BatchNorm statistics are among the weights."""


@dataclass(frozen=True)
class Device:
    """Where the checks run, and how large.

    Attributes:
        kind: `cuda` or `cpu`.
        folder: for datasets and runs.
        model: what is trained in the checks of what is right.
        imgsz, batch: of these.
        timed: model, batch, image size and pairs of steps of the check of the time.
    """

    kind: str
    folder: Path
    model: str
    imgsz: int
    batch: int
    timed: tuple[str, int, int, int]

    @classmethod
    def of(cls, kind: str, folder: Path) -> Device:
        """The sizes for a GPU, or those for a smoke test on a CPU."""
        if kind == "cuda":
            return cls(kind, folder, "yolov8n.yaml", 320, 16, ("yolov8n.yaml", 64, 640, 30))
        return cls(kind, folder, TINY, 64, 4, (TINY, 4, 64, 4))

    @property
    def gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.kind == "cuda"

    def spec(self, precision: str, trainer: Any = None, **args: Any) -> Spec:
        """A run on this device: float32, float16 (with GradScaler) or bfloat16."""
        amp: Any = {"float32": False, "float16": True, "bfloat16": "bf16"}[precision]
        given = {
            "device": 0 if self.gpu else "cpu",
            "imgsz": self.imgsz,
            "batch": self.batch,
            "nbs": self.batch,
            **args,
        }
        if self.gpu:
            return Spec(model=self.model, trainer=trainer, args={**given, "amp": amp})
        return Spec(model=self.model, trainer=trainer, args=given, precision=precision)

    def train(
        self, name: str, spec: Spec, callbacks: Mapping[str, Callable[[Any], None]] | None = None
    ) -> dict[str, Any]:
        """Run it under whatever is patched now; see `healthy_runs.run`."""
        data = self.folder / "set" / "data.yaml"
        if not data.exists():
            small_set(self.folder / "set", "detect", n_train=4 * self.batch, n_val=self.batch, size=self.imgsz)
        with self._amp_allowed():
            return healthy_runs.run(spec, data, self.folder / name, callbacks)

    @contextlib.contextmanager
    def _amp_allowed(self) -> Iterator[None]:
        """Upstream's self-check of AMP wants to download a model: it has a check of its own here."""
        from ultralytics.engine import trainer as module

        stock = module.check_amp
        if self.gpu:
            module.check_amp = lambda model: True
        try:
            yield
        finally:
            module.check_amp = stock


@dataclass(frozen=True)
class Seen:
    """What a check saw: whether that is right, a sentence, and figures."""

    right: bool
    said: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def bare(precision: str) -> Any:
    """Stock but for what it needs to train here; with the patches where they round half precision otherwise."""
    if precision == "float32":
        return yolo_nanfix.patched("torchvision-operators-missing", guard=False)
    return yolo_nanfix.patched(guard=False)


def healthy(device: Device, precision: str) -> Seen:
    """A healthy run with the guard is bit for bit the one without it, where the device repeats itself at all."""
    spec = device.spec(precision)
    with bare(precision):
        stock = device.train(f"stock-{precision}", spec)
        again = device.train(f"again-{precision}", spec) if device.gpu else stock
    with yolo_nanfix.patched():
        ours = device.train(f"ours-{precision}", spec)
    differing, events = healthy_runs.differences(stock, ours), healthy_runs.events(ours)
    repeats = not healthy_runs.differences(stock, again)
    figures = {"differences": differing, "events": events, "device_repeats_itself": repeats}
    if not repeats:
        return Seen(not events, "the device does not repeat itself, so bits cannot be compared; no event", figures)
    return Seen(not differing and not events, "bit for bit stock's, no event" if not differing else "differs", figures)


def _poisoning(at: int) -> Callable[[Any, dict[str, Any], int], None]:
    def change(trainer: Any, batch: dict[str, Any], number: int) -> None:
        if number == at:
            batch["img"][0, 0, 5, 5] = NAN

    return change


def dropped(device: Device, precision: str) -> Seen:
    """One NaN pixel: that micro-batch alone is dropped, and leaves every bit as it was."""
    at, states = 2, {}

    def look(when: str) -> Callable[[Any], None]:
        seen = [-1]

        def callback(trainer: Any) -> None:
            seen[0] += 1
            if seen[0] == at:
                states[when] = healthy_runs.state(trainer)

        return callback

    spec = device.spec(precision, lambda base: faulty_modules.trainer_that(base, batch=_poisoning(at)), epochs=1)
    with yolo_nanfix.patched():
        looks = {"on_train_batch_start": look("before"), "on_train_batch_end": look("after")}
        ours = device.train(f"dropped-{precision}", spec, looks)
    guard = ours["guard"] or {"dropped_micro_batches": None, "verdicts": []}
    changed = [part for part in KEPT if states["before"][part] != states["after"][part]]
    verdict = guard["verdicts"][0] if guard["verdicts"] else {}
    figures = {
        "dropped": guard["dropped_micro_batches"],
        "changed_by_it": changed,
        "cause": verdict.get("cause"),
        "op": verdict.get("op"),
        "error": ours["error"][-300:],
    }
    right = figures["dropped"] == 1 and not changed and figures["cause"] == "definition" and not ours["error"]
    return Seen(right, f"{figures['dropped']} of 4 micro-batches dropped; cause {figures['cause']}", figures)


class BeyondHalf(nn.Module):
    """Finite in float32 and bfloat16; in float16 it overflows."""

    def forward(self, x: Tensor) -> Tensor:
        large = x.new_full((), 3e4) * (1 + x.abs())
        return x * (large / (3e4 * (1 + x.abs())))


@contextlib.contextmanager
def _unhurried(device: Device) -> Iterator[None]:
    """On a CPU, where the time of a step says little in a smoke test, the diagnosis may take as long as it likes."""
    allowed = incident_writer.STEP_TIMES
    if not device.gpu:
        incident_writer.STEP_TIMES = 10**6
    try:
        yield
    finally:
        incident_writer.STEP_TIMES = allowed


def leave_half(device: Device) -> Seen:
    """A model that overflows in float16 alone goes on in a wider dtype."""
    ended: dict[str, Any] = {}

    def look(trainer: Any) -> None:
        finite = all(bool(p.isfinite().all()) for p in trainer.model.parameters())
        ended.update(scaler=trainer.scaler.is_enabled(), amp=str(trainer.amp), finite=finite)

    spec = device.spec("float16", lambda base: behind(base, lambda c: BeyondHalf()), epochs=3)
    with yolo_nanfix.patched(), _unhurried(device):
        ours = device.train("leave", spec, {"on_train_end": look})
    guard = ours["guard"] or {"dropped_micro_batches": None, "events": []}
    figures = {**ended, "dropped": guard["dropped_micro_batches"], "error": ours["error"][-300:]}
    figures["actions"] = sorted({action["did"] for event in guard["events"] for action in event["actions"]})
    right = not ours["error"] and ended.get("scaler") is False and bool(ended.get("finite"))
    return Seen(right, f"{figures['dropped']} of 12 micro-batches dropped, then without GradScaler", figures)


def rollback(device: Device) -> Seen:
    """A weight becomes NaN: the run goes back to its newest clean state; how long copies and ways back take."""
    from yolo_nanfix.guard import adapter, remedies
    from yolo_nanfix.guard.guard_settings import GuardSettings

    figures: dict[str, Any] = {}

    def attach(trainer: Any) -> None:
        figures["guard"] = adapter.attach(trainer, GuardSettings(snapshot_every=2))

    def spoil(trainer: Any, batch: dict[str, Any], number: int) -> None:
        if number == 5:
            next(trainer.model.parameters()).data.view(-1)[3] = NAN

    def measure(trainer: Any) -> None:
        snapshots = figures.pop("guard").run.snapshots
        figures["finite"] = all(bool(p.isfinite().all()) for p in trainer.model.parameters())
        for name, act in (
            ("copy_ms", lambda: snapshots.take(10**6)),
            ("back_ms", lambda: remedies.roll_back(snapshots)),
        ):
            figures[name] = 1e3 * statistics.median(_times(trainer, act))

    spec = device.spec("float32", lambda base: faulty_modules.trainer_that(base, batch=spoil), val=False)
    with bare("float32"):
        ours = device.train("rollback", spec, {"on_pretrain_routine_end": attach, "on_train_end": measure})
    figures["error"] = ours["error"][-300:]
    said = f"a copy takes {figures.get('copy_ms', 0):.1f} ms, the way back {figures.get('back_ms', 0):.1f} ms"
    return Seen(not ours["error"] and bool(figures.get("finite")), said, figures)


def _times(trainer: Any, act: Callable[[], object], times: int = 9) -> list[float]:
    spent = []
    for _ in range(times):
        benchlib.settled(trainer)
        began = time.perf_counter()
        act()
        benchlib.settled(trainer)
        spent.append(time.perf_counter() - began)
    return spent


class HostReads(TorchDispatchMode):
    """Counts the operations that make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func.overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


def reads(device: Device, precision: str) -> Seen:
    """How often a healthy step waits for the device, stock and ours. A CPU asks for nothing: there, patches may."""
    names = () if not device.gpu and precision != "float32" else ("torchvision-operators-missing",)
    with yolo_nanfix.patched(*names, guard=False):
        stock = _reads(device, precision, "stock")
    with yolo_nanfix.patched() if device.gpu else yolo_nanfix.patched(*names, guard=True):
        ours = _reads(device, precision, "ours")
    what = "patches and guard" if device.gpu else "the guard alone"
    figures = {"stock": stock, "ours": ours, "counted": "operations" + (", synchronisations" if device.gpu else "")}
    settled = len(stock) // 2  # a GradScaler that looks for its scale has its overflows in the first steps
    said = f"reads of a step: {stock[-1]} in stock, {ours[-1]} with {what}" if stock and ours else "no step"
    return Seen(bool(stock) and ours[settled:] == stock[settled:], said, figures)


def _reads(device: Device, precision: str, name: str) -> list[list[int]]:
    steps: list[list[int]] = []
    open_ones: list[Any] = []

    def start(trainer: Any) -> None:
        stack = contextlib.ExitStack()
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        if device.gpu:
            torch.cuda.set_sync_debug_mode("warn")
            stack.callback(torch.cuda.set_sync_debug_mode, "default")
        open_ones.append((stack, caught, stack.enter_context(HostReads())))

    def end(trainer: Any) -> None:
        stack, caught, mode = open_ones.pop()
        stack.close()
        waits = sum("synchroniz" in str(w.message) for w in caught)
        steps.append([sum(mode.counts[read] for read in READS), waits])

    spec = device.spec(precision, val=False, save=False)
    callbacks = {"on_train_batch_start": start, "on_train_batch_end": end}
    device.train(f"reads-{precision}-{name}", spec, callbacks)
    return steps


def share(device: Device) -> Seen:
    """The guard's share of a step: alternating steps with it and without in one run."""
    model, batch, imgsz, pairs = device.timed
    steps = bench_guard.GuardSteps()
    arguments = {"device": 0, "amp": True, "cache": "ram", "workers": 8} if device.gpu else {}
    with yolo_nanfix.patched("torchvision-operators-missing", guard=False), device._amp_allowed():
        steps.measure(pairs, model, batch, imgsz, epoch=2, **arguments)
    on, off = ([wall for wall, _ in steps.times[which]] for which in (True, False))
    figures = {
        "ratio": statistics.median(on) / statistics.median(off),
        "step_ms": 1e3 * statistics.median(off),
        "inside": statistics.median(steps.inside),
        "setting": f"{Path(model).stem}, batch {batch}, {imgsz} px, {len(on)} pairs",
    }
    said = f"with / without {figures['ratio']:.4f}, in the guard's code {figures['inside']:.2%} of a step"
    return Seen(len(on) > 0, f"{said} ({figures['setting']}, step {figures['step_ms']:.1f} ms)", figures)


def out_of_memory(device: Device) -> Seen:
    """Memory runs out in the second micro-batch (on a CPU: as if): upstream halves the batch, the guard lets it."""
    held: list[Any] = []
    ended: dict[str, Any] = {}

    def runs_out(gradient: Tensor) -> Tensor:
        held.pop().remove()
        raise RuntimeError("out of memory")

    def change(trainer: Any, batch: dict[str, Any], number: int) -> None:
        if number == 1 and device.gpu:
            torch.cuda.empty_cache()
            held.append(torch.empty(torch.cuda.mem_get_info()[0] - 2**26, dtype=torch.uint8, device="cuda"))
        elif number == 1:
            held.append(next(trainer.model.parameters()).register_hook(runs_out))
        else:
            held.clear()

    def look(trainer: Any) -> None:
        finite = all(bool(p.isfinite().all()) for p in trainer.model.parameters())
        ended.update(batch=trainer.batch_size, finite=finite)

    spec = device.spec("float32", lambda base: faulty_modules.trainer_that(base, batch=change), val=False)
    with yolo_nanfix.patched():
        ours = device.train("memory-runs-out", spec, {"on_train_end": look})
    figures = {**ended, "error": ours["error"][-500:]}
    right = not ours["error"] and ended == {"batch": device.batch // 2, "finite": True}
    return Seen(right, f"the run ends with batch {ended.get('batch')} instead of {device.batch}", figures)


def memory(device: Device) -> Seen:
    """The most memory of the GPU that a run takes, with the guard and without."""
    most = {}
    for name, patched in (("stock", bare("float16")), ("ours", yolo_nanfix.patched())):
        torch.cuda.reset_peak_memory_stats()
        with patched:
            device.train(f"memory-{name}", device.spec("float16", val=False))
        most[name] = torch.cuda.max_memory_allocated() / 2**20
    said = f"{most['ours']:.0f} MiB against {most['stock']:.0f} MiB"
    return Seen(most["ours"] < 1.5 * most["stock"] + 100, said, most)


def amp_self_check(device: Device) -> Seen:
    """The patches of upstream's self-check: on a sound GPU a healthy model keeps AMP, an overflowing one does not."""
    from types import SimpleNamespace

    from ultralytics import YOLO
    from ultralytics.utils import checks

    answers = {}
    for name in ("healthy", "overflowing"):
        model = YOLO("yolov8n.yaml").model.cuda()
        model.args = SimpleNamespace(imgsz=128, batch=8)
        if name == "overflowing":
            layer = model.model[4].cv1
            layer.conv.weight.data *= 1e7
            layer.bn.running_var *= 1e14
        with yolo_nanfix.patched("amp-check-skipped", "gpu-half-broken", guard=False):
            answers[name] = bool(checks.check_amp(model))
    said = f"AMP stays on for a healthy model: {answers['healthy']}, for one that overflows: {answers['overflowing']}"
    return Seen(answers == {"healthy": True, "overflowing": False}, said, answers)


def compiled(device: Device) -> Seen:
    """torch.compile: the run ends, and a bad micro-batch is dropped there, too."""
    spec = device.spec("float16", lambda base: faulty_modules.trainer_that(base, batch=_poisoning(2)), compile=True)
    with yolo_nanfix.patched():
        ours = device.train("compiled", replace(spec, args={**spec.args, "epochs": 1}))
    guard = ours["guard"] or {"dropped_micro_batches": None}
    figures = {"dropped": guard["dropped_micro_batches"], "error": ours["error"][-500:]}
    right = not ours["error"] and figures["dropped"] == 1
    return Seen(right, f"{figures['dropped']} of 4 micro-batches dropped", figures)


OUT_OF_RANGE = """
import sys
from pathlib import Path
import faulty_modules, gpu_checks, yolo_nanfix
kind, folder, arm = sys.argv[1:]
device = gpu_checks.Device.of(kind, Path(folder))
def change(trainer, batch, number):
    if number == 1:
        batch["cls"][0] = 9.0
spec = device.spec("float32", lambda base: faulty_modules.trainer_that(base, batch=change), val=False)
with yolo_nanfix.patched() if arm == "ours" else gpu_checks.bare("float32"):
    found = device.train(arm, spec)
dropped = (found["guard"] or {}).get("dropped_micro_batches")
print("ENDED", len(found["losses"]), dropped, " ".join(found["error"].split())[-80:])
"""


def class_out_of_range(device: Device) -> Seen:
    """A class that the model does not have: it ends stock, on a GPU by a device-side assert; ours leaves it out."""
    said = {}
    for arm in ("stock", "ours"):
        folder = device.folder / f"classes-{arm}"
        command = [sys.executable, "-c", OUT_OF_RANGE, device.kind, str(folder), arm]
        done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=120)
        line = next((row for row in done.stdout.splitlines() if row.startswith("ENDED")), "")
        said[arm] = line or f"exit code {done.returncode}: {done.stderr.strip()[-200:]}"
    right = said["ours"].split()[:2] == ["ENDED", "8"] and len(said["ours"].split()) == 3
    return Seen(right, f"stock: {said['stock'][:80]}; ours goes on: {right}", said)


@dataclass(frozen=True)
class Check:
    """One check: its name, what runs it, whether it needs a GPU, and the seconds that one should have for it."""

    name: str
    run: Callable[[Device], Seen]
    gpu: bool = False
    seconds: float = 20.0


PRECISIONS = ("float32", "float16", "bfloat16")


def _each(name: str, check: Callable[[Device, str], Seen]) -> list[Check]:
    return [Check(f"{name}, {p}", lambda device, p=p: check(device, p)) for p in PRECISIONS]  # type: ignore[misc]


CHECKS: tuple[Check, ...] = (
    *_each("bad micro-batch dropped", dropped),
    *_each("healthy run bit for bit", healthy),
    Check("leaves float16", leave_half),
    Check("rollback", rollback),
    Check("reads of a step, float32", lambda device: reads(device, "float32")),
    Check("reads of a step, float16", lambda device: reads(device, "float16")),
    Check("class out of range", class_out_of_range, seconds=40.0),
    Check("out of memory", out_of_memory),
    Check("AMP self-check", amp_self_check, gpu=True),
    Check("memory of the GPU", memory, gpu=True),
    Check("guard's share of a step", share, seconds=70.0),
    Check("torch.compile", compiled, gpu=True, seconds=120.0),
)
NEVER = {"several GPUs (DDP)": "needs more than one GPU; over gloo on the CPU in tests/processes"}
"""What this machine cannot show."""
