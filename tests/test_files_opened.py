"""Only regular files within the folders of a dataset are opened: no links out of it, no pipes, devices or sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.dataset.grounds import ground, too_wide
from yolo_nanfix.files import ANYWHERE, NotRegular, Refusal, Within, not_regular


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a file, links of all kinds, and what is no regular file; beside it a secret."""
    home = tmp_path / "a set"
    (home / "in" / "deep").mkdir(parents=True)
    (home / "in" / "a.txt").write_text("own")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "b.txt").write_text("secret")
    for name, target in (
        ("within", "in/a.txt"),
        ("out", "../secret.txt"),
        ("folder out", "../others"),
        ("chain", "out"),
        ("round", "round"),
        ("dangling", "nothing"),
        ("device", "/dev/null"),
        ("kernel", "/proc/self/environ"),
    ):
        (home / name).symlink_to(target)
    os.mkfifo(home / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(home)  # the paths of sockets are short
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)
    return home


CASES = {
    "out": Refusal.LINK,
    "chain": Refusal.LINK,
    "folder out/b.txt": Refusal.LINK,
    "device": Refusal.LINK,
    "kernel": Refusal.LINK,
    "../secret.txt": Refusal.OUTSIDE,
    "in/deep/../../../others/b.txt": Refusal.OUTSIDE,
    "in": Refusal.FOLDER,
    "pipe": Refusal.PIPE,
    "socket": Refusal.SOCKET,
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_file_of_the_folder_is_not_opened(name: str, home: Path):
    within = Within([home])
    assert within.refusal(home / name) is CASES[name]
    with pytest.raises(NotRegular, match="not opened") as caught:
        within.open(home / name)
    assert caught.value.refusal is CASES[name] and isinstance(caught.value, OSError)


@pytest.mark.parametrize("name", ["in/a.txt", "within", "in/deep/../a.txt"])
def test_files_of_the_folder_are_opened_also_by_links_in_it(name: str, home: Path, tmp_path: Path):
    (tmp_path / "another name").symlink_to(home)
    for folder in (home, tmp_path / "another name"):
        assert Within([folder]).read(home / name) == b"own" and Within([home]).read(folder / name, 2) == b"ow"


def test_links_are_followed_where_that_is_wanted_but_to_regular_files_only(home: Path):
    anywhere = Within([home], follow_links=True)
    assert [anywhere.read(home / name) for name in ("out", "chain", "folder out/b.txt")] == [b"secret"] * 3
    assert not anywhere.holds(home / "out") and anywhere.holds(home / "within")
    wanted = {"device": Refusal.DEVICE, "kernel": Refusal.SYSTEM, "pipe": Refusal.PIPE, "socket": Refusal.SOCKET}
    for name, refusal in wanted.items():
        assert anywhere.refusal(home / name) is not_regular(home / name) is refusal
    with pytest.raises(NotRegular):
        ANYWHERE.open(home / "pipe")  # and does not wait for who writes to it


@pytest.mark.parametrize("name", ["nothing", "dangling", "round"])
def test_what_is_not_there_is_missing_as_ever(name: str, home: Path):
    with pytest.raises(OSError, match=r"nothing|round") as caught:
        Within([home]).open(home / name)
    assert not isinstance(caught.value, NotRegular)
    with pytest.raises(ValueError, match="null"):
        Within([home]).open(f"{home}/\0")


def test_a_link_that_takes_the_place_of_a_file_meanwhile_is_not_followed(home: Path, monkeypatch: pytest.MonkeyPatch):
    file, opened = home / "in" / "a.txt", os.open

    def swapped(path: str, flags: int) -> int:
        (home / "in").rename(home / "was")
        (home / "in").symlink_to("../others")
        (home.parent / "others" / "a.txt").write_text("secret")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(NotRegular) as caught:
        Within([home]).open(file)
    assert caught.value.refusal is Refusal.MOVED


def placed(tmp_path: Path, text: str) -> list[str]:
    """The folders of a dataset whose data.yaml says where it is, from `tmp_path` on."""
    for name in ("set/images/train", "set/labels/train", "disk/images/train", "disk/labels/train"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    if not (tmp_path / "set/linked").exists():
        (tmp_path / "set/linked").symlink_to("../disk")
    file = tmp_path / "set" / "data.yaml"
    file.write_text(text.format(tmp=tmp_path) + "\nnames: [a]\n")
    return [os.path.relpath(folder, tmp_path) for folder in ground(read_config(file)).folders]


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("train: images/train\nval: images/train", ["set"]),
        ("path: '{tmp}/set'\ntrain: ./images/train\nval: images/../images/train", ["set"]),
        ("train: linked/images/train\nval: images/train", ["set"]),
        ("path: '{tmp}/set/linked'\ntrain: images/train\nval: images/train", ["set"]),
        ("path: '{tmp}/disk/../set/linked'\ntrain: images/train\nval: images/train", ["set"]),
        ("path: '{tmp}/disk'\ntrain: images/train\nval: images/train", ["set", "disk"]),
        ("train: '{tmp}/disk/images/train'\nval: images/train", ["set", "disk/images/train", "disk/labels/train"]),
        ("train: ../disk/images/train\nval: images/train", ["set", "disk/images/train", "disk/labels/train"]),
        ("path: /\ntrain: '{tmp}/set/linked/images'\nval: '{tmp}/set/images/train'", ["set"]),
    ],
)
def test_a_dataset_lies_where_data_yaml_says_and_not_where_links_lead(text: str, folders: list[str], tmp_path: Path):
    assert placed(tmp_path, text) == folders


def test_the_home_folder_is_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "set"))
    assert too_wide(str(tmp_path)) and too_wide("/") and too_wide("/proc/self") and not too_wide("/nowhere")
    plain = "train: images/train\nval: images/train"
    assert placed(tmp_path, plain) == ["set/images/train", "set/labels/train"]
    assert placed(tmp_path, "train: linked/images/train\nval: images/train") == ["set/images/train", "set/labels/train"]
