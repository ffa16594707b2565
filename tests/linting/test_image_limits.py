"""Thresholds of the rules on images: each rule is handed headers, pixels and statistics on both sides of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from linting.cases_images import chunked
from linting.tiny_set import encode, picture
from PIL import Image as PILImage

from yolo_nanfix.dataset.decode import Pixels
from yolo_nanfix.dataset.image_header import Header
from yolo_nanfix.dataset.image_stats import Deep
from yolo_nanfix.dataset.images import LONGEST_SIDE, Image
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.rules.image_headers import bends

RULES = {rule.code: rule for rule in all_rules()}


def told(code: str, **asked: object) -> list[dict[str, object]]:
    """The values of what a rule says of these."""
    rule = RULES[code]
    return [dict(hit.values) for hit in rule.check(**{name: asked[name] for name in rule.asks})]


def image(header: Header | None = None, **known: object) -> Image:
    return Image("a.png", "train", "png", "a.txt", True, header or Header(format="PNG"), **known)


def about(code: str, one: Image, channels: int = 3) -> list[dict[str, object]]:
    return told(code, images=(one,), unusual=(one,), config=SimpleNamespace(channels=channels))


def header(**known: object) -> Header:
    return Header(**{"format": "PNG", "turn": 1, "bits": 8, "frames": 1, "width": 100, "height": 100, **known})


@pytest.mark.parametrize(
    ("code", "known", "values"),
    [
        ("IM005", {"width": 9, "height": 10}, {"size": (9, 10), "least": 10}),
        ("IM005", {"width": 10, "height": 9}, {"size": (10, 9), "least": 10}),
        ("IM005", {"width": 10, "height": 10}, None),
        ("IM020", {"turn": 1}, None),
        ("IM020", {"turn": 2}, {"orientation": 2, "turn": "mirrored", "turned": True}),
        ("IM020", {"turn": 6}, {"orientation": 6, "turn": "turned right", "turned": True}),
        ("IM025", {"bits": 8}, None),
        ("IM025", {"bits": 9}, {"bits": 9}),
        ("IM025", {"bits": 16}, {"bits": 16}),
        ("IM025", {"bits": 17}, None),
        ("IM026", {"frames": 1, "format": "GIF"}, None),
        ("IM026", {"frames": 2, "format": "GIF"}, {"frames": 2}),
        ("IM027", {"width": 1000, "height": 100}, None),
        ("IM027", {"width": 100, "height": 1001}, {"size": (100, 1001), "ratio": 10.01}),
        ("IM027", {"width": 10, "height": 101}, {"size": (10, 101), "ratio": 10.1}),
        ("IM027", {"width": 9, "height": 101}, None),
    ],
)
def test_headers(code, known, values):
    found = about(code, image(header(**known)))
    assert [{name: one[name] for name in values or ()} for one in found] == ([] if values is None else [values])


@pytest.mark.parametrize(
    ("code", "known", "values"),
    [
        ("IM014", {"low": 0.0, "high": 255.0}, None),
        ("IM014", {"low": 0.5, "high": 255.5}, {"dtype": "float32", "low": 0.5, "high": 255.5}),
        ("IM014", {"low": -0.5, "high": 200.0}, {"dtype": "float32", "low": -0.5, "high": 200.0}),
        ("IM014", {"low": 0.5, "high": 200.0}, None),
        ("IM014", {"low": -0.5, "high": 1e6, "huge": (1, (0, 0, 0), 1e6)}, None),
        ("IM015", {"low": 0.0, "high": 0.0}, None),
        ("IM015", {"low": 0.0, "high": 0.5}, {"low": 0.0, "high": 0.5}),
        ("IM015", {"low": 0.0, "high": 1.0}, {"low": 0.0, "high": 1.0}),
        ("IM015", {"low": 0.0, "high": 1.001}, None),
        ("IM015", {"low": -0.001, "high": 1.0}, None),
        ("IM016", {"dtype": "uint16", "high": 255}, {"high": 255.0}),
        ("IM016", {"dtype": "uint16", "high": 256}, None),
        ("IM016", {"dtype": "int16", "cut": True, "low": 0, "high": 255}, {"high": 255.0}),
        ("IM016", {"dtype": "int16", "cut": True, "low": -1, "high": 255}, None),
        ("IM017", {"dtype": "uint16", "high": 255}, None),
        ("IM017", {"dtype": "uint16", "high": 256}, {"high": 256.0, "most": 1}),
        ("IM017", {"dtype": "uint16", "high": 16383}, {"high": 16383.0, "most": 63}),
        ("IM017", {"dtype": "uint16", "high": 16384}, None),
        ("IM037", {"dtype": "uint8", "alpha": 0.989}, {"alpha": 0.989}),
        ("IM037", {"dtype": "uint8", "alpha": 0.991}, None),
        ("IM038", {"dtype": "int16", "cut": True, "low": -256, "high": 0}, {"first": 255, "last": 255, "most": 0}),
        ("IM038", {"dtype": "int16", "cut": True, "low": 0, "high": 512}, None),
        ("IM038", {"dtype": "int8", "cut": True, "low": -1, "high": 7}, {"first": 255, "last": 255, "most": 7}),
    ],
)
def test_pixels(code, known, values):
    found = about(code, image(pixels=Pixels("a.png", **{"dtype": "float32", "shape": (9, 9, 3), **known})))
    assert [{name: one[name] for name in values or ()} for one in found] == ([] if values is None else [values])


GREY = {"low": 0, "high": 255, "tail_value": 128}


@pytest.mark.parametrize(
    ("code", "known", "values"),
    [
        ("IM028", {"damage": "bad", "tail": 0.019}, {"damage": "bad"}),
        ("IM028", {"damage": "bad", "tail": 0.02}, None),
        ("IM029", {"damage": "bad", "tail": 0.019}, None),
        ("IM029", {"damage": "bad", "tail": 0.02}, {"damage": "bad", "share": 0.02}),
        ("IM029", {**GREY, "tail": 0.099}, None),
        ("IM029", {**GREY, "tail": 0.1}, {"damage": "", "share": 0.1}),
        ("IM029", {**GREY, "tail": 0.1, "tail_value": 126}, None),
        ("IM029", {**GREY, "tail": 0.1, "low": 127, "high": 129}, None),
        ("IM029", {**GREY, "tail": 0.1, "low": 126, "high": 129}, {"share": 0.1}),
        ("IM030", {"low": 100, "high": 102}, {"colour": "of one colour"}),
        ("IM030", {"low": 100, "high": 103}, None),
        ("IM030", {"low": 0, "high": 2}, {"colour": "black"}),
        ("IM030", {"low": 253, "high": 255}, {"colour": "white"}),
        ("IM030", {"low": 128, "high": 128, "damage": "bad", "tail": 0.9}, {"colour": "of one colour"}),
        ("IM030", {"low": 128, "high": 128, "damage": "bad", "tail": 1}, None),
        ("IM031", {"low": 0, "high": 40, "mean": 9}, {"high": 40, "mean": 9}),
        ("IM031", {"low": 37, "high": 40}, {"high": 40}),
        ("IM031", {"low": 38, "high": 40}, None),
        ("IM031", {"low": 0, "high": 41}, None),
        ("IM032", {"low": 225, "high": 255, "mean": 230}, {"low": 225, "mean": 230}),
        ("IM032", {"low": 224, "high": 255}, None),
        ("IM033", {"low": 100, "high": 124}, {"low": 100, "high": 124}),
        ("IM033", {"low": 100, "high": 125}, None),
        ("IM033", {"low": 20, "high": 41}, {"low": 20, "high": 41}),
        ("IM033", {"low": 20, "high": 40}, None),
        ("IM033", {"low": 224, "high": 240}, {"low": 224, "high": 240}),
        ("IM033", {"low": 225, "high": 240}, None),
        ("IM034", {"deviation": 10.0, "detail": 0.019}, {"sharpness": 0.019}),
        ("IM034", {"deviation": 9.9, "detail": 0.019}, None),
        ("IM034", {"deviation": 10.0, "detail": 0.021}, None),
        ("IM034", {"deviation": 10.0, "detail": 0.0}, None),
    ],
)
def test_statistics_of_decoded_images(code, known, values):
    found = about(code, image(deep=Deep(**known)))
    assert [{name: one[name] for name in values or ()} for one in found] == ([] if values is None else [values])


@pytest.mark.parametrize(
    ("limit", "width", "within", "found"),
    [
        (10_000, 100, "images", 0),
        (10_000, 101, "images", 1),
        (LONGEST_SIDE**2 - 1, LONGEST_SIDE + 1, "images", 1),
        (LONGEST_SIDE**2, LONGEST_SIDE + 1, "images", 0),
        (LONGEST_SIDE**2, LONGEST_SIDE + 1, "unusual", 1),
        (None, LONGEST_SIDE + 1, "images", 0),
    ],
)
def test_the_limit_of_pillow_counts_as_it_is_now(limit, width, within, found, monkeypatch):
    """Only above the side of usual images is it enough to look at the unusual ones."""
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", limit)
    height = 100 if width < 200 else width
    given = {"images": (), "unusual": (), within: (image(header(width=width, height=height)),)}
    values = told("IM008", config=SimpleNamespace(channels=3), **given)
    assert [one["millions"] for one in values] == [width * height / 1e6] * found


def alpha(file: Path, count: int, clear: int, **columns: object) -> SimpleNamespace:
    """A table of so many images with alpha, all of them one file of 1000 pixels of which so many are transparent."""
    pixels = np.dstack([picture(25, 40), np.full((25, 40), 255, np.uint8)])
    pixels.reshape(-1, 4)[:clear, 3] = 0
    file.write_bytes(encode(".png", pixels))
    sides = {"width": np.full(count, 40, np.int32), "height": np.full(count, 25, np.int32)}
    return SimpleNamespace(
        files=[str(file)] * count, alpha=np.ones(count, np.bool_), split_of=lambda _: "train", **{**sides, **columns}
    )


@pytest.mark.parametrize(
    ("count", "clear", "deep", "looked_at"),
    [(1, 1, False, 1), (1, 0, False, 0), (32, 2, False, 32), (33, 2, False, 32), (33, 2, True, 33)],
)
def test_the_alpha_of_at_most_32_images_is_looked_at(count, clear, deep, looked_at, tmp_path: Path):
    table = alpha(tmp_path / "a.png", count, clear)
    found = told("IM023", table=table, config=SimpleNamespace(channels=3), options=SimpleNamespace(deep=deep))
    assert [(one["images"], one["looked_at"]) for one in found] == [(looked_at, looked_at)] * (looked_at > 0)
    assert all(one["share"] == pytest.approx(clear / 1000) for one in found)


@pytest.mark.parametrize(("width", "found"), [(50_000_000, 1), (50_000_001, 0)])
def test_the_alpha_of_images_of_over_fifty_million_pixels_is_not_decoded(width, found, tmp_path: Path):
    sides = {"width": np.array([width], np.int32), "height": np.array([1], np.int32)}
    table = alpha(tmp_path / "a.png", 1, 500, **sides)
    options = SimpleNamespace(deep=False)
    assert len(told("IM023", table=table, config=SimpleNamespace(channels=3), options=options)) == found


@pytest.mark.parametrize(("clear", "found"), [(1, 0), (2, 1), (3, 1)])
def test_a_thousandth_of_transparent_pixels_counts(clear, found, tmp_path: Path):
    pixels = np.dstack([picture(40, 40), np.full((40, 40), 255, np.uint8)])
    table = alpha(tmp_path / "a.png", 1, 0)
    pixels.reshape(-1, 4)[:clear, 3] = 0
    (tmp_path / "a.png").write_bytes(encode(".png", pixels))
    options = SimpleNamespace(deep=False)
    assert len(told("IM023", table=table, config=SimpleNamespace(channels=3), options=options)) == found


@pytest.mark.parametrize(("channels", "found"), [(1, 1), (2, 0), (3, 1), (4, 0)])
def test_alpha_is_dropped_with_one_channel_or_three(channels, found, tmp_path: Path):
    table = alpha(tmp_path / "a.png", 1, 500)
    config, options = SimpleNamespace(channels=channels), SimpleNamespace(deep=False)
    assert len(told("IM023", table=table, config=config, options=options)) == found
    assert len(about("IM026", image(header(frames=2, format="TIFF")), channels)) == found


def gamma(value: int) -> bytes:
    return chunked(b"gAMA", value.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("value", "bent"),
    [(95_000, False), (94_999, True), (105_000, False), (105_001, True), (100_000, False), (200_000, True)],
)
def test_a_gamma_within_five_percent_of_one_changes_nothing(value, bent, tmp_path: Path):
    file = tmp_path / "a.png"
    file.write_bytes(gamma(value))
    assert bends(str(file)) is bent


@pytest.mark.parametrize(
    ("channels", "bent", "plain", "jpegs", "unknown", "values"),
    [
        (1, 1, 1, 0, 0, (1, 2, 1)),
        (1, 1, 0, 1, 0, (1, 1, 1)),
        (1, 2, 0, 0, 0, None),
        (1, 0, 2, 1, 0, None),
        (1, 2, 0, 0, 1, None),
        (3, 1, 1, 0, 0, None),
        (1, 400, 1, 0, 0, (399, 400, 1)),
        (1, 200, 200, 0, 0, (200, 400, 200)),
    ],
)
def test_gammas_of_at_most_400_pngs_are_read(channels, bent, plain, jpegs, unknown, values, tmp_path: Path):
    """`unknown` counts images whose size could not be read."""
    (tmp_path / "bent.png").write_bytes(gamma(45_455))
    (tmp_path / "plain.png").write_bytes(chunked())
    names = ["bent.png"] * bent + ["plain.png"] * plain + ["c.jpg"] * (jpegs + unknown)
    width = np.array([1] * (len(names) - unknown) + [0] * unknown)
    files = [str(tmp_path / name) for name in names]
    table = SimpleNamespace(files=files, grey=np.zeros(len(names), np.bool_), width=width)
    found = told("IM039", table=table, config=SimpleNamespace(channels=channels, yaml_file="data.yaml"))
    assert [(one["bent"], one["looked_at"], one["others"]) for one in found] == ([] if values is None else [values])


@pytest.mark.parametrize(("channels", "found"), [(1, 0), (3, 1), (4, 0)])
def test_grey_images_are_told_of_sets_with_three_channels(channels, found):
    table = SimpleNamespace(files=["a/b.png", "a/c.png"], grey=np.array([False, True]))
    values = told("IM024", table=table, config=SimpleNamespace(channels=channels))
    assert values == [{"grey": 1, "images": 2, "examples": ("c.png",), "more": 0}] * found


@pytest.mark.parametrize(("channels", "turned"), [(1, True), (3, True), (4, False)])
def test_with_other_channels_an_image_is_not_rotated(channels, turned):
    (values,) = about("IM020", image(header(turn=6)), channels)
    assert (values["turned"], values["channels"]) == (turned, channels)
