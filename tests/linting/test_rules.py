"""Each rule finds its defect in a faulty twin, is silent on the healthy one, and documents itself."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from linting.cases import CASES
from linting.cases_places import PLACES
from linting.tiny_set import TinySet

import yolo_nanfix.linting.rules
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, all_rules, rule
from yolo_nanfix.linting.runner import run

RULES = {r.code: r for r in all_rules()}
ROW_CODES = [code for code in CASES if code[:2] in ("TX", "BX", "CL") and CASES[code][0] == "detect"]


def _found(tiny: TinySet, task: str, code: str) -> list:
    return [f for f in run(tiny.root, options=LintOptions(task, deep=RULES[code].deep)).findings if f.code == code]


def test_every_rule_has_a_faulty_and_a_clean_example():
    assert set(CASES) == set(RULES)
    assert {code[:2] for code in RULES} >= {"CF", "FS", "IM", "SP", "TX", "BX", "SG", "KP", "OB", "CL", "AN"}


@pytest.mark.parametrize("code", CASES)
def test_finds_the_faulty_one(code: str, tmp_path: Path):
    task, faulty, _ = CASES[code]
    tiny = TinySet(tmp_path)
    faulty(tiny)
    before = tiny.state()
    found = _found(tiny, task, code)
    places = sorted(str(finding.place).replace(f"{tmp_path}/", "").replace(str(tmp_path), ".") for finding in found)
    if code == "FS026":  # the path is as long as the folder of the test lets it be
        assert [place.partition("aaaa")[0] for place in places] == ["images/train/"]
    else:
        assert places == list(PLACES[code])
    for finding in found:
        assert (finding.name, finding.severity, finding.effect) == (
            RULES[code].name,
            RULES[code].severity,
            RULES[code].effect,
        )
        assert finding.message != finding.says or "{" not in finding.says, "a form that does not fit its values"
        assert finding.message and finding.fix and Path(finding.place.file).is_absolute()
        assert finding.image is None or Path(finding.image).is_absolute()
    assert tiny.state() == before


@pytest.mark.parametrize("code", CASES)
def test_is_silent_on_the_clean_one(code: str, tmp_path: Path):
    task, _, clean = CASES[code]
    tiny = TinySet(tmp_path)
    clean(tiny)
    assert not _found(tiny, task, code)


def test_the_healthy_set_has_no_findings(tmp_path: Path):
    report = run(TinySet(tmp_path).root)
    assert report.findings == ()
    assert report.exit_code == 0


@pytest.mark.parametrize("code", RULES)
def test_documents_itself(code: str):
    r = RULES[code]
    for section in (r.title, r.why, r.upstream, r.example, r.fix):
        assert section.endswith((".", "`")) and len(section) > 8, section
    assert r.name == r.name.lower() and " " not in r.name
    assert isinstance(r.severity, Severity) and isinstance(r.effect, Effect)


def test_texts_begin_with_a_capital_but_names_of_files_stay_as_they_are():
    assert RULES["CL042"].example == "train/Cat and train/cat."
    assert RULES["FS007"].example.startswith("a.jpg and a.png")
    assert RULES["BX017"].example.startswith("Objects of 40x40")


def test_names_are_unique():
    assert len({r.name for r in RULES.values()}) == len(RULES)


def test_a_rule_without_documentation_is_refused():
    with pytest.raises(TypeError, match="ZZ001"):

        @rule("ZZ001", Severity.INFO, Effect.ACCEPTS)
        def no_doc(images):
            """Title only."""
            yield Hit("", "")


@pytest.mark.parametrize("code", ROW_CODES)
def test_ultralytics_does_with_rows_what_the_rule_says(code: str, tmp_path: Path):
    """Drops means that stock's own check drops the image; anything else that it keeps it."""
    from ultralytics.data.utils import verify_image_label

    tiny = TinySet(tmp_path)
    CASES[code][1](tiny)
    image, label = tmp_path / "images/train/a.jpg", tmp_path / "labels/train/a.txt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept, rows, *_ = verify_image_label((str(image), str(label), "", False, 2, 0, 0, False))
    assert (kept is None) == (RULES[code].effect is Effect.DROPS)
    if RULES[code].effect is Effect.REWRITES:
        assert len(rows) == 1


@pytest.mark.parametrize("code", ["IM001", "IM002", "IM003", "IM004", "IM005", "IM006", "IM007", "FS001"])
def test_ultralytics_does_with_images_what_the_rule_says(code: str, tmp_path: Path, monkeypatch):
    from ultralytics.data.utils import verify_image_label

    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    tiny = TinySet(tmp_path)
    CASES[code][1](tiny)
    (finding,) = [f for f in run(tiny.root).findings if f.code == code]
    before = Path(finding.image).read_bytes() if code != "FS001" else b""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept, *_ = verify_image_label((finding.image, "none", "", False, 2, 0, 0, False))
    assert (kept is None) == (finding.effect is Effect.DROPS)
    if kept is not None:
        assert (Path(finding.image).read_bytes() != before) == (finding.effect is Effect.REWRITES)


@pytest.mark.parametrize("code", ["IM009", "IM011", "IM014", "IM016", "IM017"])
def test_ultralytics_reads_the_pixels_as_the_rule_says(code: str, tmp_path: Path):
    import cv2
    import numpy as np
    from ultralytics.data.utils import check_image
    from ultralytics.utils.patches import imread

    tiny = TinySet(tmp_path)
    CASES[code][1](tiny)
    (finding,) = [f for f in run(tiny.root).findings if f.code == code]
    flag = cv2.IMREAD_UNCHANGED if code in ("IM011", "IM014") else cv2.IMREAD_COLOR
    check_image(finding.image)
    pixels = imread(finding.image, flag)
    if code == "IM009":
        assert pixels is None
    elif code == "IM011":
        x, y, channel = finding.place.pixel
        assert np.isnan(pixels[y, x, channel]) and np.isnan(pixels).sum() == 1
    else:
        assert {"IM014": pixels.max() > 255, "IM016": pixels.max() == 0, "IM017": 0 < pixels.max() < 16}[code]


@pytest.mark.parametrize("code", ["CF002", "CF003", "FS003", "TX009"])
def test_ultralytics_raises_at_start_where_the_rule_says_crashes(code: str, tmp_path: Path, monkeypatch):
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    monkeypatch.setattr("ultralytics.data.utils.check_font", lambda *_a, **_k: None)
    task, faulty, clean = CASES[code]
    for name, change in (("faulty", faulty), ("clean", clean)):
        tiny = TinySet(tmp_path / name)
        change(tiny)

        def start(root: Path = tiny.root) -> None:
            data = check_det_dataset(str(root / "data.yaml"))
            YOLODataset(data["train"], data=data, task=task, imgsz=32)

        if name == "clean":
            start()
        else:
            with pytest.raises((SyntaxError, KeyError, ValueError)):
                start()


@pytest.mark.parametrize("code", ["IM009", "IM010"])
def test_ultralytics_raises_while_loading_where_the_rule_says_crashes(code: str, tmp_path: Path):
    from types import SimpleNamespace

    import torch
    from ultralytics.data.base import BaseDataset

    tiny = TinySet(tmp_path)
    CASES[code][1](tiny)
    finding = next(f for f in run(tiny.root).findings if f.code == code)
    channels = 6 if code == "IM010" else 3
    flag = -1 if channels == 6 else 1
    loader = SimpleNamespace(
        ims=[None], im_files=[finding.image], npy_files=[Path("none.npy")], cache=None, cv2_flag=flag
    )
    vars(loader).update(imgsz=32, augment=False, channels=channels, prefix="")
    with pytest.raises((FileNotFoundError, RuntimeError)):
        pixels = BaseDataset.load_image(loader, 0)[0]
        torch.nn.Conv2d(channels, 8, 3)(torch.as_tensor(pixels).permute(2, 0, 1)[None].float())


def test_places_name_line_and_pixel(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.rows("\n\n0 0.5 0.5 0.2 0.2\n\n0 0.5 0.5 0.2 nan\n")
    (finding,) = [f for f in run(tiny.root).findings if f.code == "TX010"]
    assert (finding.place.line, finding.split) == (5, "train")
    assert finding.place.file.endswith("labels/train/a.txt") and finding.image.endswith("images/train/a.jpg")


def test_an_array_that_replaces_an_image_is_named_with_it(tmp_path: Path):
    import numpy as np

    tiny, pixels = TinySet(tmp_path), np.ones((48, 64, 3), np.float32)
    pixels[5, 7, 2] = np.nan
    tiny.npy(pixels)
    (finding,) = [f for f in run(tiny.root).findings if f.code == "IM011"]
    assert finding.place.file.endswith("a.npy") and finding.place.pixel == (7, 5, 2)
    assert finding.image.endswith("a.jpg")
    assert run(tiny.root).fatal_images()[finding.image] == (finding,)


def test_an_older_array_is_not_looked_at(tmp_path: Path):
    import os

    import numpy as np

    tiny = TinySet(tmp_path)
    tiny.npy(np.full((48, 64, 3), np.nan, np.float32))
    os.utime(tmp_path / "images/train/a.npy", (1, 1))
    assert run(tiny.root).findings == ()


def _bound(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that are assigned anywhere, each with what it is bound to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        for target in node.targets if isinstance(node, ast.Assign) else ():
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))


def _is_constant(node: ast.expr, names: frozenset[str]) -> bool:
    """Whether a text is written in the source: also one of several, or several joined, or out of a table of them."""
    if isinstance(node, ast.IfExp):
        return _is_constant(node.body, names) and _is_constant(node.orelse, names)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and _is_constant(node.left, names) and _is_constant(node.right, names)
    if isinstance(node, ast.Dict):
        return all(_is_constant(value, names) for value in node.values)
    if isinstance(node, ast.Subscript):
        return _is_constant(node.value, names)
    if isinstance(node, ast.Call):  # of a function that gives a form, which is looked at itself
        return isinstance(node.func, ast.Name) and node.func.id.endswith("_says")
    if isinstance(node, ast.Attribute):
        return node.attr == "says"
    if isinstance(node, ast.Name):
        return node.id in names
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _forms(tree: ast.Module) -> Iterator[tuple[ast.expr, frozenset[str]]]:
    """Each text from which a message is made, with the names that stand for constants there."""
    known = frozenset(("says", "MASKED"))
    bound = list(_bound(tree))
    wrong = {name for name, value in bound if not _is_constant(value, known)}
    names = known | {name for name, _ in bound if name not in wrong}
    makers = {"Hit": 1, "row_hits": 3, "file_hits": 3, "bad_hits": 3, "file_hit": 3}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        asked = [one.arg for one in function.args.args]
        makers |= {function.name: asked.index("says")} if "says" in asked else {}
        if function.name.endswith("_says"):
            returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return))
            yield from ((value, names) for value in returned if value is not None)
    yield from ((value, names) for name, value in bound if name == "says")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
            named = [word.value for word in node.keywords if word.arg == "says"]
            yield (named or node.args[makers[node.func.id] :] or [node.func])[0], names


@pytest.mark.parametrize(
    "file", sorted(Path(yolo_nanfix.linting.rules.__file__).parent.glob("*.py")), ids=lambda f: f.stem
)
def test_messages_are_made_of_constants_and_values(file: Path):
    wrong = [node.lineno for node, names in _forms(ast.parse(file.read_text())) if not _is_constant(node, names)]
    assert not wrong, f"{file}: {wrong}: a constant text is said, facts are values"
