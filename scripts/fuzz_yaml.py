"""data.yaml: values of every type, YAML's own tricks, damaged bytes."""

from __future__ import annotations

import random

import fuzz_sets
import yaml
from fuzz_core import Box, Case, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, mutated, text

SEED = {
    "path": ".", "train": "images/train", "val": ["images/val"], "test": "list.txt", "nc": 2,
    "names": {0: "cat", 1: "dog"}, "kpt_shape": [2, 3], "flip_idx": [1, 0], "channels": 3, "download": "",
}  # fmt: skip


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    fuzz_sets.make(box.case)
    put(box.case, {"list.txt": "./images/val/b.jpg\nimages/val/b.jpg\n"})
    file = box.case / rng.choice(("data.yaml", "data.yaml", "other.yml"))
    way = rng.randrange(10)
    if way < 5:
        file.write_bytes(encoded(written(mutated(SEED, rng, box), rng), rng))
    elif way < 7:
        file.write_bytes(encoded(tricks(rng, box), rng))
    elif way == 7:
        file.write_bytes(damaged(yaml.safe_dump(SEED).encode(), rng))
    elif way == 8:
        put(box.case, {"list.txt": encoded("\n".join(text(rng, box) for _ in range(5)), rng)})
        file.write_text(yaml.safe_dump({**SEED, "train": "list.txt"}))
    else:
        odd(file, rng, box)
    return fuzz_sets.asked(box, rng, rng.choice((file.name, ".")))


def written(document: object, rng: random.Random) -> str:
    """A document as YAML, in one of its styles."""
    try:
        flow = rng.choice((None, True, False))
        return yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    except (yaml.YAMLError, RecursionError, ValueError):
        return "names: " + "[" * 3000


def tricks(rng: random.Random, box: Box) -> str:
    """Texts that only YAML makes something of."""
    base = "train: images/train\nval: images/val\n"
    owned = box.outside / "owned"
    laughs = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, rng.choice((4, 8, 25))))
    ways = (
        f"l0: &l0 [cat, dog]\n{laughs}{base}names: *l3\n",
        f"{base}names: &a [cat, *a]\n",
        f"{base}names: &a {{0: cat, 1: *a}}\n",
        f"base: &b {{0: cat}}\n{base}names:\n  <<: *b\n  1: dog\n",
        f"{base}names: !!python/object/apply:os.system ['touch {owned}']\n",
        f"{base}names: !!python/name:os.system\n",
        f"{base}names: [cat, dog]\ndownload: |\n  import os\n  os.system('touch {owned}')\n",
        f"{base}names: [cat, dog]\ndownload: bash touch {owned}\n",
        f"{base}names: !!set {{cat, dog}}\n",
        f"{base}names: !!binary aGVsbG8=\n",
        f"{base}names: [cat, dog]\nnames: [dog]\ntrain: images/val\n",
        f"{base}names:\n\t- cat\n",
        f"{base}? [a, b]\n: c\nnames: [cat]\n",
        f"---\n{base}names: [cat]\n---\nnames: [dog]\n",
        f"%YAML 9.9\n---\n{base}names: [cat]\n",
        f"%TAG ! tag:x,2000:\n---\n{base}names: !a [cat]\n",
        f"{base}names: {{{', '.join(f'{i}: c' for i in range(20_000))}}}\n",
        f"{base}names: {'[' * 3000}{']' * 3000}\n",
        f"{base}names: {'{a: ' * 500}1{'}' * 500}\n",
        f"{base}nc: {'9' * 5000}\n",
        f"{base}nc: 1:2:3\nnames: [no, yes, ~, 1.0, 0o7, 2001-01-01]\n",
        f"{base}names: \"\\x00\\u202e\\ud800\"\n",
        f"{base}names: [cat, dog]\nkpt_shape: [{10**9}, 3]\n",
        f"{base}names: [cat, dog]\n{'#' * 100_000}\n",
        "", "#\n", "[]", "1", "null", "...", "{", "a: b: c", "- a\n- b", "'", "!!", "&", "*a", "key: |",
    )  # fmt: skip
    return rng.choice(ways)
