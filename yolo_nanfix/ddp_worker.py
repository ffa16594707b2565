"""Entry point of a DDP worker: applies the patches of the launching process, then runs upstream's script.

`python -m yolo_nanfix.ddp_worker STATE SCRIPT`, where STATE is what `patching.children.state` wrote.
"""

from __future__ import annotations

import os
import runpy
import sys


def main(state: str, script: str) -> None:
    """Run a script as `python SCRIPT` would, with the patches of `state`."""
    from yolo_nanfix import api

    os.environ["NANFIX_LAUNCHED"] = "1"  # by Ultralytics' own launcher: see `guard.endings`
    api.restore(state)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
