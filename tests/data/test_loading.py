"""Datasets as strangers have them: plain Parquet, save_to_disk, other splits, from a folder or the Hub."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import warm_python
from chandraclip.data.loading import dataset_id, load_splits
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError

NUM_ROWS = 60


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def make_table(num_rows: int = NUM_ROWS, first: int = 0) -> pa.Table:
    numbers = range(first, first + num_rows)
    return pa.table(
        {
            "name": [f"source {number // 2}" for number in numbers],
            "spectrum_counts": [[number, 1, 2] for number in numbers],
            "summary": [f"text {number}" for number in numbers],
        }
    )


def write_parquet(folder: Path, **tables: pa.Table) -> str:
    folder.mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return str(folder)


def names_of(rows: datasets.Dataset) -> list[str]:
    return rows[:]["name"].to_pylist()


def check_hash_split(splits: dict[str, datasets.Dataset], num_rows: int = NUM_ROWS) -> None:
    assert list(splits) == ["train", "validation", "test"]
    assert sum(len(rows) for rows in splits.values()) == num_rows
    for split, rows in splits.items():
        assert {split_of(name) for name in names_of(rows)} == {split}


def test_plain_parquet_without_splits_is_split_by_name(tmp_path, caplog):
    folder = write_parquet(tmp_path / "plain", mine=make_table())
    with caplog.at_level(logging.INFO):
        splits = load_splits(folder, "pairs")
    check_hash_split(splits)
    assert "rows go by hash of `name`" in caplog.text
    again = load_splits(folder, "pairs")
    assert dataset_id(folder, splits) == dataset_id(folder, again)
    assert [names_of(rows) for rows in splits.values()] == [names_of(rows) for rows in again.values()]


def test_save_to_disk_folders_load(tmp_path):
    rows = datasets.Dataset(make_table())
    rows.save_to_disk(tmp_path / "one")
    check_hash_split(load_splits(str(tmp_path / "one"), "pairs"))
    parts = datasets.DatasetDict(train=rows.select(range(40)), val=rows.select(range(40, 60)))
    parts.save_to_disk(tmp_path / "two")
    splits = load_splits(str(tmp_path / "two"), "pairs")
    assert {name: len(part) for name, part in splits.items()} == {"train": 40, "validation": 20}


def test_own_splits_stay_and_a_lonely_test_is_kept(tmp_path):
    train, test = make_table(40), make_table(20, first=40)
    splits = load_splits(write_parquet(tmp_path / "own", train=train, test=test), "pairs")
    assert names_of(splits["test"]) == test["name"].to_pylist()
    assert {split_of(name) == "validation" for name in names_of(splits["validation"])} == {True}
    assert len(splits["train"]) + len(splits["validation"]) == 40
    third = make_table(10, first=60)
    splits = load_splits(write_parquet(tmp_path / "all", train=train, test=third, validation=test), "pairs")
    assert [len(rows) for rows in splits.values()] == [40, 20, 10]


def test_a_split_column_is_followed(tmp_path):
    own = ["test", "train", "train", "validation"] * (NUM_ROWS // 4)
    table = make_table().append_column("split", pa.array(own))
    splits = load_splits(write_parquet(tmp_path / "column", mine=table), "pairs")
    for name, rows in splits.items():
        assert set(rows[:]["split"].to_pylist()) == {name}


def test_a_source_in_two_splits_is_said(tmp_path, caplog):
    load_splits(write_parquet(tmp_path / "leak", train=make_table(41), validation=make_table(19, first=41)), "pairs")
    assert "1 sources are in more than one split" in caplog.text


def test_the_config_can_be_chosen(tmp_path):
    folder = write_parquet(tmp_path / "configs", small=make_table(20), large=make_table(50))
    card = {"configs": [{"config_name": name, "data_files": f"{name}.parquet"} for name in ("small", "large")]}
    Path(folder, "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    assert sum(map(len, load_splits(folder, "pairs", "large").values())) == 50
    assert sum(map(len, load_splits(folder, "small").values())) == 20
    with pytest.raises(InputFileError, match=r"several configs.*--dataset_config"):
        load_splits(folder, "pairs")
    with pytest.raises(InputFileError, match="no config 'other'"):
        load_splits(folder, "pairs", "other")


def test_our_view_comes_first_then_the_default_config(tmp_path):
    folder = write_parquet(tmp_path / "views", first=make_table(20), second=make_table(50))
    card = {"configs": [{"config_name": "default", "data_files": "first.parquet"},
                        {"config_name": "pairs", "data_files": "second.parquet"}]}  # fmt: skip
    Path(folder, "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    assert sum(map(len, load_splits(folder, "pairs").values())) == 50
    assert sum(map(len, load_splits(folder, "catalog").values())) == 20


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_table().drop_columns(["name"]), r"\[name\]: this column is missing.*rename"),
        (make_table().set_column(0, "name", pa.array(range(NUM_ROWS))), r"\[name\]: the column holds int64.*string"),
        (make_table().set_column(0, "name", pa.array([" "] * NUM_ROWS)), r"no row has a name"),
        (make_table(0), "no dataset loads from here.*must be greater than 0, got 0"),
    ],
)
def test_what_cannot_be_split_is_said(tmp_path, table, message):
    with pytest.raises(InputFileError, match=message):
        load_splits(write_parquet(tmp_path / "bad", mine=table), "pairs")


def test_rows_without_a_name_are_left_out(tmp_path, caplog):
    names = make_table()["name"].to_pylist()
    names[7] = None
    names[9] = ""
    table = make_table().set_column(0, "name", pa.array(names, pa.large_string()))
    splits = load_splits(write_parquet(tmp_path / "some", mine=table), "pairs")
    check_hash_split(splits, NUM_ROWS - 2)
    assert "2 rows without a name are left out, the first is row 7" in caplog.text


def test_what_is_no_dataset_is_said(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputFileError, match="no dataset loads from here"):
            load_splits(str(path), "pairs")


def test_a_hub_id_loads(tmp_path, hub_server):
    from io import BytesIO

    stream = BytesIO()
    pq.write_table(make_table(), stream)
    hub_server.add("tester/mine", {"data/mine.parquet": stream.getvalue()})
    code = (
        "from chandraclip.data.loading import load_splits\n"
        "print({name: len(rows) for name, rows in load_splits('tester/mine', 'pairs').items()})"
    )
    environment = {**os.environ, **hub_server.environment(tmp_path / "hub"), "HF_DATASETS_CACHE": str(tmp_path / "hub")}
    process = warm_python.run([sys.executable, "-c", code], env=environment)
    assert process.returncode == 0, process.stderr[-3000:]
    expected = np.unique([split_of(name) for name in make_table()["name"].to_pylist()], return_counts=True)
    sizes = dict(zip(*(part.tolist() for part in expected)))
    assert process.stdout.strip() == str({name: sizes[name] for name in ("train", "validation", "test")})
    assert not hub_server.unknown
