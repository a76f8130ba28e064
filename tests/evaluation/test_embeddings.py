from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EmbeddingTable


def replaced(table: pa.Table, name: str, rows: list) -> pa.Table:
    column = Ragged.from_rows(rows).to_arrow(pa.list_(pa.float32()))
    return table.set_column(table.column_names.index(name), table.schema.field(name), column)


def test_load_with_missing_rows(tmp_path, embeddings_table):
    rows = [np.array(row, np.float32) for row in embeddings_table["event_embedding"].to_pylist()]
    rows[3] = None
    pq.write_table(replaced(embeddings_table, "event_embedding", rows), tmp_path / "embeddings.parquet")
    (tmp_path / "embeddings.json").write_text('{"model": "m"}')
    table = EmbeddingTable.load(tmp_path)
    assert len(table) == 800
    assert table.provenance == {"model": "m"}
    assert not table.masks["event_embedding"][3]
    assert table.masks["event_embedding"].sum() == 799
    np.testing.assert_array_equal(table.arrays["event_embedding"][3], 0)
    np.testing.assert_array_equal(table.arrays["event_embedding"][4], rows[4])
    values, mask = table.joint(["spectrum_embedding", "event_embedding"])
    assert values.shape == (800, 32)
    assert not mask[3]
    test = table.in_split("test")
    assert set(test.split) == {"test"}
    assert len(table.in_split("all")) == 800


def test_a_column_null_throughout_is_left_out(embeddings_table):
    table = EmbeddingTable.from_table(replaced(embeddings_table, "event_latents", [None] * 800), "x.parquet")
    assert "event_latents" not in table.arrays
    assert "spectrum_latents" in table.arrays


def bad_tables(table: pa.Table):
    rows = [np.array(row, np.float32) for row in table["spectrum_embedding"].to_pylist()]
    index = table.column_names.index("split")
    yield "name", table.drop_columns("name")
    yield "no row", table.slice(0, 0)
    yield "repeat", pa.concat_tables([table, table.slice(5, 2)])
    yield "two splits", table.set_column(index, table.schema.field("split"), pa.array(["train", "test"] * 400))
    yield "one length", replaced(table, "spectrum_embedding", [rows[0][:4], *rows[1:]])
    yield (
        "row 1 has a value that is not finite",
        replaced(table, "spectrum_embedding", [rows[0], rows[1] * np.nan, *rows[2:]]),
    )
    yield "unit vector", replaced(table, "spectrum_embedding", [rows[0] * 2, *rows[1:]])


def test_bad_tables(embeddings_table):
    for message, table in bad_tables(embeddings_table):
        with pytest.raises(InputFileError, match=message):
            EmbeddingTable.from_table(table, "bad.parquet")


def test_bad_files(tmp_path, embeddings_table):
    with pytest.raises(InputFileError, match="no embeddings here"):
        EmbeddingTable.load(tmp_path)
    (tmp_path / "embeddings.parquet").write_bytes(b"PAR1 truncated")
    with pytest.raises(InputFileError, match="not a readable Parquet file"):
        EmbeddingTable.load(tmp_path)
    table = EmbeddingTable.from_table(embeddings_table, "x.parquet").in_split("train")
    with pytest.raises(InputFileError, match="no row of split 'test'"):
        table.in_split("test")
