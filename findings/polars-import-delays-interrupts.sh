#!/usr/bin/env bash
# Once polars is imported, SIGINT no longer breaks off a wait for a child process: Python hears it after the child ends.
#
# Version: polars 2.1.0 on Linux, Python 3.11.
# Expected: `kill -INT` to a program that waits in subprocess.Popen.wait raises KeyboardInterrupt at once, as it does
#   without polars; PEP 475 says that Python goes on waiting only if the handler raises nothing.
# Seen: importing polars puts a handler of its own below Python's, with SA_RESTART. The system then goes on waiting by
#   itself, so that Python's handler, which is called and raises KeyboardInterrupt as ever, runs only when the child has
#   ended: a launcher of a training seems deaf to a scheduler's interrupt. From a terminal it goes unnoticed, since
#   Ctrl-C reaches the child as well.
# Way out: signal.siginterrupt(signal.SIGINT, True) after the import and before the wait.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q polars==2.1.0 >/dev/null 2>&1
cat > wait.py <<'PY'
import signal
import subprocess
import sys
import time

if sys.argv[1] != "without":
    import polars  # noqa: F401
if sys.argv[1] == "mended":
    signal.siginterrupt(signal.SIGINT, True)
start = time.monotonic()
child = subprocess.Popen(["sh", "-c", "sleep 0.3; kill -INT $PPID; exec sleep 4"])
try:
    child.wait()
except KeyboardInterrupt:
    pass
print(round(time.monotonic() - start, 1))
child.kill()
PY
cat > show.py <<'PY'
import subprocess
import sys

took = {}
for how in ("without", "with", "mended"):
    took[how] = float(subprocess.check_output([sys.executable, "wait.py", how], text=True))
    print(f"{how:<8} {took[how]:.1f} s until the interrupt is heard")
if not (took["without"] < 2 < 3.5 < took["with"] and took["mended"] < 2):
    sys.exit("this has changed")
PY
venv/bin/python show.py
