"""Train under every release that stands for a contract: healthy and with a planted fault; write the README's table.

    python scripts/matrix.py                  the releases below, and the README's table from them
    python scripts/matrix.py --random 2       and two more that are drawn anew
    python scripts/matrix.py 8.4.190 8.3.0    these only; prints the table and leaves the README as it is

Each release trains YOLOv8n four times for one epoch on generated images, in a process of its own: stock and patched,
healthy and with one NaN pixel in the second micro-batch. A fifth training is `yolo-nanfix train` on a set with a NaN
image. Stock gets what it needs beside today's torch and numpy (the `compat-*` cards and a torchvision that imports),
nothing else. Exit code 1 if ours differs from stock on healthy data
or does not survive the fault, or if the command does not leave the image out and end healthy.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import releases
from readme import README, put

from yolo_nanfix.files import write_text

CONTRACTS = ("8.0.191", "8.3.29", "8.3.210", "8.3.211", "8.3.253", "8.4.79", "8.4.108", "8.4.190")
"""Together these have every value of signatures, return types and precision eras that 8.0.136 to 8.4.190 know."""
TEXTS = (
    *("8.0.150", "8.0.157", "8.0.234", "8.1.8", "8.1.28", "8.2.37", "8.2.46", "8.3.43", "8.3.120", "8.3.223"),
    *("8.4.7", "8.4.76", "8.4.79", "8.4.103", "8.4.133", "8.4.143", "8.4.177", "8.4.190"),
)
"""Together these have every text of a numeric function that lived for more than three releases."""


def look(release: str) -> dict[str, Any]:
    """The result of one release, or what went wrong."""
    try:
        output = releases.run(release, "import matrix_case; matrix_case.main()", timeout=900)
    except releases.ReleaseError as error:
        return {"release": release, "error": str(error).strip().splitlines()[-1]}
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def good(result: dict[str, Any]) -> bool:
    """Healthy runs identical, the fault survived, and the command line trains."""
    return "error" not in result and result["identical"] and result["survives"] and result["command"]


def table(results: Iterable[dict[str, Any]]) -> str:
    """One row a release, oldest first."""
    rows = [
        "| ultralytics | patches on | not needed | refused | healthy run identical | one NaN pixel: stock | patched "
        "| `yolo-nanfix train` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in sorted(results, key=lambda r: releases.key(r["release"])):
        if "error" in result:
            rows.append(f"| {result['release']} | failed: {result['error']} | | | | | | |")
            continue
        states = list(result["states"].values())
        refused = ", ".join(f"`{name}`" for name in result["reasons"]) or "none"
        on, idle = states.count("on"), states.count("fixed") + states.count("not-needed")
        ends = ["survives" if result[k] else "**dies**" for k in ("stock_survives", "survives")]
        same = "yes, bit for bit" if result["identical"] else "**no**"
        trained = "healthy, image left out" if result["command"] else "**fails**"
        cells = (result["release"], on, idle, refused, same, *ends, trained)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", help="only these, and do not write the README")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N more supported releases, drawn anew")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time (default 2)")
    args = parser.parse_args()
    chosen = set(args.releases or (*CONTRACTS, *TEXTS))
    drawn = random.sample([r for r in releases.supported() if r not in chosen], args.random)
    with ThreadPoolExecutor(args.jobs) as pool:
        results = []
        for result in pool.map(look, sorted({*chosen, *drawn}, key=releases.key)):
            results.append(result)
            print(f"{result['release']}: {'good' if good(result) else json.dumps(result)}", file=sys.stderr, flush=True)
    import torch

    machine = f"Python {platform.python_version()}, torch {torch.__version__}, CPU, float32"
    picked = f"; drawn at random: {', '.join(drawn)}" if drawn else ""
    text = f"{table(results)}\n\n{machine}{picked}."
    print(text)
    if not args.releases:
        write_text(README, put(README.read_text(encoding="utf-8"), "matrix", text))
    return 0 if all(map(good, results)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
