"""The record of one bad step: what the model saw, in one file without a pickle.

The file is safetensors: tensors by name, and the facts as JSON text in its metadata. Names of tensors:

    batch.<key>         the micro-batch as the model saw it (`batch.img`, `batch.bboxes`, ...)
    model.<name>        the model's state_dict as it was before the forward pass, BatchNorm statistics included
    earlier.<name>      the weights of an earlier snapshot, if one exists
    optimizer.<name>    the optimizer state of those parameters whose state is not finite
    kept.<owner>.<name> plain tensor attributes of the user's own modules, as they were before it
    rng.cpu, rng.cuda   states of the random number generators before the forward pass

The metadata has a checksum of all of it. Files may come from anybody: nothing in one is trusted.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from yolo_nanfix import files
from yolo_nanfix.errors import DataError


class NotReadable(DataError):  # noqa: N818 - the name says what the file is
    """A file is no incident, is damaged, or has content that is not allowed; `what` says what is wrong."""

    def __init__(self, what: str, file: str | Path = "this") -> None:
        super().__init__(f"{file} is not a readable incident: {what}")
        self.what = what


FORMAT = 1
FACTS, CHECKSUM = "yolo-nanfix", "crc32"
"""Keys of the metadata: the facts as JSON, and the checksum of facts and tensors (missing in files of old versions)."""
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""Allowed dtypes, as safetensors names them."""
TENSORS, DIMENSIONS = 100_000, 8
"""Most tensors, and most dimensions of each."""
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Incident:
    """The record of one bad step.

    Attributes:
        facts: JSON-ready description; its keys are

            point, checks, detail   which sensors fired where in the loop, and what they saw (see `events.Event`)
            epoch, batch, rank      1-based epoch and batch; rank of the process
            task, model             task; class path, yaml, nc, ch and names of the model
            args                    the training arguments
            precision               float32, float16 or bfloat16: the autocast dtype of the forward pass
            loss_scale              of the GradScaler, or None
            lr                      learning rates by parameter group
            loss                    the loss terms by name, as they came out
            history                 losses and gradient norms of the last finite steps, oldest first
            sources                 for each image: file, suspect, parents (mosaic and mix-up), on_disk and blamed (see
                                    `events.Source`), labels (None, or a mapping: `file`, and `rows`, its lines)
            criterion               scalar attributes of the loss that change in training (`updates`)
            born_non_finite         names of buffers that held values that are not finite when the run began
            other_buffers           names of buffers that are no statistics of a normalisation
            frozen                  names of the BatchNorm modules that are in evaluation mode
            threads                 number of CPU threads
            versions                yolo_nanfix, ultralytics, torch, python
            entries                 entries of the batch that are no tensors and that JSON can hold (`im_file`)
            attributes              numbers in attributes of the loss and of own modules before the step, by owner
            kept                    those outside of weights and buffers that are not finite, by name: `value`,
                                    and `since`, the number of the run's first incident with it; 0: the start
            number                  of this incident in its run, from 1
            groups                  the settings of the optimizer's groups
            settings                those of them that are not finite: group, name, value, and the epoch and step with
                                    which they were finite last
            callbacks               those of the user's own: event and code
            gradients               where the gradient is at fault: names of weights whose gradient is not finite
                                    (`bad`, `count`, `of` how many), and the largest magnitudes of finite ones
            own                     what the run had that is not of the installed release: `hooks`, `replaced`
                                    functions, `edited` files, `classes` of modules and of the loss, `device`
        tensors: see the module.
        entries: entries of the batch that are no tensors, as the run had them; not written.
    """

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    entries: Mapping[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix.`, without it."""
        return {k.removeprefix(prefix + "."): v for k, v in self.tensors.items() if k.startswith(prefix + ".")}

    def save(self, path: Path) -> None:
        """Write it atomically.

        Raises:
            OSError: it cannot be written; no partial file remains.
        """
        facts = json.dumps({"format": FORMAT, **self.facts}, default=str)
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in self.tensors.items()}
        metadata = {FACTS: facts, CHECKSUM: checksum(facts, tensors)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.file(path) as fresh:
            save_file(tensors, fresh, metadata=metadata)

    @property
    def size(self) -> int:
        """Bytes of the tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


def load_incident(path: str | Path) -> Incident:
    """Read an incident file, which may come from anybody: no code of it runs, and damage is detected.

    Types and shapes are compared with the size of the file before a tensor is made; `diagnosis.incident_checks`
    checks the facts.

    Raises:
        DataError: there is no such file.
        NotReadable: it is not an incident that this version can read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; incidents lie in the folder 'incidents' of a run")
    try:
        files.check_safetensors_header(path)
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if FACTS not in metadata:
                raise NotReadable("it is a safetensors file, but none of yolo-nanfix", path)
            names = list(stream.keys())
            if len(names) > TENSORS:
                raise NotReadable(f"it holds {len(names)} tensors; at most {TENSORS} are read", path)
            for name in names:
                header = stream.get_slice(name)
                if header.get_dtype() not in DTYPES or len(header.get_shape()) > DIMENSIONS:
                    kind = f"{header.get_dtype()} with {len(header.get_shape())} dimensions"
                    raise NotReadable(f"its tensor {name[:80]!r} is {kind}", path)
            tensors = {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, NotReadable):
            raise
        raise NotReadable(str(error)[:200], path) from error
    if metadata.get(CHECKSUM, "") not in ("", checksum(metadata[FACTS], tensors)):
        raise NotReadable("it is damaged: its checksum is not that of what it holds", path)
    try:
        facts = json.loads(metadata[FACTS])
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"its facts are damaged: {str(error)[:200]}", path) from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        held = str(facts.get("format"))[:20] if isinstance(facts, dict) else "none"
        raise NotReadable(f"it has format {held}, not {FORMAT}", path)
    return Incident(facts, tensors)


def checksum(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """The CRC-32 of the facts and of all tensors in the order of their names: against damage, not against attacks."""
    total = zlib.crc32(facts.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        flat = tensors[name].detach().reshape(-1)
        total = zlib.crc32(f"{name}:{flat.dtype}:{tuple(tensors[name].shape)}".encode(), total)
        total = zlib.crc32(flat.view(torch.uint8).numpy().data if flat.numel() else b"", total)
    return f"{total:08x}"


def newest(path: str | Path) -> Path:
    """The file itself, or the newest incident of a run folder.

    Raises:
        DataError: the folder has no incident.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = [file for folder in (path / "incidents", path) for file in folder.glob(f"*{SUFFIX}") if file.is_file()]
    if not found:
        raise DataError(f"{path} holds no incident; incidents lie in the folder 'incidents' of a run")
    return max(found, key=lambda file: (file.stat().st_mtime_ns, file.name))
