"""The demo: draw the demo dataset, watch stock Ultralytics die on it, train on it with yolo-nanfix.

python scripts/demo.py OUT
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def training_arguments() -> dict[str, Any]:
    """The `train:` section of the demo's spec."""
    spec: dict[str, Any] = yaml.safe_load((ROOT / "datasets" / "demo.yaml").read_text(encoding="utf-8"))["train"]
    return spec


def stock(out: Path) -> int:
    """Train with stock Ultralytics (torchvision alone is fixed, where it must be) and keep how that ended."""
    from ultralytics import YOLO, settings

    import yolo_nanfix

    settings.update({"mlflow": False})  # here for the tests, it would be on by default in all steps of the demo
    yolo_nanfix.patch("torchvision-operators-missing")
    arguments = {**training_arguments(), "project": str(out), "name": "run-stock", "exist_ok": True}
    try:
        YOLO(arguments.pop("model")).train(data=str(out / "dataset" / "data.yaml"), **arguments)
        end = "no error"
    except RuntimeError as error:
        end = f"{type(error).__name__}: {error}"
    print(f"\nStock Ultralytics ended with: {end}")
    (out / "stock-ended-with.txt").write_text(end, encoding="utf-8")
    return 0


def step(title: str, command: list[str], environment: dict[str, str]) -> None:
    """Show a command and run it.

    Raises:
        SystemExit: it failed; the message says which one and what to do.
    """
    print(f"\n== {title}\n   $ {' '.join(['python', *command[1:]])}\n")
    sys.stdout.flush()
    code = subprocess.run(command, env=environment).returncode
    if code:
        raise SystemExit(f"demo: '{title}' ended with exit code {code}; its message is above. Then: make demo")


def demo(out: Path) -> int:
    """All four steps, then where the results are."""
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(out), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}
    began = time.monotonic()
    data = str(out / "dataset" / "data.yaml")
    make = [sys.executable, str(ROOT / "scripts" / "make_datasets.py"), "demo", str(out / "dataset")]
    step("1. Draw the dataset, with faults planted in its train split", make, environment)
    step("2. Stock Ultralytics on it", [sys.executable, __file__, "--stock", str(out)], environment)

    def nanfix(name: str, *options: str, **changes: Any) -> list[str]:
        arguments = {**training_arguments(), "project": out, "name": name, "exist_ok": True, **changes}
        words = [f"{key}={value}" for key, value in arguments.items()]
        return [sys.executable, "-m", "yolo_nanfix", "train", data, *words, *options]

    ignore = nanfix("run-ignore", "--on-fatal", "ignore", epochs=3)
    step(
        "3. yolo-nanfix told to ignore the NaN image, 3 epochs: the guard drops it batch by batch", ignore, environment
    )
    step("4. yolo-nanfix as it comes: the NaN image is found beforehand and left out", nanfix("run"), environment)
    run = json.loads((out / "run" / "yolo-nanfix.json").read_text(encoding="utf-8"))
    print(
        f"\nStock Ultralytics: {(out / 'stock-ended-with.txt').read_text(encoding='utf-8')}\n"
        f"yolo-nanfix:       mAP50 {run['metrics']['metrics/mAP50(B)']:.3f}\n\n"
        f"Results: {out / 'run'}\nReport:  {run['paths']['report']}\nIt took {time.monotonic() - began:.0f} s."
    )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the dataset and the runs")
    parser.add_argument("--stock", action="store_true", help="only step 2, on a dataset that is there")
    args = parser.parse_args()
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    return stock(out) if args.stock else demo(out)


if __name__ == "__main__":
    raise SystemExit(main())
