"""The checks of `yolo-nanfix doctor`: versions, torchvision, GPUs, precision, patches, shared memory."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix import upstream
from yolo_nanfix._version import __version__
from yolo_nanfix.api import Status

GOOD, NOTE, BAD = "good", "note", "bad"
PACKAGES = ("ultralytics", "torch", "torchvision", "numpy", "opencv-python", "pillow")
SHARED_MEMORY = Path("/dev/shm")
LITTLE_SHARED_MEMORY = 1 << 30
BF16_TRAINING = (8, 4, 129)
"""The first release whose `amp` argument takes "bf16"."""


class DoctorCheck(NamedTuple):
    """One check; `state` is good, note (worth knowing) or bad (training breaks, or yolo-nanfix cannot help)."""

    name: str
    state: str
    detail: str
    advice: str = ""


def examine(status: Status) -> Iterator[DoctorCheck]:
    """All checks; `status` is of the default set of patches, which must be on."""
    yield DoctorCheck("versions", GOOD, ", ".join(_versions()))
    yield _release()
    yield from _torchvision(status)
    yield from _devices()
    yield from _patch_checks(status)
    yield from _shared_memory()


def _versions() -> Iterator[str]:
    yield f"yolo-nanfix {__version__}"
    yield f"Python {platform.python_version()}"
    for package in PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"no {package}"


def _release() -> DoctorCheck:
    here = upstream.version()
    if upstream.release(here) >= upstream.SUPPORTED:
        return DoctorCheck("ultralytics", GOOD, f"{here} is supported")
    detail = f"{here} is older than 8.0.136: only rect validation can be patched, and nothing is guarded"
    return DoctorCheck("ultralytics", BAD, detail, "pip install -U ultralytics")


def _torchvision(status: Status) -> Iterator[DoctorCheck]:
    """Import torchvision to see whether its operators load; the patch acts in the import."""
    from yolo_nanfix.patching import engine

    name = "torchvision-operators-missing"
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # whatever a broken build raises
        detail = f"cannot be imported: {error}"
        yield DoctorCheck("torchvision", BAD, detail, "install the one that belongs to your torch")
        return
    if {p.name: p for p in status.patches}[name].state == "on" == {p.name: p for p in engine.states()}[name].state:
        detail = "its operators do not fit this torch; stock training stops, patched training uses nms in pure torch"
        advice = "for full speed install the torchvision that belongs to your torch"
        yield DoctorCheck("torchvision", NOTE, detail, advice)
    else:
        yield DoctorCheck("torchvision", GOOD, "fits torch")


def _devices() -> Iterator[DoctorCheck]:
    import torch

    from yolo_nanfix.patching.fixes.half_precision import broken_half

    if not torch.cuda.is_available():
        detail = "no CUDA device: training runs on the CPU (or MPS) in float32, AMP stays off"
        yield DoctorCheck("devices", NOTE, detail)
        return
    for index in range(torch.cuda.device_count()):
        name, memory = torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory
        what = f"{name}, {memory / 2**30:.0f} GiB"
        if reason := broken_half(name):
            yield DoctorCheck(f"GPU {index}", BAD, f"{what}: {reason}", "train with amp=False")
        else:
            yield DoctorCheck(f"GPU {index}", GOOD, f"{what}: no fault of its float16 is known", _precision(index))


def _precision(index: int) -> str:
    """Advice about the precision of training, for a GPU whose float16 works."""
    import torch

    if torch.cuda.get_device_capability(index) >= (8, 0) and upstream.release(upstream.version()) >= BF16_TRAINING:
        return 'amp=True is fine; if losses overflow, amp="bf16" has the range of float32'
    return "amp=True is fine; if losses overflow, amp=False"


def _patch_checks(status: Status) -> Iterator[DoctorCheck]:
    names: dict[str, list[str]] = {}
    for patch in status.patches:
        names.setdefault(patch.state, []).append(patch.name)
    counts = ", ".join(f"{len(found)} {state}" for state, found in sorted(names.items()))
    yield DoctorCheck("patches", GOOD, counts, "yolo-nanfix patches lists them")
    for patch in status.patches:
        if patch.state == "refused":
            advice = f"training runs without it; yolo-nanfix explain {patch.name} says what that means"
            yield DoctorCheck(f"patch {patch.name}", BAD, f"refused: {patch.reason}", advice)
    if status.guard_refused:
        yield DoctorCheck("guard", BAD, f"refused: {status.guard_refused}", "use a supported release of ultralytics")


def _shared_memory() -> Iterator[DoctorCheck]:
    """Dataloader workers pass batches in shared memory; containers often have 64 MiB of it."""
    if not SHARED_MEMORY.is_dir():
        return
    total = shutil.disk_usage(SHARED_MEMORY).total
    if total < LITTLE_SHARED_MEMORY:
        detail = f"{total >> 20} MiB: workers may die with a bus error"
        advice = "docker run --shm-size=8g (or --ipc=host), or train with workers=0"
        yield DoctorCheck("shared memory", NOTE, detail, advice)
    else:
        yield DoctorCheck("shared memory", GOOD, f"{total >> 20} MiB, {os.cpu_count()} CPU cores")
