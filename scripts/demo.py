"""The demo: draw the demo dataset, train on it with yolo-nanfix, say where the results are.

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

import yaml

ROOT = Path(__file__).resolve().parents[1]


def training_arguments() -> list[str]:
    """The `train:` section of the demo's spec as key=value words."""
    spec = yaml.safe_load((ROOT / "datasets" / "demo.yaml").read_text(encoding="utf-8"))
    return [f"{key}={value}" for key, value in spec["train"].items()]


def step(title: str, command: list[str], environment: dict[str, str]) -> None:
    """Show a command and run it.

    Raises:
        SystemExit: it failed; the message says which one and what to do.
    """
    print(f"\n== {title}\n   $ {' '.join(Path(word).name if i < 2 else word for i, word in enumerate(command))}\n")
    sys.stdout.flush()
    code = subprocess.run(command, env=environment).returncode
    if code:
        raise SystemExit(f"demo: '{title}' ended with exit code {code}; its message is above. Run make demo again.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the dataset and the run")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "YOLO_CONFIG_DIR": str(out),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
    }
    began = time.monotonic()
    make = [sys.executable, str(ROOT / "scripts" / "make_datasets.py"), "demo", str(out / "dataset")]
    step("1. Draw the dataset, with faults planted in its train split", make, environment)
    run = out / "run"
    words = [*training_arguments(), f"project={out}", "name=run", "exist_ok=True"]
    nanfix = [sys.executable, "-m", "yolo_nanfix", "train", str(out / "dataset" / "data.yaml"), *words]
    step("2. Train on it: the image with NaN pixels is found and left out", nanfix, environment)
    fault = ["epochs=3", f"project={out}", "name=run-ignore", "exist_ok=True"]
    again = [
        *nanfix[:5],
        *[w for w in words if w.split("=")[0] not in ("epochs", "project", "name", "exist_ok")],
    ]
    step(
        "3. Train on the NaN image all the same, for 3 epochs: the guard drops just its micro-batches",
        [*again, *fault, "--on-fatal", "ignore"],
        environment,
    )
    summary = json.loads((run / "yolo-nanfix.json").read_text(encoding="utf-8"))
    print(f"\nmAP50 {summary['metrics']['metrics/mAP50(B)']:.3f} on data that stops stock Ultralytics in epoch 1.")
    print(f"Results: {run}\nReport:  {run / 'yolo-nanfix.json'}\nIt took {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
