"""One page for each patch card, `patches/<name>.md`, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterator

from generator.markup import block, code, facts, prose, table
from yolo_nanfix.cards import Affected, Card, Param, load_all

DEFAULTS = {"on": "on", "off": "off, until you enable it", "auto": "where it is needed"}


def pages() -> Iterator[tuple[str, str]]:
    """Path and text of each page."""
    yield "patches/index.md", _index()
    for card in load_all().values():
        yield f"patches/{card.name}.md", _page(card)


def spans(affected: tuple[Affected, ...]) -> str:
    """The releases with the defect, in words."""
    return ", ".join(f"{s.introduced} to before {s.fixed}" if s.fixed else f"{s.introduced} on" for s in affected)


def _page(card: Card) -> str:
    parts = [
        f"---\norphan: true\n---\n# {card.name}\n",
        prose(card.symptom) + "\n",
        facts(_facts(card)),
        f"## Cause\n\n{prose(card.cause)}\n",
        f"## What the patch does\n\n{prose(card.does)}\n",
        f"## What it leaves as it is\n\n{prose(card.leaves)}\n" if card.leaves else "",
        f"## Measured\n\n{prose(card.measured)}\n" if card.measured else "",
        f"## Parameters\n\n{_params(card)}" if card.params else "",
        f"## Put it, or leave it out\n\n{block(_python(card), 'python')}\n{block(_shell(card), 'console')}",
        f"## Known texts\n\n{_texts(card)}",
        "## References\n\n" + "\n".join(f"- {_reference(text)}" for text in card.references) + "\n"
        if card.references
        else "",
        "---\n\n[All patches](index.md)\n",
    ]
    return "\n".join(part for part in parts if part)


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    yield "by default", DEFAULTS[card.default]
    yield "releases with the defect", spans(card.affected)
    yield "wraps", ", ".join(code(target) for target in card.targets)


def _params(card: Card) -> str:
    return table(
        ("parameter", "default", "allowed", "what it is"),
        [
            (code(name), code(str(param.default).lower()), _allowed(param), prose(param.help))
            for name, param in card.params.items()
        ],
    )


def _allowed(param: Param) -> str:
    if param.choices:
        return ", ".join(code(str(choice)) for choice in param.choices)
    return {"bool": "true or false", "int": "a whole number", "float": "a number"}.get(
        type(param.default).__name__, "text"
    )


def _python(card: Card) -> str:
    given = "".join(f", {name}={param.default!r}" for name, param in card.params.items())
    return (
        "import yolo_nanfix\n\n"
        f'yolo_nanfix.patch("{card.name}"{given})  # this one alone\n'
        f'yolo_nanfix.patch(disable=["{card.name}"])  # all but this one'
    )


def _shell(card: Card) -> str:
    return (
        f"$ yolo-nanfix explain {card.name}\n"
        f"$ yolo-nanfix run --disable {card.name} -- yolo detect train data=data.yaml"
    )


def _texts(card: Card) -> str:
    if not card.fingerprints:
        return "This patch wraps no function of Ultralytics whose text is checked.\n"
    rows = [(prose(span), code(mark.removeprefix("sha256:")[:12])) for mark, span in card.fingerprints.items()]
    told = "The text of the wrapped function is known in these releases; in another one the patch is "
    told += "compared with stock on healthy input before it is put, and refused by name where they differ.\n\n"
    return told + table(("releases", "hash"), rows)


def _reference(text: str) -> str:
    return f"<{text}>" if text.startswith(("https://", "http://")) else prose(text)


def _index() -> str:
    cards = load_all().values()
    rows = [
        (f"[{card.name}]({card.name}.md)", prose(card.symptom, links=False), spans(card.affected), card.default)
        for card in cards
    ]
    return f"""# Patches

{len(cards)} patches. `yolo-nanfix patches` says which of them are on in your release of Ultralytics, and why the others
are not. [How patches are put](../ideas/patches.md) tells how they wrap upstream's functions, and when they refuse.

{table(("patch", "symptom", "releases with the defect", "on"), rows)}"""
