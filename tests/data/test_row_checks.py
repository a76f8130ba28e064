"""Rows that end a run hours later, found before it: each kind, in every type of list, and none that is well."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from chandraclip.data import row_checks
from chandraclip.data.row_checks import find_bad_rows, usable_columns, without_bad_modalities
from chandraclip.data.schema import MODALITY_COLUMNS, TABLE_SCHEMA
from chandraclip.errors import InputFileError
from chandraclip.models.spectrum_autoencoder.feature_extraction_spectrum_autoencoder import SpectrumFeatureExtractor

NUM_ROWS = 7
BAD = 4
OPTIONAL = [*MODALITY_COLUMNS["spectrum"][1:], *MODALITY_COLUMNS["event"]]
EDGES = [0.3, 0.6, 1.2, 2.4]


def good_columns() -> dict[str, list[Any]]:
    return {
        "name": [f"source {number}" for number in range(NUM_ROWS)],
        "spectrum_counts": [[number, 1, 2] for number in range(NUM_ROWS)],
        "spectrum_background": [[0, 1.5, 0]] * NUM_ROWS,
        "spectrum_quality": [[0, 5, 2]] * NUM_ROWS,
        "spectrum_grouping": [[1, -1, 1]] * NUM_ROWS,
        "background_scale": [0.1] * NUM_ROWS,
        "exposure": [1e4] * NUM_ROWS,
        "channel_energy_edges": [EDGES] * NUM_ROWS,
        "event_time": [[1.0, 5.0, 5.0, 90.0]] * NUM_ROWS,
        "event_energy": [[1.0, 2.0, 0.5, 3.0]] * NUM_ROWS,
        "gti_start": [[0.0, 50.0]] * NUM_ROWS,
        "gti_stop": [[20.0, 100.0]] * NUM_ROWS,
        "summary": ["a text"] * NUM_ROWS,
    }


def make_rows(columns: dict[str, list[Any]]) -> datasets.Dataset:
    types = {"name": pa.string(), "summary": pa.string(), "background_scale": pa.float64(), "exposure": pa.float64()}
    lists = pa.list_(pa.float64())
    table = pa.table(
        {name: pa.array(column, types.get(name, lists), from_pandas=False) for name, column in columns.items()}
    )
    return datasets.Dataset(table).with_format("arrow")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("spectrum_counts", [1, -1, 2], "negative"),
        ("spectrum_counts", [1, NAN, 2], "not finite"),
        ("spectrum_counts", [1, 0.5, 2], "not whole"),
        ("spectrum_counts", [1, 1e-9, 2], "not whole"),
        ("spectrum_quality", [0, 5], "length"),
        ("spectrum_quality", [0, 5, NAN], "not finite"),
        ("spectrum_grouping", [1, -1, 1, 1], "length"),
        ("spectrum_counts", [1, None, 2], "not finite"),
        ("spectrum_background", [1, INF, 2], "not finite"),
        ("spectrum_background", [1, 2], "length"),
        ("background_scale", NAN, "not finite"),
        ("background_scale", -0.1, "negative"),
        ("exposure", NAN, "not finite"),
        ("exposure", INF, "not finite"),
        ("exposure", 0.0, "not positive"),
        ("channel_energy_edges", EDGES[:3], "one more"),
        ("channel_energy_edges", [0.3, 0.6, NAN, 2.4], "not finite"),
        ("channel_energy_edges", [0.3, 0.6, 0.6, 2.4], "neither increasing"),
        ("event_time", [1.0, 5.0, NAN, 90.0], "not finite"),
        ("event_time", [1.0, 5.0], "event_energy: not of the length"),
        ("event_energy", [1.0, INF, 1.0, 1.0], "not finite"),
        ("gti_start", [0.0, -INF], "not finite"),
        ("gti_start", [0.0], "not of the length"),
        ("gti_stop", [20.0, 40.0], "before gti_start"),
    ],
)
def test_a_bad_row_is_found_named_and_counted(monkeypatch, column, value, reason):
    monkeypatch.setattr(row_checks, "ROWS_A_PASS", 3)
    columns = good_columns()
    columns[column][BAD] = value
    found = find_bad_rows(make_rows(columns), list(MODALITY_COLUMNS))
    assert np.flatnonzero(found.mask).tolist() == [BAD]
    assert reason in " ".join(found.counts)
    assert set(found.counts.values()) == {1}
    assert found.examples[0].startswith(f"row {BAD} (source {BAD}): ")
    assert column in " ".join(found.counts) or "event_energy" in " ".join(found.counts) or "gti" in column


def test_good_rows_and_missing_ones_are_not_bad():
    columns = good_columns()
    columns["channel_energy_edges"][1] = EDGES[::-1]  # a grating's
    for row, missing in (
        (2, list(columns)[1:8]),
        (3, list(columns)[8:12]),
        (4, ["exposure"]),
        (5, ["spectrum_background"]),
    ):
        for name in missing:
            columns[name][row] = None
    columns["spectrum_counts"][2], columns["exposure"][2] = None, NAN  # no spectrum: nobody reads its exposure
    columns["event_time"][6] = columns["event_energy"][6] = []
    rows = make_rows(columns)
    assert not find_bad_rows(rows, list(MODALITY_COLUMNS)).mask.any()
    assert not find_bad_rows(
        rows.select_columns(["name", "spectrum_counts", "summary"]), ["spectrum", "text"]
    ).mask.any()


def test_photons_without_good_times_count_from_the_start():
    columns = good_columns()
    del columns["gti_start"], columns["gti_stop"]
    columns["event_time"][1] = [5.2e8, 5.2e8, 5.3e8, 5.3e8]  # mission time
    columns["event_time"][2] = [-1.0, 0.0, 1.0, 2.0]
    found = find_bad_rows(make_rows(columns), ["event"])
    assert np.flatnonzero(found.mask).tolist() == [1, 2]
    assert "start of the observation" in found.examples[0]


def test_examples_are_few_and_counts_are_all(monkeypatch):
    monkeypatch.setattr(row_checks, "ROWS_A_PASS", 2)
    columns = good_columns()
    columns["exposure"] = [NAN] * NUM_ROWS
    found = find_bad_rows(make_rows(columns), ["spectrum"], max_examples=3)
    assert len(found.examples) == 3
    assert list(found.counts.values()) == [NUM_ROWS]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.int64()), pa.list_(pa.float64(), 3)]
)
def test_every_type_of_list_is_read(kind):
    table = pa.table({"name": list("abc"), "spectrum_counts": pa.array([[1, 2, 3], [1, -2, 3], None], kind)})
    assert usable_columns("mine", table.schema, {"spectrum": ["spectrum_counts", "exposure"]}, ["exposure"]) == [
        "spectrum_counts"
    ]
    rows = datasets.Dataset(table).with_format("arrow")
    assert find_bad_rows(rows, ["spectrum"]).mask.tolist() == [False, True, False]
    cleared = without_bad_modalities(rows[:])
    assert cleared["spectrum_counts"].to_pylist() == [[1, 2, 3], None, None]
    assert cleared["spectrum_counts"].type == kind


def test_only_the_bad_modality_is_cleared():
    columns = good_columns()
    columns["exposure"][BAD] = NAN
    before = make_rows(columns)[:]
    after = without_bad_modalities(before)
    assert after["spectrum_counts"].is_null().to_pylist() == after["exposure"].is_null().to_pylist()
    assert np.flatnonzero(after["spectrum_counts"].is_null()).tolist() == [BAD]
    for name in ("name", "event_time", "gti_stop", "summary"):
        assert after[name].equals(before[name])


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "spectrum_counts",
            pa.array(["[1, 2]"]),
            r"mine\[spectrum_counts\]: the column holds string; spectrum needs a list",
        ),
        ("spectrum_counts", pa.array([[["1"]]]), r"holds list<.*a list of numbers a row"),
        ("spectrum_counts", None, r"\[spectrum_counts\]: this column is missing.*rename yours"),
        ("spectrum_counts", pa.nulls(1), r"\[spectrum_counts\]: this column is missing"),
        ("exposure", pa.array(["1e4"]), r"\[exposure\]: the column holds string; spectrum needs a number"),
        ("summary", pa.array([3]), r"\[summary\]: the column holds int64; text needs a text"),
    ],
)
def test_a_wrong_column_is_named_with_the_remedy(column, values, message):
    columns = {"spectrum_counts": pa.array([[1, 2]]), "exposure": pa.array([1]), "summary": pa.array(["text"])}
    columns = {name: array for name, array in {**columns, column: values}.items() if array is not None}
    with pytest.raises(InputFileError, match=message):
        usable_columns(
            "mine", pa.schema({name: array.type for name, array in columns.items()}), MODALITY_COLUMNS, OPTIONAL
        )


def test_our_own_schema_fits():
    assert len(usable_columns("ours", TABLE_SCHEMA, MODALITY_COLUMNS)) == 12


def test_a_dataset_of_before_has_no_flags_and_a_background_of_integers():
    fields = {field.name: field.type for field in TABLE_SCHEMA if not field.name.endswith(("_quality", "_grouping"))}
    schema = pa.schema(fields | {"spectrum_background": pa.list_(pa.int32())})
    extractor = SpectrumFeatureExtractor
    columns = usable_columns("old", schema, {"spectrum": extractor.columns}, extractor.optional_columns)
    assert columns == list(extractor.columns[:5])
