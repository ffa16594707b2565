"""Fingerprints and resolving."""

from __future__ import annotations

import logging

import pytest

from yolo_nanfix import upstream

PLAIN = """
@decorator
def f(a):
    x = "# not a comment"
    return a
"""
DRESSED = '''
@decorator
def f(a):  # a comment
    """A docstring.

    Of several lines.
    """

    x = "# not a comment"   \n    # another
    return a
'''


def test_comments_docstring_blank_lines_and_trailing_space_do_not_count():
    assert upstream.text_fingerprint(PLAIN) == upstream.text_fingerprint(DRESSED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return a", "return  a"),
        ("# not", "# now"),
        ("    return a", "    if a:\n        return a"),
        ("@decorator\n", ""),
    ],
)
def test_everything_else_counts(old, new):
    assert upstream.text_fingerprint(PLAIN.replace(old, new)) != upstream.text_fingerprint(PLAIN)


def test_indentation_of_the_whole_does_not_count():
    shifted = "\n".join("    " + line if line else line for line in PLAIN.splitlines())
    assert upstream.text_fingerprint(shifted) == upstream.text_fingerprint(PLAIN)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("ultralytics.gone:f", "no module ultralytics.gone"),
        ("ultralytics.utils.loss:Gone.f", "has no Gone"),
        ("ultralytics.utils.loss:v8SegmentationLoss.gone", "has no gone of its own"),
        ("ultralytics.utils.loss:v8SegmentationLoss.preprocess", "has no preprocess of its own"),
    ],
)
def test_what_does_not_resolve_says_what_is_missing(path, says):
    with pytest.raises(LookupError, match=says):
        upstream.resolve(path)


def test_releases_compare_as_releases():
    assert upstream.release("8.4.190") > upstream.release("8.4.79") > upstream.release("8.0.136")


def test_what_is_logged_is_one_line_whatever_names_it_quotes():
    logger, kept = logging.getLogger("ultralytics"), []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.WARNING)  # a run with verbose=False leaves it at ERROR
    try:
        upstream.log("a\n::stop-commands::x \x1b[2J \u202egpj.exe: é 猫 could not be read")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    (line,) = kept  # Ultralytics writes the level before it
    assert line.endswith("a\\n::stop-commands::x \\x1b[2J \\u202egpj.exe: é 猫 could not be read")
