"""Annotations as Pascal VOC: odd values, XML's own tricks, damaged bytes."""

from __future__ import annotations

import random

import fuzz_sets
from fuzz_core import Box, Case, picture, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, number, text

FIELDS = {
    "filename": "a.jpg", "width": "64", "height": "48", "depth": "3", "name": "cat", "truncated": "0", "difficult": "0",
    "xmin": "10", "ymin": "10", "xmax": "20", "ymax": "20",
}  # fmt: skip


def xml(fields: dict[str, str], extra: str = "") -> str:
    """One annotation file."""
    shown = {key: f"<{key}>{value}</{key}>" for key, value in fields.items()}
    size = "".join(shown.get(key, "") for key in ("width", "height", "depth"))
    corners = "".join(shown.get(key, "") for key in ("xmin", "ymin", "xmax", "ymax"))
    about = "".join(shown.get(key, "") for key in ("name", "truncated", "difficult"))
    return (
        f"<annotation>{shown.get('filename', '')}<size>{size}</size>"
        f"<object>{about}<bndbox>{corners}</bndbox></object>{extra}</annotation>\n"
    )


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    put(
        box.case,
        {
            "JPEGImages/a.jpg": picture(),
            "JPEGImages/b.jpg": picture(1),
            "Annotations/b.xml": xml({**FIELDS, "filename": "b.jpg"}),
            "ImageSets/Main/train.txt": "a\n",
            "ImageSets/Main/val.txt": "b\n",
        },
    )
    file = box.case / "Annotations" / "a.xml"
    way = rng.randrange(10)
    fields = dict(FIELDS)
    for key in rng.sample(list(fields), rng.randint(1, 3)):
        if rng.random() < 0.2:
            del fields[key]
        else:
            value = text(rng, box) if rng.random() < 0.5 else repr(number(rng))
            fields[key] = value if rng.random() < 0.5 else value.replace("&", "&amp;").replace("<", "&lt;")
    file.write_bytes(encoded(xml(fields), rng))
    if way == 6:
        file.write_bytes(damaged(xml(FIELDS).encode(), rng))
    elif way == 7:
        file.write_bytes(encoded(tricks(rng, box), rng))
    elif way == 8:
        put(box.case, {"ImageSets/Main/train.txt": encoded("\n".join(text(rng, box) for _ in range(4)), rng)})
    elif way == 9:
        odd(
            rng.choice((file, box.case / "ImageSets" / "Main" / "val.txt", box.case / "JPEGImages" / "a.jpg")), rng, box
        )
    return fuzz_sets.asked(box, rng, rng.choice((".", ".", "Annotations", "Annotations/a.xml")))


def tricks(rng: random.Random, box: Box) -> str:
    """Texts that only XML makes something of."""
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    secret = (box.outside / "secret.txt").as_uri()
    ways = (
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]>{xml({**FIELDS, "name": "&l9;"})}',
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret}">]>{xml({**FIELDS, "name": "&x;"})}',
        f'<!DOCTYPE a SYSTEM "{secret}">{xml(FIELDS)}',
        f'<?xml version="1.0" encoding="{rng.choice(("utf-16", "x", "utf-7", "idna", "rot13"))}"?>{xml(FIELDS)}',
        f"{'<a>' * 5000}{'</a>' * 5000}",
        xml(FIELDS, "<object/>" * 5000),
        xml(FIELDS, "<object><bndbox/></object>"),
        xml({**FIELDS, "name": "<![CDATA[</name>]]>"}),
        "<annotation/>", "<annotation>", "<x/>", "", "<", "&amp;", "<annotation>&#0;</annotation>", "<a:b/>",
    )  # fmt: skip
    return rng.choice(ways)
