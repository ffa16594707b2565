"""What was only shown on a CPU, on this machine's GPU: one command of at most 6 minutes.

    python scripts/gpu_check.py OUT [--device cuda|cpu] [--limit 350] [--only NAME ...]

Needs no network: datasets are drawn here, models start from random weights. Writes OUT/gpu_check.json and, as a table
for the docs, OUT/gpu_check.md, anew after each check, so that a run that is killed leaves what it saw. Without a GPU
the checks that need one say so; the others run small, and say `cpu`. Exit code 1 if a check saw what is not right.

A machine without a network gets its wheels from one that has it:

    pip download -d wheels .                                  # there, on the same Python and platform
    pip install --no-index --find-links wheels yolo-nanfix    # here
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import benchlib

NO_GPU = "not run: no GPU"
NO_TIME = "not run: out of time"


def machine(kind: str) -> dict[str, Any]:
    """Versions, commit, and the GPU by its name."""
    import torch

    found = {"machine": benchlib.header(), "platform": platform.platform(), "device": kind, "cuda": torch.version.cuda}
    if kind == "cuda":
        major, minor = torch.cuda.get_device_capability()
        found |= {"gpu": torch.cuda.get_device_name(), "capability": f"{major}.{minor}"}
        found |= {"memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)}
        found |= {"cudnn": torch.backends.cudnn.version(), "bf16": torch.cuda.is_bf16_supported()}
    return found


def one(check: Any, device: Any) -> dict[str, Any]:
    """Run a check; how it ended, what it saw, and how long it took."""
    if check.gpu and not device.gpu:
        return {"name": check.name, "outcome": NO_GPU, "on": "", "said": "", "figures": {}, "seconds": 0.0}
    began = time.perf_counter()
    try:
        seen = check.run(device)
        outcome, said, figures = ("right" if seen.right else "WRONG"), seen.said, dict(seen.figures)
    except Exception as error:  # one check that fails must not keep the others from running
        outcome, said = "WRONG", f"{type(error).__name__}: {error}"
        figures = {"traceback": traceback.format_exc()[-1500:]}
    seconds = round(time.perf_counter() - began, 1)
    where = device.kind
    return {
        "name": check.name,
        "outcome": outcome,
        "on": where,
        "said": said,
        "figures": figures,
        "seconds": seconds,
    }


def table(about: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    gpu = f"{about['gpu']} (compute {about['capability']}), CUDA {about['cuda']}" if "gpu" in about else "no GPU"
    lines = [f"{gpu}; {about['machine']}", "", "| check | on | outcome | seen |", "|---|---|---|---|"]
    for result in results:
        said = result["said"].replace("|", "/").replace("\n", " ")
        lines.append(f"| {result['name']} | {result['on']} | {result['outcome']} | {said} |")
    return "\n".join(lines) + "\n"


def write(out: Path, about: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Both files, whole."""
    texts = {
        "gpu_check.json": json.dumps({**about, "checks": results}, indent=1, default=str) + "\n",
        "gpu_check.md": table(about, results),
    }
    for name, text in texts.items():
        fresh = out / f".{name}.tmp"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(out / name)


def check_all(out: Path, kind: str, limit: float, only: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the checks in their order until the time is up; writes the files after each.

    Args:
        out: folder for the two files.
        kind: `cuda` or `cpu`.
        limit: seconds; a check that would take longer than what is left of them is not begun.
        only: parts of the names of those to run; None for all.
    """
    import gpu_checks

    out.mkdir(parents=True, exist_ok=True)
    began, about, results = time.perf_counter(), machine(kind), []
    with tempfile.TemporaryDirectory() as folder:
        device = gpu_checks.Device.of(kind, Path(folder))
        for check in gpu_checks.CHECKS:
            if only and not any(part in check.name for part in only):
                continue
            if time.perf_counter() - began + (check.seconds if device.gpu else 0) > limit:
                result = {"name": check.name, "outcome": NO_TIME, "on": "", "said": "", "figures": {}, "seconds": 0.0}
            else:
                result = one(check, device)
            results.append(result)
            print(
                f"{result['name']:<36}{result['outcome']:<18}{result['seconds']:>6.1f} s  {result['said']}", flush=True
            )
            write(out, about, results)
    for name, why in gpu_checks.NEVER.items():
        results.append({"name": name, "outcome": "not run", "on": "", "said": why, "figures": {}, "seconds": 0.0})
    write(out, about, results)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for gpu_check.json and gpu_check.md")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda if there is one")
    parser.add_argument("--limit", type=float, default=350.0, help="seconds that it may take (default 350)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only checks whose name has one of these in it")
    args = parser.parse_args()
    os.environ.setdefault("YOLO_OFFLINE", "1")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    import torch

    kind = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here")
    results = check_all(args.out, kind, args.limit, args.only)
    print(f"{args.out / 'gpu_check.md'}")
    return 1 if any(result["outcome"] == "WRONG" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
