"""The reading side of `yolo-nanfix.csv`: a file that is not the guard's own, or not whole, is one clear error."""

from __future__ import annotations

import math

import pytest

from yolo_nanfix.errors import DataError
from yolo_nanfix.run_folder import csv_tables
from yolo_nanfix.run_folder.csv_tables import STEPS_NAME, read_steps

HEAD = "step,epoch,batch,box_loss,loss,grad_norm,loss_scale,lr\n"


def test_columns_come_back_with_what_is_not_known_and_not_finite(tmp_path):
    path = tmp_path / STEPS_NAME
    path.write_text(HEAD + "1,1,1,0.5,2,,,0.01\n3,1,3,nan,inf,-inf,65536,0.01\n")
    read = read_steps(path)
    assert list(read) == HEAD.strip().split(",")
    assert (read["step"], read["batch"], read["lr"]) == ([1, 3], [1, 3], [0.01, 0.01])
    assert math.isnan(read["box_loss"][1])
    assert (read["loss"], read["grad_norm"], read["loss_scale"]) == ([2, math.inf], [None, -math.inf], [None, 65536])


def test_a_run_that_had_no_micro_batch_has_columns_without_rows(tmp_path):
    path = tmp_path / STEPS_NAME
    path.write_text(HEAD)
    assert set(map(len, read_steps(path).values())) == {0}


DAMAGED = {
    "empty": "",
    "foreign": "epoch,train/box_loss\n1,2\n",
    "breaks off in a row": HEAD + "1,1,1,0.5,2,,,0.01\n2,1,2,0.5",
    "breaks off in the last number": HEAD + "1,1,1,0.5,2,,,0.01\n2,1,2,0.5,2,,,0.0",
    "a cell too few": HEAD + "1,1,1,0.5,2,,\n",
    "no number": HEAD + "1,1,1,high,2,,,0.01\n",
    "no step": HEAD + ",1,1,0.5,2,,,0.01\n",
    "half a step": HEAD + "1.5,1,1,0.5,2,,,0.01\n",
    "epoch nan": HEAD + "1,nan,1,0.5,2,,,0.01\n",
    "steps that fall": HEAD + "2,1,1,,,,,\n1,1,2,,,,,\n",
    "a quote that never ends": HEAD + '1,1,1,"0.5,2,,,0.01\n',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_clear_error(damage, tmp_path):
    path = tmp_path / STEPS_NAME
    path.write_text(DAMAGED[damage])
    with pytest.raises(DataError) as caught:
        read_steps(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_a_folder_and_binary_data_too(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"step,epoch,batch\n\xff\xfe\x00")
    (tmp_path / "nul.csv").write_bytes(b"step,epoch,batch\n1,1,\x00\n")
    with pytest.raises(DataError, match="there is no such file; the guard writes it at the end of each epoch"):
        read_steps(tmp_path / "none.csv")
    for name in ("", "binary.csv", "nul.csv"):
        with pytest.raises(DataError):
            read_steps(tmp_path / name)


def test_a_file_far_too_large_is_not_read(tmp_path):
    path = tmp_path / STEPS_NAME
    with path.open("wb") as stream:
        stream.truncate(csv_tables.LARGEST_TABLE + 1)
    with pytest.raises(DataError, match="larger than 64 MB"):
        read_steps(path)
