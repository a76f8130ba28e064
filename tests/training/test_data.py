"""From rows to tensors: which rows count, and batches that are the same prepared ahead or not."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.sampler import BatchSampler
from chandraclip.data.schema import build_table
from chandraclip.errors import InputFileError
from chandraclip.models import SpectrumFeatureExtractor
from chandraclip.training.data import (
    BatchLoader,
    default_dataset,
    load_rows,
    rows_with,
    validation_batches,
    validation_rows,
)

COLUMNS = {"spectrum": ["spectrum_counts", "exposure"], "event": ["event_time", "event_energy"], "text": ["summary"]}


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return Accelerator()


def make_rows(num_rows: int = 23) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"value": list(range(num_rows))}).with_format("arrow")


def double(rows):
    return {"value": torch.from_numpy(2 * rows["value"].to_numpy()), "not a tensor": "x"}


def test_rows_that_have_enough_modalities():
    counts = Ragged.from_rows([np.array([1, 2]), None, np.array([], dtype=int), np.array([3]), None])
    keys = {"name": list("ABCDE"), "obsid": [1] * 5, "obi": [0] * 5, "region_id": range(5), "split": ["train"] * 5}
    table = build_table({**keys, "spectrum_counts": counts, "summary": ["text", "text", "text", "  ", None]})
    rows = datasets.Dataset(table.select(["name", "spectrum_counts", "summary"])).with_format("arrow")
    columns = ["spectrum_counts", "summary"]
    assert rows_with(rows, columns, 1)[:]["name"].to_pylist() == ["A", "B", "C", "D"]
    assert rows_with(rows, columns, 2)[:]["name"].to_pylist() == ["A"]


def test_a_dataset_without_what_is_needed_is_refused(dataset, accelerator):
    columns = {name: COLUMNS[name] for name in ("spectrum", "text")}
    loaded = load_rows(str(dataset), columns, accelerator, at_least=2)
    assert set(loaded.splits) == {"train", "validation", "test"}
    assert not loaded.bad_rows
    assert loaded.dataset_id == load_rows(str(dataset), {"event": COLUMNS["event"]}, accelerator).dataset_id
    with pytest.raises(InputFileError, match="3 of"):
        load_rows(str(dataset), columns, accelerator, at_least=3)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_batches_are_those_of_the_sampler_whatever_is_prepared_ahead(accelerator, prefetch):
    rows = make_rows()
    sampler = BatchSampler(np.arange(len(rows)), 5, seed=1)
    loader = BatchLoader(rows, sampler, double, accelerator, prefetch)
    found = list(loader.steps(2, 11))
    assert [step for step, _ in found] == list(range(2, 11))
    for step, (batch,) in found:
        assert batch.keys() == {"value"}
        assert np.array_equal(batch["value"], 2 * sampler.batch(step))


def test_micro_batches_are_the_rows_of_a_batch_in_order(accelerator):
    rows = make_rows()
    sampler = BatchSampler(np.arange(len(rows)), 6, seed=1)
    for step, parts in BatchLoader(rows, sampler, double, accelerator, micro_batches=3).steps(0, 5):
        assert [len(part["value"]) for part in parts] == [2, 2, 2]
        assert np.array_equal(torch.cat([part["value"] for part in parts]), 2 * sampler.batch(step))
    with pytest.raises(ValueError, match="equal"):
        BatchLoader(rows, sampler, double, accelerator, micro_batches=4).batch(0)


def test_what_goes_wrong_in_the_thread_is_raised_here_and_the_thread_ends(accelerator):
    def fail(rows):
        if 7 in rows["value"].to_pylist():
            raise ZeroDivisionError("row 7")
        return double(rows)

    loader = BatchLoader(make_rows(), BatchSampler(np.arange(23), 5, seed=1), fail, accelerator, prefetch=2)
    with pytest.raises(ZeroDivisionError, match="row 7"):
        list(loader.steps(0, 20))
    steps = BatchLoader(make_rows(), BatchSampler(np.arange(23), 5, seed=1), double, accelerator, 2).steps(0, 20)
    next(steps)
    steps.close()  # would hang if the thread waited for room in the queue


def test_validation_sees_every_row_once(accelerator):
    rows = make_rows(100)
    subset = validation_rows(rows, 40)
    assert subset[:]["value"].to_pylist() == sorted(set(validation_rows(rows, 40)[:]["value"].to_pylist()))
    assert len(subset) == 40
    assert validation_rows(rows, 100) is rows
    parts = list(validation_batches(subset, double, accelerator, 16))
    assert [(share.start, share.stop) for share, _ in parts] == [(0, 16), (16, 32), (32, 40)]
    values = torch.cat([batch["value"] for _, batch in parts])
    assert np.array_equal(values, 2 * subset[:]["value"].to_numpy())


def test_the_simulated_dataset_lies_beside_the_output(monkeypatch, accelerator):
    built = []
    monkeypatch.setattr(
        "chandraclip.simulate.dataset.build_from_simulation", lambda folder, *_, **__: built.append(folder)
    )
    assert default_dataset(10, 0, accelerator, beside="outputs/quick/align") == "outputs/quick/data/default"
    assert default_dataset(10, 0, accelerator, beside="outputs/align") == "outputs/data/default"
    assert [str(folder) for folder in built] == ["outputs/quick/data/default", "outputs/data/default"]


def test_a_column_that_is_optional_may_be_missing_and_no_other(dataset, accelerator):
    wanted = {"spectrum": ["spectrum_counts", "a_new_column"]}
    loaded = load_rows(str(dataset), wanted, accelerator, optional=["a_new_column"])
    assert loaded.splits["train"].column_names == ["name", "spectrum_counts"]
    with pytest.raises(InputFileError, match=r"\[a_new_column\]: this column is missing"):
        load_rows(str(dataset), wanted, accelerator)


def test_bad_rows_are_in_no_split(tmp_path, monkeypatch, accelerator, caplog):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    counts = {name: np.ones((9, 3), dtype=int) for name in ("train", "validation", "test")}
    for number, values in enumerate(counts.values()):
        values[number + 2, 1] = -1
    parts = {}
    for name, values in counts.items():
        names = [f"{name} {row}" for row in range(9)]
        parts[name] = datasets.Dataset.from_dict({"name": names, "spectrum_counts": values})
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "mine")
    optional = SpectrumFeatureExtractor.optional_columns
    loaded = load_rows(
        str(tmp_path / "mine"), {"spectrum": SpectrumFeatureExtractor.columns}, accelerator, optional=optional
    )
    for number, (name, rows) in enumerate(loaded.splits.items()):
        assert rows[:]["name"].to_pylist() == [f"{name} {row}" for row in range(9) if row != number + 2]
        assert loaded.bad_rows[name] == {"spectrum_counts: negative": 1}
        assert f"row {number + 2} ({name} {number + 2}): spectrum_counts: negative" in caplog.text
