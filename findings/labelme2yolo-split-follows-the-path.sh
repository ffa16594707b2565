#!/usr/bin/env bash
# labelme2yolo draws train and val from the path of the folder; --seed changes nothing, and val can stay empty.
#
# Version: labelme2yolo 0.4.0.
# Expected: --seed ("seed for random shuffling") chooses the split; the same seed gives the same pictures wherever the folder
#   lies, and --val_size 0.2 gives val a fifth of them.
# Seen: each picture's split follows from a hash of its path as it was given. Every seed gives the same split; the same
#   pictures in a folder of another name, or the same folder by an absolute path, give another one, so a set that is exported
#   again after it was moved has trained pictures in val. Of 7 pictures in a folder named "bench" none goes to val, which
#   Ultralytics refuses at the start.
# Way out: give the same relative path each time, and look at images/val; or split with a tool of one's own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q labelme2yolo==0.4.0 >/dev/null 2>&1
cat > show.py <<'PY'
import base64
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

PROGRAM = str(Path(sys.executable).parent / "labelme2yolo")


def png(value):
    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + bytes([value]) * 64 for _ in range(64)))
    head = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


def drawn(folder, count):
    """LabelMe's files, a rectangle each."""
    Path(folder).mkdir()
    for i in range(count):
        Path(folder, f"{i}.png").write_bytes(png(10 + 5 * i))
        shape = {"label": "nut", "points": [[10, 10], [40, 50]], "shape_type": "rectangle", "group_id": None, "flags": {}}
        data = base64.b64encode(png(10 + 5 * i)).decode()
        frame = {"imagePath": f"{i}.png", "imageData": data, "imageHeight": 64, "imageWidth": 64}
        Path(folder, f"{i}.json").write_text(json.dumps({"version": "5.5.0", "flags": {}, "shapes": [shape], **frame}))


def val(folder, *options):
    """The numbers of the pictures that go to val."""
    subprocess.run([PROGRAM, "--json_dir", str(folder), *options], check=True, capture_output=True)
    return sorted(int(p.name.split("_")[0]) for p in Path(folder, "YOLODataset/images/val").iterdir())


for name, count in (("first", 40), ("second", 40), ("bench", 7)):
    drawn(name, count)
seeds = [val("first", "--seed", seed) for seed in ("1", "2", "3")]
print("first, seeds 1, 2, 3:  ", *seeds)
second, absolute = val("second", "--seed", "1"), val(Path("first").absolute(), "--seed", "1")
print("second, seed 1:        ", second)
print("first, absolute path:  ", absolute)
bench = [val("bench", "--seed", seed) for seed in ("1", "2", "3")]
print("7 pictures in bench:   ", *bench)
same = seeds[0] == seeds[1] == seeds[2]
if not (same and seeds[0] and second != seeds[0] and absolute != seeds[0] and bench == [[], [], []]):
    sys.exit("this has changed")
PY
venv/bin/python show.py
