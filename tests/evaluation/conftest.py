"""Synthetic embeddings of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chandraclip.data.schema import Ragged
from chandraclip.data.splits import assign_splits
from chandraclip.evaluation.embeddings import EMBEDDINGS, EMBEDDINGS_SCHEMA, EmbeddingTable


def make_table(num_sources: int = 400, detections: int = 2, seed: int = 0, **missing: np.ndarray) -> pa.Table:
    """Embeddings whose first coordinates carry a hidden physical vector; `missing` maps a column to null rows."""
    generator = np.random.default_rng(seed)
    num_rows = num_sources * detections
    source = np.repeat(np.arange(num_sources), detections)
    hidden = generator.normal(size=(num_sources, 6))[source]
    columns: dict[str, pa.Array] = {
        "name": pa.array([f"2CXO J{number:06d}" for number in source]),
        "obsid": pa.array(np.arange(num_rows), pa.int32()),
        "obi": pa.array(np.zeros(num_rows), pa.int16()),
        "region_id": pa.array(np.ones(num_rows), pa.int32()),
        "source_class": pa.array(source % 4, pa.int64()),
        "text_id": pa.array([f"text{number}" for number in source]),
    }
    columns["split"] = pa.array(assign_splits(columns["name"].to_pylist()))
    projection = np.linalg.qr(generator.normal(size=(16, 6)))[0]
    for name in EMBEDDINGS_SCHEMA.names[-6:]:
        noise = 0.0 if name == "text_embedding" else 0.2
        values = (hidden + noise * generator.normal(size=hidden.shape)) @ projection.T
        if name == "text_features":
            values = generator.normal(size=values.shape)  # tells nothing
        if name in EMBEDDINGS:
            values /= np.linalg.norm(values, axis=1, keepdims=True)
        rows = list(values.astype(np.float32))
        columns[name] = Ragged.from_rows(
            [None if name in missing and missing[name][i] else row for i, row in enumerate(rows)]
        ).to_arrow(pa.list_(pa.float32()))
    return pa.table(columns).select(EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)


@pytest.fixture
def embeddings_table() -> pa.Table:
    return make_table()


@pytest.fixture
def make_embeddings():
    """`make_table` as an `EmbeddingTable`."""

    def make(*args, **kwargs) -> EmbeddingTable:
        return EmbeddingTable.from_table(make_table(*args, **kwargs), Path("synthetic.parquet"))

    return make
