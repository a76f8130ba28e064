"""Every form that rows come in gives the same inputs, and what cannot be used is named, not printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch

from chandraclip.data.rows import detection_columns
from chandraclip.data.schema import build_table
from chandraclip.models import ChandraClipProcessor, EventFeatureExtractor, SpectrumFeatureExtractor
from chandraclip.models.batches import as_columns
from chandraclip.ogip.events import read_events
from chandraclip.ogip.spectrum import read_spectrum

from .conftest import make_columns

TEXTS = datasets.Dataset.from_dict({"summary": ["a"]})
KEYS = {"name": ["a"] * 8, "obsid": range(8), "obi": [0] * 8, "region_id": range(8), "split": ["train"] * 8}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Eight rows of the whole schema; rows 1, 2 and 3 lack a modality each."""
    columns = make_columns()
    columns["spectrum_counts"][1] = columns["spectrum_background"][1] = None
    columns["event_time"][2] = columns["event_energy"][2] = None
    columns["summary"][3] = None
    return build_table({**KEYS, **columns})


@pytest.fixture
def dataset(table: pa.Table) -> datasets.Dataset:
    return datasets.Dataset(table)


def assert_same(result: Any, expected: Any, rtol: float = 1.3e-6) -> None:
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        # A hash of the times: where rows come as float32, of other ones.
        if name != "event_key" or rtol < FLOAT32:
            torch.testing.assert_close(result[name], value, rtol=rtol, atol=1e-5)


FLOAT32 = 2e-3  # of the shortest intervals: `datasets` gives times in float32 where numpy or torch is asked for


FORMS: dict[str, Callable[[datasets.Dataset], Any]] = {
    "slice": lambda rows: rows[:8],
    "rows": lambda rows: list(rows),
    "tuple of rows": lambda rows: tuple(rows[number] for number in range(8)),
    "dataset": lambda rows: rows,
    "numpy slice": lambda rows: rows.with_format("numpy")[:8],
    "numpy rows": lambda rows: list(rows.with_format("numpy")),
    "arrow": lambda rows: rows.with_format("arrow")[:8],
    "record batch": lambda rows: rows.data.table.to_batches()[0],
    "lazy columns": lambda rows: {name: rows[name] for name in rows.column_names},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_rows_gives_the_same(
    processor: ChandraClipProcessor, table: pa.Table, dataset: datasets.Dataset, form: str
) -> None:
    expected = processor(table)
    assert expected["spectrum_mask"].tolist() == [True, False, True, True, True, True, True, True]
    assert expected["event_mask"][2].item() is False
    assert expected["text_mask"][3].item() is False
    assert_same(processor(FORMS[form](dataset)), expected, FLOAT32 if "numpy" in form else 1.3e-6)


@pytest.mark.parametrize("row", range(8))
@pytest.mark.parametrize("kind", [None, "numpy", "torch"])
def test_one_row_is_a_batch_of_one(
    processor: ChandraClipProcessor, table: pa.Table, dataset: datasets.Dataset, row: int, kind: str | None
) -> None:
    if kind == "torch":
        names = ["spectrum_counts", "spectrum_background", "background_scale", "exposure", "event_time", "event_energy",
                 "gti_start", "gti_stop", "summary"]  # fmt: skip
        dataset = dataset.select_columns(names)
    result = processor(dataset.with_format(kind)[row])
    expected = processor(table.slice(row, 1))
    for name, value in result.items():  # a null modality may be left out of one row
        if name == "event_key" and kind is not None:  # a hash of the times, which are other ones in float32
            continue
        torch.testing.assert_close(value, expected[name], rtol=FLOAT32, atol=1e-5)
    masks = [name for name in expected if name.endswith("_mask") and name != "attention_mask" and expected[name].all()]
    assert set(masks) <= set(result)


def test_feature_extractors_take_the_same_forms(table: pa.Table, dataset: datasets.Dataset) -> None:
    for extractor in (SpectrumFeatureExtractor(), EventFeatureExtractor()):
        assert_same(extractor(list(dataset)), extractor(table))
        assert_same(extractor(dataset[5]), extractor(table.slice(5, 1)))


def test_texts_stand_alone_or_beside_rows(processor: ChandraClipProcessor, columns: dict[str, Any]) -> None:
    expected = processor.tokenize(["a quasar"])
    for text in ("a quasar", ["a quasar"], np.str_("a quasar"), np.array(["a quasar"]), pa.array(["a quasar"])):
        assert_same(processor(text=text), expected)
    assert processor(text=["a quasar", None, " ", ""])["text_mask"].tolist() == [True, False, False, False]
    spectra = {name: columns[name] for name in ("spectrum_counts", "exposure", "summary")}
    both = processor(spectra, text=["other"] * 8)
    assert torch.equal(both["input_ids"], processor(text=["other"] * 8)["input_ids"])
    assert both["spectrum_mask"].all()
    one = processor({"spectrum_counts": columns["spectrum_counts"][5], "exposure": 1e4}, text="other")
    assert one["text_mask"].shape == one["spectrum_mask"].shape == (1,)


def test_spectra_and_events_as_read_from_files(processor: ChandraClipProcessor, ogip: Any) -> None:
    spectrum = read_spectrum(ogip.pha(counts=np.arange(1024) % 5, channel=np.arange(1024) + 1, DETCHANS=1024))
    events = read_events(ogip.events())
    assert_same(processor(spectrum=spectrum, events=events), processor(detection_columns(spectrum, events)))
    assert set(processor(spectrum=spectrum)) == {"spectrum_values", "spectrum_summary", "spectrum_mask"}
    two = processor(spectrum=[spectrum, None], events=[None, events], text=["a", "b"])
    assert two["spectrum_mask"].tolist() == [True, False]
    assert two["event_mask"].tolist() == [False, True]
    for options, message in [
        ({"spectrum": [spectrum, spectrum], "events": [events]}, "2 spectra and 1 event lists"),
        ({"spectrum": [spectrum, None]}, "row 1 has neither"),
        ({"batch": {}, "spectrum": spectrum}, "not both"),
    ]:
        with pytest.raises(ValueError, match=message):
            processor(**options)


def test_columns_of_a_row_as_before(processor: ChandraClipProcessor, columns: dict[str, Any]) -> None:
    row = {name: column[5] for name, column in columns.items()}
    wrapped = {name: [value] for name, value in row.items()}
    assert_same(processor(row, modalities=["spectrum"]), processor(wrapped, modalities=["spectrum"]))


@pytest.mark.parametrize(
    "batch, num_rows",
    [
        ({"event_time": [], "event_energy": [], "gti_start": [0.0], "gti_stop": [1.0]}, 1),
        ({"event_time": [[]], "event_energy": [[]], "gti_start": [[0.0]], "gti_stop": [[1.0]]}, 1),
        ({"event_time": [None, None], "event_energy": [None, None]}, 2),
        ({"event_time": np.zeros(0), "exposure": 1.0}, 1),
        ({"event_time": [], "exposure": []}, 0),
        ({"event_time": np.zeros((3, 4)), "exposure": np.zeros(3)}, 3),
        ({"spectrum_counts": torch.zeros(4), "exposure": torch.tensor(1.0)}, 1),
        ({"spectrum_counts": [torch.zeros(4), torch.zeros(5)], "exposure": torch.ones(2)}, 2),
        ({"spectrum_counts": None, "summary": "a text"}, 1),
        ({"summary": None}, 1),
        ({"bibcodes": ["a", "b"], "spectrum_counts": (1, 2)}, 1),
        ({"spectrum_counts": [[1, 2], [3]], "exposure": [1.0, 1.0], "channel_energy_edges": None}, 2),
    ],
)
def test_one_row_is_told_from_columns(batch: dict[str, Any], num_rows: int) -> None:
    columns = as_columns(batch)
    assert {len(column) for column in columns.values()} == {num_rows}
    assert as_columns(columns).keys() == columns.keys()  # and columns stay columns
    assert {len(column) for column in as_columns(columns).values()} == {num_rows}


def many(**changes: Any) -> dict[str, Any]:
    """Three rows that can be used, but for the changes."""
    good = {"spectrum_counts": [np.ones(1024)] * 3, "exposure": [1e4] * 3, "summary": ["a", "b", "c"]}
    return {**good, **changes}


@pytest.mark.parametrize(
    "batch, error, message",
    [
        (many(exposure=1e4), ValueError, "'exposure' holds the value of one row and 'spectrum_counts'"),
        (many(exposure=[1e4] * 2), ValueError, "'exposure' has 2 rows, and 'spectrum_counts' has 3"),
        (many(exposure=[1e4, "12 ks", 1e4]), ValueError, "'exposure': row 1 is a str"),
        (many(exposure=[1e4, [1e4], 1e4]), ValueError, "'exposure': row 1 is a list"),
        (many(spectrum_counts=[[1, 2], "abc", [1]]), ValueError, "'spectrum_counts': row 1 is a str"),
        (many(spectrum_counts=[[1, 2], [1, "x"], [1]]), ValueError, "'spectrum_counts': row 1 holds a str"),
        (many(spectrum_counts=[np.ones(3), np.ones(3), np.ones((2, 2))]), ValueError, "row 2 is no flat list"),
        (many(spectrum_counts=pa.array([["a"], ["b"], ["c"]])), ValueError, "'spectrum_counts': its type is list<"),
        (many(summary=["a", 5, "c"]), ValueError, "'summary': row 1 is a int"),
        ([{"spectrum_counts": np.ones(4), "exposure": 1.0}, "a text"], TypeError, "item 1 .* a str; .*text="),
        ([{"spectrum_counts": [np.ones(4)] * 2, "exposure": 1.0}], ValueError, "item 0 .* many rows"),
        ([], ValueError, "empty"),
        ("a text", TypeError, "this is a str; texts are given as text="),
        (17, TypeError, "this is a int"),
        (
            datasets.DatasetDict(train=datasets.Dataset.from_dict({"summary": ["a"]})),
            TypeError,
            "splits, \\['train'\\]",
        ),
        (datasets.Dataset.from_dict({"summary": ["a"]}).to_iterable_dataset(), TypeError, "IterableDataset"),
        ({"name": ["a"], "flux": [1.0]}, ValueError, "spectrum_counts.*the batch has \\['name', 'flux'\\]"),
    ],
)
def test_what_cannot_be_used_is_named(
    processor: ChandraClipProcessor, batch: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        processor(batch)
    assert len(str(caught.value)) < 300


def test_errors_do_not_print_the_rows(processor: ChandraClipProcessor, dataset: datasets.Dataset) -> None:
    rows = [{**row, "spectrum_background": [1] * 1000} for row in dataset]
    with pytest.raises(ValueError, match=r"row 0: 1024 source and 1000 background .*spectrum_background") as caught:
        processor(rows)
    assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match="row 0: 0 values of gti_start and 2 of gti_stop") as caught_lengths:
        processor([{name: value for name, value in row.items() if name != "gti_start"} for row in dataset])
    assert "array" not in str(caught_lengths.value)


def test_a_saved_processor_reads_the_same_forms(
    processor: ChandraClipProcessor, dataset: datasets.Dataset, tmp_path: Path
) -> None:
    from transformers import AutoProcessor

    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert_same(loaded(list(dataset), text=["x"] * 8), processor(list(dataset), text=["x"] * 8))
