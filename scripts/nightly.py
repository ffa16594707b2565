"""Does the newest ultralytics still fit? First line: DRIFT, and what changed; then the release's row of the matrix,
then which of Ultralytics' own tests pass in stock and not under `patch()` or `patch(guard=False)`.

    python scripts/nightly.py             the newest release on the package index
    python scripts/nightly.py 8.4.190     another one

Exit code 1 if a patch is refused there, a healthy run differs from stock, the planted fault is not survived, or one of
Ultralytics' tests passes in stock alone. A text
that changed is not a failure by itself: the parity probe decides whether its patch is put.
"""

from __future__ import annotations

import argparse

import fingerprint
import matrix
import releases
import upstream_tests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", nargs="?", help="default: the newest")
    release = parser.parse_args().release or releases.supported()[-1]
    changed = fingerprint.drift({release: fingerprint.marks(release, fingerprint.targets())})
    count = f"{len(changed)} patched functions changed" if changed else "none, every patched function is known"
    print(f"DRIFT ultralytics {release}: {count}", flush=True)
    for line in changed:
        print(f"  {line.removeprefix('DRIFT ')}")
    result = matrix.look(release)
    print(matrix.table([result]))
    for name, reason in result.get("reasons", {}).items():
        print(f"refused: {name}: {reason}")
    different = upstream_tests.compare(release, [])
    print("\n".join(different) or "Ultralytics' own tests end as in stock")
    return 0 if matrix.good(result) and not result["reasons"] and not different else 1


if __name__ == "__main__":
    raise SystemExit(main())
