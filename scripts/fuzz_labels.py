"""Label files: rows with odd words, odd encodings, damaged bytes, and what is no file of labels at all."""

from __future__ import annotations

import random

import fuzz_sets
from fuzz_core import Box, Case
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, number, text


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    task = rng.choice(tuple(fuzz_sets.ROWS))
    for file in rng.sample(labels := fuzz_sets.make(box.case, task), rng.randint(1, len(labels))):
        content = file.read_text()
        way = rng.randrange(10)
        if way < 5:
            file.write_bytes(encoded(rows(content, rng, box), rng))
        elif way < 7:
            file.write_bytes(damaged(content.encode() * rng.choice((1, 1, 50)), rng))
        elif way == 7:
            file.write_bytes(encoded(content * rng.choice((1, 300, 20_000)), rng))
        else:
            odd(file, rng, box)
    return fuzz_sets.asked(box, rng, rng.choice(("data.yaml", ".", "images", "labels/..")))


def rows(content: str, rng: random.Random, box: Box) -> str:
    """Label rows with some words changed."""
    lines = [line.split(" ") for line in content.splitlines()]
    for _ in range(rng.randint(1, 4)):
        line = rng.choice(lines)
        at = rng.randrange(len(line))
        way = rng.randrange(7)
        if way == 0:
            line[at] = text(rng, box)
        elif way < 3:
            line[at] = repr(number(rng))
        elif way == 3 and len(line) > 1:
            del line[at]
        elif way == 4:
            line += [str(rng.random())] * rng.choice((1, 2, 5, 5000))
        elif way == 5:
            lines.append(list(line))
        else:
            line[at] = rng.choice(("-", "1.5.2", "1e", "0.5,", "0,5", "#", "cat", "-0.1", "1.01", "3", "999999", "1e9"))
    separator = rng.choice((" ", " ", " ", "\t", ",", ";", "  ", "\u00a0"))
    return "\n".join(separator.join(line) for line in lines) + rng.choice(("\n", "", "\n\n\n"))
