"""Settings: cards < file < environment < arguments; unknown names refused with the nearest match."""

from __future__ import annotations

import pytest

import yolo_nanfix
from yolo_nanfix import settings
from yolo_nanfix.errors import UsageError
from yolo_nanfix.patching import engine

pytestmark = pytest.mark.usefixtures("unpatched")
KNOWN = ("rect", "min_area_px", "max_bad_in_a_row")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rect():
    return dict(engine.snapshot()["rect-validation"])["rect"]


def test_each_layer_wins_over_the_one_before(here, monkeypatch):
    default = dict(yolo_nanfix.patch("rect-validation").as_dict()["patches"]["rect-validation"]["params"])["rect"]
    other = {"off": "stock", "stock": "off", "auto": "off"}[default]
    third = ({"off", "stock", "auto"} - {default, other}).pop()
    for write, expected in (
        (lambda: (here / "nanfix.yaml").write_text(f'rect: "{other}"\n'), other),
        (lambda: monkeypatch.setenv("YOLO_NANFIX_RECT", third), third),
    ):
        write()
        yolo_nanfix.unpatch()
        yolo_nanfix.patch()
        assert rect() == expected
    yolo_nanfix.patch(rect=default)
    assert rect() == default
    yolo_nanfix.patch()  # what a call does not mention stays as it is
    assert rect() == default


def test_pyproject_serves_as_well_and_is_found_from_a_folder_below(here, monkeypatch):
    (here / "pyproject.toml").write_text(
        '[tool.yolo-nanfix]\nrect = "stock"\ndisable = ["mask-area-zero"]\nmax_bad_in_a_row = 3\n'
    )
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    status = yolo_nanfix.patch()
    states = {p.name: p for p in status.patches}
    assert rect() == "stock"
    assert (states["mask-area-zero"].state, states["mask-area-zero"].reason) == ("off", "left out by the settings")
    assert status.guard.max_bad_in_a_row == 3


def test_disable_and_enable_of_a_call_win_over_those_of_a_file(here):
    (here / "nanfix.yaml").write_text("disable: [mask-area-zero]\n")
    assert {p.name: p.state for p in yolo_nanfix.patch(enable=["mask-area-zero"]).patches}["mask-area-zero"] == "on"
    assert {p.name: p.state for p in yolo_nanfix.patch(disable=["rect-validation"]).patches}["rect-validation"] == "off"
    with pytest.raises(UsageError, match="is in enable and in disable"):
        yolo_nanfix.patch(enable=["rect-validation"], disable=["rect-validation"])


def test_a_second_call_keeps_the_guard_s_settings_too(here):
    yolo_nanfix.patch(max_bad_in_a_row=3)
    assert yolo_nanfix.patch().guard.max_bad_in_a_row == 3
    assert yolo_nanfix.patch(max_bad_in_a_row=4).guard.max_bad_in_a_row == 4


def test_the_guard_can_be_off_by_setting(here, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_GUARD", "false")
    assert yolo_nanfix.patch().guard is None
    assert yolo_nanfix.patch(guard=True).guard is not None
    monkeypatch.setenv("YOLO_NANFIX_GUARD", "perhaps")
    with pytest.raises(UsageError, match="YOLO_NANFIX_GUARD must be true or false"):
        yolo_nanfix.patch()


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("nanfix.yaml", "rekt: stock\n", "rekt is not a setting; did you mean 'rect'"),
        ("nanfix.yaml", "- rect\n", "must be a mapping"),
        ("nanfix.yaml", "rect: [\n", "cannot be read"),
        ("nanfix.yaml", "disable: mask-area-zero\n", "must be a list of patch names"),
        ("nanfix.yaml", "1: 2\n", "must be a mapping"),
        ("pyproject.toml", "[tool.yolo-nanfix]\nmin_area = 1\n", "did you mean 'min_area_px'"),
        ("pyproject.toml", "[tool\n", "cannot be read"),
        ("pyproject.toml", f"a = {'[' * 5000}", "cannot be read"),
        ("nanfix.yaml", "[" * 5000, "cannot be read"),
        ("nanfix.yaml", "rect: 2024-99-99\n", "cannot be read"),
        ("nanfix.yaml", "rect: \udcff\n", "cannot be read"),
        ("pyproject.toml", "[tool]\nyolo-nanfix = 3\n", "must be a mapping"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_place(here, file, text, says):
    (here / file).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UsageError, match=says) as error:
        settings.load_settings(KNOWN)
    assert file in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("YOLO_NANFIX_REKT", "stock", "YOLO_NANFIX_REKT is not a setting; did you mean 'rect'"),
        ("YOLO_NANFIX_RECT", "maybe", "must be one of"),
        ("YOLO_NANFIX_MIN_AREA_PX", "small", "must be a float"),
        ("YOLO_NANFIX_DISABLE", "mask-area-zer", "did you mean 'mask-area-zero'"),
        ("YOLO_NANFIX_RECT", "[", "is not a value"),
    ],
)
def test_a_bad_variable_is_refused_and_nothing_is_patched(here, monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=says):
        yolo_nanfix.patch()
    assert engine.snapshot() == {}


def test_two_files_in_one_folder_are_one_too_many(here):
    (here / "nanfix.yaml").write_text("rect: stock\n")
    (here / "pyproject.toml").write_text("[tool.yolo-nanfix]\n")
    with pytest.raises(UsageError, match="keep one of them"):
        settings.load_settings(KNOWN)
    (here / "pyproject.toml").write_text("[tool.ruff]\n")
    assert settings.load_settings(KNOWN).values == {"rect": "stock"}


def test_words_that_yaml_takes_for_booleans_stay_words(here, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_RECT", "off")
    assert settings.load_settings(KNOWN).values == {"rect": "off"}
    (here / "nanfix.yaml").write_text("rect: off\n")
    monkeypatch.delenv("YOLO_NANFIX_RECT")
    yolo_nanfix.patch("rect-validation")
    assert rect() == "off"


def test_the_nearest_file_counts(here, monkeypatch):
    (here / "nanfix.yaml").write_text("rect: stock\n")
    (here / "below").mkdir()
    (here / "below" / "nanfix.yaml").write_text("min_area_px: 0.5\n")
    monkeypatch.chdir(here / "below")
    assert settings.load_settings(KNOWN).values == {"min_area_px": 0.5}


def test_names_are_unique_over_cards_and_guard():
    """A setting has one meaning."""
    from yolo_nanfix.cards import load_all
    from yolo_nanfix.guard.guard_settings import GuardSettings

    names = [*GuardSettings.names(), *(n for card in load_all().values() for n in card.params)]
    assert len(names) == len(set(names))
    assert not {"enable", "disable", "guard"} & set(names)


def test_what_belongs_to_lint_is_passed_over(here, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_CACHE", str(here))
    (here / "nanfix.yaml").write_text("rect: stock\nlint: {select: [BX]}\n")
    assert settings.load_settings(KNOWN).values == {"rect": "stock"}
    (here / "below").mkdir()
    (here / "below" / "pyproject.toml").write_text("[tool.yolo-nanfix.lint]\nselect = ['CL']\n")
    monkeypatch.chdir(here / "below")
    assert settings.load_settings(KNOWN).values == {"rect": "stock"}
    assert settings.load_lint(here / "below")[0].values == {"select": ["CL"]}
    monkeypatch.chdir(here)
    assert settings.load_lint(here)[0].source == f"{here / 'nanfix.yaml'}: lint."
