"""Undo journals, damaged: undo gives bytes back or says why not, and writes only where its dataset is."""

from __future__ import annotations

import random
from pathlib import Path

import fuzz_sets
import journal_damage
from fuzz_core import Box, Case, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import mutated

FAULTY = "0 0.5 0.5 0.2 1.005\n1 0.5 nan 0.1 0.1\n0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n"


def make(box: Box, rng: random.Random) -> Case:
    """One case: fix, damage the journal, undo."""
    fuzz_sets.make(box.case)
    put(box.case, {"labels/train/a.txt": FAULTY, "labels/val/b.txt": f"\ufeff{FAULTY}".encode("utf-8-sig")})
    fix = ["lint", "data.yaml", "--fix", *(["--unsafe-fixes"] if rng.random() < 0.5 else [])]
    undo = ["lint", "data.yaml", "--undo", *(["--json"] if rng.random() < 0.3 else [])]
    return Case([fix, undo, undo], fixes=True, before={1: lambda: damage(box, rng)})


def damage(box: Box, rng: random.Random) -> None:
    """Damage one file of the newest journal, or write odd values and places into it, with a hash that is right."""
    journals = sorted((box.home / ".local" / "share").rglob("journal.json"))
    if not journals:
        return
    file: Path = journals[-1]
    way = rng.randrange(6)
    if way == 0:
        _damage(rng.choice(sorted(file.parent.iterdir())), rng)
    elif way == 1:
        odd(rng.choice(sorted(file.parent.iterdir())), rng, box)
    elif way == 2:
        head, body = journal_damage.read(file.parent)
        try:
            journal_damage.write(file.parent, mutated(head, rng, box, 2), mutated(body, rng, box, 4))
        except (RecursionError, AttributeError):
            file.write_text("[" * 5000)
    else:
        journal_damage.damage(file.parent, rng, [box.outside / "secret.txt", box.outside, box.home / ".profile"])


def _damage(file: Path, rng: random.Random) -> None:
    if file.is_file():
        file.write_bytes(damaged(file.read_bytes(), rng))
